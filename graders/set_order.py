"""The order in which CPython iterates a set of strings under PYTHONHASHSEED=0, on any interpreter and seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any


class SeedZeroSet(set[Any]):
    """A set that iterates as CPython's does under PYTHONHASHSEED=0, whatever the seed of this process is.

    Only for sets that are built at once from strings; sets of numbers iterate the same under every seed.
    """

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self._given = list(items)
        super().__init__(self._given)

    def __iter__(self) -> Iterator[Any]:
        if len(self) > 1 and isinstance(self._given[0], str):
            return iter(seed_zero_order(self._given))
        return super().__iter__()


def seed_zero_order(names: Iterable[str]) -> list[str]:
    """``list(set(names))`` as CPython 3.11+ answers under PYTHONHASHSEED=0: distinct names in table order.

    Follows Objects/setobject.c: a table of 8 slots that grows fourfold when three fifths full, linear probing over
    9 further slots, then a jump by the perturbed hash. Meant for tables under 50,000 names.
    """
    table: list[tuple[int, str] | None] = [None] * 8
    for used, name in enumerate(dict.fromkeys(names), 1):
        _insert(table, _siphash13(name), name)
        if used * 5 >= (len(table) - 1) * 3:
            size = 8
            while size <= used * 4:
                size *= 2
            old, table = table, [None] * size
            for entry in old:
                if entry is not None:
                    _insert(table, *entry)
    return [entry[1] for entry in table if entry is not None]


def _insert(table: list[tuple[int, str] | None], hashed: int, name: str) -> None:
    mask, perturb = len(table) - 1, hashed
    i = hashed & mask
    while True:
        for slot in range(i, i + 10 if i + 9 <= mask else i + 1):
            if table[slot] is None:
                table[slot] = (hashed, name)
                return
        perturb >>= 5
        i = (i * 5 + 1 + perturb) & mask


@lru_cache(maxsize=65_536)
def _siphash13(text: str) -> int:
    """CPython's hash of a string under PYTHONHASHSEED=0: SipHash-1-3 with a zero key, as an unsigned 64-bit number."""
    widest = max(map(ord, text), default=0)
    if not text:
        return 0
    data = text.encode("latin-1" if widest < 256 else "utf-16-le" if widest < 65_536 else "utf-32-le", "surrogatepass")
    v = [0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573]
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) % 256])
    for start in range(0, len(padded), 8):
        word = int.from_bytes(padded[start : start + 8], "little")
        v[3] ^= word
        _sip_round(v)
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(3):
        _sip_round(v)
    hashed = v[0] ^ v[1] ^ v[2] ^ v[3]
    return hashed if hashed != 2**64 - 1 else 2**64 - 2  # -1 is CPython's mark of an error


def _sip_round(v: list[int]) -> None:
    full = 2**64 - 1
    for a, b, c, d, left, right in ((0, 1, 2, 3, 13, 16), (2, 1, 0, 3, 17, 21)):
        # A round is two half rounds; the first adds b to a and d to c, the second b to c and d to a.
        v[a] = (v[a] + v[b]) & full
        v[c] = (v[c] + v[d]) & full
        v[b] = ((v[b] << left | v[b] >> (64 - left)) & full) ^ v[a]
        v[d] = ((v[d] << right | v[d] >> (64 - right)) & full) ^ v[c]
        v[a] = (v[a] << 32 | v[a] >> 32) & full
