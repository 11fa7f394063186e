"""Traces as columns: from a log to a part of a dataset without a Python object for each state.

Of a log with a whole trace a row, most rows are plain: texts and ascending times, nothing missing, nothing strange.
Those go from Arrow to Arrow here, many at once. Whatever is not plain is left to the reader of rows, which alone
decides what a row means and what is wrong with it: what comes out is the same either way.
"""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from simstudent.data import dataset, gather
from simstudent.data.blocks import Block
from simstudent.data.cells import FIRST_SECOND, LAST_SECOND
from simstudent.data.rows import Place

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_ASIDE = 1 << 17  # bytes looked at in one go: they stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Names:
    """The columns that hold a trace; no ``times``: none are known."""

    student: str
    title: str
    programs: str
    times: str | None


@dataclass(frozen=True, slots=True)
class Traces:
    """Whole traces, a row each: what a part holds of them, and what is told of them.

    ``submissions``: as in `dataset.schema`. ``sizes``: what `dataset.size_of` says of each. ``unchanged``: states left
    out because they equal the one before; ``cut``: states marked as possibly cut.
    """

    students: Sequence[str]
    titles: Sequence[str]
    places: Sequence[Place]
    submissions: pa.ListArray
    sizes: np.ndarray[Any, Any]
    unchanged: int
    cut: int

    def rows(self, students: Sequence[str], source: str) -> pa.RecordBatch:
        """As rows of a part, of ``students`` that are veiled."""
        import pyarrow as pa

        unknown, source = (pa.repeat(pa.scalar(value), len(students)) for value in ("unknown", source))
        columns = [pa.array(students, pa.string()), pa.array(self.titles, pa.string()), self.submissions]
        return pa.RecordBatch.from_arrays([*columns, unknown, source], schema=dataset.schema())

    def keys(self, students: Sequence[str]) -> pa.RecordBatch:
        """As rows of the keys beside a part that is staged (`gather.key_schema`)."""
        import pyarrow as pa

        ready, order = pa.repeat(pa.scalar(True), len(students)), pa.array([[]] * len(students), pa.list_(pa.float64()))
        held = [pa.array(students), pa.array(self.titles), ready, order, pa.array(self.places)]
        return pa.RecordBatch.from_arrays(held, schema=gather.key_schema())


def runs(
    block: Block, names: Names, split: str, cut_from: int, keep_unchanged: bool
) -> Iterator[Traces | Iterator[tuple[Place, Mapping[str, Any]]]]:
    """A block's rows in order: plain ones as `Traces`, those between as (place, row).

    ``split``: what is kept with each state as ``more.split``, unless empty. ``cut_from``: the characters from which a
    state may have been cut.
    """
    parts = _columns(block.columns, names) if block.columns is not None else None
    if parts is None:
        yield zip(block.places, block.rows(0, len(block.places)), strict=True)
        return
    at = 0
    for strange, group in groupby(_odd(parts, split).tolist()):
        start, at = at, at + sum(1 for _ in group)
        if strange:
            yield zip(block.places[start:at], block.rows(start, at), strict=True)
        else:
            yield _traces(parts.slice(start, at), block.places[start:at], split, cut_from, keep_unchanged)


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of a block that hold traces, of types that are known here."""

    students: Sequence[str | None]
    titles: Sequence[str | None]
    programs: pa.ListArray
    times: pa.ListArray | None
    ascii: bool
    """Whether all programs are."""

    def slice(self, start: int, stop: int) -> _Columns:
        times = None if self.times is None else self.times.slice(start, stop - start)
        programs = self.programs.slice(start, stop - start)
        return _Columns(self.students[start:stop], self.titles[start:stop], programs, times, self.ascii)


def _columns(batch: pa.RecordBatch, names: Names) -> _Columns | None:
    """The columns of a trace; None where one is missing, of another type, or no valid UTF-8."""
    import pyarrow as pa

    wanted = [name for name in (names.student, names.title, names.programs, names.times) if name is not None]
    if not set(wanted) <= set(batch.schema.names) or "split" in batch.schema.names:
        return None
    students, titles, programs, *times = (batch[name] for name in wanted)
    if not (pa.types.is_list(programs.type) and pa.types.is_string(programs.type.value_type)):
        return None
    if not (pa.types.is_string(students.type) and pa.types.is_string(titles.type)):
        return None
    if times and not (pa.types.is_list(times[0].type) and times[0].type.value_type in (pa.int64(), pa.string())):
        return None
    states = _flat(programs)[1]
    ascii = all(look.min() >= 0 for look in _looks(states))
    try:
        if not ascii:
            states.validate(full=True)
        return _Columns(students.to_pylist(), titles.to_pylist(), programs, times[0] if times else None, ascii)
    except (UnicodeDecodeError, pa.ArrowInvalid):
        return None


def _odd(columns: _Columns, split: str) -> np.ndarray[Any, Any]:
    """Which rows are not plain.

    A student named as a further value of a state would have that value renamed: such rows are not plain either.
    """
    import numpy as np

    special = {"", "True", split}
    names = zip(columns.students, columns.titles, strict=True)
    odd = np.array([not s or not t or s.strip() in special or not t.strip() for s, t in names], bool)
    at, states = _flat(columns.programs)
    odd |= (np.diff(at) == 0) | _any(_bad_texts(states), at)
    if columns.times is not None:
        starts, times = _flat(columns.times)
        odd |= (np.diff(starts) != np.diff(at)) | _any(_bad_times(times, starts), starts)
    return odd


def _flat(lists: pa.ListArray) -> tuple[np.ndarray[Any, Any], pa.Array]:
    """Where each list begins and ends among the values of all, and these values. A list that is null is empty."""
    import numpy as np

    if lists.null_count:
        lengths = np.asarray(lists.value_lengths().fill_null(0))
        return np.concatenate([[0], np.cumsum(lengths)]), lists.flatten()
    at = np.asarray(lists.offsets)
    return at - at[0], lists.values.slice(at[0], at[-1] - at[0])


def _any(bad: np.ndarray[Any, Any], at: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which lists hold a value that is bad."""
    import numpy as np

    if not bad.any():
        return np.zeros(len(at) - 1, bool)
    before = np.concatenate([[0], np.cumsum(bad)])
    return np.asarray(before[at[1:]] > before[at[:-1]])


