"""Cells of a row as what records hold: text, ids, programs, numbers, grades, times. A cell that is none says why.

No message tells what stands in a cell: where columns are mapped wrongly it may be a student's name.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping
from typing import Any

from graders.extract import normalise_newlines
from simstudent.recipe_errors import closest

LONGEST_ID = 1000  # characters; a title can be long


class BadRowError(Exception):
    """A row that is no submission; the message says why, without its place."""


def value_of(row: Mapping[str, Any], name: str) -> Any:
    """A cell. Raises BadRowError when there is no such column."""
    if name not in row:
        raise BadRowError(f"no column '{name}'; {closest(name, [str(k) for k in row])}")
    return row[name]


def text_of(row: Mapping[str, Any], name: str, *, allow_empty: bool = False) -> str:
    """A cell as text. Raises BadRowError when it is missing, not text, or cannot be written as UTF-8."""
    value = value_of(row, name)
    if type(value) is str and value and value.isascii():  # nearly all of them
        return value
    if value is None or (value == "" and not allow_empty) or (isinstance(value, float) and math.isnan(value)):
        raise BadRowError(f"'{name}' is missing")
    if isinstance(value, bool | list | dict):
        raise BadRowError(f"'{name}' should be text, not {type(value).__name__}")
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise BadRowError(f"'{name}' is not UTF-8 text") from None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text: str = value.isoformat() if hasattr(value, "isoformat") else str(value)
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        raise BadRowError(f"'{name}' holds half a character (a lone surrogate)")
    return text


def id_of(row: Mapping[str, Any], name: str) -> str:
    """A cell that says whose or what for. Raises BadRowError as `text_of`, and for what can be no id."""
    text = text_of(row, name)
    if not text.strip():
        raise BadRowError(f"'{name}' is empty")
    if len(text) > LONGEST_ID:
        raise BadRowError(f"'{name}' is {len(text):,} characters long, more than an id has (most: {LONGEST_ID})")
    if "\x00" in text:
        raise BadRowError(f"'{name}' holds NUL bytes")
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


def shape_of(value: object) -> str:
    """What a cell looks like, without telling it (it may be a name, where columns are mapped wrongly): 99.99.9999."""
    if not isinstance(value, str):
        return f"of type {type(value).__name__}"
    shape = re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", value[:40]))
    return f"text like {shape!r}" + ("..." if len(value) > 40 else "")


def number_of(row: Mapping[str, Any], name: str) -> float:
    """A cell as a finite number. Raises BadRowError."""
    value = value_of(row, name)
    if isinstance(value, bool):
        raise BadRowError(f"'{name}' should be a number, not true or false")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise BadRowError(f"'{name}' should be a number, but is {shape_of(value)}") from None
    if not math.isfinite(number):
        raise BadRowError(f"'{name}' is not a finite number")
    return number


def grade_of(row: Mapping[str, Any], name: str, full: float) -> float | None:
    """The grade in [0, 1]; an empty cell means not graded. Raises BadRowError.

    Where full marks are 1, true and false are grades too.
    """
    value = value_of(row, name)
    if value in (None, ""):
        return None
    if isinstance(value, bool) and full == 1:
        return float(value)
    grade = number_of(row, name) / full
    if not 0 <= grade <= 1 + 1e-9:
        raise BadRowError(f"'{name}' is outside 0 to {full:g}")
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
    if type(value) is int and FIRST_SECOND <= value < 10**11:  # as below, without a detour over text
        return datetime.datetime.fromtimestamp(_checked(value, name), datetime.UTC).isoformat()
    text = str(value).strip()
    if _EPOCH.fullmatch(text):
        seconds = _checked(float(text) / (1000 if float(text) >= 1e11 else 1), name)
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        example = "such as 2025-10-01T09:12:00"
        raise BadRowError(f"'{name}' is not a time in ISO 8601, {example}, but {shape_of(text)}") from None
    return text


_EPOCH = re.compile(r"\d{9,14}(\.\d+)?")
FIRST_SECOND = 10**8
"""Of 1973: a smaller number is no time in seconds."""
LAST_SECOND = 7_258_118_400
"""Of the year 2199."""


def _checked(seconds: float, name: str) -> float:
    if seconds > LAST_SECOND:
        raise BadRowError(f"'{name}' would be after the year 2200, in seconds or milliseconds; write it in ISO 8601")
    return seconds


def plain(value: Any) -> Any:
    """A cell as a JSON value, for `Submission.more`."""
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
