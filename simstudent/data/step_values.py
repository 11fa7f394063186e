"""How a recipe writes the value of a selection step: readers that raise ValueError, saying what would do."""

from __future__ import annotations

import re
from typing import Any

Values = tuple[str, ...]


def as_text(value: object) -> str:
    """A value as selection compares it: as text, upper and lower case alike."""
    return str(value).casefold()


def number(value: Any) -> float:
    """A number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"a value of type float, not {value!r}")
    return float(value)


def share(value: Any) -> float:
    """A share, more than nothing and less than all."""
    if not 0 < number(value) < 1:
        raise ValueError(f"a share between 0 and 1, not {value!r}")
    return float(value)


def grade(value: Any) -> float:
    """A grade in [0, 1]."""
    if not 0 <= number(value) <= 1:
        raise ValueError(f"a grade between 0 and 1, not {value!r}")
    return float(value)


def whole_number(value: Any) -> int:
    """A whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"a value of type int, not {value!r}")
    return value


def flag(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"true or false, not {value!r}")
    return value


def texts(value: Any) -> Values:
    """One value or several, as text for comparison."""
    many = value if isinstance(value, list | tuple) else [value]
    if not many or any(isinstance(one, dict | list | tuple) or one is None for one in many):
        raise ValueError(f"a value or a list of them, not {value!r}")
    return tuple(as_text(one) for one in many)


def columns(value: Any) -> dict[str, Values]:
    """Columns, each with the values wanted."""
    if not isinstance(value, dict) or not value:
        raise ValueError(f"columns with their values, such as {{section: [A, B]}}, not {value!r}")
    return {str(name): texts(wanted) for name, wanted in value.items()}


def what_to_drop(value: Any) -> str:
    """``submission`` or ``trajectory``."""
    if value not in ("submission", "trajectory"):
        raise ValueError(f"'submission' or 'trajectory' (what is dropped), not {value!r}")
    return str(value)


def lesson(value: Any) -> str:
    """The name of a column, or a pattern with one group."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"a column, or a pattern with one group, not {value!r}")
    try:
        groups = re.compile(value).groups
    except re.error as error:
        raise ValueError(f"a column, or a pattern with one group; {value!r} is none ({error})") from None
    if "(" in value and groups != 1:
        raise ValueError(f"a pattern with one group, not {groups}: {value!r}")
    return value
