"""The selection steps, a function each: what a recipe may keep of a log, and why one would.

Most look at one trajectory at a time. The others are given `Before`: they need the assignments, the graders, or a look
at all of the data before they can decide; of that look they keep counts, never programs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING

from graders.compare import ast_equal, compiles
from simstudent.data.records import Assignment, Submission, Talk, Trajectory, outcome_of
from simstudent.data.split import position
from simstudent.data.step_values import Values, as_text
from simstudent.errors import SimstudentError
from simstudent.recipe_errors import closest

if TYPE_CHECKING:
    from simstudent.recipe import GraderSection

Each = Callable[[Trajectory], Trajectory | None]
Stream = Callable[[Iterator[Trajectory]], Iterator[Trajectory]]


@dataclass(frozen=True, slots=True)
class Before:
    """What a step may look at besides the trajectory in hand.

    ``trajectories`` reads what the steps before it leave, anew at each call. ``assignments`` are complete once
    a first trajectory has come. ``grader`` is None where a command opens no graders.
    """

    assignments: Mapping[str, Assignment]
    trajectories: Callable[[], Iterator[Trajectory]]
    grader: GraderSection | None


def each(function: Each) -> Stream:
    """A step that looks at one trajectory at a time, as a step over the stream."""

    def run(stream: Iterator[Trajectory]) -> Iterator[Trajectory]:
        return (kept for t in stream if (kept := function(t)) is not None)

    return run


def keep(t: Trajectory, kept: Iterable[Submission]) -> Trajectory | None:
    """The trajectory with these submissions only; None when there are none."""
    made = tuple(kept)
    if len(made) == len(t.submissions):
        return t
    return replace(t, submissions=made, outcome=outcome_of(made)) if made else None


# --- what is submitted again --------------------------------------------------------------------------------


def _drop_repeats(t: Trajectory, same: Callable[[str, str], bool]) -> Trajectory | None:
    """What was said after a dropped repetition stays, with the submission it repeats.

    A request for a hint is no attempt: it neither repeats one nor is repeated by one.
    """
    kept: list[Submission] = []
    before: str | None = None
    for s in t.submissions:
        if s.kind == "hint":
            kept.append(s)
            continue
        if before is not None and same(before, s.code):
            if s.talk:
                said: tuple[Talk, ...] = kept[-1].talk + s.talk
                kept[-1] = replace(kept[-1], talk=said)
        else:
            kept.append(s)
        before = s.code
    return keep(t, kept)


def drop_unchanged(t: Trajectory) -> Trajectory | None:
    """Drop submissions whose program equals the one before, character for character."""
    return _drop_repeats(t, str.__eq__)


def drop_layout_changes(t: Trajectory) -> Trajectory | None:
    """Drop submissions that differ from the one before in layout and comments only (equal syntax trees).

    Programs that are not Python, or do not parse, are compared by their lines, white space at their ends aside.
    """
    return _drop_repeats(t, ast_equal)


def drop_renamings(t: Trajectory) -> Trajectory | None:
    """Drop submissions that differ from the one before in layout, comments and the student's own names only.

    The published code of Koutcheme et al. renames builtins and attributes too, and so takes ``max`` for ``min``.
    """
    return _drop_repeats(t, lambda a, b: ast_equal(a, b, rename=True))


# --- which submissions count --------------------------------------------------------------------------------


def stop_at_full_grade(t: Trajectory) -> Trajectory | None:
    """Cut after the first submission with full marks: what follows is no longer solving the task."""
    for number, submission in enumerate(t.submissions, 1):
        if submission.grade is not None and submission.grade >= 1.0:
            return keep(t, t.submissions[:number])
    return t


def drop_runs(t: Trajectory) -> Trajectory | None:
    """Drop what the student only ran, and did not hand in."""
    return keep(t, (s for s in t.submissions if s.kind != "run"))


def drop_hints(t: Trajectory) -> Trajectory | None:
    """Drop the states at which the student asked for help, with the help."""
    return keep(t, (s for s in t.submissions if s.kind != "hint"))


def drop_not_compiling(t: Trajectory) -> Trajectory | None:
    """Drop Python programs that do not compile. What else a log says of compilation (``more``) is another column."""
    return keep(t, (s for s in t.submissions if compiles(s.code)))


def drop_possibly_cut(t: Trajectory, what: str) -> Trajectory | None:
    """Drop programs that the log may have cut short (column ``possibly_cut``), or trajectories with one."""
    kept = [s for s in t.submissions if not _true(s.more.get("possibly_cut"))]
    return keep(t, kept) if what == "submission" or len(kept) == len(t.submissions) else None


def drop_censored(t: Trajectory) -> Trajectory | None:
    """Drop trajectories whose end the log does not show (column ``censored``)."""
    return None if any(_true(s.more.get("censored")) for s in t.submissions) else t


# --- which trajectories count -------------------------------------------------------------------------------


def min_submissions(t: Trajectory, least: int) -> Trajectory | None:
    """Keep trajectories of at least ``least`` submissions: as logged, when this is the first step."""
    return t if len(t.submissions) >= least else None


def max_submissions(t: Trajectory, most: int) -> Trajectory | None:
    """Keep trajectories of at most ``most`` submissions."""
    return t if len(t.submissions) <= most else None


def min_best_grade(t: Trajectory, least: float) -> Trajectory | None:
    """Keep trajectories that reach a grade of at least ``least`` (in [0, 1]) somewhere."""
    return t if any(s.grade is not None and s.grade >= least for s in t.submissions) else None


def min_last_grade(t: Trajectory, least: float) -> Trajectory | None:
    """Keep trajectories whose last submission has a grade of at least ``least`` (in [0, 1])."""
    last = t.submissions[-1].grade
    return t if last is not None and last >= least else None


def some_test_passed(t: Trajectory) -> Trajectory | None:
    """Keep trajectories in which a test passed somewhere.

    By the outcomes of the tests where the data has them (column ``tests``, as ``simstudent data regrade --to`` writes
    it), else by a grade above 0.
    """
    passed = ("P" in str(s.more["tests"]) if s.more.get("tests") else bool(s.grade) for s in t.submissions)
    return t if any(passed) else None


# --- what the log's other columns say -----------------------------------------------------------------------


def where(before: Before, wanted: Mapping[str, Values]) -> Stream:
    """Keep submissions whose columns have one of the values named (as text, upper and lower case alike)."""
    return _by_column(wanted, lambda s: all(as_text(s.more.get(name)) in v for name, v in wanted.items()))


def assignment_kind(before: Before, kinds: Values) -> Stream:
    """Keep assignments of these kinds (column ``type``: skill, lab, project)."""
    return where(before, {"type": kinds})


def course(before: Before, names: Values) -> Stream:
    """Keep what was submitted in these courses (column ``course``)."""
    return where(before, {"course": names})


def term(before: Before, names: Values) -> Stream:
    """Keep what was submitted in these terms (column ``term``)."""
    return where(before, {"term": names})


def exam(before: Before, wanted: bool) -> Stream:
    """Keep what was submitted in an exam (true), or outside of one (false; column ``exam``)."""
    return _by_column(["exam"], lambda s: _true(s.more.get("exam")) == wanted)


def drop_redacted(before: Before, value: None) -> Stream:
    """Drop submissions from which the log's owner has removed something (column ``redacted``)."""
    return _by_column(["redacted"], lambda s: not _true(s.more.get("redacted")))


