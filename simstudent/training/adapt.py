"""Vectors for students who were not in training: all of the model is frozen, only their own rows are learnt.

Many vectors are learnt side by side: each row of a batch carries the number of its vector, the losses are averaged
per vector, and Adam treats each number alone, so no vector knows of another (Ross et al. 2025, section 5.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from simstudent.dialogue.encode import Row
from simstudent.training.scoring import TrainedModel, as_student, batches, losses, trained_tokens
from simstudent.training.students import Roster, Students, attach

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Task:
    """One vector to learn: from ``train``, stopped by ``tuning``."""

    train: tuple[Row, ...]
    tuning: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Learning:
    """``learning_rate`` of Adam, per number; at most so many ``epochs``; ``patience``: epochs without a lower loss."""

    learning_rate: float = 0.01
    epochs: int = 40
    patience: int = 4


@dataclass(frozen=True, slots=True)
class Fitted:
    """``students``: one for each task, in their order; ``epochs``: after which each was best (0: as it began)."""

    students: Students
    epochs: tuple[int, ...]


def fit(
    trained: TrainedModel,
    tasks: Sequence[Task],
    learning: Learning,
    *,
    seed: int,
    say: Callable[[str], None] = lambda text: None,
) -> Fitted:
    """Learn a vector per task: full-batch Adam, and of each vector the epoch with its lowest tuning loss.

    A vector begins near the mean of the trained students' own rows: a tenth of their standard deviation from it, in a
    direction that ``seed`` decides.
    """
    import torch

    known, device = trained.students.own, trained.model.device
    draw = torch.randn(len(tasks), known.shape[1], generator=torch.Generator().manual_seed(seed))
    spread = known.std(0) if len(known) > 1 else torch.zeros(known.shape[1])
    own = (known.mean(0) + 0.1 * spread * draw).to(device).requires_grad_(True)
    optimizer = torch.optim.Adam([own], lr=learning.learning_rate)

    def lookup(numbers: Tensor) -> Tensor:
        return trained.students.assemble((numbers > 0).cpu(), own[numbers[numbers > 0] - 1])

    rows = {n: _numbered(task.train, n) for n, task in enumerate(tasks, 1)}
    tuning = {n: _numbered(task.tuning, n) for n, task in enumerate(tasks, 1)}
    best = own.detach().clone()
    lowest, at = np.full(len(tasks), np.inf), np.zeros(len(tasks), dtype=int)
    detach = attach(trained.model, lookup)
    try:
        for epoch in range(learning.epochs + 1):
            active = [n for n in rows if epoch - at[n - 1] <= learning.patience]
            if not active:
                break
            with torch.no_grad():
                now = _means(trained, {n: tuning[n] for n in active}, backward=False)
            for n, loss in now.items():
                if loss < lowest[n - 1]:
                    lowest[n - 1], at[n - 1] = loss, epoch
                    best[n - 1] = own.detach()[n - 1]
            if epoch == learning.epochs:
                break
            optimizer.zero_grad()
            seen = _means(trained, {n: rows[n] for n in active}, backward=True)
            optimizer.step()
            say(
                f"  epoch {epoch + 1}: {len(active)} vectors, loss {np.mean(list(seen.values())):.4f}, "
                f"lowest tuning losses {np.mean(lowest):.4f} on average"
            )
    finally:
        detach()
    students = replace(trained.students, roster=Roster.of([f"{n}" for n in range(1, len(tasks) + 1)]), own=best.cpu())
    return Fitted(students, tuple(int(e) for e in at))


def _numbered(rows: Sequence[Row], number: int) -> list[Row]:
    return [as_student(r, number) for r in rows]


def _means(trained: TrainedModel, rows: Mapping[int, Sequence[Row]], *, backward: bool) -> dict[int, float]:
    """Each vector's loss per token; ``backward`` adds the gradients of their sum to the vectors."""
    import torch

    flat = [(n, r) for n, own in rows.items() for r in own]
    total: dict[int, float] = {n: float(trained_tokens(own).sum()) for n, own in rows.items()}
    found = dict.fromkeys(rows, 0.0)
    # Activations are kept for the way back: half as many tokens at once.
    room = trained.tokens // 2 if backward else trained.tokens
    for numbers in batches([len(r.ids) for _, r in flat], room):
        part = [flat[i] for i in numbers]
        each = losses(trained.model, [r for _, r in part])
        each = each / torch.tensor([total[n] for n, _ in part], device=each.device)
        if backward:
            each.sum().backward()
        for (n, _), loss in zip(part, each.tolist(), strict=True):
            found[n] += loss
    return found
