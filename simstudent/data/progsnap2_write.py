"""Writing ProgSnap2 datasets: a main table of events, code states as a table, metadata. `progsnap2` reads them back."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from simstudent.data.progsnap2 import (
    CODE,
    CODE_STATE,
    CODE_TABLES,
    EVENT_ID,
    EVENT_TYPE,
    MAIN_TABLE,
    METADATA,
    ORDER,
    SUBJECT,
    TIMES,
)

VERSION = "6"
"""The draft of the specification whose columns these are."""
PROBLEM, TOOLS, ATTEMPT, SCORE = "ProblemID", "ToolInstances", "Attempt", "Score"
SUBMIT, GIVE_UP = "Submit", "X-GiveUp"
"""Event types. The format has none for giving up; what begins with X- is one's own."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a subject did. ``code`` None: no program belongs to it. ``more``: columns of one's own (X-...)."""

    kind: str
    subject: str
    problem: str
    code: str | None = None
    score: float | None = None
    attempt: int | None = None
    time: str | None = None
    more: Mapping[str, str] = field(default_factory=dict)


def write_progsnap2(folder: Path, events: Iterable[Event], tools: str, facts: Mapping[str, str]) -> None:
    """Write a dataset, all or nothing; one that is there is replaced. Events come in each subject's own order.

    ``tools``: what they were made with. ``facts``: further properties for the metadata.
    """
    events = list(events)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / Path(CODE_TABLES[0]).parent).mkdir(parents=True)
    states: dict[str, str] = {}
    for event in events:
        if event.code is not None:
            states.setdefault(event.code, f"c{len(states) + 1}")
    own = list(dict.fromkeys(name for event in events for name in event.more))
    timed = any(event.time for event in events)
    columns = [EVENT_TYPE, EVENT_ID, ORDER, SUBJECT, TOOLS, CODE_STATE, *([TIMES[0][0]] if timed else [])]
    columns += [PROBLEM, ATTEMPT, SCORE, *own]
    with _table(partial / MAIN_TABLE) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for number, event in enumerate(events, 1):
            row = {
                EVENT_TYPE: event.kind,
                EVENT_ID: f"e{number}",
                ORDER: number,
                SUBJECT: event.subject,
                TOOLS: tools,
                CODE_STATE: "" if event.code is None else states[event.code],
                TIMES[0][0]: event.time,
                PROBLEM: event.problem,
                ATTEMPT: event.attempt,
                SCORE: event.score,
                **event.more,
            }
            writer.writerow(["" if (cell := row.get(name)) is None else cell for name in columns])
    _rows(partial / CODE_TABLES[0], [(CODE_STATE, CODE), *((state, code) for code, state in states.items())])
    properties = {
        "Version": VERSION,
        "IsEventOrderingConsistent": "true",
        "EventOrderScope": "Restricted",
        "EventOrderScopeColumns": SUBJECT,
        "CodeStateRepresentation": "Table",
        **facts,
    }
    _rows(partial / METADATA, [("Property", "Value"), *properties.items()])
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _table(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", newline="")


def _rows(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    with _table(path) as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
