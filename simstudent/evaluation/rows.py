"""From rollouts to rows: what one simulated submission, or one whole rollout, shows beside the real student's.

A value is None where the measure does not apply: an uncovered step, a method that asserts grades without writing
programs (status ``constant``), a problem without tests. It is never 0.0 in place of "unknown".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from graders.compare import ast_equal, same_text
from simstudent.errors import SimstudentError
from simstudent.rollout.records import Rollout, Step

FULL_MARKS = 1 - 1e-9

Unit = tuple[str, str, int, int]
"""What is simulated, whatever the method: student, assignment, start, sample."""

STEP_MEASURES = (
    "coverage",
    "grade_proximity",
    "codebleu",
    "test_agreement",
    "exact_match",
    "same_program",
    "repeats_previous",
    "student_repeats_previous",
    "compiles",
    "student_compiles",
)
ROLLOUT_MEASURES = (
    "solved_within_steps",
    "student_solved_within_steps",
    "solved_difference",
    "gave_up",
    "student_gave_up",
)


@dataclass(frozen=True, slots=True)
class Row:
    """Step ``k`` (1-based) of a rollout, for which the student has a submission. All values in [0, 1] or None.

    ``coverage``: 1 when the simulated student made this submission, else 0 and all others None.
    ``grade_proximity``: 1 - |grade - student's grade|. ``codebleu``: of the simulated program against the
    student's, both being there. ``test_agreement``: the share of tests with the same outcome.
    ``exact_match``: the same text as the student's; ``same_program``: equal but for layout and comments.
    ``repeats_previous``: the same text as the last program in the simulation's own history;
    ``student_repeats_previous`` likewise for the student. ``compiles``, ``student_compiles``: no syntax error
    (an answer without a program does not compile).
    """

    method: str
    unit: Unit
    k: int
    coverage: float
    grade_proximity: float | None = None
    codebleu: float | None = None
    test_agreement: float | None = None
    exact_match: float | None = None
    same_program: float | None = None
    repeats_previous: float | None = None
    student_repeats_previous: float | None = None
    compiles: float | None = None
    student_compiles: float | None = None


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """One rollout: who reached full marks within its ``truths`` steps.

    ``student_solved_within_steps`` is None where an uncovered step hides the student's grade and no other start
    of the same method shows it. ``solved_difference``: simulated minus real, where both are known.
    ``gave_up``: the simulated student said that it gives up, which leaves the steps from there on uncovered, or did so
    where the student did; ``student_gave_up``: within the steps the student stopped for good without full marks.
    """

    method: str
    unit: Unit
    solved_within_steps: float | None
    student_solved_within_steps: float | None
    solved_difference: float | None
    gave_up: float | None = None
    student_gave_up: float | None = None


def usable(rollout: Rollout) -> bool:
    """Whether engine and grader worked: only then does a rollout say something about the method."""
    failed = any("grader_error" in (step.status, step.student_status) for step in rollout.steps)
    return rollout.error is None and rollout.stop != "error" and not failed


def unit(rollout: Rollout) -> Unit:
    return rollout.student, rollout.assignment, rollout.start, rollout.sample


def check(rollouts: Sequence[Rollout]) -> None:
    """Raises SimstudentError when a record cannot be counted as it is; the message names rollout and step."""
    seen: set[tuple[str, Unit]] = set()
    for rollout in rollouts:
        name = f"rollout {rollout.key!r} of method {rollout.method!r}"
        if (rollout.method, unit(rollout)) in seen:
            raise SimstudentError(f"{name} is there twice: each start and sample counts once; remove one of them")
        seen.add((rollout.method, unit(rollout)))
        if not usable(rollout):
            continue
        if len(rollout.steps) > rollout.truths:
            raise SimstudentError(f"{name} has {len(rollout.steps)} steps but only {rollout.truths} real submissions")
        for number, step in enumerate(rollout.steps, 1):
            if step.k != number:
                raise SimstudentError(f"{name}: step {number} calls itself k = {step.k}; steps go 1, 2, 3, ...")
            for grade in (step.grade, step.student_grade):
                if not (math.isfinite(grade) and 0 <= grade <= 1):
                    raise SimstudentError(f"{name}, step {number}: the grade {grade} is not between 0 and 1")


def step_rows(rollout: Rollout) -> list[Row]:
    """The rows of one rollout, covered and uncovered, without CodeBLEU (see ``with_codebleu``)."""
    rows = []
    history, student_history = rollout.previous_code, rollout.previous_code
    for step in rollout.steps:
        rows.append(_covered(rollout, step, history, student_history))
        history = history if step.code is None else step.code
        student_history = step.student_code
    for k in range(len(rollout.steps) + 1, rollout.truths + 1):
        rows.append(Row(rollout.method, unit(rollout), k, 0.0))
    return rows


def _covered(rollout: Rollout, step: Step, history: str | None, student_history: str | None) -> Row:
    row = Row(
        rollout.method,
        unit(rollout),
        step.k,
        coverage=1.0,
        grade_proximity=1 - abs(step.grade - step.student_grade),
        student_repeats_previous=float(student_history is not None and same_text(step.student_code, student_history)),
        student_compiles=float(step.student_status not in ("syntax_error", "no_code")),
    )
    if step.status == "constant":
        return row
    code = step.code
    return replace(
        row,
        test_agreement=outcome_agreement(step.tests, step.student_tests),
        exact_match=float(code is not None and same_text(code, step.student_code)),
        same_program=float(code is not None and ast_equal(code, step.student_code)),
        repeats_previous=float(code is not None and history is not None and same_text(code, history)),
        compiles=float(code is not None and step.status != "syntax_error"),
    )


def outcome_agreement(tests: str, student_tests: str) -> float | None:
    """The share of tests with the same outcome letter; None when neither side has any.

    A test that one side lacks was not run there ("-"): an answer without a program fails a student's passed tests.
    """
    longest = max(len(tests), len(student_tests))
    if not longest:
        return None
    pairs = zip(tests.ljust(longest, "-"), student_tests.ljust(longest, "-"), strict=True)
    return sum(a == b for a, b in pairs) / longest


def with_codebleu(rows: Sequence[Row], rollouts: Sequence[Rollout], language: str) -> list[Row]:
    """The rows with CodeBLEU filled in, for covered pairs of two programs.

    Raises SimstudentError (from ``graders.codebleu.CodeBleuError``) when CodeBLEU cannot be computed here.
    """
    from graders.codebleu import CodeBleuError, codebleu_many

    texts = {
        (rollout.method, unit(rollout), step.k): (step.student_code, step.code)
        for rollout in rollouts
        for step in rollout.steps
        if step.code is not None and step.status != "constant"
    }
    try:
        found = list(codebleu_many(texts.values(), language))
    except CodeBleuError as error:
        raise SimstudentError(str(error)) from error
    scores = {at: score.score for at, score in zip(texts, found, strict=True) if score is not None}
    return [replace(row, codebleu=scores.get((row.method, row.unit, row.k))) for row in rows]


def rollout_rows(rollouts: Sequence[Rollout]) -> list[RolloutRow]:
    """Who solved it within the steps, for all rollouts of *one* method.

    After the simulation solved the task its record ends, and with it what it says of the student. The student's
    grades are then looked up in the method's rollouts from other starts: submission t + j is step j from start t.
    Other methods are not consulted, so that a figure never depends on which methods are evaluated together.
    """
    grades: dict[tuple[str, str, int], float] = {}
    for rollout in rollouts:
        at = rollout.student, rollout.assignment
        if rollout.previous_grade is not None:
            grades[(*at, rollout.start)] = rollout.previous_grade
        grades.update({(*at, rollout.start + step.k): step.student_grade for step in rollout.steps})
    rows = []
    for rollout in rollouts:
        truths = [
            grades.get((rollout.student, rollout.assignment, rollout.start + k)) for k in range(1, rollout.truths + 1)
        ]
        student: float | None = 0.0
        if any(grade is not None and grade >= FULL_MARKS for grade in truths):
            student = 1.0
        elif None in truths:
            student = None
        own: float | None = float(any(step.grade >= FULL_MARKS for step in rollout.steps))
        if any(step.status == "constant" for step in rollout.steps):
            own = None
        both = None if own is None or student is None else own - student
        gave_up = None if own is None else float(rollout.stop == "give_up")
        theirs = None if rollout.student_gave_up is None else float(rollout.student_gave_up)
        rows.append(RolloutRow(rollout.method, unit(rollout), own, student, both, gave_up, theirs))
    return rows
