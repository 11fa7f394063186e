"""Students as vectors: a soft token per student in front of the sequence (Ross et al. 2025, section 3).

In token ids, student ``n`` is ``FIRST + n``, far above any vocabulary; number 0 is *nobody*, for students without a
vector. So windows, packs, position ids, labels and caches treat the token like any other; only the embedding layer
tells it apart (`attach`): there the id becomes the student's vector.

A vector is what all students share plus what is the student's own:

    table:       v(n) = shared + own[n]                        own: students x hidden
    bottleneck:  v(n) = shared + relu(own[n]) W                own: students x 64, W: 64 x hidden (the published code)

Nobody's vector is ``shared``, trained as such whenever a student's number is dropped in training.

Own rows live in the host's memory, whatever their number: a forward pass gathers those of its batch, an optimiser
step updates those that had a gradient. The optimiser is row-wise Adagrad (Duchi et al. 2011; one accumulator a row, as
in Naumov et al. 2019, DLRM): 4 bytes of state a student where (Sparse)Adam has 8 for each of its numbers, rows without
gradient stand still (no stale momentum), and rare students keep the step size that frequent ones have used up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simstudent.dialogue.encode import IGNORED, Encoded
from simstudent.errors import SimstudentError
from simstudent.runs import write_json

if TYPE_CHECKING:
    from torch import Tensor

    from simstudent.data.load import Data
    from simstudent.training.sections import StudentsSection

FIRST = 2**30
"""The token id of student 0 (nobody); student n has FIRST + n."""
NOBODY = 0

VECTORS, NAMES = "students.safetensors", "students.json"
"""Beside an adapter or a model: the vectors, and the pseudonyms in the order of their rows."""

Lookup = Callable[["Tensor"], "Tensor"]
"""From student numbers (n,) to vectors (n, hidden), on the device of the numbers."""


@dataclass(frozen=True, slots=True)
class Roster:
    """Which students have a vector. ``names`` are pseudonyms in the order of the rows: names[n - 1] is student n."""

    names: tuple[str, ...]
    numbers: dict[str, int]

    @classmethod
    def of(cls, names: Sequence[str]) -> Roster:
        return cls(tuple(names), {name: n for n, name in enumerate(names, 1)})

    def token(self, student: str) -> int:
        """The id that stands before this student's sequences; nobody's for a student without a vector."""
        return FIRST + self.numbers.get(student, NOBODY)


def roster_of(data: Data) -> Roster:
    """The students of the training side, sorted: those who get a vector."""
    return Roster.of(sorted({t.student for t in data.sides["train"]}))


def with_students(encoded: Encoded, roster: Roster, students: Mapping[str, str]) -> Encoded:
    """Training rows with the student's token in front, which carries no loss. ``students`` by the rows' keys."""
    rows = tuple(
        replace(r, ids=(roster.token(students[r.key]), *r.ids), labels=(IGNORED, *r.labels)) for r in encoded.rows
    )
    return replace(encoded, rows=rows)


def attach(model: Any, lookup: Lookup) -> Callable[[], None]:
    """Let the model's embedding layer read student tokens. Returns what takes it off again.

    Hooks, not a layer of our own: names of weights, tied heads and quantised layers stay as they are.
    """
    embedding = model.get_input_embeddings()
    held: list[tuple[Tensor, Tensor]] = []

    def before(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        held.clear()
        ids = args[0]
        there = ids >= FIRST
        if not bool(there.any()):
            return None
        held.append((there, ids[there] - FIRST))
        return (ids.masked_fill(there, 0), *args[1:])

    def after(module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor:
        if not held:
            return output
        there, numbers = held.pop()
        return output.clone().index_put((there,), lookup(numbers).to(output.dtype))

    hooks = [embedding.register_forward_pre_hook(before), embedding.register_forward_hook(after)]

    def detach() -> None:
        for hook in hooks:
            hook.remove()

    return detach


@dataclass(frozen=True, slots=True, eq=False)
class Students:
    """The vectors of a roster, float32. ``own``: (students, dim), in host memory; ``shared``: (hidden,); ``weight``:
    (dim, hidden), None for a plain table. ``shared`` and ``weight`` are where the numbers asked for are.
    """

    roster: Roster
    own: Tensor
    shared: Tensor
    weight: Tensor | None = None

    @property
    def hidden(self) -> int:
        """The size of a vector, which is that of the model's embeddings."""
        return len(self.shared)

    @property
    def text(self) -> str:
        """What they are and what they take, for a person."""
        kind = "a table" if self.weight is None else f"a bottleneck of {self.own.shape[1]}"
        mib = self.own.numel() * 4 / 2**20
        return f"Students: {len(self.own):,} vectors of {self.hidden} in {kind}, {mib:,.1f} MiB of the host's memory"

    def vectors(self, numbers: Tensor) -> Tensor:
        """The vectors (n, hidden) of student numbers (n,); 0 is nobody."""
        there = numbers.cpu()
        known = there > NOBODY
        return self.assemble(known, self.own[there[known] - 1].to(self.shared.device))

    def assemble(self, known: Tensor, own: Tensor) -> Tensor:
        """Vectors (n, hidden) where ``own`` (m, dim) are the rows of the m that are ``known`` (n,), in order."""
        import torch

        with torch.autocast(self.shared.device.type, enabled=False):  # float32, whatever the model trains in
            apart = own if self.weight is None else own.relu() @ self.weight
        (places,) = known.nonzero(as_tuple=True)
        return self.shared.expand(len(known), -1).index_add(0, places.to(own.device), apart)

    def to(self, device: Any) -> Students:
        """The same with ``shared`` and ``weight`` on a device."""
        weight = None if self.weight is None else self.weight.to(device)
        return replace(self, shared=self.shared.to(device), weight=weight)

    def save(self, folder: Path) -> None:
        """Write the vectors and, last, the pseudonyms in the order of their rows."""
        from safetensors.torch import save_file

        tensors = {"own": self.own, "shared": self.shared, "weight": self.weight}
        held = {name: t.detach().cpu().contiguous() for name, t in tensors.items() if t is not None}
        save_file(held, str(folder / VECTORS))
        write_json(folder / NAMES, list(self.roster.names))


