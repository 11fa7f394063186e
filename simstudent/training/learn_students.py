"""The students' vectors while they are trained: jointly with whatever the trainer trains, by a callback of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from simstudent.training.students import Students, load_students

if TYPE_CHECKING:
    from torch import Tensor

STATE = "students_state.pt"
"""Beside the vectors of a checkpoint: the optimiser's state. It is written last."""
EPSILON = 1e-10


class Learner:
    """Vectors with their optimiser: row-wise Adagrad for the students' own rows, Adam for what they share.

    ``dropout``: how often a number is taken for nobody's in training.
    """

    def __init__(self, students: Students, *, learning_rate: float, dropout: float) -> None:
        self.students, self.learning_rate, self.dropout = students, learning_rate, dropout
        self.squares = torch.zeros(len(students.own))
        dense = [t.requires_grad_(True) for t in (students.shared, students.weight) if t is not None]
        # Adagrad's steps shrink with their number, Adam's do not.
        self.dense = torch.optim.Adam(dense, lr=learning_rate / 10)
        self._gathered: list[tuple[Tensor, Tensor]] = []  # (rows, their numbers as a leaf) since the last step

    def lookup(self, numbers: Tensor) -> Tensor:
        """Vectors (n, hidden) of student numbers (n,); with gradients where torch keeps any."""
        if not torch.is_grad_enabled():
            return self.students.vectors(numbers)
        there = numbers.cpu()
        if self.dropout:
            there = there.masked_fill(torch.rand(len(there)) < self.dropout, 0)
        known = there > 0
        rows = there[known] - 1
        own = self.students.own[rows].to(self.students.shared.device).requires_grad_(True)
        self._gathered.append((rows, own))
        return self.students.assemble(known, own)

    def step(self, share: float = 1.0) -> int:
        """Update what had a gradient, at ``share`` of the learning rate. How many students that were."""
        for group in self.dense.param_groups:
            group["lr"] = share * self.learning_rate / 10
        self.dense.step()
        self.dense.zero_grad(set_to_none=True)
        used = [(rows, own.grad.cpu()) for rows, own in self._gathered if own.grad is not None]
        self._gathered.clear()
        if not used:
            return 0
        rows, places = torch.cat([rows for rows, _ in used]).unique(return_inverse=True)
        own = self.students.own
        gradient = torch.zeros(len(rows), own.shape[1]).index_add_(0, places, torch.cat([g for _, g in used]))
        self.squares[rows] += gradient.square().mean(1)
        scale = share * self.learning_rate / (self.squares[rows].sqrt() + EPSILON)
        own.index_add_(0, rows, -scale[:, None] * gradient)
        return len(rows)

    def save(self, folder: Path) -> None:
        """Write vectors and state beside a checkpoint."""
        self.students.save(folder)
        partial = folder / f"{STATE}.partial"
        torch.save({"squares": self.squares, "dense": self.dense.state_dict()}, partial)
        partial.replace(folder / STATE)

    def load(self, folder: Path, *, state: bool = True) -> None:
        """Go on from a checkpoint, or (without ``state``) take its vectors only. SimstudentError when they are gone."""
        held = load_students(folder)
        with torch.no_grad():
            self.students.own.copy_(held.own)
            self.students.shared.copy_(held.shared)
            if self.students.weight is not None and held.weight is not None:
                self.students.weight.copy_(held.weight)
        if state:
            raw = torch.load(folder / STATE, weights_only=True)
            self.squares.copy_(raw["squares"])
            self.dense.load_state_dict(raw["dense"])


class TrainStudents(TrainerCallback):  # type: ignore[misc]
    """Steps and saves a `Learner`'s vectors with the trainer's weights and, at the end, takes back the best."""

    def __init__(self, learner: Learner, checkpoint: Path | None) -> None:
        self.learner = learner
        if checkpoint is not None:
            learner.load(checkpoint)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        now = kwargs["optimizer"].param_groups[0]["lr"]
        self.learner.step(now / args.learning_rate)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.learner.save(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.load_best_model_at_end and state.best_model_checkpoint:
            self.learner.load(Path(state.best_model_checkpoint), state=False)
