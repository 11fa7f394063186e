"""Training rows: token ids with labels, and what did not fit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from simstudent.dialogue.texts import Ids

IGNORED = -100
"""The label of tokens that carry no loss (PyTorch's convention)."""


@dataclass(frozen=True, slots=True)
class Row:
    """One training row: ids and labels of equal length; ``targets`` are the 0-based turns trained in it.

    ``first`` is the first turn in view: those before it the window has dropped.
    """

    key: str
    ids: Ids
    labels: Ids
    targets: tuple[int, ...]
    first: int = 0


@dataclass(frozen=True, slots=True)
class Encoded:
    """All rows of some dialogues. ``unfit`` names (dialogue, turn) pairs too long for the window."""

    rows: tuple[Row, ...]
    unfit: tuple[tuple[str, int], ...]

    @property
    def tokens(self) -> int:
        """Tokens in all rows."""
        return sum(len(row.ids) for row in self.rows)

    @property
    def trained_tokens(self) -> int:
        """Tokens that carry loss."""
        return sum(sum(label != IGNORED for label in row.labels) for row in self.rows)


def together(parts: Iterable[Encoded]) -> Encoded:
    """The rows of several, in order."""
    held = list(parts)
    return Encoded(tuple(r for p in held for r in p.rows), tuple(u for p in held for u in p.unfit))
