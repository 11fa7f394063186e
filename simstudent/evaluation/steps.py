"""From rollouts to columns: what each simulated submission shows beside the real student's, one row a step.

Columns are arrays, because a million steps are quite normal (methods x starts x samples x steps), and texts are
compared once a distinct pair, because the same student programs come again in every start and method.

A value is NaN where the measure does not apply: an uncovered step, a method that asserts grades without writing
programs (status ``constant``), a problem without tests. It is never 0 in place of "unknown".
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from simstudent.errors import SimstudentError
from simstudent.evaluation.programs import NO_TREE, STYLES, Programs, edits, measured
from simstudent.rollout.records import Rollout

FULL_MARKS = 1 - 1e-9
CATEGORIES = ("none", "logical", "run-time", "load-time", "compile", "no program")
"""What is wrong with a submission, the mildest first (ParaStudent's categories, and answers without a program)."""

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
Unit = tuple[str, str, int, int]
"""What is simulated, whatever the method: student, assignment, start, sample."""

CODEBLEU_PARTS = ("ngram", "weighted_ngram", "syntax", "dataflow")
STEP_MEASURES = (
    "coverage",
    "grade_proximity",
    "grade_difference",
    "codebleu",
    *(f"codebleu_{part}" for part in CODEBLEU_PARTS),
    "test_agreement",
    "failing_tests_jaccard",
    "error_category_agreement",
    "exception_agreement",
    "exact_match",
    "same_program",
    "no_program",
    "repeats_previous",
    "student_repeats_previous",
    "compiles",
    "student_compiles",
    "edit",
    "edit_from_student",
    "student_edit",
    "edit_difference",
    *(f"{style}_{kind}" for style in STYLES for kind in ("difference", "distance")),
)


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """All steps with a real submission, covered and uncovered, in the order of the rollouts.

    ``rollout``: index into the rollouts; ``k``: 1-based. ``values``: a column per measure (docs/metrics.md defines
    them). ``codes``: what distributions are made of, -1 where unknown, for the simulated program and (``student_``)
    the real one: ``text``, equal for equal text; ``shape`` of the syntax tree; ``category`` in ``CATEGORIES``;
    ``tests``, equal for equal outcomes. ``sizes``: ``grade``, ``edit`` and program sizes, simulated and real.
    """

    rollout: Codes
    k: Codes
    values: Mapping[str, Array]
    codes: Mapping[str, Codes]
    sizes: Mapping[str, Array]

    def where(self, mask: NDArray[np.bool_]) -> Steps:
        return Steps(
            self.rollout[mask],
            self.k[mask],
            {name: column[mask] for name, column in self.values.items()},
            {name: column[mask] for name, column in self.codes.items()},
            {name: column[mask] for name, column in self.sizes.items()},
        )


def usable(rollout: Rollout) -> bool:
    """Whether engine and grader worked: only then does a rollout say something about the method."""
    if rollout.error is not None or rollout.stop == "error":
        return False
    return not any(s.status == "grader_error" or s.student_status == "grader_error" for s in rollout.steps)


def unit(rollout: Rollout) -> Unit:
    return rollout.student, rollout.assignment, rollout.start, rollout.sample


def check(rollouts: Sequence[Rollout]) -> None:
    """Raises SimstudentError when a record cannot be counted as it is; the message names rollout and step."""
    seen: set[tuple[str, Unit]] = set()
    for rollout in rollouts:
        name = f"rollout {rollout.key!r} of method {rollout.method!r}"
        size = len(seen)
        seen.add((rollout.method, unit(rollout)))
        if len(seen) == size:
            raise SimstudentError(f"{name} is there twice: each start and sample counts once; remove one of them")
        if not usable(rollout):
            continue
        if len(rollout.steps) > rollout.truths:
            raise SimstudentError(f"{name} has {len(rollout.steps)} steps but only {rollout.truths} real submissions")
        for number, step in enumerate(rollout.steps, 1):
            if step.k != number:
                raise SimstudentError(f"{name}: step {number} calls itself k = {step.k}; steps go 1, 2, 3, ...")
            for grade in (step.grade, step.student_grade):
                if not 0 <= grade <= 1:  # nor is NaN
                    raise SimstudentError(f"{name}, step {number}: the grade {grade} is not between 0 and 1")


class _Numbers(dict[object, int]):
    """Numbers things as they come: 0, 1, 2, ..."""

    def __missing__(self, key: object) -> int:
        return self.setdefault(key, len(self))


_READ = (
    *("rollout", "k", "covered", "constant", "grade", "student_grade", "code", "student_code", "own", "real"),
    *("fault", "student_fault", "tests", "student_tests", "exception", "student_exception"),
)


def steps_of(rollouts: Sequence[Rollout], *, codebleu: bool, language: str, lint: bool = False) -> Steps:
    """The columns of usable rollouts. ``codebleu=False`` and ``lint=False`` leave theirs NaN.

    Raises SimstudentError when CodeBLEU or lint findings are wanted and cannot be computed here.
    """
    texts, faults, tests, words = _Numbers(), _Numbers(), _Numbers(), _Numbers()
    rows = array("d")  # one after the other
    for number, rollout in enumerate(rollouts):
        own = real = -1 if rollout.previous_code is None else texts[rollout.previous_code]
        for step in rollout.steps:
            code = -1 if step.code is None else texts[step.code]
            truth, grade, student_grade = texts[step.student_code], step.grade, step.student_grade
            fault = faults[step.status, step.tests, grade >= FULL_MARKS]
            student_fault = faults[step.student_status, step.student_tests, student_grade >= FULL_MARKS]
            told = -1 if step.exception is None else words[step.exception]
            student_told = -1 if step.student_exception is None else words[step.student_exception]
            constant = step.status == "constant"
            # fmt: off
            rows.extend((
                number, step.k, 1, constant, grade, student_grade, code, truth, own, real,
                fault, student_fault, tests[step.tests], tests[step.student_tests], told, student_told,
            ))
            # fmt: on
            own, real = own if code < 0 else code, truth
        for k in range(len(rollout.steps) + 1, rollout.truths + 1):
            rows.extend((number, k, 0, 0, math.nan, math.nan, *([-1] * 10)))
    table = np.frombuffer(rows).reshape(-1, len(_READ)).T
    raw = dict(zip(_READ, np.ascontiguousarray(table), strict=True))
    ids = {
        name: raw[name].astype(np.int64) for name in ("code", "student_code", "own", "real", "tests", "student_tests")
    }
    known = [str(text) for text in texts]
    categories = np.array([*(_category(*fault) for fault in faults), -1], dtype=np.int64)  # type: ignore[misc]
    faulty = {name: categories[raw[name].astype(np.int64)] for name in ("fault", "student_fault")}
    columns = _Columns(raw, ids, faulty, known, [str(vector) for vector in tests])
    scores = _codebleu(columns, language) if codebleu else {}
    return columns.steps(scores, measured(known, lint and language == "python"))


def _category(status: str, tests: str, full: bool) -> int:
    """The category of one submission, an index into ``CATEGORIES``."""
    named = {"no_code": "no program", "bad_diff": "no program", "syntax_error": "compile", "constant": None}
    name = named.get(status, "load-time")  # an exception, a time-out or too much memory while loading
    if full and name is not None:
        name = "none"
    elif status == "graded":
        name = "logical" if set(tests).isdisjoint("ETM") else "run-time"
    return -1 if name is None else CATEGORIES.index(name)


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    raw: Mapping[str, Array]
    ids: Mapping[str, Codes]
    faults: Mapping[str, Codes]
    texts: Sequence[str]
    tests: Sequence[str]

    def steps(self, codebleu: Mapping[str, Array], programs: Programs) -> Steps:
        """All columns. Every measure is defined here."""
        raw, texts = self.raw, self.texts
        code, truth, own, real = (self.ids[name] for name in ("code", "student_code", "own", "real"))
        covered = raw["covered"] > 0
        writes = covered & (raw["constant"] == 0)
        wrote = writes & (code >= 0)
        # The entry after the last is what the index -1 (no text) finds.
        alike, trees, shapes = (np.append(d, NO_TREE) for d in (programs.texts, programs.trees, programs.shapes))
        sizes = {style: np.append(size, math.nan) for style, size in programs.sizes.items()}
        values = {"coverage": raw["covered"]}

        def put(name: str, mask: NDArray[np.bool_], column: NDArray[np.generic]) -> None:
            values[name] = np.where(mask, column.astype(np.float64), math.nan)

        put("grade_proximity", covered, 1 - np.abs(raw["grade"] - raw["student_grade"]))
        put("grade_difference", covered, raw["grade"] - raw["student_grade"])
        test_pair = self.ids["tests"], self.ids["student_tests"]
        values["test_agreement"] = self._pairs(*test_pair, writes, partial(map, outcome_agreement), self.tests)
        values["failing_tests_jaccard"] = self._pairs(*test_pair, writes, partial(map, failing_jaccard), self.tests)
        put("error_category_agreement", writes, self.faults["fault"] == self.faults["student_fault"])
        told = writes & (raw["exception"] >= 0) & (raw["student_exception"] >= 0)
        put("exception_agreement", told, raw["exception"] == raw["student_exception"])
        put("exact_match", writes, wrote & (alike[code] == alike[truth]))
        # A text without a tree is compared as text.
        same = (alike[code] == alike[truth]) | ((trees[code] == trees[truth]) & (trees[code] != NO_TREE))
        put("same_program", writes, wrote & same)
        put("no_program", writes, code < 0)
        put("repeats_previous", writes, wrote & (own >= 0) & (alike[code] == alike[own]))
        put("student_repeats_previous", covered, (real >= 0) & (alike[truth] == alike[real]))
        put("compiles", writes, wrote & (self.faults["fault"] != CATEGORIES.index("compile")))
        failed = [CATEGORIES.index(name) for name in ("compile", "no program")]
        put("student_compiles", covered, ~np.isin(self.faults["student_fault"], failed))
        # One call: in first steps both are the same pairs, and students' edits come again in every start.
        masks = wrote & (own >= 0), wrote & (real >= 0), covered & (real >= 0)
        before, after = np.concatenate([own, real, real]), np.concatenate([code, code, truth])
        distances = self._pairs(before, after, np.concatenate(masks), edits, texts)
        values |= zip(("edit", "edit_from_student", "student_edit"), np.split(distances, 3), strict=True)
        values["edit_difference"] = values["edit"] - values["student_edit"]
        for style, size in sizes.items():
            put(f"{style}_difference", wrote, size[code] - size[truth])
            put(f"{style}_distance", wrote, np.abs(size[code] - size[truth]))
        values |= {name: codebleu.get(name, np.full(len(code), math.nan)) for name in STEP_MEASURES if "bleu" in name}
        return Steps(
            raw["rollout"].astype(np.int64),
            raw["k"].astype(np.int64),
            {name: values[name] for name in STEP_MEASURES},
            self._codes(writes, wrote, covered, alike, shapes),
            {
                "grade": np.where(covered, raw["grade"], math.nan),
                "student_grade": raw["student_grade"],
                "edit": values["edit"],
                "student_edit": values["student_edit"],
                **{style: np.where(wrote, size[code], math.nan) for style, size in sizes.items()},
                **{f"student_{style}": np.where(covered, size[truth], math.nan) for style, size in sizes.items()},
            },
        )

    def _codes(
        self,
        writes: NDArray[np.bool_],
        wrote: NDArray[np.bool_],
        covered: NDArray[np.bool_],
        alike: Codes,
        shapes: Codes,
    ) -> dict[str, Codes]:
        def sides(name: str, own: Codes, real: Codes, mask: NDArray[np.bool_]) -> dict[str, Codes]:
            return {name: np.where(mask, own, -1), f"student_{name}": np.where(covered, real, -1)}

        code, truth = self.ids["code"], self.ids["student_code"]
        parsed = np.where(shapes == NO_TREE, -1, shapes)
        return {
            **sides("text", alike[code], alike[truth], wrote),
            **sides("shape", parsed[code], parsed[truth], wrote),
            **sides("category", self.faults["fault"], self.faults["student_fault"], writes),
            **sides("tests", self.ids["tests"], self.ids["student_tests"], writes),
        }

    def _pairs(
        self,
        a: Codes,
        b: Codes,
        mask: NDArray[np.bool_],
        compare: Callable[[Sequence[str], Sequence[str]], Iterable[float | None]],
        texts: Sequence[str],
    ) -> Array:
        """``compare`` of the texts a and b where ``mask`` holds, once a distinct pair; NaN elsewhere and for None."""
        found = np.full(len(a), math.nan)
        keys, places = np.unique(a[mask] * len(texts) + b[mask], return_inverse=True)
        one, other = ([texts[n] for n in numbers.tolist()] for numbers in np.divmod(keys, len(texts)))
        found[mask] = np.array([*compare(one, other)], dtype=np.float64)[places]
        return found


def outcome_agreement(tests: str, student_tests: str) -> float | None:
    """The share of tests with the same outcome letter; None when neither side has any.

    A test that one side lacks was not run there ("-"): an answer without a program fails a student's passed tests.
    """
    longest = max(len(tests), len(student_tests))
    if not longest:
        return None
    pairs = zip(tests.ljust(longest, "-"), student_tests.ljust(longest, "-"), strict=True)
    return sum(a == b for a, b in pairs) / longest


def failing_jaccard(tests: str, student_tests: str) -> float | None:
    """Jaccard index of the two sets of tests that are not passed; 1 when both are empty, None without tests."""
    longest = max(len(tests), len(student_tests))
    if not longest:
        return None
    one, other = ({i for i in range(longest) if side[i : i + 1] != "P"} for side in (tests, student_tests))
    return len(one & other) / len(one | other) if one | other else 1.0


def _codebleu(columns: _Columns, language: str) -> dict[str, Array]:
    """CodeBLEU and its parts for covered pairs of two programs, once a distinct pair, neighbours sharing the student's.

    Raises SimstudentError (from ``graders.codebleu.CodeBleuError``) when CodeBLEU cannot be computed here.
    """
    from graders.codebleu import CodeBleuError, codebleu_many

    code, truth, texts = columns.ids["code"], columns.ids["student_code"], columns.texts
    mask = (columns.raw["covered"] > 0) & (columns.raw["constant"] == 0) & (code >= 0)
    keys, places = np.unique(truth[mask] * len(texts) + code[mask], return_inverse=True)
    try:
        found = list(codebleu_many(((texts[k // len(texts)], texts[k % len(texts)]) for k in keys.tolist()), language))
    except CodeBleuError as error:
        raise SimstudentError(str(error)) from error
    columns_of = {"codebleu": "score", **{f"codebleu_{part}": part for part in CODEBLEU_PARTS}}
    scores = {}
    for name, part in columns_of.items():
        column = np.full(len(code), math.nan)
        column[mask] = np.array([math.nan if s is None else getattr(s, part) for s in found], dtype=np.float64)[places]
        scores[name] = column
    return scores
