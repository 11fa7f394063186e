"""Rows of JSONL, CSV and Parquet files, each with the place to name in a message; broken rows come as such.

A file is read in units, so that several processes can share it: a range of bytes of a JSONL file, a range of row
groups of a Parquet file, a CSV file as a whole (a line of it may lie within quotes).
"""

from __future__ import annotations

import csv
import datetime
import gzip
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graders.extract import normalise_newlines
from simstudent.errors import SimstudentError
from simstudent.recipe_errors import closest

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".jsonl.gz", ".ndjson.gz")
UNIT_BYTES = 64 << 20  # of a JSONL file: some seconds of work
Place = str
"""Where a row stands, for messages: ``file.jsonl, line 12``."""


class BadRowError(Exception):
    """A row that is no submission; the message says why, without its place."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of a source that is read on its own: bytes of a JSONL file, row groups of a Parquet file, or all of it."""

    path: Path
    start: int = 0
    stop: int | None = None


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

    def __call__(self, place: Place, reason: object) -> None:
        """Count a row. Raises SimstudentError when the recipe says stop."""
        message = f"{place}: {reason}"
        if self.stop:
            raise SimstudentError(
                f"{message}. Mend the row, or set data.source.on_bad_row: skip to go on without such rows"
            )
        self.reasons[re.sub(r"\(.*\)|'[^']*'|\d+", "...", str(reason))] += 1
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

    Raises SimstudentError, naming the recipe's ``key``, when there are none.
    """
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if kind_of(p) in SUFFIXES)
    elif set("*?[") & set(path.name) and not path.exists():
        found = sorted(path.parent.glob(path.name)) if path.parent.is_dir() else []
    elif path.is_file():
        found = [path]
    else:
        raise SimstudentError(f"data file {path} does not exist; set {key} (relative to the recipe's folder)")
    if not found:
        raise SimstudentError(f"no table ({', '.join(SUFFIXES)}) in {path}; set {key}")
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
        if kind in (".jsonl", ".ndjson") and size > unit_bytes:
            found += [Unit(path, at, min(at + unit_bytes, size)) for at in range(0, size, unit_bytes)]
        elif kind == ".parquet" and size > unit_bytes:
            groups = parquet_groups(path)
            step = max(1, round(groups * unit_bytes / size))
            found += [Unit(path, at, min(at + step, groups)) for at in range(0, groups, step)]
        else:
            found.append(Unit(path))
    return found


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
                    yield place, _json_row(raw, "utf-8-sig" if first else "utf-8")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SimstudentError(f"{unit.path}: the compressed file is damaged after line {number} ({error})") from None


def _json_row(raw: bytes, encoding: str) -> Mapping[str, Any]:
    try:
        row = json.loads(raw.decode(encoding))
    except UnicodeDecodeError as error:
        return Broken(f"not UTF-8 text (byte {error.start})")
    except json.JSONDecodeError as error:
        return Broken(f"not valid JSON: {error.msg} (column {error.colno})")
    except RecursionError:
        return Broken("JSON nested too deeply")
    return row if isinstance(row, dict) else Broken(f"not a JSON object but {type(row).__name__}")


def csv_rows(path: Path, delimiter: str = ",") -> Iterator[tuple[Place, Mapping[str, Any]]]:
    csv.field_size_limit(2**31 - 1)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter, strict=True)
            names = list(reader.fieldnames or ())
            doubled = sorted({name for name in names if names.count(name) > 1})
            if doubled:
                raise SimstudentError(f"{path}: the header names {', '.join(map(repr, doubled))} twice")
            for row in reader:
                place = f"{path.name}, line {reader.line_num}"
                if None in row or any(value is None for value in row.values()):
                    yield place, Broken(f"not {len(names)} columns as in the header")
                else:
                    yield place, row
    except UnicodeDecodeError as error:
        raise SimstudentError(f"{path}: not UTF-8 text ({error}); convert it, e.g. iconv -t utf-8") from None
    except csv.Error as error:
        raise SimstudentError(f"{path}: not a readable CSV file ({error})") from None


def parquet_groups(path: Path) -> int:
    """Row groups of a Parquet file. Raises SimstudentError when it is none."""
    import pyarrow
    import pyarrow.parquet

    try:
        return int(pyarrow.parquet.read_metadata(path).num_row_groups)
    except (pyarrow.ArrowException, OSError) as error:
        raise SimstudentError(f"{path}: not a readable Parquet file ({error})") from None


def parquet_rows(unit: Unit) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(unit.path) as file:
            groups = range(unit.start, file.num_row_groups if unit.stop is None else unit.stop)
            number = sum(file.metadata.row_group(group).num_rows for group in range(unit.start))
            for batch in file.iter_batches(batch_size=256, row_groups=list(groups)):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{unit.path.name}, row {number}", row
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise SimstudentError(f"{unit.path}: not a readable Parquet file after row {number} ({error})") from None


def value_of(row: Mapping[str, Any], name: str) -> Any:
    """A cell. Raises BadRowError when there is no such column."""
    if name not in row:
        raise BadRowError(f"no column '{name}'; {closest(name, [str(k) for k in row])}")
    return row[name]


def text_of(row: Mapping[str, Any], name: str, *, allow_empty: bool = False) -> str:
    """A cell as text. Raises BadRowError when it is missing, not text, or cannot be written as UTF-8."""
    value = value_of(row, name)
    if value is None or (value == "" and not allow_empty):
        raise BadRowError(f"'{name}' is missing")
    if isinstance(value, bool | list | dict | bytes):
        raise BadRowError(f"'{name}' should be text, not {type(value).__name__}")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        raise BadRowError(f"'{name}' holds half a character (a lone surrogate)")
    return text


def code_of(row: Mapping[str, Any], name: str, *, allow_missing: bool = False) -> str:
    """A program, its line ends ``\\n``. Raises BadRowError as `text_of`, and for NUL bytes."""
    if allow_missing and value_of(row, name) is None:
        return ""
    return program(text_of(row, name, allow_empty=True), name)


def program(text: str, name: str) -> str:
    """A program's text as records hold it. Raises BadRowError, naming the column, for NUL bytes."""
    code = normalise_newlines(text)
    if "\x00" in code:
        raise BadRowError(f"'{name}' holds NUL bytes")
    return code


