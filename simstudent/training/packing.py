"""Packing: several trajectories in one row of the window's length, none of which sees another.

Position ids start anew with each trajectory. Without an attention mask transformers reads the borders off them and
masks attention across, in every attention implementation; a test compares losses and gradients with single rows.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import accumulate
from typing import Any

from simstudent.dialogue.encode import IGNORED, Row


def pack(lengths: Sequence[int], width: int) -> list[list[int]]:
    """Numbers of the rows that share a pack: best fit, longest rows first. A row beyond ``width`` has its own pack."""
    packs: list[list[int]] = []
    rooms: list[int] = []  # tokens left in some pack: different numbers, sorted, so never more than the width
    open_packs: defaultdict[int, list[int]] = defaultdict(list)  # those with so many left, as a heap
    for number in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        at = bisect_left(rooms, lengths[number])
        if at == len(rooms):
            packs.append([])
            room, place = width, len(packs) - 1
        else:
            room = rooms[at]
            place = heappop(open_packs[room])
            if not open_packs[room]:
                rooms.pop(at)
        packs[place].append(number)
        left = max(0, room - lengths[number])
        if not open_packs[left]:
            insort(rooms, left)
        heappush(open_packs[left], place)
    return packs


def packed(rows: Sequence[Row], width: int) -> list[dict[str, list[int]]]:
    """Rows as the collator takes them: ids and labels of a pack one after another, and the length of each.

    A row's first token carries no loss, as it would not if the row stood alone: nothing of its own comes before it.
    """
    found = []
    for numbers in pack([len(r.ids) for r in rows], width):
        held = [rows[n] for n in numbers]
        found.append(
            {
                "input_ids": [i for r in held for i in r.ids],
                "labels": [i for r in held for i in (IGNORED, *r.labels[1:])],
                "lengths": [len(r.ids) for r in held],
            }
        )
    return found


@dataclass(frozen=True)
class Collator:
    """Packs to tensors (batch, longest pack): ``input_ids``, ``labels``, ``position_ids``, and no attention mask.

    What fills a pack up is one more segment, which carries no loss. ``flat``: all packs one after another in a single
    row (1, tokens), nothing filled up, with the borders of the segments for attention that needs no mask.
    """

    pad_id: int
    flat: bool = False

    def __call__(self, packs: Sequence[dict[str, list[int]]]) -> dict[str, Any]:
        import torch

        if self.flat:
            return _one_row(packs)
        width = max(len(p["input_ids"]) for p in packs)
        ids, labels, places = [], [], []
        for p in packs:
            fill = width - len(p["input_ids"])
            ids.append(p["input_ids"] + [self.pad_id] * fill)
            labels.append(p["labels"] + [IGNORED] * fill)
            places.append([i for length in [*p["lengths"], fill] for i in range(length)])
        made = {"input_ids": ids, "labels": labels, "position_ids": places}
        return {name: torch.tensor(rows) for name, rows in made.items()}


def _one_row(packs: Sequence[dict[str, list[int]]]) -> dict[str, Any]:
    """The borders under transformers' names (``cu_seq_lens_q`` and its like) and unsloth's (``packed_seq_lengths``)."""
    import torch

    lengths = [length for p in packs for length in p["lengths"]]
    borders = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
    return {
        "input_ids": torch.tensor([[i for p in packs for i in p["input_ids"]]]),
        "labels": torch.tensor([[i for p in packs for i in p["labels"]]]),
        "position_ids": torch.tensor([[i for length in lengths for i in range(length)]]),
        "cu_seq_lens_q": borders,
        "cu_seq_lens_k": borders,
        "max_length_q": max(lengths),
        "max_length_k": max(lengths),
        "packed_seq_lengths": torch.tensor(lengths, dtype=torch.int32),
    }
