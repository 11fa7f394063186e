"""Teacher-forced losses of a trained model: how little it is surprised by what students really handed in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simstudent.dialogue.encode import IGNORED, Encoder, Row
from simstudent.errors import SimstudentError
from simstudent.recipe import Recipe
from simstudent.runs import read_recipe, weights_of, whole_model, with_own_model
from simstudent.training.students import FIRST, Students, attach, check_size, has_students, load_students

if TYPE_CHECKING:
    from torch import Tensor

    from simstudent.evaluation.statistics import Array

TOKENS = {"cuda": 16_384, "mps": 4_096, "cpu": 2_048}
"""Tokens of a forward pass, padding included, by device."""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A run's model in evaluation mode with frozen weights. ``folder``: its adapter or whole model.

    ``students``: their vectors, on the model's device; the model reads them through ``attach`` only once asked to.
    """

    recipe: Recipe
    folder: Path
    model: Any
    encoder: Encoder
    students: Students

    @property
    def tokens(self) -> int:
        """Tokens of a forward pass."""
        return TOKENS[self.model.device.type]


def load_weights(recipe: Recipe, run: Path) -> Any:
    """A run's model in evaluation mode: the base under its adapter, or the model whose weights it trained."""
    from simstudent.training.models import best_device, fastest_dtype, load_model, with_adapter

    device, of = best_device(), with_own_model(recipe, run).model
    model: Any = load_model(of.id, revision=of.revision, dtype=fastest_dtype(device), device=device)
    if whole_model(run) is not None:
        return model
    return with_adapter(model, weights_of(run))


def load_trained(run: Path) -> TrainedModel:
    """The model that a run trained. Raises SimstudentError when it was trained without students' vectors."""
    from simstudent.rollout.opening import encoder_of

    recipe, folder = read_recipe(run), weights_of(run)
    if not has_students(folder):
        raise SimstudentError(
            f"{run} has no vectors of students. Train with them: students.kind: table (or bottleneck) in the recipe"
        )
    model = load_weights(recipe, run)
    students = load_students(folder).to(model.device)
    check_size(students, model, str(folder))
    model.requires_grad_(False)
    return TrainedModel(recipe, folder, model, encoder_of(recipe, run), students)


def as_student(row: Row, number: int) -> Row:
    """The row with another student's token in front."""
    if row.ids[0] < FIRST:
        raise ValueError(f"row {row.key} begins with no student")
    return replace(row, ids=(FIRST + number, *row.ids[1:]))


def trained_tokens(rows: Sequence[Row]) -> Array:
    """The tokens of each row that carry loss."""
    return np.array([sum(label != IGNORED for label in r.labels) for r in rows], dtype=np.float64)


def batches(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Numbers of rows that share a forward pass of at most ``tokens``, padding included; longest rows first."""
    held: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        if held and (len(held) + 1) * lengths[held[0]] > tokens:
            yield held
            held = []
        held.append(number)
    if held:
        yield held


def losses(model: Any, rows: Sequence[Row]) -> Tensor:
    """The negative log-likelihood of each row's trained tokens, in nats, summed, (rows,); rows are one forward pass."""
    import torch
    from torch.nn.functional import cross_entropy

    width = max(len(r.ids) for r in rows)

    def table(values: Sequence[Sequence[int]], fill: int) -> Tensor:
        return torch.tensor([[*v, *[fill] * (width - len(v))] for v in values], device=model.device)

    ids, labels = table([r.ids for r in rows], 0), table([r.labels for r in rows], IGNORED)
    seen = table([[1] * len(r.ids) for r in rows], 0)
    logits = model(input_ids=ids, attention_mask=seen, use_cache=False).logits
    row, place = (labels[:, 1:] != IGNORED).nonzero(as_tuple=True)
    surprise = cross_entropy(logits[row, place].float(), labels[row, place + 1], reduction="none")
    return torch.zeros(len(rows), device=model.device).index_add(0, row, surprise)


def score(trained: TrainedModel, rows: Sequence[Row], students: Students | None = None) -> Array:
    """The loss of each row (see `losses`), with the run's own vectors or others of the same model."""
    import torch

    found = np.zeros(len(rows))
    detach = attach(trained.model, (students or trained.students).vectors)
    try:
        with torch.inference_mode():
            for numbers in batches([len(r.ids) for r in rows], trained.tokens):
                found[numbers] = losses(trained.model, [rows[n] for n in numbers]).cpu().numpy()
    finally:
        detach()
    return found
