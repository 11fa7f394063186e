"""Datasets: what ``simstudent data import`` makes of a log. Trajectories in Parquet, read as a stream.

A folder with ``dataset.json`` (written last: without it the folder is no dataset), ``assignments.jsonl`` and
``part-*.parquet``, one trajectory a row. Students are pseudonyms.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator

from simstudent.data.records import Assignment, Submission, Trajectory
from simstudent.errors import SimstudentError
from simstudent.section import Section, expand

if TYPE_CHECKING:
    import pyarrow

FORMAT = 1
MANIFEST = "dataset.json"


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
    submissions = tuple(map(submission_of, row["submissions"]))
    return Trajectory(row["student"], row["assignment"], submissions, row["outcome"], row["source"])


def manifest(folder: Path) -> dict[str, Any]:
    """The facts of a dataset. Raises SimstudentError when the folder is none, or one that was not finished."""
    path = folder / MANIFEST
    if not path.is_file():
        why = "its import was not finished: run it again" if (folder / ".import").exists() else "it is no dataset"
        raise SimstudentError(f"data.source.folder: {folder} has no {MANIFEST}; {why} (simstudent data import)")
    try:
        raw = json.loads(path.read_bytes())
    except ValueError as error:
        raise SimstudentError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise SimstudentError(f"{path}: not a dataset of format {FORMAT}; import the log again")
    return raw


def assignments(folder: Path) -> dict[str, Assignment]:
    """The assignments of a dataset by id. Raises SimstudentError when it is none, or damaged."""
    manifest(folder)
    path = folder / "assignments.jsonl"
    try:
        with path.open("rb") as file:
            found = [Assignment.from_dict(json.loads(line)) for line in file]
    except (OSError, ValueError, KeyError) as error:
        raise SimstudentError(f"{path}: not the assignments of a dataset ({error}); import the log again") from None
    return {a.id: a for a in found}


def trajectories(folder: Path) -> Iterator[Trajectory]:
    """The trajectories of a dataset, one after another; memory stays small whatever its size.

    Raises SimstudentError naming the part that is missing or damaged.
    """
    import pyarrow
    import pyarrow.parquet

    for part in manifest(folder)["parts"]:
        path = folder / part["file"]
        count = 0
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=64):
                    for row in batch.to_pylist():
                        count += 1
                        yield trajectory_of(row)
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise SimstudentError(f"{path}: damaged after trajectory {count} ({error}); import the log again") from None
        if count != part["trajectories"]:
            raise SimstudentError(f"{path}: {count} trajectories, not {part['trajectories']}; import the log again")


def write_part(path: Path, made: Iterable[Trajectory], batch: int = 256) -> dict[str, Any]:
    """Write a part, whole or not at all. Its file name and counts, for the manifest."""
    import pyarrow
    import pyarrow.parquet

    partial = path.with_name(path.name + ".partial")
    counts = {"trajectories": 0, "submissions": 0}
    rows: list[dict[str, Any]] = []
    with pyarrow.parquet.ParquetWriter(partial, schema(), compression="zstd", compression_level=1) as writer:

        def flush() -> None:
            writer.write_batch(pyarrow.RecordBatch.from_pylist(rows, schema()))
            rows.clear()

        for t in made:
            rows.append(to_row(t))
            counts["trajectories"] += 1
            counts["submissions"] += len(t.submissions)
            if len(rows) >= batch:
                flush()
        if rows:
            flush()
    partial.replace(path)
    return {"file": path.name, **counts}


def finish(
    folder: Path, known: Mapping[str, Assignment], parts: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]
) -> None:
    """Write the assignments and then the manifest, which makes the folder a dataset."""
    from simstudent.runs import write_json, write_lines

    write_lines(folder / "assignments.jsonl", (known[name].to_dict() for name in sorted(known)))
    write_json(folder / MANIFEST, {"format": FORMAT, "parts": list(parts), **facts})
