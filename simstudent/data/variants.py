"""What training sees of a trajectory: all of it, its end, or a made-up way there.

The comparisons of Ross et al. 2025 (Modeling Student Learning with 3.8 Million Program Traces): does a model learn
from the way a program came about, or would its end do? For training only: models are always judged by real traces.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

from simstudent.data.records import Submission, Trajectory, outcome_of
from simstudent.data.split import position

Variant = Literal["trace", "last", "synthetic", "synthetic-complex", "trace-downsampled", "synthetic-downsampled"]


def training_side(
    trajectories: tuple[Trajectory, ...],
    variant: Variant,
    seed: int,
    tokens: Callable[[tuple[Trajectory, ...]], Sequence[int]],
) -> tuple[Trajectory, ...]:
    """The training side as ``variant`` has it. ``tokens``: the unpadded tokens that training has of each trajectory.

    A down-sampled variant is a seeded draw of whole trajectories that has as many tokens as ``last`` has of all of
    them, to within the last trajectory drawn.
    """
    made = tuple(vary(t, variant, seed) for t in trajectories)
    if not variant.endswith("-downsampled"):
        return made
    budget, kept, spent = sum(tokens(tuple(map(last, trajectories)))), set[int](), 0
    sizes = tokens(made)
    for n in sorted(range(len(made)), key=lambda n: position(seed, "downsample", made[n].key)):
        if kept and abs(spent + sizes[n] - budget) > abs(spent - budget):
            break
        kept.add(n)
        spent += sizes[n]
    return tuple(t for n, t in enumerate(made) if n in kept)


def vary(t: Trajectory, variant: Variant, seed: int) -> Trajectory:
    """One trajectory as a variant has it. Its draws depend on the seed and its key, on no other trajectory."""
    if variant == "last":
        return last(t)
    draw = random.Random(position(seed, "synthetic", t.key))
    if variant.startswith("synthetic-c"):
        return _ending(t, complex_states(t.submissions[-1].code, len(t.submissions), draw))
    if variant.startswith("synthetic"):
        return _ending(t, prefixes(t.submissions[-1].code, len(t.submissions), draw))
    return t


def last(t: Trajectory) -> Trajectory:
    """The last submission alone."""
    return replace(t, submissions=t.submissions[-1:])


def prefixes(code: str, states: int, draw: random.Random) -> list[str]:
    """Growing line prefixes of a program, min(states, lines) of them, the last being all of it (never none)."""
    lines = _lines(code)
    count = min(states, len(lines))
    cuts = sorted(draw.sample(range(1, len(lines)), count - 1)) if count > 1 else []
    return ["".join(lines[:cut]) for cut in cuts] + [code]


def complex_states(code: str, states: int, draw: random.Random) -> list[str]:
    """A way to a program on which each edit adds, or deletes, any number of its lines anywhere.

    As many states as asked for, each a selection of the program's lines in their order, no two in a row alike, the
    last being all of it; of a program of one line, only that. The paper's text does not say how its edits are drawn:
    here two of three add (where both are possible), and how many lines is uniform.
    """
    lines = _lines(code)
    if len(lines) < 2:
        return [code]
    found = [""] * (states - 1)
    present = [False] * len(lines)
    for n in range(states - 1):
        absent_at = [i for i, there in enumerate(present) if not there]
        present_at = [i for i, there in enumerate(present) if there]
        # The state before the last has to lack something, or the last edit would change nothing.
        most = len(absent_at) - (n == states - 2)
        add = most > 0 and (not present_at or draw.random() < 2 / 3)
        for i in draw.sample(absent_at, draw.randint(1, most)) if add else _some(present_at, draw):
            present[i] = add
        found[n] = "".join(line for line, there in zip(lines, present, strict=True) if there)
    return [*found, code]


def _some(places: Sequence[int], draw: random.Random) -> list[int]:
    return draw.sample(places, draw.randint(1, len(places)))


def _lines(code: str) -> list[str]:
    """The lines of a program with their ends."""
    return re.findall(r"[^\n]*\n|[^\n]+", code)


def _ending(t: Trajectory, codes: Sequence[str]) -> Trajectory:
    """A trajectory of these programs that ends as the real one did. The others have its times, and no grades."""
    made = (*_untold(t, codes[:-1]), t.submissions[-1])
    return replace(t, submissions=made, outcome=outcome_of(made))


def _untold(t: Trajectory, codes: Sequence[str]) -> Iterator[Submission]:
    for n, code in enumerate(codes):
        yield Submission(code, t.submissions[n * (len(t.submissions) - 1) // len(codes)].time)
