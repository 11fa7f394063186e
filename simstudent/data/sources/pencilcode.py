"""Pencil Code: traces of drawing programs (Ross et al. 2025), written in CoffeeScript, JavaScript or HTML.

Read from the hub's table or files with its columns, a trace a row or a state a row, or from the rollouts of the
published models. There is no grade and no task: students write what they like under a title of their choice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from simstudent.data import blocks as files
from simstudent.data import columns, rows
from simstudent.data.columns import Traces
from simstudent.data.pieces import Piece, merge
from simstudent.data.records import Assignment, Submission
from simstudent.data.rows import BadRowError, Broken, Place, Skips, Unit, program, text_of, timestamp
from simstudent.data.sources import hub as huggingface
from simstudent.data.trace_text import parse
from simstudent.errors import SimstudentError
from simstudent.section import Section, expand

CUT_FROM = 1019
"""Characters from which a state may have been cut: of a program, Pencil Code's client logs the first 1,024, which can
leave a few less."""
_ENDINGS = {
    ".js": "javascript",
    ".coffee": "coffeescript",
    ".html": "html",
    ".htm": "html",
    ".css": "css",
}


class TraceColumns(Section):
    """Which column holds what; the defaults are the names of the dataset's card."""

    student: str = "username"
    title: str = "title"
    programs: str = "programs"
    """A list of states, oldest first; or one state, where the log has a row for each."""
    times: str | None = "timestamps"
    """A list of as many times; or one time."""
    actions: str | None = None
    """What the student did with each state (run, save, toggle, load, new): a list, or one."""
    sample: str | None = None
    """Tells several traces of one student and title apart: samples of a model, each a row. See ``samples``."""
    more: tuple[str, ...] = ()
    """Further columns to keep with each state, for selection and splits."""


class PencilCodeSource(Section):
    """Exactly one of ``hub`` (a table on the hub), ``files`` (Parquet, JSONL, .jsonl.gz or CSV) and ``rollouts`` (a
    JSON list of [text, student, title], as the published code writes it).
    """

    kind: Literal["pencilcode"]
    hub: str | None = None
    config: str | None = None
    revision: str | None = None
    splits: tuple[str, ...] | None = Field(None, min_length=1)
    """The hub table's own splits to read (default: all); each state remembers its own in ``more.split``."""
    files: Path | None = None
    rollouts: Path | None = None
    columns: TraceColumns = TraceColumns()
    language: str = "coffeescript"
    """Of titles that do not end in .js, .coffee, .html or .css."""
    keep_unchanged: bool = False
    """Keep states that equal the one before; the paper drops them."""
    samples: Literal["all", "first"] = "all"
    """Of rollouts, and where ``columns.sample`` is given. all: each is the trace of a student of its own,
    ``id~sample``; first: only the first one of a student and title, under the student's own id."""
    on_bad_row: Literal["stop", "skip"] = "stop"

    _paths = field_validator("files", "rollouts", mode="before")(expand)

    @model_validator(mode="after")
    def _one_place(self) -> PencilCodeSource:
        if sum(place is not None for place in (self.hub, self.files, self.rollouts)) != 1:
            raise ValueError("name exactly one of hub, files and rollouts")
        return self


def units(source: PencilCodeSource) -> list[Unit]:
    """The parts in which the log is read. Raises SimstudentError when it cannot be had."""
    if source.hub is not None:
        found = huggingface.units(source.hub, source.config, source.splits, source.revision)
    elif source.files is not None:
        found = rows.units(rows.files(source.files, "data.source.files"))
    else:
        assert source.rollouts is not None
        if not source.rollouts.is_file():
            raise SimstudentError(f"data.source.rollouts: there is no file {source.rollouts}")
        found = [Unit(source.rollouts)]
    if source.samples == "first" and len(found) > 1:
        raise SimstudentError(
            f"data.source.samples: the log is read in {len(found)} parts, and what is first in one part need not be "
            "first in all; set it to all, or name one file (of at most 64 MB, or compressed)"
        )
    return found


def assignments(source: PencilCodeSource) -> dict[str, Assignment]:
    """None ahead: titles are the students' own."""
    return {}


