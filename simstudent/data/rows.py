"""Rows of JSONL, CSV and Parquet files, each with the place to name in a message; broken rows come as such.

A file is read in units, so that several processes can share it: a range of bytes of a JSONL file, a range of row
groups of a Parquet file, a CSV file as a whole (a line of it may lie within quotes).
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simstudent.data.cells import BadRowError as BadRowError
from simstudent.data.cells import code_of as code_of
from simstudent.data.cells import grade_of as grade_of
from simstudent.data.cells import id_of as id_of
from simstudent.data.cells import number_of as number_of
from simstudent.data.cells import plain as plain
from simstudent.data.cells import program as program
from simstudent.data.cells import text_of as text_of
from simstudent.data.cells import time_of as time_of
from simstudent.data.cells import timestamp as timestamp
from simstudent.data.cells import value_of as value_of
from simstudent.errors import SimstudentError

if TYPE_CHECKING:
    import pyarrow

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".jsonl.gz", ".ndjson.gz")
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
UNIT_BYTES = 64 << 20  # of a JSONL file: some seconds of work
Place = str
"""Where a row stands, for messages: ``file.jsonl, line 12``."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of a source that is read on its own: bytes of a JSONL file, row groups of a Parquet file, or all of it."""

    path: Path
    start: int = 0
    stop: int | None = None


_VARYING = re.compile(r"\(.*\)|\d+|(?<!^)(?<!no column )'[^']*'")  # not the name of the column, which comes first


class Skips:
    """What is done with a row that is no submission: stop with an error, or count it and go on."""

    def __init__(self, on_bad_row: str = "stop") -> None:
        self.stop = on_bad_row == "stop"
        self.reasons: Counter[str] = Counter()
        self.examples: list[str] = []
        self.notes: Counter[str] = Counter()
        """What else is worth telling: rows that are no submissions by the recipe's own word, artefacts mended."""

    def note(self, what: str, count: int = 1) -> None:
        """Count something that is no mistake, and still worth telling."""
        if count:
            self.notes[what] += count

    def __call__(self, place: Place, reason: object, rows: int = 1) -> None:
        """Count a row, or ``rows`` that go together. Raises SimstudentError when the recipe says stop."""
        message = f"{place}: {reason}"
        if self.stop:
            raise SimstudentError(
                f"{message}. Mend the row, or set data.source.on_bad_row: skip to go on without such rows"
            )
        self.reasons[_VARYING.sub("...", str(reason))] += rows
        if len(self.examples) < 20:
            self.examples.append(message)

    def __len__(self) -> int:
        return self.reasons.total()

    def text(self) -> list[str]:
        """Lines for a person: how many rows were left out, why, and the first of them; then the notes."""
        notes = [f"  {count:,} {what}" for what, count in self.notes.most_common()]
        if not len(self):
            return notes
        lines = [f"  {count:,} left out: {reason}" for reason, count in self.reasons.most_common(10)]
        return [f"  skipped {len(self):,} broken rows", *lines, f"  the first: {self.examples[0]}", *notes]


def kind_of(path: Path) -> str:
    """The kind of a file by its name, in lower case: ``.csv``, ``.jsonl.gz``."""
    last = path.suffix.lower()
    return Path(path.stem).suffix.lower() + last if last == ".gz" else last


def files(path: Path, key: str) -> list[Path]:
    """The files that ``path`` names: one, all tables in a folder, or those matching ``*``, ``?`` or ``[``.

    Raises SimstudentError, naming the recipe's ``key``, when there are none, or one of them cannot be read as it is.
    """
    if path.is_dir():
        there = sorted(path.iterdir())
        found = [p for p in there if kind_of(p) in SUFFIXES]
        packed = [p.name for p in there if p.suffix.lower() in PACKED and p.with_suffix("").suffix.lower() in SUFFIXES]
        if unread := sorted(set(packed) - {p.name for p in found}):
            raise SimstudentError(f"{path}: {unread[0]} is compressed; unpack it first, or set {key} to a pattern")
    elif set("*?[") & set(path.name) and not path.exists():
        found = sorted(path.parent.glob(path.name)) if path.parent.is_dir() else []
    elif path.is_file():
        return [path]
    else:
        raise SimstudentError(f"data file {path} does not exist; set {key} (relative to the recipe's folder)")
    if not found:
        raise SimstudentError(f"no table ({', '.join(SUFFIXES)}) in {path}; set {key}")
    for p in found:
        if not p.is_file():
            what = "a folder" if p.is_dir() else "a link that leads nowhere" if p.is_symlink() else "no file"
            raise SimstudentError(f"{p} is {what}, not a table; move it away, or set {key} to a pattern")
    return found


