"""The times of a trace in seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from simstudent.data.pieces import instant


def instants(timestamps: Sequence[str]) -> list[float]:
    """Seconds since 1970, read as UTC where no zone is given; NaN for what is no time (a model wrote it)."""
    return [_instant(text) for text in timestamps]


def _instant(text: str) -> float:
    try:
        return instant(text)
    except ValueError:
        return math.nan
