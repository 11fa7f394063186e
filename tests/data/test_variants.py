"""Variants of the training side: real, last, synthetic, down-sampled."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from simstudent.data.records import Trajectory
from simstudent.data.variants import Variant, complex_states, prefixes, training_side, vary
from tests.data.logs import many, trajectory

programs = st.text("ab \n", max_size=40)
counts = st.integers(1, 12)
seeds = st.integers(0, 5)


def lines(code: str) -> int:
    return len(code.removesuffix("\n").split("\n")) if code else 0


def is_selection(state: str, code: str) -> bool:
    rest = iter(code.splitlines(keepends=True))
    return all(any(line == other for other in rest) for line in state.splitlines(keepends=True))


@given(programs, counts, seeds)
def test_prefixes_grow_to_the_whole_program(code: str, states: int, seed: int) -> None:
    made = prefixes(code, states, random.Random(seed))
    assert made[-1] == code
    assert len(made) == max(1, min(states, lines(code)))
    assert all(code.startswith(state) for state in made)
    assert all(lines(a) < lines(b) and a.endswith("\n") for a, b in pairwise(made))


@given(programs, counts, seeds)
def test_complex_states_select_lines_and_end_in_the_whole_program(code: str, states: int, seed: int) -> None:
    made = complex_states(code, states, random.Random(seed))
    assert made[-1] == code
    assert len(made) == (states if lines(code) > 1 else 1)
    assert all(is_selection(state, code) for state in made)


@given(st.integers(2, 8), counts, seeds)
def test_complex_states_differ_and_go_both_ways(size: int, states: int, seed: int) -> None:
    code = "".join(f"line {n}\n" for n in range(size))
    made = complex_states(code, states, random.Random(seed))
    for a, b in pairwise(made):
        before, after = set(a.splitlines()), set(b.splitlines())
        assert before < after or after < before


def test_complex_edits_delete_too_and_reach_anywhere() -> None:
    code = "".join(f"line {n}\n" for n in range(10))
    made = [complex_states(code, 10, random.Random(seed)) for seed in range(20)]
    assert any(len(a) > len(b) for states in made for a, b in pairwise(states))
    assert any(not code.startswith(state) for states in made for state in states)


REAL = trajectory(
    "s",
    0.0,
    0.25,
    0.5,
    1.0,
    codes=["a\nb\n", "a\n", "a\nc\n", "a\nc\nd\n"],
    times=["2021-01-01", "2021-01-02", "2021-01-03", "2021-01-04"],
)


def test_variants_of_a_trajectory() -> None:
    assert vary(REAL, "trace", 1) is REAL
    assert vary(REAL, "trace-downsampled", 1) is REAL
    assert vary(REAL, "last", 1).submissions == REAL.submissions[-1:]
    made = vary(REAL, "synthetic", 1)
    assert [s.code for s in made.submissions] == ["a\n", "a\nc\n", "a\nc\nd\n"]
    assert made.submissions[-1] == REAL.submissions[-1]
    assert [s.grade for s in made.submissions] == [None, None, 1.0]
    assert [s.time for s in made.submissions] == ["2021-01-01", "2021-01-02", "2021-01-04"]
    assert (made.key, made.outcome) == (REAL.key, "solved")
    assert len(vary(REAL, "synthetic-complex", 1).submissions) == 4


def test_a_trajectory_varies_by_its_own_key_and_the_seed() -> None:
    code = "".join(f"line {n}\n" for n in range(30))
    log = tuple(trajectory(f"s{n}", *[0.0] * 8, codes=[code] * 8) for n in range(6))

    def made(ts: tuple[Trajectory, ...], seed: int) -> dict[str, Trajectory]:
        return {t.key: t for t in training_side(ts, "synthetic-complex", seed, no_count)}

    assert made(log[::2], 1).items() <= made(log, 1).items()
    assert made(log, 1) != made(log, 2)
    assert len({t.submissions[0].code for t in made(log, 1).values()}) > 1


def no_count(ts: Sequence[Trajectory]) -> list[int]:
    raise AssertionError("only down-sampling counts tokens")


def characters(ts: Sequence[Trajectory]) -> list[int]:
    return [sum(len(s.code) for s in t.submissions) for t in ts]


def test_down_sampled_to_as_many_tokens_as_the_last_programs_have() -> None:
    code = "".join(f"line {n}\n" for n in range(9))
    real = tuple(trajectory(t.student, *[0.0] * 5, codes=[code] * 5, assignment=t.assignment) for t in many(20, 10))
    budget = len(code) * 200
    variants: tuple[Variant, ...] = ("trace-downsampled", "synthetic-downsampled")
    for variant in variants:
        made = training_side(real, variant, 1, characters)
        assert abs(sum(characters(made)) - budget) <= 5 * len(code) / 2
        assert 1 < len(made) < 200
        assert [t.key for t in made] == [t.key for t in real if t.key in {m.key for m in made}]
        other = training_side(real, variant, 2, characters)
        assert {t.key for t in other} != {t.key for t in made}
    assert training_side((), "trace-downsampled", 1, characters) == ()