def units(paths: Sequence[Path], unit_bytes: int = UNIT_BYTES) -> list[Unit]:
    """The parts in which the files are read. Raises SimstudentError for a file that is no table."""
    found: list[Unit] = []
    for path in paths:
        kind, size = kind_of(path), path.stat().st_size
        if kind not in SUFFIXES:
            raise SimstudentError(f"{path}: unknown kind of table '{kind}'; known: {', '.join(SUFFIXES)}")
        if size == 0:
            raise SimstudentError(f"{path}: the file is empty")
        if kind in (".jsonl", ".ndjson", ".csv", ".tsv"):
            check_text(path)
        if kind in (".jsonl", ".ndjson") and size > unit_bytes:
            found += [Unit(path, at, min(at + unit_bytes, size)) for at in range(0, size, unit_bytes)]
        elif kind == ".parquet" and size > unit_bytes:
            groups = parquet_groups(path)
            step = max(1, round(groups * unit_bytes / size))
            found += [Unit(path, at, min(at + step, groups)) for at in range(0, groups, step)]
        else:
            found.append(Unit(path))
    return found


_MAGIC = (
    (b"\x1f\x8b", "compressed with gzip: unpack it first (gunzip)"),
    (b"PK\x03\x04", "a zip archive (or an Excel file): unpack or convert it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it first (unzstd)"),
    (b"BZh", "compressed with bzip2: unpack it first (bunzip2)"),
    (b"\xfd7zXZ", "compressed with xz: unpack it first (unxz)"),
    (b"PAR1", "a Parquet file: name it .parquet"),
    (b"\xff\xfe", "UTF-16, not UTF-8 text: convert it, e.g. iconv -f utf-16 -t utf-8"),
    (b"\xfe\xff", "UTF-16, not UTF-8 text: convert it, e.g. iconv -f utf-16 -t utf-8"),
)


