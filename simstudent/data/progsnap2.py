"""The ProgSnap2 format: names of columns and files, metadata, code states, link tables.

After Price, Hovemeyer, Rivers et al., *ProgSnap2: A Flexible Format for Programming Process Data* (ITiCSE 2020). What
tools write in practice is read as well: names with or without a dot, ``CodeState.csv`` for ``CodeStates.csv``.
"""

from __future__ import annotations

import csv
import datetime
import re
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from simstudent.data import rows
from simstudent.data.rows import BadRowError, program, text_of, timestamp, value_of
from simstudent.errors import SimstudentError

MAIN_TABLE, METADATA, CODE_STATES, LINK_TABLES = "MainTable.csv", "DatasetMetadata.csv", "CodeStates", "LinkTables"
CODE_TABLES = ("CodeStates/CodeStates.csv", "CodeStates/CodeState.csv", "CodeStates.csv", "CodeState.csv")

EVENT_TYPE, EVENT_ID, PARENT, ORDER = "EventType", "EventID", "ParentEventID", "Order"
SUBJECT, TEAM, CODE_STATE, SECTION, CODE = "SubjectID", "TeamID", "CodeStateID", "CodeStateSection", "Code"
TIMES = (("ServerTimestamp", "ServerTimezone"), ("ClientTimestamp", "ClientTimezone"))
PERSONS = (SUBJECT, TEAM)
"""Columns that tell who it was: never kept beside a pseudonym."""

Representation = Literal["table", "directory", "column"]
Code = Callable[[Mapping[str, Any]], str]
"""From a row of the main table to its program. Raises BadRowError when there is none."""

EMPTY = (None, "", "NA")
"""Cells that hold nothing: missing ones, and what R writes for them."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What ``DatasetMetadata.csv`` says, in its own words; empty when there is no such file."""

    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def ordered(self) -> bool:
        """Whether ``Order`` can be trusted (in early versions of the format: ``AreEventsOrdered``)."""
        said = self.values.get("IsEventOrderingConsistent", self.values.get("AreEventsOrdered", "false"))
        return said.strip().lower() in ("true", "1", "yes")

    @property
    def scope(self) -> frozenset[str] | None:
        """The columns within whose groups ``Order`` counts: none for a global order; None when it counts nowhere.

        Raises SimstudentError when a restricted scope names no column.
        """
        scope = self.values.get("EventOrderScope", "Global").strip().lower()
        if not self.ordered or scope == "none":
            return None
        if scope != "restricted":
            return frozenset()
        columns = frozenset(n.strip() for n in self.values.get("EventOrderScopeColumns", "").split(";") if n.strip())
        if not columns:
            raise SimstudentError(
                f"{METADATA}: EventOrderScope is Restricted, and EventOrderScopeColumns names no column; name those "
                "within whose groups Order counts, or set data.source.order"
            )
        return columns


def metadata(folder: Path) -> Metadata:
    """The metadata of a dataset. Raises SimstudentError when the file is not a table of properties and values."""
    path = folder / METADATA
    if not path.is_file():
        return Metadata()
    values: dict[str, str] = {}
    for place, row in rows.csv_rows(path):
        try:
            values[text_of(row, "Property").strip()] = text_of(row, "Value", allow_empty=True)
        except BadRowError as error:
            raise SimstudentError(f"{place}: {error}; {METADATA} has the columns Property and Value") from None
    return Metadata(values)