def has_students(folder: Path) -> bool:
    """Whether vectors lie in a folder, beside an adapter or a model."""
    return (folder / NAMES).is_file()


def load_roster(folder: Path) -> Roster:
    """Which students have vectors in a folder. Raises SimstudentError when there are none."""
    try:
        return Roster.of(json.loads((folder / NAMES).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise SimstudentError(f"no readable {NAMES} in {folder}: no students' vectors were trained ({error})") from None


def load_students(folder: Path) -> Students:
    """The vectors saved in a folder. Raises SimstudentError when they are not there or not whole."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    roster = load_roster(folder)
    try:
        held = load_file(str(folder / VECTORS))
        found = Students(roster, held["own"], held["shared"], held.get("weight"))
    except (OSError, SafetensorError, KeyError) as error:
        raise SimstudentError(f"{folder / VECTORS}: not readable ({error})") from None
    if len(found.own) != len(roster.names):
        raise SimstudentError(f"{folder}: {VECTORS} has {len(found.own)} rows, {NAMES} {len(roster.names)} students")
    return found


def students_beside(model: str, adapters: Mapping[str, Path]) -> dict[str | None, Students]:
    """The vectors that lie beside adapters (by their name) and beside the model itself (None), where there are any."""
    folders: list[tuple[str | None, Path]] = [(None, Path(model)), *adapters.items()]
    return {name: load_students(folder) for name, folder in folders if has_students(folder)}


def embedder(
    model: str, revision: str | None, dtype: str, students: Mapping[str | None, Students]
) -> Callable[[Sequence[int], str | None], Tensor]:
    """A model's embedding layer alone, in host memory: from ids and the adapter meant to vectors (tokens, hidden).

    For engines that want embeddings. The whole model is loaded for a moment. Raises SimstudentError when it cannot be,
    or when vectors are another model's.
    """
    import torch

    from simstudent.training.models import load_model

    loaded = load_model(model, revision=revision, dtype=dtype, device="cpu")
    embedding = loaded.get_input_embeddings()
    for name, held in students.items():
        check_size(held, loaded, f"students of {name or model}")
    asked: list[str | None] = [None]
    attach(loaded, lambda numbers: students[asked[0]].vectors(numbers))

    def embed(ids: Sequence[int], adapter: str | None) -> Tensor:
        asked[0] = adapter
        with torch.inference_mode():
            return embedding(torch.tensor(ids))

    return embed


def check_size(students: Students, model: Any, place: str) -> None:
    """Raises SimstudentError when the vectors in ``place`` are another model's."""
    size = int(model.get_input_embeddings().weight.shape[1])
    if students.hidden != size:
        raise SimstudentError(f"{place}: vectors of {students.hidden} numbers for a model whose embeddings have {size}")


def unknown_student(ids: Sequence[int], students: Students | None) -> str | None:
    """What is wrong with the student tokens in a prompt, for an engine to say before it computes; None: nothing."""
    numbers = [i - FIRST for i in ids if i >= FIRST]
    if numbers and students is None:
        return "a prompt with a student's token, and no vectors of students beside what was asked (students.json)"
    if numbers and students is not None and max(numbers) > len(students.own):
        return f"student number {max(numbers)}, and there are vectors of {len(students.own)}"
    return None


def new_students(section: StudentsSection, roster: Roster, model: Any, seed: int) -> Students:
    """Vectors to train. ``shared`` begins as the mean of the model's input embeddings, so as a token like others."""
    import torch

    embeddings = model.get_input_embeddings().weight
    hidden = int(embeddings.shape[1])
    shared = embeddings.detach().float().mean(0).clone()
    generator = torch.Generator().manual_seed(seed)
    dim = hidden if section.kind == "table" else section.dim
    own = torch.zeros(len(roster.names), dim)  # takes memory only once it is written to
    spread = section.spread if section.spread is not None else float(section.kind == "bottleneck")
    if spread:
        own.normal_(0, spread, generator=generator)
    if section.kind == "table":
        return Students(roster, own, shared)
    bound = dim**-0.5  # as torch.nn.Linear begins
    weight = (2 * torch.rand(dim, hidden, generator=generator) - 1) * bound
    return Students(roster, own, shared, weight.to(shared.device))
