"""The same held-out programs under several conditions: loss per token, differences, and whether they could be chance.

A condition is what the model knows of the student: the true student's vector, another student's, nobody's, earlier
work in the context. All conditions score the same tokens, so they are compared pair by pair; students, whose
programs are not independent, are the unit (statistics.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simstudent.evaluation.statistics import Array, Estimate, Totals, estimate, holm, micro, resample, sign_flip


@dataclass(frozen=True, slots=True)
class Condition:
    """``loss``: nats per token. ``difference``: to the reference's, positive where this condition is worse.

    ``better``: of the students, how many the reference suits better, of all with any difference. ``p``: sign flips of
    whole students; ``p_holm``: corrected for the number of conditions. The reference itself has no difference.
    """

    name: str
    loss: Estimate
    difference: Estimate | None = None
    better: tuple[int, int] | None = None
    p: float | None = None
    p_holm: float | None = None

    @property
    def perplexity(self) -> float | None:
        return None if self.loss.value is None else math.exp(self.loss.value)


def conditions(
    losses: Mapping[str, Array],
    tokens: Array,
    students: Sequence[str],
    *,
    reference: str,
    resamples: int = 10_000,
    seed: int = 1,
) -> tuple[Condition, ...]:
    """``losses``: by condition, the summed loss of each row; ``tokens`` and ``students``: of each row."""
    names, place = np.unique(np.array(students), return_inverse=True)

    def total(values: Array) -> Totals:
        sums, counts = (np.bincount(place, column, minlength=len(names)) for column in (values, tokens))
        return Totals(sums[:, None].astype(np.float64), counts[:, None].astype(np.float64))

    apart = {f"{name} - reference": values - losses[reference] for name, values in losses.items() if name != reference}
    quantities = {name: total(values) for name, values in {**losses, **apart}.items()}
    sample = resample(quantities, resamples=resamples, seed=seed)
    found = []
    for name in losses:
        loss = estimate(sample, name, micro)
        if name == reference:
            found.append(Condition(name, loss))
            continue
        own = quantities[f"{name} - reference"].sums[:, 0]
        difference = estimate(sample, f"{name} - reference", micro)
        p = sign_flip(own, resamples=resamples, seed=seed)
        found.append(Condition(name, loss, difference, (int((own > 0).sum()), int((own != 0).sum())), p))
    corrected = holm([c.p for c in found])
    return tuple(
        Condition(c.name, c.loss, c.difference, c.better, c.p, p) for c, p in zip(found, corrected, strict=True)
    )
