"""The columns as rows, so that a test can say what one step shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace

from simstudent.evaluation.steps import steps_of
from simstudent.evaluation.wholes import wholes_of
from simstudent.rollout.records import Rollout


def step_rows(rollout: Rollout) -> list[SimpleNamespace]:
    """Measures by name, and k; None where the column has NaN."""
    steps = steps_of([rollout], codebleu=False, language="python")
    return [
        SimpleNamespace(k=k, **{name: known(column[row]) for name, column in steps.values.items()})
        for row, k in enumerate(steps.k.tolist())
    ]


def rollout_rows(rollouts: Sequence[Rollout]) -> list[SimpleNamespace]:
    wholes = wholes_of(rollouts)
    return [
        SimpleNamespace(**{name: known(column[row]) for name, column in wholes.values.items()})
        for row in range(len(rollouts))
    ]


def known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
