"""Reading what an untrusted program claims: a strict, bounded reader of data-only bytes, and `==` on them.

A claim is ``marshal`` version 2 of plain data. It is never unmarshalled: marshal, like pickle, is not made for
hostile bytes. The common case is decided by comparing bytes with the expected value's own; only when they differ
is the claim read here, and never further than an equal value could go.
"""

from __future__ import annotations

import cmath
import marshal
import math
from dataclasses import dataclass, field
from typing import Any

from graders.reader import MAX_DEPTH, PAIRS, Node, UnreadableError, read, token

_MAX_LEFT = 256  # elements of a set or dict that are compared pair by pair, having no twin of equal bytes


@dataclass(frozen=True, slots=True)
class Expected:
    """An expected value, encoded once. ``size`` counts its nodes, which is as far as a claim is read."""

    raw: bytes
    node: Node = field(repr=False)
    size: int


def expect(value: Any) -> Expected:
    """Encode a trusted value. Raises ValueError when it is no plain data."""
    raw = marshal.dumps(value, 2)
    budget = [len(raw) + 1]
    node, _ = read(raw, 0, budget, 0)
    return Expected(raw, node, len(raw) + 1 - budget[0])


def same(claim: bytes, expected: Expected, tolerance: float, strict: bool = False) -> bool:
    """Whether a claimed value equals the expected one: `==` on structure, floats within ``tolerance`` (absolute
    or relative), NaN equal to NaN, the order of sets and dicts ignored. ``strict``: and all the way down of the same
    types, so that 1 is neither 1.0 nor True. Work is bounded by the expected value."""
    if claim == expected.raw:
        return True
    try:
        node, end = read(claim, 0, [expected.size], 0)
    except UnreadableError:
        return False
    return end == len(claim) and _match(node, expected.node, tolerance, strict)


def show(claim: bytes, limit: int) -> str:
    """The claimed value as Python would write it, cut after about ``limit`` characters."""
    parts: list[str] = []
    try:
        _write(claim, 0, limit, parts, 0)
    except UnreadableError:
        parts.append("...")
    return shorten("".join(parts), limit)


def load(claim: bytes, nodes: int) -> Any:
    """The claimed value in Python's types, texts with replacements for what is no UTF-8; sets and dicts are not
    read. ``nodes`` bounds the values in it. Raises UnreadableError."""
    node, end = read(claim, 0, [nodes], 0)
    if end != len(claim):
        raise UnreadableError
    return _loaded(node)


def _loaded(node: Node) -> Any:
    if node.tag in (b"[", b"("):
        return tuple(_loaded(item) for item in node.items)
    if node.tag in PAIRS:
        raise UnreadableError
    return node.value.decode("utf-8", "replace") if node.tag == b"u" else node.value


def shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


# --- comparing --------------------------------------------------------------------------------------------------


def _match(got: Node, want: Node, tolerance: float, strict: bool) -> bool:
    if got.raw == want.raw:
        return True
    if got.tag in PAIRS or want.tag in PAIRS:
        sets = (b"<", b">")
        if got.tag != want.tag and (strict or not (got.tag in sets and want.tag in sets)):
            return False
        if len(got.items) != len(want.items):
            return False
        if got.tag in (b"[", b"("):
            return all(_match(g, w, tolerance, strict) for g, w in zip(got.items, want.items, strict=True))
        step = 2 if got.tag == b"{" else 1
        return _match_unordered(got.items, want.items, step, tolerance, strict)
    if isinstance(got.value, bytes) or isinstance(want.value, bytes):
        return got.tag == want.tag and got.value == want.value
    if strict and type(got.value) is not type(want.value):
        return False
    return _match_numbers(got.value, want.value, tolerance)


def _match_numbers(got: Any, want: Any, tolerance: float) -> bool:
    numbers = (int, float, complex)
    if not isinstance(got, numbers) or not isinstance(want, numbers):
        return False  # None, Ellipsis, an enormous integer: equal bytes were their only chance
    if isinstance(got, int) and isinstance(want, int):
        return got == want
    try:
        if isinstance(got, complex) or isinstance(want, complex):
            return cmath.isclose(got, want, rel_tol=tolerance, abs_tol=tolerance)
        if math.isnan(got) or math.isnan(want):
            return math.isnan(got) and math.isnan(want)
        return math.isclose(got, want, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:
        return False


def _match_unordered(got: tuple[Node, ...], want: tuple[Node, ...], step: int, tolerance: float, strict: bool) -> bool:
    """Sets (``step`` 1) and dicts (``step`` 2: key, value). Twins by their keys' bytes first, the rest by pairs.

    Looked up by bytes, not by value: a program can choose integers whose hashes collide, not bytes.
    """
    places = {want[at].raw: at for at in range(0, len(want), step)}
    left = []
    for at in range(0, len(got), step):
        twin = places.pop(got[at].raw, None)
        if twin is None:
            left.append(at)
        elif not all(_match(got[at + i], want[twin + i], tolerance, strict) for i in range(step)):
            return False
    if len(left) > _MAX_LEFT:
        return False
    free = list(places.values())
    for at in left:
        for place in free:
            if all(_match(got[at + i], want[place + i], tolerance, strict) for i in range(step)):
                free.remove(place)
                break
        else:
            return False
    return True


# --- showing ----------------------------------------------------------------------------------------------------


def _write(data: bytes, at: int, limit: int, parts: list[str], depth: int) -> int:
    """Append the text of the value at ``at``; where it ends. Raises UnreadableError once ``limit`` is passed."""
    if sum(map(len, parts)) > limit or depth > MAX_DEPTH:
        raise UnreadableError
    tag, value, at = token(data, at)
    if tag not in PAIRS:
        parts.append(_scalar(tag, value, limit))
        return at
    opening, closing = PAIRS[tag]
    parts.append("set(" if tag == b"<" and not value else opening)
    count = 0
    while count < value or (tag == b"{" and data[at : at + 1] != b"0"):
        parts.append(", " if count else "")
        at = _write(data, at, limit, parts, depth + 1)
        if tag == b"{":
            parts.append(": ")
            at = _write(data, at, limit, parts, depth + 1)
        count += 1
    parts.append(",)" if tag == b"(" and count == 1 else ")" if tag == b"<" and not count else closing)
    return at + (tag == b"{")


def _scalar(tag: bytes, value: Any, limit: int) -> str:
    if tag == b"u":
        return repr(value[: 4 * limit].decode("utf-8", "replace")[: limit + 1])
    if tag == b"s":
        return repr(value[: limit + 1])
    if tag == b"l" and value is None:
        return "a very large integer"
    return "Ellipsis" if value is ... else repr(value)
