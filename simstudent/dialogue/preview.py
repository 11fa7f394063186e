"""What the model really sees: the turns of a training row in colour, the trained tokens standing out."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

from simstudent.dialogue.encode import IGNORED, Encoder, Row

if TYPE_CHECKING:
    from rich.console import RenderableType

TRAINED = "bold green"
CONTEXT = "bright_black"


def row_text(row: Row, encoder: Encoder) -> RenderableType:
    """One training row for the terminal: trained tokens bold green, everything else grey, a header with counts."""
    from rich.panel import Panel
    from rich.text import Text

    text = Text()
    for trained, pairs in groupby(zip(row.ids, row.labels, strict=True), key=lambda pair: pair[1] != IGNORED):
        piece = encoder.decode(i for i, _ in pairs)
        text.append(printable(piece), style=TRAINED if trained else CONTEXT)
    loss = sum(label != IGNORED for label in row.labels)
    targets = f"submissions {row.targets[0] + 1} to {row.targets[-1] + 1}" if row.targets else "none"
    title = f"{row.key}: {len(row.ids)} tokens, {loss} trained ({targets})"
    return Panel(text, title=Text(title), subtitle=Text("green: trained"), title_align="left", subtitle_align="left")


def printable(text: str) -> str:
    """Text without the control characters that would let a student's program drive the terminal."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", text)
