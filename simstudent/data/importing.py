"""``simstudent data import``: a log of any size becomes a dataset.

Each part of the log is read by a process of its own, students veiled, and staged as a Parquet file of pieces. Pieces
of the same trajectory are then brought together, sorted on disk by DuckDB where one has several. Memory is bounded
whatever the size of the log. Files appear whole or not at all and the manifest comes last, so an import that was
killed is no dataset; started again it goes on with the parts it lacks.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simstudent.data import dataset
from simstudent.data.load import open_log
from simstudent.data.pieces import Piece, add, merged
from simstudent.data.privacy import PrivacySection, fingerprint, key, veil
from simstudent.data.records import Assignment, Trajectory
from simstudent.data.rows import Skips, Unit
from simstudent.data.sources import LogSource, Source, module
from simstudent.data.sources.corpora import CourseSource, FunctionSource
from simstudent.errors import SimstudentError
from simstudent.runs import differences, write_json

if TYPE_CHECKING:
    import pyarrow

STAGE = ".import"
SORT_MEMORY = "384MB"  # of DuckDB; beyond it sorts on disk
PART_TRAJECTORIES = 4096  # at most, in a part made from sorted pieces
_BATCH_CHARACTERS = 4 << 20  # of programs turned into columns at once


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import made: the dataset's folder and its manifest."""

    folder: Path
    facts: Mapping[str, Any]