def _by_column(names: Iterable[str], keeps: Callable[[Submission], bool]) -> Stream:
    """Keep submissions by their columns. Raises SimstudentError at the end when none had such a column at all."""

    def run(stream: Iterator[Trajectory]) -> Iterator[Trajectory]:
        missing, known, empty = set(names), set[str](), True
        for t in stream:
            empty = False
            if missing:
                known = known.union(*(s.more for s in t.submissions))
                missing -= known
            if (kept := keep(t, filter(keeps, t.submissions))) is not None:
                yield kept
        if missing and not empty:
            raise SimstudentError(
                f"data.select: no submission has a column '{min(missing)}'; {closest(min(missing), sorted(known))} "
                "(for tables, name it in data.source.columns.more)"
            )

    return run


# --- what needs more than the trajectory --------------------------------------------------------------------


def language(before: Before, names: Values) -> Stream:
    """Keep assignments in these programming languages."""
    return each(lambda t: t if before.assignments[t.assignment].language.casefold() in names else None)


def one_assignment_per_lesson(before: Before, name: str) -> Stream:
    """Of each lesson, keep the assignment with the most submissions (of equals, the first by name).

    ``name``: the column that names the lesson, or a pattern with one group, which is found in the assignment's id.
    """
    pattern = re.compile(name) if "(" in name else None
    counts: Counter[str] = Counter()
    lesson_of: dict[str, str] = {}
    for t in before.trajectories():
        counts[t.assignment] += len(t.submissions)
        if t.assignment not in lesson_of:
            lesson_of[t.assignment] = _lesson(t, name, pattern)
    kept: dict[str, str] = {}
    for assignment in sorted(counts, key=lambda a: (-counts[a], a)):
        kept.setdefault(lesson_of[assignment], assignment)
    chosen = set(kept.values())
    return each(lambda t: t if t.assignment in chosen else None)


