"""What a program returned or raised, as the bytes that its claims are made of. Imported by child.py only.

Like there, only C modules are used.
"""

from __future__ import annotations

import builtins

# Functions below keep these built-ins, whatever a program does to the real ones.
__builtins__ = dict(vars(builtins))  # type: ignore[assignment]

import marshal
from typing import Any

MAX_DEPTH, MAX_TEXT = 200, 400


class NotDataError(Exception):
    """The value holds something other than plain data; it can equal no literal."""


class TooLargeError(Exception):
    """The value is larger than any expected value could be."""


def error_bytes(error: BaseException) -> bytes:
    """An exception as bytes: class name, line in the program (0 if none), message."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "student.py":
            line = trace.tb_lineno
        trace = trace.tb_next
    try:
        text = str(error)[:MAX_TEXT]
    except Exception:
        text = ""
    return f"{type(error).__name__[:100]}\0{line}\0{text}".encode("utf-8", "backslashreplace")


def traceback_text(error: BaseException, file: str, code: str) -> str:
    """The text Python prints for an error, with the program's own frames only, and no carets."""
    frames: list[list[Any]] = []
    trace = error.__traceback__
    while trace is not None:
        at = trace.tb_frame.f_code
        if at.co_filename == "student.py":
            if frames and frames[-1][:2] == [trace.tb_lineno, at.co_name]:
                frames[-1][2] += 1
            else:
                frames.append([trace.tb_lineno, at.co_name, 1])
        trace = trace.tb_next
    source = code.split("\n")
    lines = ["Traceback (most recent call last):"]
    for number, name, times in frames if len(frames) <= 20 else frames[:10] + frames[-10:]:
        words = source[number - 1].strip()[:200] if 0 < number <= len(source) else ""
        entry = f'  File "{file}", line {number}, in {name[:100]}' + (f"\n    {words}" if words else "")
        lines += [entry] * min(times, 3)  # as Python does
        if times > 3:
            lines.append(f"  [Previous line repeated {times - 3} more time{'s' * (times > 4)}]")
    kind, text = type(error), ""
    try:
        text = str(error)[:MAX_TEXT]
    except Exception:
        text = "<exception str() failed>"
    name = kind.__name__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__name__}"
    return "\n".join([*lines, f"{name[:100]}: {text}" if text else name[:100]]) + "\n"


def value_claim(value: Any, limit: int) -> tuple[bytes, bytes]:
    """A returned value as a claim: tag and payload."""
    try:
        data = marshal.dumps(_plain(value, [limit], MAX_DEPTH), 2)
        if len(data) <= limit:
            return b"V", data
    except TooLargeError:
        pass
    except (NotDataError, ValueError, TypeError):
        return b"X", repr_bytes(value)
    return b"B", b""


def repr_bytes(value: Any) -> bytes:
    try:
        text = repr(value)[:MAX_TEXT]
    except Exception:
        text = f"<{type(value).__name__}>"
    return text.encode("utf-8", "backslashreplace")


_COPIES: tuple[tuple[type, Any], ...] = (
    (int, int.__pos__), (float, float.__pos__), (str, str.__str__), (complex, complex.__pos__)
)  # fmt: skip


def _plain(value: Any, budget: list[int], depth: int) -> Any:
    """The value in exact built-in types: subclasses are read as their base class, which is also how `==` sees
    a Counter, a namedtuple or an IntEnum. Raises NotDataError or TooLargeError."""
    kind = type(value)
    budget[0] -= 1
    if depth == 0 or budget[0] < 0:
        raise TooLargeError
    if kind is int or kind is float or kind is bool or value is None:
        return value
    if kind is str:
        if len(value) > budget[0]:
            raise TooLargeError  # before marshal copies it, twice
        return value
    for base in (list, tuple, set, frozenset):
        if isinstance(value, base):
            items = base.__iter__(value)  # type: ignore[arg-type]
            return base([_plain(item, budget, depth - 1) for item in items])
    if isinstance(value, dict):
        pairs = dict.items(value)
        return {_plain(k, budget, depth - 1): _plain(v, budget, depth - 1) for k, v in pairs}
    if isinstance(value, (bytes, bytearray)):
        return bytes(memoryview(value))
    for scalar, copy in _COPIES:
        if isinstance(value, scalar):
            return copy(value)
    raise NotDataError
