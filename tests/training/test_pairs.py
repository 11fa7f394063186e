"""Preference pairs: the paper's formula read aloud, the other modes, and their encoding."""

from __future__ import annotations

import random

import pytest

from graders import Grade
from simstudent.data.records import Submission, Trajectory
from simstudent.dialogue.serialize import Dialogue, Turn
from simstudent.training.pairs import Pair, pair_record, pairs_of


def trajectory(scores: list[float], name: str = "s") -> tuple[Trajectory, list[Grade]]:
    submissions = tuple(Submission(f"x = {n}") for n in range(len(scores)))
    return Trajectory(name, "a", submissions), [Grade(score, "graded") for score in scores]


def formula(scores: list[float], first: int) -> list[tuple[int, int]]:
    """(t, number of the rejected one), 1-based, as in the paper: k* = min{k in [2, T-t]: v(a_t+k) != v(a_t+1)}."""
    found = []
    total = len(scores)
    v = dict(enumerate(scores, 1))
    for t in range(first, total + 1):
        ks = [k for k in range(2, total - t + 1) if v[t + k] != v[t + 1]]
        if ks:
            found.append((t, t + min(ks)))
    return found


@pytest.mark.parametrize("first", [0, 1, 2])
@pytest.mark.parametrize("seed", range(50))
def test_grade_pairs_are_those_of_the_formula(seed: int, first: int) -> None:
    chance = random.Random(seed)
    scores = [chance.choice([0.0, 0.25, 0.5, 1.0]) for _ in range(chance.randint(1, 9))]
    t, grades = trajectory(scores)
    found = pairs_of(t, grades, {"grade": 1.0}, first=first, seed=1)
    assert [(p.t, p.rejected + 1) for p in found] == formula(scores, first)


def test_the_other_modes() -> None:
    t, grades = trajectory([0.0, 0.0, 0.5, 1.0])
    assert [(p.t, p.rejected) for p in pairs_of(t, grades, {"next": 1.0}, first=0, seed=1)] == [(0, 1), (1, 2), (2, 3)]
    assert [(p.t, p.rejected) for p in pairs_of(t, grades, {"repeat": 1.0}, first=0, seed=1)] == [
        (1, 0),
        (2, 1),
        (3, 2),
    ]
    found = [(p.t, p.rejected) for seed in range(30) for p in pairs_of(t, grades, {"random": 1.0}, first=0, seed=seed)]
    assert set(found) == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


def test_shares_are_drawn_by_a_hash_that_other_students_do_not_change() -> None:
    modes = {"grade": 1.0, "repeat": 0.3}
    found: list[Pair] = []
    for n in range(200):
        t, grades = trajectory([0.0, 0.5, 1.0, 0.5], f"s{n}")
        found += pairs_of(t, grades, modes, first=1, seed=5)  # type: ignore[arg-type]
    repeats = [p for p in found if p.mode == "repeat"]
    assert len([p for p in found if p.mode == "grade"]) == 400
    assert 130 < len(repeats) < 230  # 600 contexts, 30 % of them
    t, grades = trajectory([0.0, 0.5, 1.0, 0.5], "s7")
    assert pairs_of(t, grades, modes, first=1, seed=5) == [p for p in found if p.key == "s7/a"]  # type: ignore[arg-type]


def test_a_record_has_one_common_context() -> None:
    turns = tuple(Turn(f"```python\n{n}\n```", f"feedback {n}" if n < 3 else None) for n in range(4))
    record = pair_record(Pair("s/a", "grade", 2, 3), Dialogue("s/a", "sys", "Write f.", turns))
    assert [m["content"] for m in record["prompt"]] == [
        "sys",
        "Write f.",
        turns[0].answer,
        "feedback 0",
        turns[1].answer,
        "feedback 1",
    ]
    assert record["chosen"][0]["content"] == turns[2].answer
    assert record["rejected"][0]["content"] == turns[3].answer
