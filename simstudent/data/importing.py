"""``simstudent data import``: a log of any size becomes a dataset.

Each part of the log is read by a process of its own, students veiled, and staged as a Parquet file of trajectories or
pieces of them; ``gather`` then brings pieces of the same trajectory together. Memory is bounded whatever the size of
the log. Files appear whole or not at all and the manifest comes last, so an import that was killed is no dataset;
started again it goes on with the parts it lacks.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from simstudent.data import dataset, gather
from simstudent.data.columns import Traces
from simstudent.data.dataset import STAGE
from simstudent.data.load import open_log
from simstudent.data.parquet import Rows
from simstudent.data.pieces import Piece, differing, merge
from simstudent.data.privacy import PrivacySection, Veil, fingerprint, key, veil
from simstudent.data.records import Assignment
from simstudent.data.rows import BadRowError, Skips, Unit
from simstudent.data.sources import LogSource, Source, module
from simstudent.data.sources.corpora import CourseSource, FunctionSource
from simstudent.errors import SimstudentError
from simstudent.runs import line, write_json, write_lines

SMALL = 8 << 20  # bytes of a log that are read here and now: other processes take a second to start
_SAY_EVERY = 10.0  # seconds


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

    An unfinished import goes on: parts of the log that have not changed since are not read again. Raises
    SimstudentError when the folder holds something else, or a row is broken and the recipe says to stop.
    """
    if isinstance(source, dataset.DatasetSource):
        raise SimstudentError(f"data.source: {source.folder} is a dataset already")
    hashed = privacy.ids == "hash" and not isinstance(source, CourseSource)
    secret = fingerprint(key(privacy, say)) if hashed else None
    plan = {
        "source": source.model_dump(mode="json"),
        "ids": privacy.ids,
        "scrub": list(privacy.scrub),
        "key": secret,
    }
    with dataset.staging(folder, STAGE) as stage:
        if (folder / dataset.MANIFEST).exists():  # killed after its last step but one
            made = dataset.manifest(folder)
        elif isinstance(source, CourseSource | FunctionSource):
            made = _whole(source, privacy, folder, plan, say)
        else:
            made = _in_parts(source, privacy, folder, stage, plan, workers, say)
        shutil.rmtree(stage)
    return Imported(folder, made)


