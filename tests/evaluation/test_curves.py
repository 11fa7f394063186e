"""The curves that figures are drawn from."""

from __future__ import annotations

from simstudent.evaluation.curves import GRADES, POINTS, UNSOLVED
from simstudent.evaluation.files import to_csv
from simstudent.evaluation.metrics import evaluate
from tests.evaluation.test_metrics import class_of, rollout, step


def test_curves_of_both_sides() -> None:
    figures = evaluate(class_of(25, ("repeat-last",)), resamples=100, codebleu=False)
    found = figures.of("repeat-last").curves
    assert len(found[GRADES].simulated) == len(found[GRADES].real) == POINTS
    known = [p.value for p in found[UNSOLVED].simulated if p.value is not None]
    assert known == sorted(known, reverse=True)  # a survival curve only falls
    assert ",curve,grade by position,real 10," in to_csv(figures)


def test_who_solves_at_once_and_who_never_does() -> None:
    solved = rollout(step(code="x", grade=1.0), stop="solved")
    figures = evaluate([solved], resamples=50, codebleu=False)
    assert figures.of("sft").curves[UNSOLVED].simulated[0].value == 0.0
    never = evaluate([rollout(step(code="x", grade=0.5))], resamples=50, codebleu=False)
    assert never.of("sft").curves[UNSOLVED].simulated[0].value == 1.0
