"""The division of a stream into sides, with what only all of the data can tell: who is on two sides, what is copied.

Hashes of ids go through an embedded database (DuckDB), those of programs through files: memory stays small for millions
of trajectories, and no program is kept.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simstudent.data.copies import Programs
from simstudent.data.records import Trajectory
from simstudent.data.split import CELLS, SEVERAL, SIDES, Place, SplitSection, first_place, position, times
from simstudent.errors import SimstudentError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_AT_ONCE = 2000  # rows that go to the database together
SHARED = "of students who are in training too"
SAME_TRACE = "whose programs are all in training, in the same order"
SAME_PROGRAM = "with a program that is in training"
NOT_DRAWN = "not drawn into the sample"


@dataclass(frozen=True, slots=True)
class SideFacts:
    """A side or cell in figures. The last five compare it with training: students and assignments that are there too;
    trajectories of which training has the whole, a program by the same student, or a program by anyone.
    """

    place: Place
    students: int
    assignments: int
    trajectories: int
    submissions: int
    shared_students: int = 0
    shared_assignments: int = 0
    same_trace: int = 0
    own_program: int = 0
    same_program: int = 0


@dataclass(frozen=True, slots=True)
class Division:
    """Where each trajectory of a stream goes, in its order, and the sides in figures.

    ``dropped``: reason -> trajectories that are on no side.
    """

    places: Sequence[Place]
    facts: tuple[SideFacts, ...]
    dropped: Mapping[str, int]


def divide(trajectories: Iterable[Trajectory], section: SplitSection, seed: int) -> Division:
    """Put every trajectory of a stream on a side. ``seed``: where the section names none.

    Raises SimstudentError when a side would be empty, or when a student or assignment is on two sides although the
    split promises otherwise.
    """
    import duckdb

    seed = seed if section.seed is None else section.seed
    with tempfile.TemporaryDirectory(prefix="simstudent-") as spill, duckdb.connect() as base:
        base.execute("SET memory_limit='1GB'; SET threads=2; SET preserve_insertion_order=false")
        base.execute("SET temp_directory=?", [os.fspath(spill)])
        programs = Programs(Path(spill))
        _fill(base, programs, trajectories, section, seed)
        if section.by == "time" and section.test_from is None:
            _last_share(base, section.test)
        _find_copies(base, programs)  # nothing enters or leaves training from here on
        _drop(base, section)
        if section.by == "cells":
            _name_cells(base)
        if section.test_sample is not None:
            _sample(base, section.test_sample)
        _check_promise(base, section)
        facts = tuple(_facts(base))
        rows = base.execute("SELECT place FROM traces ORDER BY n")
        names: dict[str, str] = {}  # one text each, not millions
        places = [names.setdefault(place, place) for place in _column(rows)]
    dropped = Counter(place for place in places if place not in (*SIDES, *CELLS))
    division = Division(places, facts, dict(dropped))
    _check_filled(division, section, seed)
    return division


def _column(rows: DuckDBPyConnection) -> Iterator[Any]:
    while many := rows.fetchmany(10_000):
        yield from (row[0] for row in many)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _fill(
    base: DuckDBPyConnection, programs: Programs, stream: Iterable[Trajectory], section: SplitSection, seed: int
) -> None:
    """The table ``traces``, a row a trajectory, and the hashes of its different programs."""
    base.execute(
        "CREATE TABLE traces (n BIGINT, place VARCHAR, student UBIGINT, assignment UBIGINT, trace UBIGINT, "
        "submissions BIGINT, draw DOUBLE, first DOUBLE, last DOUBLE)"
    )
    traces: list[tuple[Any, ...]] = []
    pairs: list[tuple[int, int]] = []
    for number, t in enumerate(stream):  # of which only one is held at a time: a trace can be megabytes
        found = [_hash(s.code) for s in t.submissions]
        pairs += ((number, program) for program in set(found))
        first, last = (times(t) if section.by == "time" else None) or (None, None)
        place, trace = first_place(t, section, seed), _hash(" ".join(map(str, found)))
        ids, draw = (_hash(t.student), _hash(t.assignment), trace), position(seed, "test sample", t.key)
        traces.append((number, place, *ids, len(t.submissions), draw, first, last))
        if len(traces) == _AT_ONCE:
            _flush(base, programs, traces, pairs)
    if traces:
        _flush(base, programs, traces, pairs)


def _flush(
    base: DuckDBPyConnection, programs: Programs, traces: list[tuple[Any, ...]], pairs: list[tuple[int, int]]
) -> None:
    import pyarrow as pa

    names = ["n", "place", "student", "assignment", "trace", "submissions", "draw", "first", "last"]
    kinds = [pa.int64(), pa.string(), *[pa.uint64()] * 3, pa.int64(), *[pa.float64()] * 3]
    columns = [pa.array(c, k) for c, k in zip(zip(*traces, strict=True), kinds, strict=True)]
    base.register("batch", pa.table(columns, names=names))
    base.execute("INSERT INTO traces SELECT * FROM batch")
    base.unregister("batch")
    programs.add(pairs)
    traces.clear()
    pairs.clear()


def _find_copies(base: DuckDBPyConnection, programs: Programs) -> None:
    """The table ``copied``: trajectories with a program that training has; ``own``: of the same student."""
    import pyarrow as pa

    known = base.execute("SELECT place = 'train' AS training, student FROM traces ORDER BY n").fetchnumpy()
    anyone, own = programs.copied(known["training"], known["student"])
    (numbers,) = anyone.nonzero()
    base.register("batch", pa.table({"n": numbers, "own": own[numbers]}))
    base.execute("CREATE TABLE copied AS SELECT * FROM batch")
    base.unregister("batch")


def _last_share(base: DuckDBPyConnection, share: float) -> None:
    """By time without a date: the test side begins where the last ``share`` of the trajectories begin."""
    ((count,),) = base.execute("SELECT count(first) FROM traces").fetchall()
    boundary = base.execute(
        "SELECT first FROM traces WHERE first IS NOT NULL ORDER BY first LIMIT 1 OFFSET ?", [round((1 - share) * count)]
    ).fetchone()
    if boundary is None:  # no trajectory has times: no side can be made, which is told later
        return
    base.execute(
        f"UPDATE traces SET place = CASE WHEN first >= $1 THEN 'test' WHEN last >= $1 THEN '{SEVERAL}' ELSE place END "
        "WHERE first IS NOT NULL",
        boundary,
    )


def _held(places: Sequence[str]) -> str:
    return "(" + ", ".join(f"'{place}'" for place in places) + ")"


_TRAINING = "(SELECT {} FROM traces WHERE place = 'train')"


def _drop(base: DuckDBPyConnection, section: SplitSection) -> None:
    """Take held-out trajectories off their side, as the section says."""
    if section.by in ("time", "term", "column") and section.shared_students == "drop":
        for places, where in ((("validation",), "('train')"), (("test",), "('train', 'validation')")):
            base.execute(
                f"UPDATE traces SET place = '{SHARED}' WHERE place IN {_held(places)} AND student IN "
                f"(SELECT student FROM traces WHERE place IN {where})"
            )
    if section.copies != "keep":
        held = "place IN ('validation', 'test')"
        base.execute(f"UPDATE traces SET place = '{SAME_TRACE}' WHERE {held} AND trace IN {_TRAINING.format('trace')}")
        if section.copies == "drop_programs":
            base.execute(f"UPDATE traces SET place = '{SAME_PROGRAM}' WHERE {held} AND n IN (SELECT n FROM copied)")


def _name_cells(base: DuckDBPyConnection) -> None:
    """Seen means: occurs in training. Of a student kept out, or none of whose trajectories fell there, nothing does."""
    base.execute(
        "UPDATE traces SET place = "
        f"CASE WHEN student IN {_TRAINING.format('student')} THEN 'seen' ELSE 'unseen' END || '_student_' || "
        f"CASE WHEN assignment IN {_TRAINING.format('assignment')} THEN 'seen' ELSE 'unseen' END || '_assignment' "
        "WHERE place = 'test'"
    )


def _sample(base: DuckDBPyConnection, size: int) -> None:
    """Of the test side, or of each cell, keep the trajectories with the smallest draws."""
    base.execute(
        f"UPDATE traces SET place = '{NOT_DRAWN}' FROM (SELECT n, row_number() OVER (PARTITION BY place ORDER BY draw, "
        f"n) AS rank FROM traces WHERE place IN {_held(('test', *CELLS))}) AS r WHERE traces.n = r.n AND r.rank > ?",
        [size],
    )


def _check_promise(base: DuckDBPyConnection, section: SplitSection) -> None:
    """Raises SimstudentError when what should be on one side only is on two."""
    by_rule = section.by in ("time", "term", "column") and section.shared_students == "drop"
    name = "assignment" if section.by == "assignment" else "student" if section.by == "student" or by_rule else None
    if name is None:
        return
    ((count,),) = base.execute(
        f"SELECT count(*) FROM (SELECT {name} FROM traces WHERE place IN {_held(SIDES)} "
        f"GROUP BY {name} HAVING count(DISTINCT place) > 1)"
    ).fetchall()
    if count:
        raise SimstudentError(f"split leak: {count:,} {name}s are on two sides of a split by {section.by}")


def _facts(base: DuckDBPyConnection) -> Iterator[SideFacts]:
    def count(what: str, where: str = "true") -> int:
        ((found,),) = base.execute(f"SELECT {what} FROM traces WHERE place = $1 AND {where}", [place]).fetchall()
        return int(found or 0)

    for place in (*SIDES, *CELLS):
        if not count("count(*)"):
            continue
        # One at a time: together, what they look things up in takes much of the database's memory.
        counts = [count(f"count({what})") for what in ("DISTINCT student", "DISTINCT assignment", "*")]
        counts.append(count("sum(submissions)"))
        if place != "train":
            counts += (
                count(f"count(DISTINCT {x})", f"{x} IN {_TRAINING.format(x)}") for x in ("student", "assignment")
            )
            counts.append(count("count(*)", f"trace IN {_TRAINING.format('trace')}"))
            counts.append(count("count(*)", "n IN (SELECT n FROM copied WHERE own)"))
            counts.append(count("count(*)", "n IN (SELECT n FROM copied)"))
        yield SideFacts(place, *counts)


def _check_filled(division: Division, section: SplitSection, seed: int) -> None:
    there = {"test" if fact.place in CELLS else fact.place for fact in division.facts}
    for side in SIDES:
        if side not in there:
            why = "".join(f"\n  {count:,} trajectories {reason}" for reason, count in division.dropped.items())
            raise SimstudentError(
                f"data.split: by {section.by}, no trajectory of {len(division.places):,} falls on the {side} side "
                f"(seed {seed}, test {section.test}, validation {section.validation}). Take another data.split.seed, "
                f"larger shares, or more data{why and '. On no side:'}{why}"
            )
