"""Datasets: what ``simstudent data import`` makes of a log. Trajectories in Parquet, read as a stream.

A folder with ``dataset.json`` (written last: without it the folder is no dataset), ``assignments.jsonl`` and
``part-*.parquet``, one trajectory a row. Students are pseudonyms.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator

from simstudent.data.parquet import Rows
from simstudent.data.records import Assignment, Submission, Trajectory
from simstudent.errors import SimstudentError
from simstudent.section import Section, expand

if TYPE_CHECKING:
    import pyarrow

FORMAT = 1
MANIFEST = "dataset.json"
STAGE = ".import"
"""Where an import keeps what it has read, until the dataset is whole."""
_Line = Mapping[str, Any] | bytes


class DatasetSource(Section):
    """A folder that ``simstudent data import`` has made."""

    kind: Literal["dataset"]
    folder: Path

    _path = field_validator("folder", mode="before")(expand)


def schema() -> pyarrow.Schema:
    """The columns of a part. ``more`` is JSON text, since every log has other columns."""
    import pyarrow as pa

    text = pa.large_string()
    talk = pa.list_(pa.struct([("role", pa.string()), ("text", text)]))
    submission = pa.struct(
        [
            ("code", text),
            ("time", pa.string()),
            ("grade", pa.float64()),
            ("feedback", text),
            ("kind", pa.string()),
            ("talk", talk),
            ("more", pa.string()),
        ]
    )
    return pa.schema(
        [
            ("student", pa.string()),
            ("assignment", pa.string()),
            ("submissions", pa.list_(submission)),
            ("outcome", pa.string()),
            ("source", pa.string()),
        ]
    )


def to_row(t: Trajectory) -> dict[str, Any]:
    """A trajectory as a row of a part."""
    return {
        "student": t.student,
        "assignment": t.assignment,
        "submissions": [submission_row(s) for s in t.submissions],
        "outcome": t.outcome,
        "source": t.source,
    }


def submission_row(s: Submission) -> dict[str, Any]:
    """A submission as a part holds it."""
    return {
        "code": s.code,
        "time": s.time,
        "grade": s.grade,
        "feedback": s.feedback,
        "kind": s.kind,
        "talk": [t.to_dict() for t in s.talk],
        "more": json.dumps(dict(s.more), ensure_ascii=False) if s.more else None,
    }


def submission_of(raw: Mapping[str, Any]) -> Submission:
    """A submission of a part's row."""
    return Submission.from_dict({**raw, "more": json.loads(raw["more"]) if raw["more"] else {}})


def trajectory_of(row: Mapping[str, Any]) -> Trajectory:
    """A trajectory of a part's row."""
    made = tuple(map(submission_of, row["submissions"]))
    return Trajectory(row["student"], row["assignment"], made, row["outcome"], row["source"])


STATE_SIZE = 500
"""Bytes that a submission takes beside its texts, about."""


def size_of(submissions: Iterable[Submission]) -> int:
    """About how many bytes a trajectory takes in memory."""
    return sum(len(s.code) + len(s.feedback or "") + STATE_SIZE for s in submissions)


def manifest(folder: Path) -> dict[str, Any]:
    """The facts of a dataset. Raises SimstudentError when the folder is none, or one that was not finished."""
    path = folder / MANIFEST
    if not path.is_file():
        why = "its import was not finished: run it again" if (folder / STAGE).exists() else "it is no dataset"
        raise SimstudentError(f"data.source.folder: {folder} has no {MANIFEST}; {why} (simstudent data import)")
    try:
        raw = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise SimstudentError(f"{path}: not valid JSON ({error}); import the log again") from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise SimstudentError(f"{path}: not a dataset of format {FORMAT}; import the log again")
    parts = raw.get("parts")
    if not isinstance(parts, list) or not all(isinstance(p, dict) and set(p) >= _PART for p in parts):
        raise SimstudentError(f"{path}: its list of parts is damaged; import the log again")
    return raw


_PART = {"file", "bytes", "trajectories", "submissions"}


