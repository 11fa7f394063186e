"""Preference pairs from logged trajectories: what a student did next, against what it did not do next.

A pair's prompt is the dialogue up to submission t; chosen is always the student's next submission a_{t+1}. The
rejected side is, by mode (Koutcheme et al. 2026, section 4, for ``grade``; the others are ours):

* ``grade``: a_{t+k*}, k* = min{k in [2, T-t]: grade(a_{t+k}) != grade(a_{t+1})}; no k*, no pair.
* ``next``: a_{t+2}.
* ``random``: a_{t+k} with k drawn from [2, T-t] by a seeded hash.
* ``repeat``: a_t, the previous submission again: against the copying that likelihood alone falls into.

Prompt, chosen and rejected stay apart and share one context, windowed as in training and rollout.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graders import Grade
from simstudent.data.records import Trajectory
from simstudent.data.split import position
from simstudent.dialogue.encode import Encoder, Ids
from simstudent.dialogue.serialize import Dialogue
from simstudent.training.sections import PairMode


@dataclass(frozen=True, slots=True)
class Pair:
    """Which submissions of which trajectory make a pair: the first ``t`` are the context, the next one is chosen.

    ``rejected`` is the 0-based number of the other side.
    """

    key: str
    mode: PairMode
    t: int
    rejected: int


@dataclass(frozen=True, slots=True)
class PairRow:
    """A pair as token ids; ``chosen`` and ``rejected`` end with the end-of-turn token."""

    pair: Pair
    prompt: Ids
    chosen: Ids
    rejected: Ids


@dataclass(frozen=True, slots=True)
class PairSet:
    """Encoded pairs. ``equal``: pairs left out because both sides are the same text; ``unfit``: beyond the window."""

    rows: tuple[PairRow, ...]
    equal: int
    unfit: int

    @property
    def counts(self) -> dict[str, int]:
        """Pairs by mode."""
        return dict(Counter(r.pair.mode for r in self.rows))

    @property
    def tokens(self) -> int:
        """Tokens that go through the model: the prompt counts twice."""
        return sum(2 * len(r.prompt) + len(r.chosen) + len(r.rejected) for r in self.rows)


def pairs_of(
    trajectory: Trajectory, grades: Sequence[Grade], modes: Mapping[PairMode, float], *, first: int, seed: int
) -> list[Pair]:
    """The pairs of one trajectory, by context length and then mode. ``grades`` are those of its submissions.

    ``modes``: the share of the contexts at which each mode makes a pair, drawn by a hash of seed, mode, key and t.
    """
    found = []
    for t in range(first, len(trajectory.submissions)):
        for mode, share in modes.items():
            rejected = _rejected(mode, trajectory, grades, t, seed)
            if rejected is not None and position(seed, "pair", mode, trajectory.key, str(t)) < share:
                found.append(Pair(trajectory.key, mode, t, rejected))
    return found


def _rejected(mode: PairMode, trajectory: Trajectory, grades: Sequence[Grade], t: int, seed: int) -> int | None:
    """The number of the rejected submission for the context of t submissions, or None."""
    count = len(trajectory.submissions)
    if mode == "repeat":
        return t - 1 if t >= 1 else None
    later = range(t + 1, count)  # a_{t+2}, a_{t+3}, ... in the formula's numbers, which start at 1
    if not later:
        return None
    if mode == "next":
        return later[0]
    if mode == "random":
        return later[int(position(seed, "pair-random", trajectory.key, str(t)) * len(later))]
    return next((j for j in later if grades[j].score != grades[t].score), None)


def encode_pairs(encoder: Encoder, pairs: Iterable[Pair], dialogues: Mapping[str, Dialogue]) -> PairSet:
    """The pairs as ids. ``dialogues`` by trajectory key. The window leaves room for the longer side."""
    rows, equal, unfit = [], 0, 0
    for pair in pairs:
        dialogue = dialogues[pair.key]
        at = dialogue.turn_of(pair.t)
        chosen = encoder.answer(dialogue.turns[at])
        rejected = encoder.answer(dialogue.handed_in(pair.rejected, after=pair.t))
        if chosen == rejected:
            equal += 1
            continue
        prompt = encoder.prompt_before(dialogue, at)
        if prompt is None or len(prompt) + max(len(chosen), len(rejected)) > encoder.window:
            unfit += 1
            continue
        rows.append(PairRow(pair, prompt, chosen, rejected))
    return PairSet(tuple(rows), equal, unfit)


def pair_record(pair: Pair, dialogue: Dialogue) -> dict[str, Any]:
    """A pair as JSON that other trainers read: ``prompt``, ``chosen`` and ``rejected`` as message lists."""
    at = dialogue.turn_of(pair.t)
    rejected = dialogue.handed_in(pair.rejected, after=pair.t)
    return {
        "key": pair.key,
        "mode": pair.mode,
        "t": pair.t,
        "prompt": dialogue.messages(at),
        "chosen": [{"role": "assistant", "content": dialogue.turns[at].answer}],
        "rejected": [{"role": "assistant", "content": rejected.answer}],
    }


def summary(pairs: PairSet) -> list[str]:
    """Counts per mode, mean lengths, and what was left out, for a person."""
    lines = []
    for mode, count in pairs.counts.items():
        rows = [r for r in pairs.rows if r.pair.mode == mode]
        mean = [
            sum(len(ids) for ids in side) / count
            for side in zip(*((r.prompt, r.chosen, r.rejected) for r in rows), strict=True)
        ]
        lines.append(
            f"  {mode}: {count} pairs, mean tokens: prompt {mean[0]:.0f}, chosen {mean[1]:.0f}, rejected {mean[2]:.0f}"
        )
    if pairs.equal:
        lines.append(f"  {pairs.equal} pairs left out: both sides are the same program")
    if pairs.unfit:
        lines.append(f"  {pairs.unfit} pairs left out: they do not fit the window")
    return lines
