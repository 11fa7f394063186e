"""The way in: the recipe's source, read, veiled, selected and split."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simstudent.data import dataset
from simstudent.data.dataset import DatasetSource
from simstudent.data.pieces import Piece, group
from simstudent.data.privacy import PrivacySection, veil
from simstudent.data.records import Assignment, Corpus, Trajectory
from simstudent.data.rows import Skips
from simstudent.data.select import Attrition, select
from simstudent.data.sources import LogSource, Source, corpora, module
from simstudent.data.sources.corpora import CourseSource, FunctionSource
from simstudent.data.split import SIDES, Side, split
from simstudent.errors import SimstudentError

if TYPE_CHECKING:
    from simstudent.recipe import DataSection


@dataclass(frozen=True, slots=True)
class Log:
    """A source, opened: a stream of trajectories, and what becomes known while it is read to its end.

    ``assignments`` are complete once the first trajectory has come. ``skips``: rows left out; ``scrubbed``: what
    privacy has removed, by kind; both complete at the end.
    """

    assignments: dict[str, Assignment]
    trajectories: Iterator[Trajectory]
    skips: Skips
    scrubbed: Counter[str]


@dataclass(frozen=True, slots=True)
class Data:
    """What training and rollout read: assignments, trajectories by side, the attrition table, what was skipped."""

    assignments: Mapping[str, Assignment]
    sides: Mapping[Side, tuple[Trajectory, ...]]
    attrition: tuple[Attrition, ...]
    skips: Skips
    scrubbed: Mapping[str, int]

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


def open_log(source: Source, privacy: PrivacySection, say: Callable[[str], None] = lambda text: None) -> Log:
    """A source as a stream of trajectories, students as pseudonyms unless they are that already.

    A dataset streams; a log is brought together in memory (import it where it is too large for that). Raises
    SimstudentError, now or while it is read, naming file and row.
    """
    if isinstance(source, DatasetSource):
        known = dataset.assignments(source.folder)
        return Log(known, dataset.trajectories(source.folder), Skips(), Counter())
    if isinstance(source, CourseSource):
        made = corpora.corpus(source)
        return Log(dict(made.assignments), iter(made.trajectories), Skips(), Counter())
    cover = veil(privacy, say)
    if isinstance(source, FunctionSource):
        made = corpora.corpus(source)
        found = (cover(Piece(t.student, t.assignment, t.submissions, source.function)) for t in made.trajectories)
        return Log(dict(made.assignments), group(found, source.function, Skips()), Skips(), cover.counts)
    reader, skips = module(source), Skips(source.on_bad_row)
    known = reader.assignments(source)
    parts = reader.units(source)
    read = (cover(p) for unit in parts for p in reader.pieces(source, unit, known, skips))
    return Log(known, _some(group(read, source_name(source), skips), skips), skips, cover.counts)


def _some(trajectories: Iterator[Trajectory], skips: Skips) -> Iterator[Trajectory]:
    """The trajectories. Raises SimstudentError when there is none."""
    empty = True
    for t in trajectories:
        empty = False
        yield t
    if empty:
        raise SimstudentError("data.source: no usable submission in it\n" + "\n".join(skips.text()))


def source_name(source: LogSource) -> str:
    """What trajectories say of where they come from: no path, which may name somebody."""
    return source.kind


def read(source: Source, privacy: PrivacySection | None = None) -> Corpus:
    """All of a source, in memory."""
    log = open_log(source, privacy or PrivacySection())
    return Corpus(log.assignments, tuple(log.trajectories))


def prepare(section: DataSection, seed: int, say: Callable[[str], None] = lambda text: None) -> Data:
    """Source, selection and split of a recipe's data section; ``seed`` where the section names none."""
    log = open_log(section.source, section.privacy, say)
    kept, attrition = select(log.trajectories, section.select)
    if not kept:
        raise SimstudentError("data.select left no trajectory:\n" + attrition_text(attrition))
    s = section.split
    sides = split(kept, seed=seed if s.seed is None else s.seed, test=s.test, validation=s.validation)
    used = {t.assignment for t in kept}
    known = {name: a for name, a in log.assignments.items() if name in used}
    return Data(known, sides, attrition, log.skips, dict(log.scrubbed))


def attrition_text(table: Sequence[Attrition]) -> str:
    """The attrition table as aligned text."""
    lines = [f"  {'step':<28}{'trajectories':>13}{'students':>10}{'submissions':>13}"]
    lines += [f"  {r.step:<28}{r.trajectories:>13,}{r.students:>10,}{r.submissions:>13,}" for r in table]
    return "\n".join(lines)
