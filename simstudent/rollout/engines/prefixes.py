"""Keys and values of rows that were generated lately, for prompts that begin in the same way."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from simstudent.rollout.engines.rows import KeysValues

BLOCK = 32  # tokens: prompts are compared with kept rows in steps of so many


@dataclass(frozen=True, slots=True)
class _Kept:
    ids: tuple[int, ...]
    blocks: list[int]
    rows: KeysValues
    size: int  # bytes


class Prefixes:
    """At most ``capacity`` bytes of kept rows; the least recently used go first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._size = 0
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._numbered = 0
        self._holders: dict[int, int] = {}  # a block's hash -> the number of the row that begins with it

    def clear(self) -> bool:
        """Drop everything. Returns whether there was anything."""
        held = bool(self._kept)
        self._kept.clear()
        self._holders.clear()
        self._size = 0
        return held

    def known(self, blocks: list[int]) -> int:
        """How many of a prompt's leading blocks are kept."""
        for count in range(len(blocks), 0, -1):
            if blocks[count - 1] in self._holders:
                return count
        return 0

    def find(self, ids: tuple[int, ...], blocks: list[int]) -> tuple[KeysValues | None, int]:
        """The kept beginning of a prompt and its length in tokens, at least one token less than the prompt."""
        count = self.known(blocks[: (len(ids) - 1) // BLOCK])
        if not count:
            return None, 0
        number, length = self._holders[blocks[count - 1]], count * BLOCK
        kept = self._kept[number]
        if kept.ids[:length] != ids[:length]:  # two texts with one hash
            return None, 0
        self._kept.move_to_end(number)
        return [(keys[:, :, :length], values[:, :, :length]) for keys, values in kept.rows], length

    def keep(self, ids: tuple[int, ...], blocks: list[int], rows: KeysValues) -> None:
        """Keep a row; one that it continues (an earlier turn of the same dialogue) goes."""
        size = sum(keys.nbytes + values.nbytes for keys, values in rows)
        if not blocks or not rows or size > self.capacity:
            return
        count = self.known(blocks)
        if count:
            older = self._holders[blocks[count - 1]]
            if len(self._kept[older].blocks) == count:
                self._drop(older)
        self._numbered += 1
        self._kept[self._numbered] = _Kept(ids, blocks, rows, size)
        self._holders.update(dict.fromkeys(blocks, self._numbered))
        self._size += size
        while self._size > self.capacity:
            self._drop(next(iter(self._kept)))

    def _drop(self, number: int) -> None:
        kept = self._kept.pop(number)
        self._size -= kept.size
        for block in kept.blocks:
            if self._holders.get(block) == number:
                del self._holders[block]


def blocks_of(ids: tuple[int, ...], adapter: str | None) -> list[int]:
    """A hash for every whole block of ``ids``, each of everything before it too, and of the adapter."""
    chain, last = [], hash(adapter)
    for end in range(BLOCK, len(ids) + 1, BLOCK):
        last = hash((last, ids[end - BLOCK : end]))
        chain.append(last)
    return chain
