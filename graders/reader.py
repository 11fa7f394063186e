"""The strict reader of data-only bytes (``marshal`` version 2 of plain data) that a stranger wrote.

Used by claims.py on the trusted side, and by candidate.py in a checker's process.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

_INT = struct.Struct("<i")
_FLOAT = struct.Struct("<d")
_CONSTANTS: dict[bytes, Any] = {b"N": None, b"T": True, b"F": False, b".": ...}
PAIRS: dict[bytes, tuple[str, str]] = {
    b"[": ("[", "]"), b"(": ("(", ")"), b"<": ("{", "}"), b">": ("frozenset({", "})"), b"{": ("{", "}"),
}  # fmt: skip
MAX_DEPTH = 250
_MAX_DIGITS = 80  # of 15 bits: more than a finite float reaches


class UnreadableError(ValueError):
    """Not a claim: malformed, or larger than the reader's bound."""


class Node(NamedTuple):
    """A value read from a claim: its tag, its bytes, its items (keys and values in turn for a dict)."""

    tag: bytes
    raw: bytes
    value: Any = None
    items: tuple[Node, ...] = ()


def _size(data: bytes, at: int) -> int:
    if at + 4 > len(data):
        raise UnreadableError
    return int(_INT.unpack_from(data, at)[0])


def token(data: bytes, at: int) -> tuple[bytes, Any, int]:
    """Tag, value (or number of items) and end of what begins at ``at``."""
    tag = data[at : at + 1]
    at += 1
    if tag in _CONSTANTS:
        return tag, _CONSTANTS[tag], at
    if tag == b"i":
        return tag, _size(data, at), at + 4
    if tag == b"{":
        return tag, 0, at
    if tag in (b"g", b"y"):
        end = at + (8 if tag == b"g" else 16)
        if end > len(data):
            raise UnreadableError
        real = _FLOAT.unpack_from(data, at)[0]
        return tag, real if tag == b"g" else complex(real, _FLOAT.unpack_from(data, at + 8)[0]), end
    size = _size(data, at)
    at += 4
    end = at + (2 * abs(size) if tag == b"l" else size if tag in (b"u", b"s") else 0)
    if tag not in (b"l", b"u", b"s", b"[", b"(", b"<", b">") or (size < 0 and tag != b"l") or end > len(data):
        raise UnreadableError
    if tag == b"l":
        return tag, _long(data[at:end], size), end
    return tag, data[at:end] if tag in (b"u", b"s") else size, end


def _long(digits: bytes, size: int) -> int | None:
    """The integer of marshal's 15-bit digits; None when it is too long to be worth building."""
    if abs(size) > _MAX_DIGITS:
        return None
    total = 0
    for at in range(len(digits) - 2, -1, -2):
        total = total << 15 | (digits[at] | (digits[at + 1] & 0x7F) << 8)
    return total if size > 0 else -total


def read(data: bytes, at: int, budget: list[int], depth: int) -> tuple[Node, int]:
    """The value that begins at ``at``, and where it ends. ``budget`` holds the number of values that may still be
    read. Raises UnreadableError."""
    budget[0] -= 1
    if budget[0] < 0 or depth > MAX_DEPTH:
        raise UnreadableError
    begin = at
    tag, value, at = token(data, at)
    if tag not in PAIRS:
        return Node(tag, data[begin:at], value), at
    items: list[Node] = []
    if tag == b"{":
        while data[at : at + 1] != b"0":
            for _ in range(2):
                item, at = read(data, at, budget, depth + 1)
                items.append(item)
        at += 1
    else:
        if value > budget[0]:
            raise UnreadableError
        for _ in range(value):
            item, at = read(data, at, budget, depth + 1)
            items.append(item)
    return Node(tag, data[begin:at], None, tuple(items)), at


def build(node: Node) -> Any:
    """The value in Python's types; bytes that are no UTF-8 become replacement characters, as in `load`.

    Raises UnreadableError for what no program can have returned: a key that cannot be one, too long an integer.
    """
    if node.tag == b"l" and node.value is None:
        return _build_long(node.raw)
    if node.tag not in PAIRS:
        return node.value.decode("utf-8", "surrogatepass") if node.tag == b"u" else node.value
    items = [build(item) for item in node.items]
    match node.tag:
        case b"[":
            return items
        case b"(":
            return tuple(items)
        case b"<":
            return set(items)
        case b">":
            return frozenset(items)
        case _:
            return dict(zip(items[::2], items[1::2], strict=True))


def _build_long(raw: bytes) -> int:
    size = _INT.unpack_from(raw, 1)[0]
    digits = struct.unpack_from(f"<{abs(size)}H", raw, 5)
    text = "".join(f"{digit & 0x7FFF:015b}" for digit in reversed(digits))
    return int(text, 2) if size > 0 else -int(text, 2)