def _lesson(t: Trajectory, name: str, pattern: re.Pattern[str] | None) -> str:
    if pattern is None:
        if name not in t.submissions[0].more:
            raise SimstudentError(f"data.select: one_assignment_per_lesson: {t.key} has no column '{name}'")
        return as_text(t.submissions[0].more[name])
    found = pattern.search(t.assignment)
    if found is None:
        raise SimstudentError(f"data.select: one_assignment_per_lesson: {name!r} is not in the id {t.assignment!r}")
    return found[1]


def drop_length_outliers(before: Before, most: float) -> Stream:
    """Drop programs that are unusually long or short among all programs of their assignment.

    By the modified z-score 0.6745 |x - median| / MAD of the length in characters (Iglewicz and Hoaglin, 1993, who
    advise 3.5). Where more than half of the lengths are equal the score does not exist, and nothing is dropped.
    """
    lengths: dict[str, Counter[float]] = {}
    for t in before.trajectories():
        lengths.setdefault(t.assignment, Counter()).update(len(s.code) for s in t.submissions)
    bounds = {}
    for name, found in lengths.items():
        centre = _median(found)
        away: Counter[float] = Counter()
        for length, count in found.items():
            away[abs(length - centre)] += count
        spread = _median(away)
        bounds[name] = (centre, most * spread / 0.6745 if spread else float("inf"))

    def usual(t: Trajectory) -> Trajectory | None:
        centre, room = bounds[t.assignment]
        return keep(t, (s for s in t.submissions if abs(len(s.code) - centre) <= room))

    return each(usual)


def _median(counts: Counter[float]) -> float:
    """The median of values that come with their frequencies."""
    middles, found, seen = [(counts.total() - 1) // 2, counts.total() // 2], [], 0
    for value in sorted(counts):
        seen += counts[value]
        while middles and seen > middles[0]:
            found.append(value)
            middles.pop(0)
    return sum(found) / 2


def drop_regrade_mismatch(before: Before, what: str) -> Stream:
    """Drop submissions that the graders grade otherwise than the log does, or trajectories with one.

    What has no tests or no logged grade cannot differ. Raises SimstudentError when the graders themselves fail.
    """
    if before.grader is None:
        raise SimstudentError("data.select: drop_regrade_mismatch needs the graders, which this command does not open")
    section = before.grader

    def run(stream: Iterator[Trajectory]) -> Iterator[Trajectory]:
        from simstudent.data import regrade

        first = list(islice(stream, 1))  # with it, all assignments are known
        assignments = regrade.limited(before.assignments, section)
        with regrade.open_pool(section) as pool:
            for t, grades in regrade.graded(chain(first, stream), assignments, pool):
                for number, grade in enumerate(grades, 1):
                    if assignments[t.assignment].problem is not None and grade.status == "grader_error":
                        raise SimstudentError(f"the grader failed on {t.key}, submission {number}: {grade.message}")
                verdicts = all(s.more.get("verdict") for s in t.submissions if s.grade is not None)
                wrong = {d.number for d in regrade.disagreements([t], {t.key: grades}, verdicts=verdicts)}
                if not wrong or what == "submission":
                    kept = keep(t, (s for n, s in enumerate(t.submissions, 1) if n not in wrong))
                    if kept is not None:
                        yield kept

    return run


def _true(value: object) -> bool:
    return as_text(value) in ("true", "t", "yes", "1", "1.0")


def sample_students(t: Trajectory, share: float) -> Trajectory | None:
    """Keep a share of the students with all that is theirs. A hash of the id draws: the same ones for every seed."""
    return t if position(0, "sample students", t.student) < share else None
