"""The only window: which turns of a dialogue are in view before an answer, and their parts in order."""

from __future__ import annotations

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
        self.lengths = lengths
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
        return window_start(self.lengths[:count], room - need, extra=extra, least=least)

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
    used = sum(lengths[least:])
    for first in range(least, len(lengths) + 1):
        if used + (extra[first] if extra else 0) <= room:
            return first
        used -= lengths[first] if first < len(lengths) else 0
    return None
