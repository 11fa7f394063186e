"""The only window: which turns of a dialogue are in view before an answer, and their parts in order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from simstudent.dialogue.serialize import Turn
from simstudent.dialogue.texts import Ids

if TYPE_CHECKING:
    from simstudent.dialogue.encode import Encoder

Part = Literal["template", "system", "earlier", "assignment", "header", "answer", "reaction"]


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive tokens of one origin. ``turn``: the 0-based turn that they belong to, None before the first."""

    part: Part
    ids: Ids
    turn: int | None = None
    trained: bool = False


class View:
    """The turns of one dialogue, tokenised once: how long each is, and where a window over them starts.

    ``answers``: tokens of each answer as it is and as it is where no program before it is in view.
    """

    def __init__(self, encoder: Encoder, turns: Sequence[Turn]) -> None:
        self.encoder, self.turns = encoder, turns
        self.answers = []
        lengths = []
        for turn in turns:
            answer = len(encoder.answer(turn))
            self.answers.append((answer, answer if turn.whole is None else len(encoder.answer(turn, whole=True))))
            lengths.append(sum(len(s.ids) for s in encoder.parts(turn, None, whole=False)))
        self.ends = [0, *accumulate(lengths)]
        self.diffs = any(turn.whole is not None for turn in turns)
        self.programs = [0, *accumulate(turn.has_program for turn in turns)]

    def start(self, count: int, room: int, need: int, alone: int) -> int | None:
        """The first of ``count`` turns in view before an answer of ``need`` tokens, None when not even that fits.

        ``alone``: the tokens of that answer where it is the first program in view.
        """
        extra = self._extra(count, alone - need) if self.diffs or alone > need else ()
        least = 0
        if self.encoder.max_programs is not None:
            while self.programs[count] - self.programs[least] > self.encoder.max_programs:
                least += 1
        return _start(self.ends, count, room - need, extra, least)

    def _extra(self, count: int, alone: int) -> list[int]:
        """Tokens that writing the first program in view whole adds, for each turn that may be the first in view."""
        found = [alone]
        for number in range(count - 1, -1, -1):
            answer, whole = self.answers[number]
            found.append(whole - answer if self.turns[number].has_program else found[-1])
        return found[::-1]

    def first_program(self, first: int) -> int:
        """The first turn from ``first`` on that has a program."""
        return next((n for n in range(first, len(self.turns)) if self.turns[n].has_program), len(self.turns))

    def segments(self, first: int, stop: int, targets: Sequence[int] = (), last: bool = False) -> Iterator[Segment]:
        """The turns first .. stop - 1 in their parts; ``last``: the last one is not answered."""
        shown_whole, trained = self.first_program(first), set(targets)
        for n in range(first, stop):
            yield from self.encoder.parts(
                self.turns[n], n, whole=n == shown_whole, last=last and n == stop - 1, trained=n in trained
            )


def window_start(lengths: Sequence[int], room: int, *, extra: Sequence[int] = (), least: int = 0) -> int | None:
    """The first turn kept, at or after ``least``, so that the turns from it on take at most ``room`` tokens.

    The number of turns when none fits; None when ``room`` is too small for that as well. ``extra``: tokens added when
    the window starts at a turn, with one entry more for no turn at all.
    """
    return _start([0, *accumulate(lengths)], len(lengths), room, extra, least)


def _start(ends: Sequence[int], count: int, room: int, extra: Sequence[int], least: int) -> int | None:
    """`window_start` of the first ``count`` turns. ``ends``: the tokens before each turn, so that traces of thousands
    of states cost no sum for each of them.
    """
    if not extra:
        first = bisect_left(ends, ends[count] - room, least, count + 1)
        return first if first <= count else None
    return next((n for n in range(least, count + 1) if ends[count] - ends[n] + extra[n] <= room), None)