def _bad_texts(states: pa.StringArray) -> np.ndarray[Any, Any]:
    """Which states are missing, or hold NUL or \\r."""
    import numpy as np
    import pyarrow.compute as pc

    bad = np.asarray(states.is_null())
    for sign in (0, 13):
        if any((look == sign).any() for look in _looks(states)):
            bad |= np.asarray(pc.match_substring(states, chr(sign)).fill_null(True))
    return bad


def _looks(states: pa.StringArray) -> Iterator[np.ndarray[Any, Any]]:
    """All bytes of the texts, some at a time; those of no ASCII character are negative."""
    import numpy as np

    at, held = _ends(states), states.buffers()[2]
    text = np.frombuffer(b"" if held is None else held, np.int8)[at[0] : at[-1]]
    return (text[start : start + _ASIDE] for start in range(0, len(text), _ASIDE))


def _ends(states: pa.StringArray) -> np.ndarray[Any, Any]:
    """Where each text begins and ends among the bytes of all."""
    import numpy as np

    return np.frombuffer(states.buffers()[1], np.int32)[states.offset : states.offset + len(states) + 1]


def _bad_times(times: pa.Array, starts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which times are missing, out of range, not in order, or neither seconds nor like ``2025-10-01T09:12:00``."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if not len(times):
        return np.zeros(0, bool)
    if pa.types.is_string(times.type):
        bad = np.asarray(pc.binary_length(times).fill_null(0)) != 19
        try:
            times = times.cast(pa.timestamp("s")).cast(pa.int64())
        except pa.ArrowInvalid:
            return np.ones(len(times), bool)
    else:
        bad = np.zeros(len(times), bool)
    seconds = np.asarray(times.fill_null(0))
    bad |= (seconds < FIRST_SECOND) | (seconds > LAST_SECOND)
    earlier = np.concatenate([[False], seconds[1:] < seconds[:-1]])
    earlier[starts[:-1][starts[:-1] < len(earlier)]] = False
    return np.asarray(bad | earlier)


def _traces(columns: _Columns, places: Sequence[Place], split: str, cut_from: int, keep_unchanged: bool) -> Traces:
    """Rows that are plain, as a part holds them."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    at, codes = _flat(columns.programs)
    times = None if columns.times is None else _texts(_flat(columns.times)[1])
    ends = pc.ends_with(codes, "\n")
    if pc.any(ends).as_py():  # one newline less, as a row's state
        codes = pc.if_else(ends, pc.binary_slice(codes.view(pa.binary()), 0, -1).view(pa.string()), codes)
    count = len(codes)
    if not keep_unchanged and count > 1:
        new = np.concatenate([[True], np.asarray(pc.not_equal(codes[1:], codes[:-1]))])
        new[at[:-1]] = True
        if not new.all():
            codes, times = codes.filter(pa.array(new)), None if times is None else times.filter(pa.array(new))
            at = np.concatenate([[0], np.cumsum(new)])[at]
    lengths = np.diff(_ends(codes)) if columns.ascii else np.asarray(pc.utf8_length(codes))
    cut = lengths >= cut_from
    sizes = np.add.reduceat(lengths.astype(np.int64) + dataset.STATE_SIZE, at[:-1])
    submissions = _submissions(at, codes, times, _more(cut, split))
    students, titles = ([str(name).strip() for name in names] for names in (columns.students, columns.titles))
    return Traces(students, titles, places, submissions, sizes, count - len(codes), int(cut.sum()))


def _more(cut: np.ndarray[Any, Any], split: str) -> pa.Array:
    """What is kept with each state besides, as JSON text: as `dataset.submission_row` has it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    held = {"split": split} if split else {}
    plain = pa.scalar(json.dumps(held, ensure_ascii=False) if held else None, pa.string())
    return pc.if_else(pa.array(cut), json.dumps({**held, "possibly_cut": True}, ensure_ascii=False), plain)


def _submissions(at: np.ndarray[Any, Any], codes: pa.Array, times: pa.Array | None, more: pa.Array) -> pa.ListArray:
    """Lists of submissions that have a program and perhaps a time, and nothing else."""
    import pyarrow as pa

    kind = dataset.schema().field("submissions").type
    fields = list(kind.value_type)
    known = {"code": codes.cast(pa.large_string()), "more": more}
    known["kind"] = pa.repeat(pa.scalar("submission"), len(codes))
    talk = kind.value_type.field("talk").type
    nothing = pa.array([], talk.value_type)
    known["talk"] = pa.ListArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), len(codes) + 1), nothing, type=talk)
    if times is not None:
        known["time"] = times
    held = [known.get(field.name) for field in fields]
    made = [pa.nulls(len(codes), f.type) if column is None else column for f, column in zip(fields, held, strict=True)]
    states = pa.StructArray.from_arrays(made, fields=fields)
    return pa.ListArray.from_arrays(pa.array(at, pa.int32()), states, type=kind)