def header(path: Path) -> list[str]:
    """The names of a CSV file's columns. Raises SimstudentError when it is not there, empty, or not UTF-8."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader(file), [])
    except FileNotFoundError:
        raise SimstudentError(f"{path} does not exist; a ProgSnap2 dataset is a folder with a {MAIN_TABLE}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise SimstudentError(f"{path}: not UTF-8 text ({error}); convert it, e.g. iconv -t utf-8") from None
    if not names:
        raise SimstudentError(f"{path}: the file is empty")
    return names


def representation(folder: Path, said: str | None, names: list[str]) -> Representation:
    """How code is kept: as the metadata say, else as what is there shows. ``names``: columns of the main table.

    Raises SimstudentError for what cannot be read, with what to export instead.
    """
    kind = (said or "").strip().lower()
    if kind == "git":
        raise SimstudentError(
            f"{folder / METADATA}: CodeStateRepresentation is Git, which is not read. Export every commit into a "
            f"folder named like its {CODE_STATE} (git archive COMMIT | tar -x -C {CODE_STATES}/COMMIT), write Directory"
        )
    if kind not in ("", "table", "directory"):
        raise SimstudentError(
            f"{folder / METADATA}: CodeStateRepresentation is {said!r}, which is not read; export the code states as "
            f"a table ({CODE_TABLES[0]}: {CODE_STATE}, {CODE}) and write Table"
        )
    table = any((folder / name).is_file() for name in CODE_TABLES)
    if kind == "directory" or (not kind and not table and (folder / CODE_STATES).is_dir()):
        return "directory"
    if table:
        return "table"
    if CODE in names:
        return "column"
    raise SimstudentError(
        f"{folder}: no code states. There is neither {CODE_TABLES[0]} nor a folder {CODE_STATES} with a folder for "
        f"each code state, nor a column '{CODE}' in {MAIN_TABLE}"
    )


def codes(folder: Path, kind: Representation) -> Code:
    """What finds the program of an event. Raises SimstudentError when the code states cannot be read."""
    if kind == "column":
        return lambda row: rows.code_of(row, CODE)
    if kind == "directory":
        root = folder / CODE_STATES
        if not root.is_dir():
            raise SimstudentError(f"{root} does not exist; the metadata say that it holds a folder for each code state")
        real = root.resolve()
        return lambda row: _from_folder(real, text_of(row, CODE_STATE), row.get(SECTION) or None)
    table = next(folder / name for name in CODE_TABLES if (folder / name).is_file())
    held = code_table(table)

    def look_up(row: Mapping[str, Any]) -> str:
        state = text_of(row, CODE_STATE)
        if state not in held:
            raise BadRowError(f"code state {state!r} is not in {table.name}")
        return program(held[state], CODE)

    return look_up


def code_table(path: Path) -> dict[str, str]:
    """Programs by code state. Raises SimstudentError for a row that is none: many events may refer to it."""
    held: dict[str, str] = {}
    for place, row in rows.csv_rows(path):
        try:
            state, code = text_of(row, CODE_STATE), text_of(row, CODE, allow_empty=True)
            if held.setdefault(state, code) != code:
                raise BadRowError(f"code state {state!r} stands twice, with different programs")
        except BadRowError as error:
            raise SimstudentError(f"{place}: {error}") from None
    return held


def _from_folder(root: Path, state: str, section: str | None) -> str:
    """The program in a code state's folder: the file that the event names, or the only one."""
    folder = (root / state).resolve()
    if not folder.is_relative_to(root) or folder == root:
        raise BadRowError(f"code state {state!r} lies outside {CODE_STATES}")
    if not folder.is_dir():
        raise BadRowError(f"code state {state!r} has no folder in {CODE_STATES}")
    if section is not None:
        path = (folder / section).resolve()
        if not path.is_relative_to(folder) or not path.is_file():
            raise BadRowError(f"code state {state!r} has no file {section!r}")
    else:
        files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
        if len(files) != 1:
            names = ", ".join(p.name for p in files[:3]) or "none"
            raise BadRowError(f"code state {state!r} holds {len(files)} files ({names}), and no {SECTION} names one")
        path = files[0]
    try:
        return program(path.read_text(encoding="utf-8-sig"), path.name)
    except UnicodeDecodeError as error:
        raise BadRowError(f"code state {state!r}: not UTF-8 text (byte {error.start})") from None


@dataclass(frozen=True, slots=True)
class LinkTable:
    """Facts about subjects, problems, assignments ...: the row of each combination of ``keys``."""

    keys: tuple[str, ...]
    held: Mapping[tuple[str, ...], Mapping[str, str]]
    otherwise: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, row: Mapping[str, Any]) -> Mapping[str, str]:
        """What it says of a row of the main table."""
        return self.held.get(tuple(str(row.get(key)) for key in self.keys), self.otherwise)


