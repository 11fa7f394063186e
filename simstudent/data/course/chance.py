"""Random choices that come out the same on every machine, Python version and hash seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Chance:
    """Draws from one seed, given as text. Only ``Random.random`` is used: Python promises that it never changes."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def fraction(self) -> float:
        """From 0 to below 1."""
        return self._random.random()

    def happens(self, probability: float) -> bool:
        return self.fraction() < probability

    def below(self, number: int) -> int:
        """A whole number from 0 to below ``number``."""
        return int(self.fraction() * number)

    def between(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        return low + self.below(high - low + 1)

    def pick(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def weighted(self, options: Sequence[tuple[T, float]]) -> T:
        """One of the options, as often as its weight says."""
        point = self.fraction() * sum(weight for _, weight in options)
        for option, weight in options:
            point -= weight
            if point < 0:
                return option
        return options[-1][0]

    def bell(self) -> float:
        """From 0 to 1, more often near the middle."""
        return (self.fraction() + self.fraction()) / 2
