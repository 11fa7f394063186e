"""Every distance, and what it is made of, against plain loops over made-up rollouts."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest

from simstudent.evaluation import distances
from simstudent.evaluation.metrics import evaluate
from simstudent.evaluation.populations import POSITIONS, STAGES, diversities, populations
from simstudent.evaluation.realism import realism
from simstudent.evaluation.steps import FULL_MARKS
from simstudent.evaluation.totals import Evidence, evidence
from simstudent.rollout.records import Rollout, Step
from tests.evaluation.test_metrics import rollout

PROGRAMS = ("x = 1\n", "x = 2\n", "y = [i for i in x]\n", "def f(:\n", "print(1)\nprint(2)\n")
STATUS = ("graded", "graded", "graded", "syntax_error", "runtime_error")


def submission(generator: random.Random) -> tuple[str, float, str, str]:
    which = generator.randrange(len(PROGRAMS))
    passed = generator.randrange(4) if STATUS[which] == "graded" else 0
    return PROGRAMS[which], passed / 3, STATUS[which], "P" * passed + generator.choice("WE") * (3 - passed)


def made_up(students: int = 8, seed: int = 3) -> list[Rollout]:
    """Random students: some give up, some answers hold no program, some rollouts end at full marks."""
    generator = random.Random(seed)
    found = []
    for student, lab in itertools.product(range(students), ("one", "two")):
        real = [submission(generator) for _ in range(generator.randint(3, 7))]
        for start, sample in itertools.product(range(1, len(real)), range(2)):
            truths = min(4, len(real) - start)
            steps, stop = [], "student_done" if truths < 4 else "step_limit"
            for k in range(1, truths + 1):
                own: tuple[str | None, float, str, str] = submission(generator)
                if generator.random() < 0.1:
                    own = None, 0.0, "no_code", ""
                steps.append(Step(k, *own, *real[start + k - 1]))
                if own[1] >= FULL_MARKS:
                    stop = "solved"
                    break
                if generator.random() < 0.1:
                    stop = "give_up"
                    break
            found.append(
                rollout(
                    *steps,
                    key=f"s{student}/{lab}/{start}/{sample}",
                    student=f"s{student}",
                    assignment=lab,
                    start=start,
                    sample=sample,
                    truths=truths,
                    stop=stop,
                    previous_code=real[start - 1][0],
                    previous_grade=real[start - 1][1],
                    student_gave_up=generator.random() < 0.3,
                )
            )
    return found


@pytest.fixture(scope="module")
def rollouts() -> list[Rollout]:
    return made_up()


@pytest.fixture(scope="module")
def own(rollouts: list[Rollout]) -> Evidence:
    (found,) = evidence(rollouts, codebleu=False, language="python")
    return found


def value(own: Evidence, name: str) -> float:
    population = populations(own)[name]
    return float(population.distance(population.simulated.sum(axis=0), population.real.sum(axis=0)))


def pairs(rollouts: list[Rollout]) -> list[tuple[Rollout, Step]]:
    return [(r, s) for r in rollouts for s in r.steps]


def lengths(rollouts: list[Rollout]) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = defaultdict(int)
    for r in rollouts:
        found[r.student, r.assignment] = max(found[r.student, r.assignment], r.start + r.truths)
    return found


def real_grade(rollouts: list[Rollout], of: Rollout, k: int) -> float | None:
    """The student's grade k steps after a start, from any rollout of the trajectory that shows it."""
    for r in rollouts:
        if (r.student, r.assignment) == (of.student, of.assignment):
            if r.start == of.start + k:
                return r.previous_grade
            for s in r.steps:
                if r.start + s.k == of.start + k:
                    return s.student_grade
    return None


def ks(a: list[float], b: list[float]) -> float:
    points = sorted({*a, *b})
    return max(abs(sum(x <= p for x in a) / len(a) - sum(x <= p for x in b) / len(b)) for p in points)


def variation(a: list[object], b: list[object]) -> float:
    one, other = Counter(a), Counter(b)
    return sum(abs(one[c] / len(a) - other[c] / len(b)) for c in {*one, *other}) / 2


def test_grades(rollouts: list[Rollout], own: Evidence) -> None:
    simulated = [s.grade for _, s in pairs(rollouts)]
    real = [s.student_grade for _, s in pairs(rollouts)]
    assert value(own, "grades") == pytest.approx(ks(simulated, real))
    assert value(own, "mean grade") == pytest.approx(abs(sum(simulated) - sum(real)) / len(real))


def indel(a: str, b: str) -> int:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, j in itertools.product(range(1, len(a) + 1), range(1, len(b) + 1)):
        same = a[i - 1] == b[j - 1]
        table[i][j] = table[i - 1][j - 1] + 1 if same else max(table[i - 1][j], table[i][j - 1])
    return len(a) + len(b) - 2 * table[-1][-1]


