"""A model's states of the beginnings of trajectories, for probes: the last layer's, averaged over the tokens so far.

One forward pass a row of the encoder's, the same rows as in training; every submission in it ends a prefix. Where the
window has dropped a trajectory's first submissions, the prefix is what the model sees.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simstudent.data.load import Data, prepare
from simstudent.data.records import Trajectory
from simstudent.dialogue.encode import Encoder, Row
from simstudent.errors import SimstudentError
from simstudent.evaluation.probes import TARGETS, Prefixes, frequent, targets_of, word_counts
from simstudent.evaluation.statistics import Array
from simstudent.runs import weights_of
from simstudent.training.scoring import TOKENS, batches, load_weights
from simstudent.training.students import Roster, attach, has_students, load_roster, load_students

if TYPE_CHECKING:
    from simstudent.recipe import Recipe

TRUE, OTHER, NOBODY = "true student", "another student", "no student"
TRAINED, BASE = "trained model", "base model"


@dataclass(frozen=True, slots=True)
class Begun:
    """A row of the encoder's with the places, in its ids, at which prefixes end; ``numbers`` are their submissions'."""

    row: Row
    trajectory: Trajectory
    ends: tuple[int, ...]
    numbers: tuple[int, ...]


def prefixes_of(
    recipe: Recipe, run: Path, split: str, say: Callable[[str], None], limit: int | None = None
) -> tuple[Prefixes, Data]:
    """The prefixes of a split's trajectories, with the states of a run's model.

    With students' vectors: before the trajectory stands its student, another one, or nobody; trajectories of students
    without a vector are left out, since all three would be the same. Without: the model as trained, and the base.
    Raises SimstudentError when fewer than two students of the split have a vector.
    """
    from simstudent.data import regrade
    from simstudent.rollout.opening import encoder_of
    from simstudent.training.examples import hold

    encoder = encoder_of(recipe, run)
    data = prepare(recipe.data, recipe.seed, grader=recipe.grader)
    held = data.held(split)  # type: ignore[arg-type]
    if has_students(weights_of(run)):
        held = _known(held, load_roster(weights_of(run)), say)
    if limit is not None and limit < len(held):
        held = tuple(random.Random(recipe.seed).sample(held, limit))
    assignments = regrade.limited(data.assignments, recipe.grader)
    with regrade.open_pool(recipe.grader) as pool:
        made = hold(held, [t for side in data.sides.values() for t in side], assignments, recipe, pool)
    rows = list(begun(encoder, held, made.dialogues))
    say(f"{split}: {made.text}; {sum(len(b.ends) for b in rows)} prefixes")
    states = dict(_states(load_weights(recipe, run), encoder, rows, weights_of(run), recipe.seed, say))
    chosen = [(b.trajectory, n) for b in rows for n in b.numbers]
    graded = {
        t.key: [g.score for g in made.grades[t.key]] if assignments[t.assignment].problem is not None else None
        for t in held
    }
    return _prefixes(chosen, graded, states), data


def _prefixes(
    chosen: Sequence[tuple[Trajectory, int]],
    graded: Mapping[str, list[float] | None],
    states: dict[str, Array],
) -> Prefixes:
    held = {t.key: t for t, _ in chosen}
    true = {key: targets_of(t, graded[key]) for key, t in held.items()}
    texts = {key: _so_far([s.code for s in t.submissions]) for key, t in held.items()}
    keys = tuple(t.key for t, _ in chosen)
    rows = [true[t.key][n - 1] for t, n in chosen]
    targets = {name: np.array([row[name] for row in rows]) for name in TARGETS if name != "title"}
    targets["title"] = frequent([t.assignment for t, _ in chosen], keys)
    lengths = [(n, texts[t.key][0][n - 1]) for t, n in chosen]
    states["position"] = np.array([[n, n**0.5, length, length**0.5] for n, length in lengths])
    states["words"] = np.stack([texts[t.key][1][n - 1] for t, n in chosen])
    return Prefixes(keys, tuple(t.student for t, _ in chosen), targets, states)


def _so_far(programs: Sequence[str]) -> tuple[list[int], Array]:
    """Of each prefix the characters, with a newline between programs, and the counts of words, scaled to length 1."""
    characters = [total + n for n, total in enumerate(accumulate(map(len, programs)))]
    counts = word_counts(programs).cumsum(axis=0)
    size = np.linalg.norm(counts, axis=1, keepdims=True)
    return characters, counts / np.where(size > 0, size, 1.0)


def begun(encoder: Encoder, held: Sequence[Trajectory], dialogues: Mapping[str, Any]) -> Iterator[Begun]:
    """The rows of all trajectories, with the places at which their submissions end."""
    for t in held:
        dialogue = dialogues[t.key]
        number_of = {dialogue.turn_of(n): n + 1 for n in range(len(t.submissions))}
        for row in encoder.rows(dialogue).rows:
            at, ends, numbers = 0, [], []
            for segment in encoder.segments(dialogue, row):
                at += len(segment.ids)
                if segment.part == "answer" and segment.turn in row.targets and segment.turn in number_of:
                    ends.append(at)
                    numbers.append(number_of[segment.turn])
            if ends:
                yield Begun(row, t, tuple(ends), tuple(numbers))


def _known(held: tuple[Trajectory, ...], roster: Roster, say: Callable[[str], None]) -> tuple[Trajectory, ...]:
    """The trajectories of students with a vector; how many others there were is said."""
    kept = tuple(t for t in held if t.student in roster.numbers)
    known = {t.student for t in kept}
    if not known:
        raise SimstudentError("no student here has a vector; name a cell of seen students: --split seen_student_...")
    if len(known) < 2:
        raise SimstudentError("only one student here has a vector, and has no other to be exchanged with")
    left = f"; {len(held) - len(kept)} trajectories of others are left out" if len(kept) < len(held) else ""
    say(f"{len(known)} students with vectors{left}")
    return kept


def _states(
    model: Any, encoder: Encoder, rows: Sequence[Begun], folder: Path, seed: int, say: Callable[[str], None]
) -> Iterator[tuple[str, Array]]:
    if not has_students(folder):
        yield TRAINED, means(model, rows, None)
        if hasattr(model, "disable_adapter"):
            with model.disable_adapter():
                yield BASE, means(model, rows, None)
        return
    students = load_students(folder)
    known = sorted({b.trajectory.student for b in rows})
    detach = attach(model, students.to(model.device).vectors)
    try:
        for name, token in tokens_of(students.roster, known, seed).items():
            yield name, means(model, rows, token)
    finally:
        detach()


def tokens_of(roster: Roster, known: Sequence[str], seed: int) -> dict[str, Callable[[str], int]]:
    """Which token stands before a student's rows, by representation. Another student: each of the ``known`` once."""
    turned = list(known)
    random.Random(seed).shuffle(turned)
    other = dict(zip(turned, [*turned[1:], turned[0]], strict=True))
    return {
        TRUE: roster.token,
        OTHER: lambda student: roster.token(other.get(student, student)),
        NOBODY: lambda student: roster.token(""),
    }


def means(model: Any, rows: Sequence[Begun], token: Callable[[str], int] | None) -> Array:
    """The last layer's states, averaged over all tokens up to each end: (prefixes, hidden), float32.

    ``token``: what stands before a student's row; it is not averaged over.
    """
    import torch

    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    decoder, device = causal.get_decoder(), next(model.parameters()).device
    found: dict[int, Array] = {}
    before = 0 if token is None else 1
    for batch in batches([len(r.row.ids) + before for r in rows], TOKENS[device.type]):
        ids = [list(rows[i].row.ids) for i in batch]
        if token is not None:
            ids = [[token(rows[i].trajectory.student), *row] for i, row in zip(batch, ids, strict=True)]
        longest = max(map(len, ids))
        padded = torch.tensor([row + [0] * (longest - len(row)) for row in ids], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids], device=device)
        with torch.inference_mode():
            last = decoder(input_ids=padded, attention_mask=mask).last_hidden_state[:, before:].float()
        sums = last.cumsum(dim=1)
        for k, i in enumerate(batch):
            ends = torch.tensor(rows[i].ends, device=device)
            found[i] = (sums[k, ends - 1] / ends[:, None]).cpu().numpy()
    return np.concatenate([found[i] for i in range(len(rows))])
