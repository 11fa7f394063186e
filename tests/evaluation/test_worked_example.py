"""The worked example: two students, a simulator that gains 20 points a submission, the reference's own figures."""

from __future__ import annotations

import pytest

from simstudent.evaluation.metrics import MethodFigures, evaluate
from simstudent.rollout.records import Rollout, Step

GRADES = {"ann": [20, 40, 40, 60, 80, 80, 100], "ben": [0, 20, 60, 100]}
STEPS = 5


def rollout(student: str, start: int) -> Rollout:
    grades = GRADES[student]
    truths = min(STEPS, len(grades) - start)
    steps: list[Step] = []
    for k in range(1, truths + 1):
        own = min(100, 20 * (start + k))
        real = grades[start + k - 1] / 100
        steps.append(Step(k, f"print({own})", own / 100, "graded", "", "print()", real, "graded", ""))
        if own == 100:
            break
    return Rollout(
        key=f"{student}/lab/{start}/0",
        method="sft",
        student=student,
        assignment="lab",
        start=start,
        sample=0,
        truths=truths,
        steps=tuple(steps),
        stop="solved" if steps[-1].grade == 1 else "student_done",
        solved=True,
        previous_code="print('before')",
        previous_grade=grades[start - 1] / 100,
    )


@pytest.fixture(scope="module")
def figures() -> MethodFigures:
    rollouts = [rollout(student, start) for student, grades in GRADES.items() for start in range(1, len(grades))]
    return evaluate(rollouts, codebleu=False, resamples=200).of("sft")


def test_rows(figures: MethodFigures) -> None:
    counts = figures.counts
    assert (counts.rollouts, counts.steps, counts.steps - counts.covered) == (9, 26, 8)
    assert [e.pairs for e in figures.by_step["coverage"]] == [9, 7, 5, 3, 2]
    assert [e.pairs for e in figures.by_step["grade_proximity"]] == [9, 5, 3, 1, 0]


def test_curves(figures: MethodFigures) -> None:
    coverage = [e.value for e in figures.by_step["coverage"]]
    proximity = [e.value for e in figures.by_step["grade_proximity"]]
    assert coverage == pytest.approx([1, 0.714, 0.6, 0.333, 0], abs=5e-4)
    assert proximity[:4] == pytest.approx([0.867, 0.840, 0.800, 0.800], abs=5e-4)
    assert proximity[4] is None


def test_the_table(figures: MethodFigures) -> None:
    assert figures.paper["coverage"].value == pytest.approx(0.692, abs=5e-4)
    assert figures.paper["grade_proximity"].value == pytest.approx(0.827, abs=5e-4)
    assert figures.micro["grade_proximity"].value == pytest.approx(0.844, abs=5e-4)
    assert figures.degradation["coverage"].value == pytest.approx(-0.588, abs=5e-4)


def test_degradation_of_grade_proximity_is_not_rounded_inside(figures: MethodFigures) -> None:
    assert figures.degradation["grade_proximity"].value == pytest.approx(-0.16 / 3)  # -.053
    # The published -.054 comes from steps rounded to three digits first.
    first, *later = [round(e.value, 3) for e in figures.by_step["grade_proximity"] if e.value is not None]
    assert round(sum(value - first for value in later) / len(later), 3) == -0.054


def test_who_solved_it_is_known_from_other_starts(figures: MethodFigures) -> None:
    # From ann's start 1 the student does not finish within 5 steps; from all others both students do.
    assert figures.micro["student_solved_within_steps"].value == pytest.approx(8 / 9)
    assert figures.micro["student_solved_within_steps"].pairs == 9
    # ben's starts 1 to 3 run out of real steps at 80 points.
    assert figures.micro["solved_within_steps"].value == pytest.approx(6 / 9)