def run(
    source: Source,
    privacy: PrivacySection,
    folder: Path,
    *,
    workers: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Imported:
    """Import a source into ``folder``, in ``workers`` processes (default: one per core).

    An unfinished import of the same source and settings goes on. Raises SimstudentError when the folder holds
    something else, or a row is broken and the recipe says to stop.
    """
    if isinstance(source, dataset.DatasetSource):
        raise SimstudentError(f"data.source: {source.folder} is a dataset already")
    secret = key(privacy, say) if privacy.ids == "hash" and not isinstance(source, CourseSource) else None
    plan = {
        "source": source.model_dump(mode="json"),
        "ids": privacy.ids,
        "scrub": list(privacy.scrub),
        "key": None if secret is None else fingerprint(secret),
    }
    stage = _stage(folder, plan)
    if isinstance(source, CourseSource | FunctionSource):
        log = open_log(source, privacy, say)
        parts = [dataset.write_part(folder / "part-00000.parquet", log.trajectories)]
        return _finish(folder, stage, plan, log.assignments, parts, log.skips, log.scrubbed)
    units = module(source).units(source)
    say(f"Reading {len(units)} parts of the log")
    _read_units(source, privacy, units, stage, workers or _cores(), say)
    known, skips, scrubbed = _summary(stage, len(units), source)
    if not sum(_facts(stage, n)["pieces"] for n in range(len(units))):
        raise SimstudentError("data.source: no usable submission in it\n" + "\n".join(skips.text()))
    parts = _bring_together(folder, stage, len(units), source.kind, skips, say)
    return _finish(folder, stage, plan, known, parts, skips, scrubbed)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _stage(folder: Path, plan: dict[str, Any]) -> Path:
    """The folder of staged parts, new or of the same import. Raises SimstudentError when it is another's."""
    stage = folder / STAGE
    if (folder / dataset.MANIFEST).exists():
        raise SimstudentError(f"{folder} holds a dataset already; name another folder, or delete it")
    if stage.exists():
        there = stage / "plan.json"
        changed = differences(json.loads(there.read_bytes()), plan) if there.exists() else []
        if changed:
            raise SimstudentError(
                f"{folder} holds an unfinished import with other settings ({'; '.join(changed)}); "
                f"delete {stage} to start over"
            )
        write_json(there, plan)
        return stage
    if folder.exists() and any(folder.iterdir()):
        raise SimstudentError(f"{folder} is not empty; name a new folder for the dataset")
    try:
        stage.mkdir(parents=True)
    except OSError as error:
        raise SimstudentError(f"{folder} cannot be made ({error.strerror})") from None
    write_json(stage / "plan.json", plan)
    return stage


def _finish(
    folder: Path,
    stage: Path,
    plan: Mapping[str, Any],
    known: Mapping[str, Assignment],
    parts: list[dict[str, Any]],
    skips: Skips,
    scrubbed: Mapping[str, int],
) -> Imported:
    facts = {
        **plan,
        "trajectories": sum(p["trajectories"] for p in parts),
        "submissions": sum(p["submissions"] for p in parts),
        "skipped": dict(skips.reasons),
        "notes": dict(skips.notes),
        "scrubbed": dict(scrubbed),
    }
    dataset.finish(folder, known, parts, facts)
    shutil.rmtree(stage)
    return Imported(folder, facts)


# Reading: one staged file a unit.


def piece_schema() -> pyarrow.Schema:
    """The columns of a staged file: a piece a row."""
    import pyarrow as pa

    made = dataset.schema()
    return pa.schema(
        [
            made.field("student"),
            made.field("assignment"),
            made.field("submissions"),
            ("order", pa.list_(pa.float64())),
            ("place", pa.string()),
        ]
    )


def _read_units(
    source: LogSource, privacy: PrivacySection, units: list[Unit], stage: Path, workers: int, say: Callable[[str], None]
) -> None:
    """Stage every unit that is not staged yet. The first failure ends it, what is staged stays."""
    todo = [(n, unit) for n, unit in enumerate(units) if not (stage / f"unit-{n:06}.json").exists()]
    if len(todo) < len(units):
        say(f"  {len(units) - len(todo)} of them were read before")
    if workers == 1 or len(todo) == 1:
        for n, unit in todo:
            read_unit(source, privacy, unit, stage, n)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(todo) or 1), mp_context=context) as pool:
        jobs = [pool.submit(read_unit, source, privacy, unit, stage, n) for n, unit in todo]
        try:
            for done, job in enumerate(jobs, 1):
                job.result()
                if done % 10 == 0:
                    say(f"  {done} of {len(jobs)} parts read")
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def read_unit(source: LogSource, privacy: PrivacySection, unit: Unit, stage: Path, number: int) -> None:
    """Read one part of a log into ``unit-N.parquet``, and what was met on the way into ``unit-N.json``."""
    import pyarrow
    import pyarrow.parquet

    reader, skips, cover = module(source), Skips(source.on_bad_row), veil(privacy)
    known = reader.assignments(source)
    described = set(known)
    path = stage / f"unit-{number:06}.parquet"
    partial = path.with_name(path.name + ".partial")
    counts = Counter({"pieces": 0, "submissions": 0})
    rows: list[dict[str, Any]] = []
    size = 0
    with pyarrow.parquet.ParquetWriter(partial, piece_schema(), compression="zstd", compression_level=1) as writer:
        for piece in map(cover, reader.pieces(source, unit, known, skips)):
            counts["pieces"] += 1
            counts["submissions"] += len(piece.submissions)
            rows.append(_piece_row(piece))
            size += sum(len(s.code) for s in piece.submissions) + 200
            if size > _BATCH_CHARACTERS:
                writer.write_batch(pyarrow.RecordBatch.from_pylist(rows, piece_schema()))
                rows, size = [], 0
        if rows:
            writer.write_batch(pyarrow.RecordBatch.from_pylist(rows, piece_schema()))
    partial.replace(path)
    facts = {
        **counts,
        "assignments": [a.to_dict() for name, a in known.items() if name not in described],
        "reasons": dict(skips.reasons),
        "examples": skips.examples,
        "notes": dict(skips.notes),
        "scrubbed": dict(cover.counts),
    }
    write_json(stage / f"unit-{number:06}.json", facts)


def _piece_row(piece: Piece) -> dict[str, Any]:
    return {
        "student": piece.student,
        "assignment": piece.assignment,
        "submissions": [dataset.submission_row(s) for s in piece.submissions],
        "order": list(piece.order),
        "place": piece.place,
    }


def _facts(stage: Path, number: int) -> dict[str, Any]:
    return dict(json.loads((stage / f"unit-{number:06}.json").read_bytes()))