def assignments(folder: Path) -> dict[str, Assignment]:
    """The assignments of a dataset by id. Raises SimstudentError when it is none, or damaged."""
    count = manifest(folder).get("assignments")
    path = folder / "assignments.jsonl"
    try:
        with path.open("rb") as file:
            found = [Assignment.from_dict(json.loads(line)) for line in file]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise SimstudentError(f"{path}: not the assignments of a dataset ({why}); import the log again") from None
    if len(found) != count:
        raise SimstudentError(f"{path}: {len(found)} assignments, not {count}; import the log again")
    return {a.id: a for a in found}


def trajectories(folder: Path) -> Iterator[Trajectory]:
    """The trajectories of a dataset, one after another; memory stays small whatever its size.

    Raises SimstudentError naming the part that is missing or damaged.
    """
    for part in manifest(folder)["parts"]:
        yield from _part(folder / part["file"], part)


def _part(path: Path, facts: Mapping[str, Any]) -> Iterator[Trajectory]:
    import pyarrow
    import pyarrow.parquet

    count = 0
    try:
        size = path.stat().st_size
        if size != facts["bytes"]:
            raise SimstudentError(
                f"{path}: {size} bytes, not {facts['bytes']}: cut off or replaced; import the log again"
            )
        with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(batch_size=64):
                for row in batch.to_pylist():
                    made = trajectory_of(row)
                    count += 1
                    yield made
    except FileNotFoundError:
        raise SimstudentError(f"{path} is missing; import the log again") from None
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise SimstudentError(f"{path}: damaged after trajectory {count} ({error}); import the log again") from None
    if count != facts["trajectories"]:
        raise SimstudentError(f"{path}: {count} trajectories, not {facts['trajectories']}; import the log again")


def write_part(path: Path, made: Iterable[Trajectory]) -> dict[str, Any]:
    """Write a part, whole or not at all. What the manifest says of it."""
    with Rows(path, schema()) as file:
        for t in made:
            if file.add(to_row(t), size_of(t.submissions)):
                file.flush()
    return part_facts(path)


def part_facts(path: Path) -> dict[str, Any]:
    """What the manifest says of a part: its name, size and counts."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        rows, names = file.metadata.num_rows, file.schema.names
        codes = (file.metadata.row_group(group).column(names.index("code")) for group in range(file.num_row_groups))
        submissions = sum(column.num_values for column in codes)
    return {"file": path.name, "bytes": path.stat().st_size, "trajectories": rows, "submissions": submissions}


def chunks(made: Iterator[Trajectory], size: int) -> Iterator[Iterator[Trajectory]]:
    """The stream in runs of about ``size`` bytes in memory; each is to be read to its end before the next."""

    def run(head: Trajectory) -> Iterator[Trajectory]:
        held = 0
        for t in chain([head], made):
            yield t
            held += size_of(t.submissions)
            if held >= size:
                return

    for head in made:
        yield run(head)


@contextlib.contextmanager
def staging(folder: Path, name: str) -> Iterator[Path]:
    """``folder/name``, where a dataset is being made that will be in ``folder``; held by this process alone.

    What stands there already is from one that was interrupted. Raises SimstudentError when ``folder`` holds
    something else, or another process is at it.
    """
    stage = folder / name
    if not stage.exists():
        if (folder / MANIFEST).exists():
            raise SimstudentError(f"{folder} holds a dataset already; name another folder, or delete it")
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise SimstudentError(f"{folder} is not an empty folder; name a new one for the dataset")
    try:
        stage.mkdir(parents=True, exist_ok=True)
        lock = (stage / "lock").open("a")
    except OSError as error:
        raise SimstudentError(f"{folder} cannot be made ({error.strerror}); name another folder") from None
    with lock:
        with contextlib.suppress(ImportError):  # Windows has no fcntl, and no lock
            import fcntl

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise SimstudentError(f"another process is writing {folder}; wait for it, or end it") from None
        for stale in (*stage.glob("*.partial"), *folder.glob("part-*.partial")):
            stale.unlink()
        yield stage


def finish(
    folder: Path, known: Iterable[_Line], parts: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the assignments (records, or lines of JSON) and then the manifest, which makes the folder a dataset."""
    from simstudent.runs import write_json, write_lines

    count = write_lines(folder / "assignments.jsonl", known)
    counts = {name: sum(p[name] for p in parts) for name in ("trajectories", "submissions")}
    made = {"format": FORMAT, "assignments": count, **counts, **facts, "parts": list(parts)}
    write_json(folder / MANIFEST, made)
    return made
