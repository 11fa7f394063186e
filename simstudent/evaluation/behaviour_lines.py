"""What an edit did to the lines of a program: which lines were changed into which, and what came and went.

The published counts pair a removed line with added ones anywhere in the program; here lines are paired within one hunk,
in their order, and only where they are alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from rapidfuzz.distance import Indel

from simstudent.evaluation import behaviour_colours

ALIKE = 0.5
"""Share of characters that two lines of a hunk have in common (Indel similarity) from which on one became the other."""
NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+")


@dataclass(frozen=True, slots=True)
class LineEdit:
    """One edit in lines: those added and deleted, and pairs (before, after) of those changed."""

    added: tuple[str, ...]
    deleted: tuple[str, ...]
    changed: tuple[tuple[str, str], ...]

    @property
    def colours(self) -> int:
        """Changed lines that differ in their colours only."""
        hide = behaviour_colours.masked
        return sum(hide(a) == hide(b) for a, b in self.changed)

    @property
    def numbers(self) -> int:
        """Changed lines that differ in their numbers only."""
        return sum(NUMBER.sub("0", a) == NUMBER.sub("0", b) for a, b in self.changed)


def line_edit(before: str, after: str) -> LineEdit:
    """The edit between two states. Trailing white space is no change."""
    old, new = ([line.rstrip() for line in code.splitlines()] for code in (before, after))
    added, deleted, changed = list[str](), list[str](), list[tuple[str, str]]()
    for kind, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        pairs = paired(old[i:j], new[k:m])
        gone, come = {a for a, _ in pairs}, {b for _, b in pairs}
        changed += [(old[i + a], new[k + b]) for a, b in pairs]
        deleted += [line for n, line in enumerate(old[i:j]) if n not in gone]
        added += [line for n, line in enumerate(new[k:m]) if n not in come]
    return LineEdit(tuple(added), tuple(deleted), tuple(changed))


def paired(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Which lines of a hunk became which: pairs in ascending order on both sides, the likest in sum, all alike."""
    likeness = [[Indel.normalized_similarity(a, b) for b in new] for a in old]
    best = [[0.0] * (len(new) + 1) for _ in range(len(old) + 1)]  # of old[a:] and new[b:]
    for a in reversed(range(len(old))):
        for b in reversed(range(len(new))):
            together = likeness[a][b] + best[a + 1][b + 1] if likeness[a][b] >= ALIKE else 0.0
            best[a][b] = max(together, best[a + 1][b], best[a][b + 1])
    found, a, b = list[tuple[int, int]](), 0, 0
    while a < len(old) and b < len(new):
        if likeness[a][b] >= ALIKE and best[a][b] == likeness[a][b] + best[a + 1][b + 1]:
            found.append((a, b))
            a, b = a + 1, b + 1
        elif best[a][b] == best[a + 1][b]:
            a += 1
        else:
            b += 1
    return found