def check_text(path: Path) -> None:
    """Raises SimstudentError when a file that should be UTF-8 text begins as something else does."""
    with path.open("rb") as file:
        head = file.read(4096)
    for magic, what in _MAGIC:
        if head.startswith(magic):
            raise SimstudentError(f"{path}: {what}")
    if head[1:2] == b"\0" or head[:1] == b"\0":
        raise SimstudentError(f"{path}: UTF-16, not UTF-8 text: convert it, e.g. iconv -f utf-16 -t utf-8")
    if path.suffix.lower() in (".jsonl", ".ndjson") and head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[":
        raise SimstudentError(f"{path}: a JSON array, not one object a line: convert it, e.g. jq -c '.[]'")


def rows(unit: Unit, delimiter: str | None = None) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """(place, row) for every row. A row that cannot be read at all comes as a mapping that says why when asked.

    Raises SimstudentError when the file as a whole cannot be read.
    """
    kind = kind_of(unit.path)
    if kind in (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"):
        return json_lines(unit)
    if kind == ".parquet":
        return parquet_rows(unit)
    return csv_rows(unit.path, delimiter or ("\t" if kind == ".tsv" else ","))


class Broken(dict[str, Any]):
    """Stands for a row that could not be parsed: asking it for any column says why."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    def __contains__(self, key: object) -> bool:
        raise BadRowError(self.reason)


def json_lines(unit: Unit) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    return ((place, json_row(raw, encoding)) for place, raw, encoding in raw_lines(unit))


def raw_lines(unit: Unit) -> Iterator[tuple[Place, bytes, str]]:
    """(place, line, encoding) for every line of a JSONL file that is not blank, in a form for `json_row`."""
    at, number = unit.start, 0
    try:
        with gzip.open(unit.path) if unit.path.suffix.lower() == ".gz" else unit.path.open("rb") as file:
            if at:  # the line that the unit before it has begun belongs to that one
                file.seek(at - 1)
                at += len(file.readline()) - 1
            while (unit.stop is None or at < unit.stop) and (raw := file.readline()):
                number += 1
                place = f"{unit.path.name}, " + (f"byte {at}" if unit.start else f"line {number}")
                first = not at
                at += len(raw)
                if raw.strip():
                    yield place, raw, "utf-8-sig" if first else "utf-8"
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SimstudentError(f"{unit.path}: the compressed file is damaged after line {number} ({error})") from None


def json_row(raw: bytes, encoding: str) -> Mapping[str, Any]:
    """A line as a row, or as what says why it is none."""
    try:
        row = json.loads(raw.decode(encoding), object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        return Broken(f"not UTF-8 text (byte {error.start})")
    except json.JSONDecodeError as error:
        return Broken(f"not valid JSON: {error.msg} (column {error.colno})")
    except RecursionError:
        return Broken("JSON nested too deeply")
    except BadRowError as error:
        return Broken(str(error))
    except ValueError:
        return Broken("not valid JSON: a number of thousands of digits")
    return row if isinstance(row, dict) else Broken(f"not a JSON object but {type(row).__name__}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises BadRowError for a key that stands twice, of which Python would keep the last alone."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise BadRowError("a key stands twice in one JSON object")
    return made


def csv_rows(path: Path, delimiter: str = ",") -> Iterator[tuple[Place, Mapping[str, Any]]]:
    csv.field_size_limit(2**31 - 1)
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            names = next(reader, [])
            _check_header(path, names)
            line = reader.line_num + 1  # where the next row begins; it may go on over several lines
            for cells in reader:
                place = f"{path.name}, line {line}"
                line = reader.line_num + 1
                if len(cells) == len(names):
                    yield place, dict(zip(names, cells, strict=True))
                elif cells:
                    yield place, Broken(f"{len(cells)} columns, not {len(names)} as in the header")
    except UnicodeDecodeError:
        raise SimstudentError(
            f"{path}: not UTF-8 text, at line {line} or after; convert it, e.g. iconv -t utf-8"
        ) from None
    except csv.Error as error:
        raise SimstudentError(
            f"{path}: not a readable CSV file; in the row that begins in line {line}: {error}"
        ) from None


def _check_header(path: Path, names: Sequence[str]) -> None:
    """Raises SimstudentError for a first line that names no columns, without telling what stands in it."""
    if any(re.search(r"@|^[\d.,:\s-]*$|[\n(=]", name) or len(name) > 80 for name in names):
        raise SimstudentError(
            f"{path}: its first line is no header (an empty or long cell, a number, an address or a program in it); "
            "put a line with the columns' names first"
        )
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise SimstudentError(f"{path}: the header names {', '.join(map(repr, doubled))} twice; rename one")


def parquet_groups(path: Path) -> int:
    """Row groups of a Parquet file. Raises SimstudentError when it is none."""
    import pyarrow
    import pyarrow.parquet

    try:
        return int(pyarrow.parquet.read_metadata(path).num_row_groups)
    except (pyarrow.ArrowException, OSError) as error:
        raise SimstudentError(f"{path}: not a readable Parquet file ({error})") from None


def parquet_rows(unit: Unit) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    for first, batch in parquet_batches(unit):
        for number, row in enumerate(listed(unit, first, batch), first):
            yield f"{unit.path.name}, row {number}", row


def listed(unit: Unit, first: int, batch: pyarrow.RecordBatch) -> list[dict[str, Any]]:
    """Columns as rows, the first of them being row ``first``. Raises SimstudentError where a text is no UTF-8."""
    import pyarrow

    try:
        return list(batch.to_pylist())
    except (pyarrow.ArrowException, ValueError) as error:
        raise _unreadable(unit, first, error) from None


def _unreadable(unit: Unit, first: int, error: Exception) -> SimstudentError:
    return SimstudentError(f"{unit.path}: not a readable Parquet file after row {first - 1} ({error})")


def parquet_batches(unit: Unit) -> Iterator[tuple[int, pyarrow.RecordBatch]]:
    """(number of its first row, columns) for a few hundred rows at a time, whatever the size of a row group.

    Times are in microseconds, as Python's are. Raises SimstudentError for columns of the same name, and for a damaged
    file.
    """
    import pyarrow as pa

    number = 1
    try:
        for number, batch in _batches(unit):
            yield number, batch
            number += batch.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(unit, number, error) from None


def _batches(unit: Unit) -> Iterator[tuple[int, pyarrow.RecordBatch]]:
    import pyarrow as pa
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(unit.path, buffer_size=1 << 20) as file:
        schema = file.schema_arrow
        doubled = sorted({name for name in schema.names if schema.names.count(name) > 1})
        if doubled:
            raise SimstudentError(f"{unit.path}: two columns are named {', '.join(map(repr, doubled))}; rename one")
        made = pa.schema([(f.name, _microseconds(f.type)) for f in schema])
        groups = range(unit.start, file.num_row_groups if unit.stop is None else unit.stop)
        number = 1 + sum(file.metadata.row_group(group).num_rows for group in range(unit.start))
        for batch in file.iter_batches(batch_size=256, row_groups=list(groups), use_threads=False):
            yield number, batch if made == schema else batch.cast(made, safe=False)
            number += batch.num_rows


def _microseconds(kind: pyarrow.DataType) -> pyarrow.DataType:
    import pyarrow as pa

    return pa.timestamp("us", kind.tz) if pa.types.is_timestamp(kind) and kind.unit == "ns" else kind