def pieces(source: PencilCodeSource, unit: Unit, known: dict[str, Assignment], skips: Skips) -> Iterator[Piece]:
    """A piece for every row: a whole trace, or a state of one. What is left out on purpose is noted."""
    return _pieces(_rows(source, unit), source, known, skips)


def blocks(
    source: PencilCodeSource, unit: Unit, known: dict[str, Assignment], skips: Skips
) -> Iterator[Piece | Traces]:
    """The same as `pieces`, plain traces as columns where the file and the recipe allow it: many times as fast."""
    names = source.columns
    asked = names.actions or names.sample or names.more or source.samples == "first"
    if source.files is None or asked or not files.readable(unit):
        yield from pieces(source, unit, known, skips)
        return
    trace = columns.Names(names.student, names.title, names.programs, names.times)
    split = huggingface.split_of(unit.path)
    for block in files.blocks(unit):
        for run in columns.runs(block, trace, split, CUT_FROM, source.keep_unchanged):
            if not isinstance(run, Traces):
                yield from _pieces(_with_split(run, split), source, known, skips)
                continue
            _note(skips, run.unchanged, run.cut)
            for title in run.titles:
                if title not in known:
                    known[title] = described(title, source.language)
            yield run


def _pieces(
    told: Iterable[tuple[Place, Mapping[str, Any]]],
    source: PencilCodeSource,
    known: dict[str, Assignment],
    skips: Skips,
) -> Iterator[Piece]:
    read = _rollout if source.rollouts is not None else _piece
    seen: set[tuple[str, str]] = set()
    for place, row in told:
        try:
            piece = read(row, source, place)
        except BadRowError as error:
            skips(place, error)
            continue
        if source.samples == "first":
            if (piece.student, piece.assignment) in seen:
                skips.note("further samples of the same student and title left out")
                continue
            seen.add((piece.student, piece.assignment))
        before = len(piece.submissions)
        piece = piece if source.keep_unchanged else _changed(piece)
        cut = sum("possibly_cut" in state.more for state in piece.submissions)
        _note(skips, before - len(piece.submissions), cut)
        skips.note("traces whose end is not known (censored)", "censored" in piece.submissions[-1].more)
        if piece.assignment not in known:
            known[piece.assignment] = described(piece.assignment, source.language)
        yield piece


def _note(skips: Skips, unchanged: int, cut: int) -> None:
    skips.note("states equal to the one before left out", unchanged)
    skips.note(f"states of {CUT_FROM:,} characters or more, possibly cut", cut)


def described(title: str, language: str) -> Assignment:
    """A title as an assignment: all that is known of what the student wanted."""
    ending = title[title.rfind(".") :].lower() if "." in title else ""
    return Assignment(title, f"Write a Pencil Code program called {title!r}.", _ENDINGS.get(ending, language))


def _rows(source: PencilCodeSource, unit: Unit) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    if source.hub is not None:
        yield from huggingface.rows(unit, source.hub, source.config, source.revision)
    elif source.rollouts is not None:
        yield from _json_list(unit.path)
    else:
        yield from _with_split(rows.rows(unit), huggingface.split_of(unit.path))


def _with_split(
    read: Iterable[tuple[Place, Mapping[str, Any]]], split: str
) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    for place, row in read:
        yield place, {"split": split, **row} if split and not isinstance(row, Broken) else row


def _json_list(path: Path) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    try:
        held = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise SimstudentError(f"{path}: not JSON text ({error})") from None
    if not isinstance(held, list):
        raise SimstudentError(f"{path}: not a list of [text, student, title], but {type(held).__name__}")
    for number, item in enumerate(held, 1):
        place = f"{path.name}, item {number}"
        if not isinstance(item, list) or len(item) < 3:
            yield place, Broken("not a list of [text, student, title]")
        else:
            yield place, {"text": item[0], "username": item[1], "title": item[2], "number": number}


