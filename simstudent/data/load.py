"""The way in: the recipe's source, read, veiled, selected and split."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from simstudent.data import attrition, dataset
from simstudent.data.attrition import Attrition, Tally
from simstudent.data.dataset import DatasetSource
from simstudent.data.division import Division, divide
from simstudent.data.pieces import Piece, group
from simstudent.data.privacy import PrivacySection, veil
from simstudent.data.records import Assignment, Corpus, Trajectory
from simstudent.data.rows import Skips
from simstudent.data.select import select
from simstudent.data.sources import LogSource, Source, corpora, module
from simstudent.data.sources.corpora import CourseSource, FunctionSource
from simstudent.data.split import CELLS, SIDES, Cell, Place, Side
from simstudent.errors import SimstudentError

if TYPE_CHECKING:
    from simstudent.recipe import DataSection, GraderSection


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
class Chosen:
    """A recipe's data, selected and divided: a stream that can be read again, and what is known of all of it."""

    log: Log
    attrition: tuple[Attrition, ...]
    division: Division
    selected: Callable[[], Iterator[Trajectory]]

    def placed(self) -> Iterator[tuple[Place, Trajectory]]:
        """Every selected trajectory with its place: a side, a cell, or, in words, why it is on none."""
        return zip(self.division.places, self.selected(), strict=True)


@dataclass(frozen=True, slots=True)
class Data:
    """What training and rollout read: assignments, trajectories by side, the attrition table, what was skipped.

    ``cells``: in a split by cells, the parts of the test side; without it none.
    """

    assignments: Mapping[str, Assignment]
    sides: Mapping[Side, tuple[Trajectory, ...]]
    cells: Mapping[Cell, tuple[Trajectory, ...]]
    attrition: tuple[Attrition, ...]
    division: Division
    skips: Skips
    scrubbed: Mapping[str, int]

    def held(self, name: Side | Cell) -> tuple[Trajectory, ...]:
        """The trajectories of a side or a cell. Raises SimstudentError when the split has no such cell."""
        found = next((held for place, held in (*self.sides.items(), *self.cells.items()) if place == name), ())
        if not found:
            raise SimstudentError(
                f"the split has no trajectory in {name}; there is: {', '.join((*SIDES, *self.cells))}"
            )
        return found

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


def choose(
    section: DataSection,
    seed: int,
    say: Callable[[str], None] = lambda text: None,
    grader: GraderSection | None = None,
) -> Chosen:
    """Select and divide a recipe's data; ``seed`` where the section names none.

    A dataset is read as a stream, once for each step that looks at all of it and twice besides; a log is in memory.
    Raises SimstudentError when nothing is left, or no side can be made.
    """
    log = open_log(section.source, section.privacy, say)
    tally = Tally()
    if isinstance(section.source, DatasetSource):
        folder = section.source.folder
        chosen = select(lambda: dataset.trajectories(folder), section.select, log.assignments, grader)
        selected: Callable[[], Iterator[Trajectory]] = chosen.trajectories
        stream = chosen.trajectories(tally)
    else:
        logged = tuple(log.trajectories)
        chosen = select(lambda: iter(logged), section.select, log.assignments, grader)
        kept = tuple(chosen.trajectories(tally))
        selected, stream = kept.__iter__, iter(kept)
    first = next(stream, None)
    if first is None:
        left = attrition.terminal(tally.table(chosen.stages))
        raise SimstudentError(f"data.select left no trajectory:\n{left}")
    division = divide(chain([first], stream), section.split, seed)
    return Chosen(log, tally.table(chosen.stages), division, selected)


def prepare(
    section: DataSection,
    seed: int,
    say: Callable[[str], None] = lambda text: None,
    grader: GraderSection | None = None,
) -> Data:
    """`choose`, with all trajectories of the sides in memory."""
    chosen = choose(section, seed, say, grader)
    sides: dict[Side, list[Trajectory]] = {side: [] for side in SIDES}
    cells: dict[Cell, list[Trajectory]] = {cell: [] for cell in CELLS}
    for place, t in chosen.placed():
        if place in SIDES:
            sides[place].append(t)
        elif place in CELLS:
            sides["test"].append(t)
            cells[place].append(t)
    used = {t.assignment for held in sides.values() for t in held}
    log = chosen.log
    return Data(
        {name: a for name, a in log.assignments.items() if name in used},
        {side: tuple(held) for side, held in sides.items()},
        {cell: tuple(held) for cell, held in cells.items() if held},
        chosen.attrition,
        chosen.division,
        log.skips,
        dict(log.scrubbed),
    )