def _texts(times: pa.Array) -> pa.Array:
    """Times as ISO 8601 text: as `cells.timestamp` has it. Texts stay as they are."""
    import numpy as np
    import pyarrow as pa

    if pa.types.is_string(times.type):
        return times
    days, seconds = np.divmod(np.asarray(times), 86_400)
    text = np.empty(len(days), [("day", "S10"), ("then", "S1"), ("clock", "S8"), ("zone", "S6")])
    begins = np.flatnonzero(np.concatenate([[True], days[1:] != days[:-1]]))  # neighbours are mostly of the same day
    names = np.array([_day(day) for day in days[begins].tolist()], "S10")
    text["day"] = np.repeat(names, np.diff(np.append(begins, len(days))))
    text["then"], text["clock"], text["zone"] = b"T", _clock()[seconds], b"+00:00"
    at = np.arange(len(text) + 1, dtype=np.int32) * np.int32(text.itemsize)
    return pa.StringArray.from_buffers(len(text), pa.py_buffer(at), pa.py_buffer(text))


@functools.cache
def _day(number: int) -> bytes:
    """The date of a day counted from 1970."""
    return (datetime.date(1970, 1, 1) + datetime.timedelta(number)).isoformat().encode()


@functools.cache
def _clock() -> np.ndarray[Any, Any]:
    """The time of day of each second: 86,400 texts of 8 characters."""
    import numpy as np

    second, two = np.arange(86_400), np.array([b"%02d" % n for n in range(60)])
    text = np.full(86_400, b"::", [("hour", "S2"), ("", "S1"), ("minute", "S2"), (" ", "S1"), ("second", "S2")])
    text["hour"], text["minute"], text["second"] = two[second // 3600], two[second // 60 % 60], two[second % 60]
    return text.view("S8")
