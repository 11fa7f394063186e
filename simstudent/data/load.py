"""The way in: the recipe's source, read, selected and split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simstudent.data.records import Assignment, Corpus, Trajectory
from simstudent.data.select import Attrition, select
from simstudent.data.split import SIDES, Side, split
from simstudent.errors import SimstudentError

if TYPE_CHECKING:
    from simstudent.recipe import DataSection, Source

LOADERS_TO_COME = {"falconcode": "the FalconCode loader is not part of this release yet"}
"""Sources that a recipe may already name, and what to say of them."""


@dataclass(frozen=True, slots=True)
class Data:
    """What training and rollout read: assignments, trajectories by side, the attrition table, skipped rows."""

    assignments: Mapping[str, Assignment]
    sides: Mapping[Side, tuple[Trajectory, ...]]
    attrition: tuple[Attrition, ...]
    skipped: tuple[str, ...]

    @property
    def hash(self) -> str:
        """Sixteen hex digits that change with any program, grade, statement, test or side."""
        digest = hashlib.sha256()
        for side in SIDES:
            digest.update(side.encode())
            for t in self.sides[side]:
                digest.update(json.dumps(t.to_dict(), sort_keys=True).encode())
        for name in sorted(self.assignments):
            digest.update(json.dumps(self.assignments[name].to_dict(), sort_keys=True).encode())
        return digest.hexdigest()[:16]


def read(source: Source) -> Corpus:
    """The corpus of a source. Raises SimstudentError when it cannot be read."""
    if source.kind == "table":
        from simstudent.data.sources import table

        return table.load(source)
    if source.kind == "course":
        from simstudent.data import course

        return course.load()
    raise SimstudentError(f"data.source: {LOADERS_TO_COME[source.kind]}")


def prepare(section: DataSection, seed: int) -> Data:
    """Source, selection and split of a recipe's data section; ``seed`` where the section names none."""
    corpus = read(section.source)
    kept, attrition = select(corpus.trajectories, section.select)
    if not kept:
        raise SimstudentError("data.select left no trajectory:\n" + attrition_text(attrition))
    s = section.split
    sides = split(kept, seed=seed if s.seed is None else s.seed, test=s.test, validation=s.validation)
    return Data(corpus.assignments, sides, attrition, corpus.skipped)


def attrition_text(table: Sequence[Attrition]) -> str:
    """The attrition table as aligned text."""
    lines = [f"  {'step':<28}{'trajectories':>13}{'students':>10}{'submissions':>13}"]
    lines += [f"  {r.step:<28}{r.trajectories:>13,}{r.students:>10,}{r.submissions:>13,}" for r in table]
    return "\n".join(lines)
