"""Which of several temperatures comes nearest to the real students in how often they copy and how often they solve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simstudent.evaluation.statistics import Estimate


@dataclass(frozen=True, slots=True)
class Setting:
    """One temperature: how far its shares of copies and of solved rollouts are from the students', signed."""

    method: str
    temperature: float
    copies: float
    solved: float

    @property
    def distance(self) -> float:
        """The sum of both distances: each is a difference of shares, so they weigh the same."""
        return abs(self.copies) + abs(self.solved)


@dataclass(frozen=True, slots=True)
class Calibration:
    """The settings of one method, by temperature; the lower temperature is nearest where two are equally near."""

    method: str
    nearest: float
    settings: tuple[Setting, ...]


def calibrations(micro: Mapping[str, Mapping[str, Estimate]]) -> tuple[Calibration, ...]:
    """Of each method with several temperatures (labels ``sft@0.5``, ``sft@0.8``; ``rollout.methods``) the nearest.

    ``micro``: by label, the means that ``metrics.evaluate`` found.
    """
    found: dict[str, list[Setting]] = {}
    for label, means in micro.items():
        method, at, number = label.rpartition("@")
        try:
            temperature = float(number)
        except ValueError:
            continue
        copies, solved = _gap(means, "repeats_previous"), means["solved_difference"].value
        if at and copies is not None and solved is not None:
            found.setdefault(method, []).append(Setting(label, temperature, copies, solved))
    return tuple(
        Calibration(
            method,
            min(settings, key=lambda s: (s.distance, s.temperature)).temperature,
            tuple(sorted(settings, key=lambda s: s.temperature)),
        )
        for method, settings in found.items()
        if len(settings) > 1
    )


def _gap(means: Mapping[str, Estimate], measure: str) -> float | None:
    own, real = means[measure].value, means[f"student_{measure}"].value
    return None if own is None or real is None else own - real