def _whole(
    source: CourseSource | FunctionSource,
    privacy: PrivacySection,
    folder: Path,
    plan: Mapping[str, Any],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """The dataset of a source that is in memory anyway."""
    log = open_log(source, privacy, say)
    parts = [dataset.write_part(folder / "part-000000.parquet", log.trajectories)]
    facts = {**plan, "skipped": {}, "notes": {}, "scrubbed": dict(log.scrubbed)}
    return dataset.finish(folder, (a.to_dict() for a in log.assignments.values()), parts, facts)


def _in_parts(
    source: LogSource,
    privacy: PrivacySection,
    folder: Path,
    stage: Path,
    plan: Mapping[str, Any],
    workers: int | None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """The dataset of a log that is read part by part."""
    reader = module(source)
    units, described = reader.units(source), reader.assignments(source)
    stamps = _stamps(plan, described, units)
    for stale in folder.glob("part-*"):  # the log may have had more of them
        stale.unlink()
    here = {unit.path for unit in units if unit.path.exists()}  # a unit of the hub is no file here
    size = sum(path.stat().st_size for path in here)
    if workers is None:
        workers = 1 if size < SMALL and here else _cores()
    say(f"Reading {size / 1e6:,.0f} MB in {len(units):,} parts")
    _read_units(source, privacy, units, stamps, stage, workers, say)
    skips, scrubbed = _summary(stage, len(units), source)
    pieces = [_facts(stage, n)["pieces"] for n in range(len(units))]
    if not any(pieces):
        raise SimstudentError("data.source: no usable submission in it\n" + "\n".join(skips.text()))
    parts = gather.gather(folder, stage, pieces, source.kind, skips, say)
    for text in skips.text():
        say(text)
    facts = {**plan, "skipped": dict(skips.reasons), "notes": dict(skips.notes), "scrubbed": dict(scrubbed)}
    return dataset.finish(folder, _all_assignments(stage, len(units), described), parts, facts)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _stamps(plan: Mapping[str, Any], described: Mapping[str, Assignment], units: list[Unit]) -> list[str]:
    """What each unit's staged file depends on, as a hash: settings, assignments, the file as it is now."""
    ahead = hashlib.sha256(json.dumps(plan, sort_keys=True).encode())
    for name in described:
        ahead.update(json.dumps(described[name].to_dict(), sort_keys=True).encode())
    found = []
    for unit in units:
        each = ahead.copy()
        each.update(f"{unit.path}\0{unit.start}\0{unit.stop}".encode())
        if unit.path.exists():  # a unit of the hub is no file here: its revision is in the settings
            stat = unit.path.stat()
            each.update(f"\0{stat.st_size}\0{stat.st_mtime_ns}".encode())
        found.append(each.hexdigest())
    return found


# Reading: each unit into files of its own, of which the one with the facts comes last.


def _read_units(
    source: LogSource,
    privacy: PrivacySection,
    units: list[Unit],
    stamps: list[str],
    stage: Path,
    workers: int,
    say: Callable[[str], None],
) -> None:
    """Stage every unit that is not staged yet. The first failure ends it, what is staged stays."""
    todo = [n for n in range(len(units)) if _stamp(stage, n) != stamps[n]]
    if len(todo) < len(units):
        say(f"  {len(units) - len(todo):,} of them were read before")
    jobs = [(source, privacy, units[n], stage, n, stamps[n]) for n in todo]
    started = last = time.monotonic()
    for done in _run(jobs, min(workers, len(jobs))):
        if time.monotonic() - last > _SAY_EVERY:
            last = time.monotonic()
            left = (last - started) / done * (len(jobs) - done)
            say(f"  {done:,} of {len(jobs):,} parts read, about {left / 60:,.1f} minutes left")


def _run(jobs: list[tuple[Any, ...]], workers: int) -> Iterator[int]:
    """`read_unit` of every job, in processes when there are several workers; how many are done, each time one is."""
    if workers <= 1:
        for done, job in enumerate(jobs, 1):
            read_unit(*job)
            yield done
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
        try:
            for done, handed in enumerate([pool.submit(read_unit, *job) for job in jobs], 1):
                handed.result()
                yield done
        except BrokenProcessPool:
            raise SimstudentError(
                "a process that was reading was killed, perhaps for memory: run the import again with --workers 1"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    """Leave no reader behind when the import is killed: it would write beside the one that goes on."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def read_unit(source: LogSource, privacy: PrivacySection, unit: Unit, stage: Path, number: int, stamp: str) -> None:
    """Read one part of a log into ``unit-N.parquet`` and the files beside it (see `gather`)."""
    reader, skips, cover = module(source), Skips(source.on_bad_row), veil(privacy)
    read = reader.pieces if privacy.scrub else getattr(reader, "blocks", reader.pieces)
    known = reader.assignments(source)
    described = dict(known)
    with (
        Rows(stage / f"unit-{number:06}.parquet", dataset.schema()) as file,
        Rows(stage / f"unit-{number:06}.keys.parquet", gather.key_schema()) as keys,
    ):
        for found in read(source, unit, known, skips):
            add = _add_traces if isinstance(found, Traces) else _add_piece
            add(file, keys, found, cover, source.kind)
    met = (a.to_dict() for name, a in known.items() if described.get(name) != a)
    write_lines(stage / f"unit-{number:06}.assignments.jsonl", met)
    facts = {
        "stamp": stamp,
        "pieces": file.count,
        "reasons": dict(skips.reasons),
        "examples": skips.examples,
        "notes": dict(skips.notes),
        "scrubbed": dict(cover.counts),
    }
    write_json(stage / f"unit-{number:06}.json", facts)


def _add_piece(file: Rows, keys: Rows, piece: Piece, cover: Veil, kind: str) -> None:
    """A piece as a row of both files. Their row groups end together."""
    piece = cover(piece)
    row, ready = _row(piece, kind)
    keys.add({"student": piece.student, "assignment": piece.assignment, "ready": ready,
              "order": piece.order, "place": piece.place}, 0)  # fmt: skip
    if file.add(row, dataset.size_of(piece.submissions)):
        file.flush()
        keys.flush()


def _add_traces(file: Rows, keys: Rows, traces: Traces, cover: Veil, kind: str) -> None:
    """The same for many at once, in row groups that end where they would one by one."""
    students = cover.students(traces.students)
    rows, keyed = traces.rows(students, kind), traces.keys(students)
    at, count = 0, len(students)
    while at < count:
        stop = at + file.fit(traces.sizes[at:])
        keys.add_columns(keyed.slice(at, stop - at), 0)
        if file.add_columns(rows.slice(at, stop - at), int(traces.sizes[at:stop].sum())):
            file.flush()
            keys.flush()
        at = stop


def _row(piece: Piece, kind: str) -> tuple[dict[str, Any], bool]:
    """A piece as a row of a part, its submissions in order, and whether they could be put in order."""
    try:
        return dataset.to_row(merge([piece], kind)), True
    except BadRowError:  # `gather` says so, with the rest of its trajectory
        rows = [dataset.submission_row(s) for s in piece.submissions]
        return {"student": piece.student, "assignment": piece.assignment, "submissions": rows}, False


def _facts(stage: Path, number: int) -> dict[str, Any]:
    return dict(json.loads((stage / f"unit-{number:06}.json").read_bytes()))


def _stamp(stage: Path, number: int) -> str | None:
    return str(_facts(stage, number)["stamp"]) if (stage / f"unit-{number:06}.json").exists() else None


def _summary(stage: Path, count: int, source: LogSource) -> tuple[Skips, Counter[str]]:
    """What was skipped and what was scrubbed, over all units."""
    skips, scrubbed = Skips(source.on_bad_row), Counter[str]()
    for number in range(count):
        facts = _facts(stage, number)
        skips.reasons.update(facts["reasons"])
        skips.examples = (skips.examples + facts["examples"])[:20]
        skips.notes.update(facts["notes"])
        scrubbed.update(facts["scrubbed"])
    return skips, scrubbed


def _all_assignments(stage: Path, count: int, described: Mapping[str, Assignment]) -> Iterator[bytes]:
    """Every assignment once, as a line of JSON, those described ahead first; only hashes are held.

    What `pieces.add` does, for a stream: one with tests says more than one without. Raises SimstudentError when two
    parts of the log differ.
    """

    def told() -> Iterator[tuple[bytes, bytes]]:
        ahead = (line(a.to_dict()) for a in described.values())
        for raw in chain(ahead, *(_lines(stage / f"unit-{n:06}.assignments.jsonl") for n in range(count))):
            yield raw, hashlib.blake2b(raw, digest_size=16).digest()

    chosen: dict[str, tuple[bool, bytes]] = {}
    for text, digest in told():
        raw = json.loads(text)
        tested, there = raw["problem"] is not None, chosen.get(raw["id"])
        if there is None or (tested and not there[0]):
            chosen[raw["id"]] = (tested, digest)
        elif tested == there[0] and digest != there[1]:
            raise differing(raw["id"])
    left = {digest for _, digest in chosen.values()}
    for text, digest in told():
        if digest in left:
            left.remove(digest)
            yield text


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file