def _summary(stage: Path, count: int, source: LogSource) -> tuple[dict[str, Assignment], Skips, Counter[str]]:
    """All assignments, what was skipped and what was scrubbed, over all parts."""
    known: dict[str, Assignment] = module(source).assignments(source)
    skips, scrubbed = Skips("skip"), Counter[str]()
    for number in range(count):
        facts = _facts(stage, number)
        for raw in facts["assignments"]:
            add(known, Assignment.from_dict(raw))
        skips.reasons.update(facts["reasons"])
        skips.examples = (skips.examples + facts["examples"])[:20]
        skips.notes.update(facts["notes"])
        scrubbed.update(facts["scrubbed"])
    skips.stop = source.on_bad_row == "stop"
    return known, skips, scrubbed


# Bringing together: trajectories from staged pieces.


def _bring_together(
    folder: Path, stage: Path, count: int, name: str, skips: Skips, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The dataset's parts. Pieces that are whole trajectories stay in their file's order, the others are sorted."""
    import duckdb

    with duckdb.connect() as base:
        base.execute(f"SET memory_limit='{SORT_MEMORY}'; SET preserve_insertion_order=false; SET threads=2")
        base.execute("SET temp_directory=?", [os.fspath(stage / "sort")])
        files = [os.fspath(stage / f"unit-{n:06}.parquet") for n in range(count)]
        base.execute(
            "CREATE TEMP TABLE split AS SELECT student, assignment FROM read_parquet(?) "
            "GROUP BY ALL HAVING count(*) > 1",
            [files],
        )
        parts = []
        for number, file in enumerate(files):
            path = folder / f"part-{number:06}.parquet"
            whole = _ordered(base, [file], "ANTI")
            if (part := _write(path, _trajectories(whole, name, skips))) is not None:
                parts.append(part)
        ((total,),) = base.execute("SELECT count(*) FROM split").fetchall()
        if total:
            say(f"Sorting the rows of {total:,} trajectories that the log tells in several")
            made = _trajectories(_ordered(base, files, "SEMI"), name, skips)
            parts += _write_many(folder, len(files), made)
    return parts


def _ordered(base: Any, files: list[str], join: str) -> Iterator[dict[str, Any]]:
    """The pieces whose key stands several times (SEMI), sorted, or those whose key stands once (ANTI), as they came."""
    order = " ORDER BY p.student, p.assignment, p.filename, p.file_row_number" if join == "SEMI" else ""
    found = base.sql(
        "SELECT p.* FROM read_parquet(?, filename=true, file_row_number=true) p "
        f"{join} JOIN split s ON p.student = s.student AND p.assignment = s.assignment{order}",
        params=[files],
    )
    for batch in found.to_arrow_reader(256):
        yield from batch.to_pylist()


def _trajectories(rows: Iterable[dict[str, Any]], name: str, skips: Skips) -> Iterator[Trajectory]:
    """Neighbouring rows of the same key as one trajectory."""
    for _, held in groupby(rows, key=lambda row: (row["student"], row["assignment"])):
        yield from merged([_piece_of(row) for row in held], name, skips)


def _piece_of(row: Mapping[str, Any]) -> Piece:
    submissions = tuple(map(dataset.submission_of, row["submissions"]))
    return Piece(row["student"], row["assignment"], submissions, row["place"], tuple(row["order"]))


def _write(path: Path, made: Iterator[Trajectory]) -> dict[str, Any] | None:
    """A part with these trajectories, or None when there are none."""
    part = dataset.write_part(path, made)
    if part["trajectories"]:
        return part
    path.unlink()
    return None


def _write_many(folder: Path, first: int, made: Iterator[Trajectory]) -> list[dict[str, Any]]:
    """Parts of a bounded number of trajectories each."""
    parts = []
    for number, held in enumerate(_chunks(made, PART_TRAJECTORIES), first):
        parts.append(dataset.write_part(folder / f"part-{number:06}.parquet", held))
    return parts


def _chunks(made: Iterator[Trajectory], size: int) -> Iterator[Iterator[Trajectory]]:
    from itertools import chain, islice

    for head in made:
        yield chain([head], islice(made, size - 1))