def _piece(row: Mapping[str, Any], source: PencilCodeSource, place: Place) -> Piece:
    """A row of the table: a trace, or one state of one. States stand in order of time, as far as it is known."""
    columns = source.columns
    student, title = _named(row, columns.student), _named(row, columns.title)
    programs = _listed(rows.value_of(row, columns.programs))
    if not programs:
        raise BadRowError(f"'{columns.programs}' is empty")
    times = _as_many(row, columns.times, columns.programs, len(programs))
    actions = _as_many(row, columns.actions, columns.programs, len(programs))
    more = {name: rows.plain(rows.value_of(row, name)) for name in columns.more}
    if row.get("split"):
        more["split"] = text_of(row, "split")
    made = tuple(
        _state(
            code, None if time in (None, "") else timestamp(time, str(columns.times)), action, more, columns.programs
        )
        for code, time, action in zip(programs, times, actions, strict=True)
    )
    if columns.sample is not None:
        return _sample(source, student, title, made, place, text_of(row, columns.sample))
    piece = Piece(student, title, made, place)
    return piece if len(made) == 1 else Piece(student, title, merge([piece], "").submissions, place)


def _rollout(row: Mapping[str, Any], source: PencilCodeSource, place: Place) -> Piece:
    """A rollout of a published model. One that was cut before its end is marked ``censored`` with its last state."""
    student, title = _named(row, "username"), _named(row, "title")
    trace = parse(text_of(row, "text"))
    if not trace.programs:
        raise BadRowError("no state in it was finished")
    made = [
        _state(code, timestamp(time, "timestamp"), None, {}, "text")
        for code, time in zip(trace.programs, trace.timestamps, strict=True)
    ]
    if not trace.complete:
        last = made[-1]
        made[-1] = Submission(last.code, last.time, kind=last.kind, more={**last.more, "censored": True})
    return _sample(source, student, title, tuple(made), place, str(row["number"]))


def _sample(
    source: PencilCodeSource, student: str, title: str, states: tuple[Submission, ...], place: Place, sample: str
) -> Piece:
    """A trace that a model wrote: its states stay in their order, whatever times it gave them."""
    name = student if source.samples == "first" else f"{student}~{sample}"
    return Piece(name, title, states, place, _numbered(len(states)))


def _numbered(count: int) -> tuple[float, ...]:
    return tuple(map(float, range(count)))


def _state(code: Any, time: str | None, action: Any, more: Mapping[str, Any], column: str) -> Submission:
    """A state of a program. What was run is a run; whatever else made it known counts as handed in."""
    if not isinstance(code, str):
        raise BadRowError(f"'{column}' should hold texts, not {type(code).__name__}")
    code = program(text_of({column: code}, column, allow_empty=True), column).removesuffix("\n")
    more = dict(more)
    if action not in (None, ""):
        more["action"] = action = str(action).strip().lower()
    if len(code) >= CUT_FROM:
        more["possibly_cut"] = True
    return Submission(code, time, kind="run" if action == "run" else "submission", more=more)


def _changed(piece: Piece) -> Piece:
    """The piece less states that equal the one before. Where one of several equal states was run, the one kept was."""
    kept: list[Submission] = []
    for state in piece.submissions:
        if not kept or kept[-1].code != state.code:
            kept.append(state)
        elif "censored" in state.more or (state.kind == "run" and kept[-1].kind != "run"):
            news = {name: state.more[name] for name in ("action", "censored") if name in state.more}
            kept[-1] = Submission(state.code, kept[-1].time, kind=state.kind, more={**kept[-1].more, **news})
    if len(kept) == len(piece.submissions):
        return piece
    return Piece(piece.student, piece.assignment, tuple(kept), piece.place, _numbered(len(kept)) if piece.order else ())


def _named(row: Mapping[str, Any], column: str) -> str:
    text = text_of(row, column).strip()
    if not text:
        raise BadRowError(f"'{column}' is empty")
    return text


def _listed(value: Any) -> list[Any]:
    """A list of states or times, or a single one as a list."""
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _as_many(row: Mapping[str, Any], column: str | None, programs: str, count: int) -> list[Any]:
    """A value for each state; None for each where the column is not named or is null. Raises BadRowError."""
    found = [] if column is None else _listed(rows.value_of(row, column))
    if found and len(found) != count:
        raise BadRowError(f"{count} in '{programs}', but {len(found)} in '{column}'")
    return found or [None] * count
