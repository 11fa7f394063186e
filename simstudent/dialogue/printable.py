"""Text from a log or a model that may be shown."""

from __future__ import annotations

import re


def printable(text: str) -> str:
    """Text without the control characters that would let a student's program drive the terminal."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", text)