def test_edits(rollouts: list[Rollout], own: Evidence) -> None:
    simulated, real, from_student = [], [], []
    for r in rollouts:
        mine = theirs = r.previous_code
        assert mine is not None
        assert theirs is not None
        for s in r.steps:
            if s.code is not None:
                simulated.append(float(indel(mine, s.code)))
                real.append(float(indel(theirs, s.student_code)))
                from_student.append(indel(theirs, s.code))
                mine = s.code
            theirs = s.student_code
    assert value(own, "edit size") == pytest.approx(ks(simulated, real))
    # Of equally many values: the mean distance of the sorted ones.
    apart = [abs(a - b) for a, b in zip(sorted(simulated), sorted(real), strict=True)]
    assert value(own, "edit size in characters") == pytest.approx(sum(apart) / len(apart))
    column = own.steps.values["edit_from_student"]
    assert column[~np.isnan(column)].tolist() == from_student


def solved_at(r: Rollout) -> int:
    return next((s.k for s in r.steps if s.grade >= FULL_MARKS), 0)


def student_solved_at(rollouts: list[Rollout], r: Rollout) -> int | None:
    grades = [real_grade(rollouts, r, k) for k in range(1, r.truths + 1)]
    at = next((k for k, g in enumerate(grades, 1) if g is not None and g >= FULL_MARKS), 0)
    return None if not at and None in grades else at


def test_solved_by_step(rollouts: list[Rollout], own: Evidence) -> None:
    known = [(solved_at(r), t) for r in rollouts if (t := student_solved_at(rollouts, r)) is not None]
    apart = [
        abs(sum(0 < a <= j for a, _ in known) - sum(0 < b <= j for _, b in known)) / len(known) for j in range(1, 5)
    ]
    assert value(own, "solved by step") == pytest.approx(sum(apart) / 4)


def kaplan_meier(times: list[tuple[int, bool]], steps: int) -> list[float | None]:
    survival, curve = 1.0, []
    for k in range(1, steps + 1):
        at_risk = sum(until >= k for until, _ in times)
        survival = (
            survival * (1 - sum(until == k and event for until, event in times) / at_risk) if at_risk else math.nan
        )
        curve.append(None if math.isnan(survival) else survival)
    return curve


def test_attempts_to_success(rollouts: list[Rollout], own: Evidence) -> None:
    simulated, real = [], []
    for r in rollouts:
        theirs = student_solved_at(rollouts, r)
        if theirs is None:
            continue
        ended = len(r.steps) if r.stop in ("solved", "give_up") else r.truths
        simulated.append((ended, solved_at(r) > 0))
        real.append((theirs or r.truths, theirs > 0))
    curves = zip(kaplan_meier(simulated, 4), kaplan_meier(real, 4), strict=True)
    expected = max(abs(a - b) for a, b in curves if a is not None and b is not None)
    assert value(own, "attempts to success") == pytest.approx(expected)


def test_a_survival_curve_with_censoring() -> None:
    """Four at risk, one event, one censored; then two at risk, one event: 3/4, 3/8."""
    counts = np.array([1.0, 1.0, 4.0, 2.0])
    assert distances.survival(counts).tolist() == [0.75, 0.375]


def test_grade_progression(rollouts: list[Rollout], own: Evidence) -> None:
    of = lengths(rollouts)
    bins: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for r in rollouts:
        for k in range(1, r.truths + 1):
            real = real_grade(rollouts, r, k)
            mine = r.steps[k - 1].grade if k <= len(r.steps) else 1.0 if r.stop == "solved" else None
            if real is not None and mine is not None:
                place = math.ceil(POSITIONS * (r.start + k) / of[r.student, r.assignment] - 1e-9) - 1
                bins[place].append((mine, real))
    apart = [abs(sum(a - b for a, b in values)) / len(values) for values in bins.values()]
    assert value(own, "grade progression") == pytest.approx(sum(apart) / len(apart))


def kind(code: str | None, status: str, tests: str, grade: float) -> str:
    if code is None:
        return "no program"
    if grade >= FULL_MARKS:
        return "none"
    return {"syntax_error": "compile", "runtime_error": "load"}.get(status, "run" if "E" in tests else "logical")


def test_error_types_by_stage(rollouts: list[Rollout], own: Evidence) -> None:
    of = lengths(rollouts)
    stages: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for r, s in pairs(rollouts):
        stage = math.ceil(STAGES * (r.start + s.k) / of[r.student, r.assignment] - 1e-9) - 1
        mine = kind(s.code, s.status, s.tests, s.grade)
        stages[stage].append((mine, kind(s.student_code, s.student_status, s.student_tests, s.student_grade)))
    n = len(pairs(rollouts))
    expected = sum(variation(*map(list, zip(*both, strict=True))) * len(both) / n for both in stages.values())
    assert value(own, "error types by stage") == pytest.approx(expected)
    agree = sum(a == b for both in stages.values() for a, b in both) / n
    assert own.steps.values["error_category_agreement"][own.steps.values["coverage"] == 1].mean() == pytest.approx(
        agree
    )


