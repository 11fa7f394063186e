"""What every way of training begins with: the recipe's students, graded, as dialogues, and the encoder for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graders import Grade, Pool
from simstudent.data import regrade, report
from simstudent.data.load import Data, prepare
from simstudent.data.records import Assignment, Trajectory
from simstudent.data.split import Side
from simstudent.data.variants import training_side
from simstudent.dialogue.earlier import earlier_work
from simstudent.dialogue.encode import Encoder, encode, make_encoder
from simstudent.dialogue.serialize import Dialogue, dialogues

if TYPE_CHECKING:
    from simstudent.recipe import Recipe

Choose = Callable[[Side, tuple[Trajectory, ...]], tuple[Trajectory, ...]]
"""Which of a side's trajectories are used."""


@dataclass(frozen=True, slots=True)
class Held:
    """One side's trajectories, the graders' grades and the dialogues by trajectory key.

    ``wrong``: logged grades that differ from the graders', whose word counts.
    """

    trajectories: tuple[Trajectory, ...]
    grades: Mapping[str, tuple[Grade, ...]]
    dialogues: Mapping[str, Dialogue]
    wrong: int

    @property
    def students(self) -> dict[str, str]:
        """The student of each trajectory by its key."""
        return {t.key: t.student for t in self.trajectories}

    @property
    def text(self) -> str:
        """Counts, for a person."""
        submissions = sum(len(t.submissions) for t in self.trajectories)
        students = len({t.student for t in self.trajectories})
        text = f"{students} students, {len(self.trajectories)} trajectories, {submissions} submissions"
        if self.wrong:
            text += f" ({self.wrong} logged grades differ from the graders', which are used)"
        return text


@dataclass(frozen=True, slots=True)
class Examples:
    """Training and validation students of a recipe, the assignments, and the encoder for their dialogues."""

    data: Data
    assignments: Mapping[str, Assignment]
    sides: Mapping[Side, Held]
    encoder: Encoder


def hold(
    held: tuple[Trajectory, ...],
    everything: Sequence[Trajectory],
    assignments: Mapping[str, Assignment],
    recipe: Recipe,
    pool: Pool,
) -> Held:
    """Trajectories, graded and as dialogues. ``everything``: where their students' earlier work is looked for."""
    grades = regrade.regrade(held, assignments, pool)
    earlier = earlier_work(held, everything, assignments, pool, recipe.dialogue)
    made = dialogues(held, assignments, grades, recipe.dialogue, earlier)
    return Held(held, grades, {d.key: d for d in made}, len(regrade.disagreements(held, grades)))


def examples(recipe: Recipe, say: Callable[[str], None], choose: Choose = lambda side, held: held) -> Examples:
    """Load, select, split, grade and serialise, reporting each stage."""
    from simstudent.training.models import load_tokenizer

    encoder = make_encoder(recipe, load_tokenizer(recipe.model.id, recipe.model.revision))
    data = prepare(recipe.data, recipe.seed, say, recipe.grader)
    say(f"Data ({recipe.data.source.kind}):\n{report.terminal(data.attrition, data.division)}")
    for line in data.skips.text():
        say(line)
    assignments = regrade.limited(data.assignments, recipe.grader)
    sides: dict[Side, Held] = {}
    with regrade.open_pool(recipe.grader) as pool:

        def graded(side: Side, held: tuple[Trajectory, ...]) -> Held:
            return hold(held, data.sides[side], assignments, recipe, pool)

        def tokens(held: tuple[Trajectory, ...]) -> list[int]:
            counts: Counter[str] = Counter()
            for row in encode(encoder, graded("train", held).dialogues.values()).rows:
                counts[row.key] += len(row.ids)
            return [counts[t.key] for t in held]

        for side in ("train", "validation"):
            held = choose(side, data.sides[side])
            if side == "train" and (variant := recipe.data.variant) != "trace":
                real, held = held, training_side(held, variant, recipe.seed, tokens)
                say(f"  train as {variant}: {len(held):,} of {len(real):,} trajectories")
            sides[side] = graded(side, held)
    return Examples(data, assignments, sides, encoder)