def link_tables(folder: Path, names: list[str], of_persons: tuple[str, ...]) -> list[LinkTable]:
    """The tables in ``LinkTables``, whose keys are their columns ``...ID`` that the main table (``names``) has too.

    Of tables about subjects or teams only the columns ``of_persons`` are kept: the others may tell who they are. Raises
    SimstudentError when a table shares no column with the main table, or a key stands twice.
    """
    found = []
    for path in sorted((folder / LINK_TABLES).glob("*.csv")):
        columns = header(path)
        keys = tuple(name for name in columns if name.endswith("ID") and name in names)
        if not keys:
            raise SimstudentError(
                f"{path}: no column ...ID that {MAIN_TABLE} has, so it belongs to no event; remove it"
            )
        kept = [name for name in columns if name not in keys and name not in PERSONS]
        if set(keys) & set(PERSONS):
            kept = [name for name in kept if name in of_persons]
        held: dict[tuple[str, ...], dict[str, str]] = {}
        for place, row in rows.csv_rows(path):
            try:
                key = tuple(text_of(row, name) for name in keys)
            except BadRowError as error:
                raise SimstudentError(f"{place}: {error}") from None
            if key in held:
                raise SimstudentError(f"{place}: {', '.join(keys)} {', '.join(key)} stands twice")
            held[key] = {name: row[name] for name in kept if row[name] not in EMPTY}
        if kept:
            found.append(LinkTable(keys, held))
    return found


def folds(folder: Path) -> LinkTable:
    """The fold in whose ``Fold*/Test.csv`` each subject stands, as ``Fold``; ``none`` for others.

    Raises SimstudentError when there is none, or a subject stands in the test part of several.
    """
    held: dict[tuple[str, ...], dict[str, str]] = {}
    paths = sorted(folder.glob("Fold*/Test.csv"))
    if not paths:
        raise SimstudentError(f"data.source.folds: no Fold*/Test.csv in {folder}")
    for path in paths:
        fold = path.parent.name
        for place, row in rows.csv_rows(path):
            try:
                subject = text_of(row, SUBJECT)
            except BadRowError as error:
                raise SimstudentError(f"{place}: {error}") from None
            if held.setdefault((subject,), {"Fold": fold})["Fold"] != fold:
                raise SimstudentError(
                    f"{path}, {place.split(', ')[-1]}: a subject of it is also in another fold's test"
                )
    return LinkTable((SUBJECT,), held, {"Fold": "none"})


def names(value: str, subject: str) -> bool:
    """Whether a cell tells the subject's id, as code states organised by subject do: ``S001/12``, ``S001-12``.

    Ids of one or two characters are not looked for: they stand everywhere.
    """
    if len(subject) < 3 or subject not in value:  # most cells; a pattern for each of many subjects would be slow
        return False
    return re.search(rf"(?<![^\W_]){re.escape(subject)}(?![^\W_])", value) is not None


def time_of(row: Mapping[str, Any]) -> str | None:
    """When an event happened: the server's time, else the client's, with its zone where one is given.

    Raises BadRowError for a time or zone that cannot be read.
    """
    for name, zone in TIMES:
        if row.get(name) in EMPTY:
            continue
        text = timestamp(value_of(row, name), name)
        offset = row.get(zone)
        when = datetime.datetime.fromisoformat(text)
        if offset in EMPTY or when.tzinfo is not None:
            return text
        return when.replace(tzinfo=_zone(str(offset).strip(), zone)).isoformat()
    return None


def _zone(text: str, name: str) -> datetime.tzinfo:
    """A time zone: ``UTC``, an offset such as ``-0500``, ``+05:30`` or ``-5``, or a name such as ``America/Lima``."""
    if text.upper() in ("UTC", "GMT", "Z"):
        return datetime.UTC
    if match := re.fullmatch(r"([+-]?)(\d{1,2})(?::?(\d{2}))?(?:\.0+)?", text):
        minutes = int(match[2]) * 60 + int(match[3] or 0)
        if minutes < 24 * 60:
            return datetime.timezone(datetime.timedelta(minutes=-minutes if match[1] == "-" else minutes))
    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise BadRowError(f"'{name}' is no time zone: {text!r:.40}; write an offset such as -0500") from None