def test_outcome_vectors_within_assignments(rollouts: list[Rollout], own: Evidence) -> None:
    expected = 0.0
    for lab in ("one", "two"):
        steps = [s for r, s in pairs(rollouts) if r.assignment == lab]
        apart = variation([s.tests for s in steps], [s.student_tests for s in steps])
        expected += apart * len(steps) / len(pairs(rollouts))
    assert value(own, "test outcomes") == pytest.approx(expected)


def test_rare_outcome_vectors_count_as_one(own: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    fine = value(own, "test outcomes")
    monkeypatch.setattr("simstudent.evaluation.populations.VECTORS", 3)
    population = populations(own)["test outcomes"]
    assert population.simulated.shape[1] <= 3 + 2
    assert value(own, "test outcomes") <= fine


def test_shares(rollouts: list[Rollout], own: Evidence) -> None:
    gave_up = [(r.stop == "give_up", bool(r.student_gave_up)) for r in rollouts]
    assert value(own, "gave up") == pytest.approx(abs(sum(a - b for a, b in gave_up)) / len(gave_up))


def test_distinct_programs_of_first_steps(rollouts: list[Rollout], own: Evidence) -> None:
    first = [(r, r.steps[0]) for r in rollouts if r.sample == 0 and r.steps and r.steps[0].code is not None]
    found = realism(own, resamples=50, seed=0)["distinct programs"]
    assert found.simulated == len({(r.assignment, s.code) for r, s in first}) / len(first)
    assert found.real == len({(r.assignment, s.student_code) for r, s in first}) / len(first)
    # x = 1 and x = 2 are one shape; what does not parse has none.
    shapes = diversities(own)["distinct tree shapes"]
    assert len(shapes.real) == sum("(:" not in f"{s.code}{s.student_code}" for _, s in first)
    assert len(np.unique(shapes.simulated)) <= 2 * 3


def test_wasserstein_and_ks_of_random_samples() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.integers(0, 9, 40), generator.integers(3, 12, 40)
    grid = np.unique(np.concatenate([a, b])).astype(float)
    counts = [np.array([(side == g).sum() for g in grid], dtype=float) for side in (a, b)]
    assert distances.wasserstein(*counts, grid) == pytest.approx(np.abs(np.sort(a) - np.sort(b)).mean())
    assert distances.kolmogorov_smirnov(*counts) == pytest.approx(ks(a.tolist(), b.tolist()))


# --- the noise floor ------------------------------------------------------------------------------------


def test_the_floor_is_what_halves_of_real_students_differ_by(rollouts: list[Rollout], own: Evidence) -> None:
    """All ways to halve eight students, by hand; 1,000 random ones come near their mean."""
    of = {student: [s.student_grade for r, s in pairs(rollouts) if r.student == student] for student in own.students}
    every = []
    for half in itertools.combinations(own.students, 4):
        one = [g for student in half for g in of[student]]
        other = [g for student in own.students if student not in half for g in of[student]]
        every.append(abs(sum(one) / len(one) - sum(other) / len(other)))
    found = realism(own, resamples=2000, seed=0)["mean grade"]
    assert found.floor == pytest.approx(sum(every) / len(every), rel=0.1)
    assert found.floor_high is not None
    assert sorted(every)[60] < found.floor_high <= max(every) + 1e-12


def test_the_student_itself_is_not_told_apart_and_a_copier_is(rollouts: list[Rollout]) -> None:
    def played(copies: bool) -> list[Rollout]:
        found = []
        for r in rollouts:
            steps = []
            for s in r.steps:
                real = (s.student_code, s.student_grade, s.student_status, s.student_tests)
                own = (r.previous_code or "", 0.0, "graded", "WWW") if copies else real
                steps.append(Step(s.k, *own, *real))
            found.append(replace(r, steps=tuple(steps), method="sft"))
        return found

    oracle = evaluate(played(False), codebleu=False, resamples=300).of("sft").realism
    assert oracle["mean grade"].distance.value == oracle["edit size"].distance.value == 0
    assert oracle["mean grade"].halves == oracle["mean grade"].floor
    never = ("unchanged", "edit size", "grades", "error types by stage", "test outcomes", "program lines")
    assert not any(oracle[name].told_apart for name in never)
    copier = evaluate(played(True), codebleu=False, resamples=300).of("sft").realism
    assert copier["unchanged"].told_apart
    assert copier["edit size"].told_apart


def test_too_few_students_have_no_floor() -> None:
    (own,) = evidence(made_up(3), codebleu=False, language="python")
    found = realism(own, resamples=50, seed=0)["grades"]
    assert found.floor is found.told_apart is None
    assert found.distance.value is not None
