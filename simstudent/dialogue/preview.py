"""What the model really sees: the turns of a training row in colour, the trained tokens standing out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from simstudent.data import regrade
from simstudent.data.load import prepare
from simstudent.data.variants import vary
from simstudent.dialogue.earlier import earlier_work
from simstudent.dialogue.encode import IGNORED, Encoder, Row, make_encoder
from simstudent.dialogue.page import Shown, page
from simstudent.dialogue.printable import printable
from simstudent.dialogue.serialize import dialogues
from simstudent.errors import SimstudentError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from simstudent.recipe import Recipe

TRAINED = "bold green"
CONTEXT = "bright_black"


def dialogues_of(recipe: Recipe, count: int, student: str | None = None) -> tuple[list[Shown], Encoder]:
    """The first ``count`` dialogues of a recipe, or of one of its students, encoded as training would encode them.

    Raises SimstudentError when there is no such student.
    """
    from simstudent.training.models import load_tokenizer

    encoder = make_encoder(recipe, load_tokenizer(recipe.model.id, recipe.model.revision))
    data = prepare(recipe.data, recipe.seed, grader=recipe.grader)
    everything = [t for held in data.sides.values() for t in held]
    wanted = [t for t in everything if student in (None, t.student)][:count]
    if not wanted:
        raise SimstudentError(f"no student '{student}' among {len({t.student for t in everything})}")
    assignments = regrade.limited(data.assignments, recipe.grader)
    found = []
    with regrade.open_pool(recipe.grader) as pool:
        for side, members in data.sides.items():
            keys = {t.key for t in members}
            held = [t for t in wanted if t.key in keys]
            if side == "train":
                held = [vary(t, recipe.data.variant, recipe.seed) for t in held]
            grades = regrade.regrade(held, assignments, pool)
            known = everything if side == "test" else members  # as rollouts and as training would
            earlier = earlier_work(held, known, assignments, pool, recipe.dialogue)
            made = dialogues(held, assignments, grades, recipe.dialogue, earlier)
            for t, d in zip(held, made, strict=True):
                found.append(Shown(d, encoder.rows(d), t.student, t.assignment, side))
    return found, encoder


def write_terminal(shown: Sequence[Shown], encoder: Encoder) -> None:
    """Print the rows."""
    from rich.console import Console

    console = Console()
    for s in shown:
        for row in s.encoded.rows:
            console.print(row_text(row, encoder))
        for _, number in s.encoded.unfit:
            console.print(f"{s.dialogue.key}: turn {number + 1} does not fit the window and is left out", markup=False)


def write_page(path: Path, name: str, shown: Sequence[Shown], encoder: Encoder) -> None:
    """Write the page. Raises SimstudentError when the file cannot be written."""
    try:
        path.write_text(page(name, shown, encoder), encoding="utf-8", errors="replace")
    except OSError as error:
        raise SimstudentError(f"cannot write {path}: {error.strerror}") from None


def row_text(row: Row, encoder: Encoder) -> RenderableType:
    """One training row for the terminal: trained tokens bold green, everything else grey, a header with counts."""
    from rich.panel import Panel
    from rich.text import Text

    text = Text()
    for trained, pairs in groupby(zip(row.ids, row.labels, strict=True), key=lambda pair: pair[1] != IGNORED):
        piece = encoder.decode(i for i, _ in pairs)
        text.append(printable(piece), style=TRAINED if trained else CONTEXT)
    loss = sum(label != IGNORED for label in row.labels)
    targets = f"turns {row.targets[0] + 1} to {row.targets[-1] + 1}" if row.targets else "none"
    if row.first:
        targets += f"; the window has cut {row.first} before"
    title = f"{row.key}: {len(row.ids)} tokens, {loss} trained ({targets})"
    return Panel(text, title=Text(title), subtitle=Text("green: trained"), title_align="left", subtitle_align="left")
