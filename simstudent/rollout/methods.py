"""Which methods a language model plays, with which adapter and temperature, and under which name they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simstudent.errors import SimstudentError

BASE = ("base", "base-fewshot")
"""The model without an adapter; ``base-fewshot``: with examples of training students in its prompt."""
STAGED = ("sft", "dpo", "dapo")
"""Methods that need an adapter of that name."""
MODELS = (*BASE, *STAGED)
"""Methods that a language model plays."""


@dataclass(frozen=True, slots=True)
class Played:
    """A method that a model plays. ``adapter`` is None for the base model; ``temperature`` 0 is greedy."""

    label: str
    adapter: str | None
    temperature: float
    method: str = "base"


def played(
    methods: Sequence[str], adapters: Mapping[str, Path], temperatures: Sequence[float], trained: str
) -> list[Played]:
    """The methods of a model among ``methods``. With several temperatures a label is ``sft@0.7``.

    Raises SimstudentError for a stage without an adapter; ``trained`` says whose adapters they are.
    """
    for method in methods:
        if method in STAGED and method not in adapters:
            raise SimstudentError(
                f"method '{method}' needs a trained adapter and {trained} has none: train first "
                f"(simstudent {method} RECIPE), or choose --methods base,repeat-last,..."
            )
    return [
        Played(method if len(temperatures) == 1 else f"{method}@{t:g}", None if method in BASE else method, t, method)
        for method in methods
        if method in BASE or method in adapters
        for t in temperatures
    ]