def number_of(row: Mapping[str, Any], name: str) -> float:
    """A cell as a finite number. Raises BadRowError."""
    value = value_of(row, name)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise BadRowError(f"'{name}' should be a number, not {value!r:.60}") from None
    if not math.isfinite(number):
        raise BadRowError(f"'{name}' is not a finite number")
    return number


def grade_of(row: Mapping[str, Any], name: str, full: float) -> float | None:
    """The grade in [0, 1]; an empty cell means not graded. Raises BadRowError."""
    if value_of(row, name) in (None, ""):
        return None
    grade = number_of(row, name) / full
    if not 0 <= grade <= 1 + 1e-9:
        raise BadRowError(f"'{name}' is {row[name]!r}, outside 0 to {full:g}")
    return min(grade, 1.0)


def time_of(row: Mapping[str, Any], name: str) -> str | None:
    """A time as ISO 8601 text; an empty cell means unknown. Raises BadRowError."""
    value = value_of(row, name)
    return None if value in (None, "") else timestamp(value, name)


def timestamp(value: Any, name: str) -> str:
    """A time as ISO 8601 text: of a datetime, of ISO text (kept as it is), or of seconds or milliseconds since 1970.

    Raises BadRowError, naming the column.
    """
    if isinstance(value, datetime.date):
        return value.isoformat()
    text = str(value).strip()
    if re.fullmatch(r"\d{9,14}(\.\d+)?", text) and not isinstance(value, bool):
        seconds = float(text) / (1000 if float(text) >= 1e11 else 1)
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        raise BadRowError(f"'{name}' is not a time in ISO 8601, such as 2025-10-01T09:12:00: {text!r:.40}") from None
    return text


def plain(value: Any) -> Any:
    """A cell as a JSON value, for `Submission.more`."""
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
