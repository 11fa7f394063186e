"""What programs cover of one another, against a plain reading of the definition over made-up classes."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from rapidfuzz.distance import Indel

from simstudent.evaluation import neighbours as subject
from simstudent.evaluation.metrics import evaluate
from simstudent.evaluation.neighbours import Missed, between, missed, neighbours
from simstudent.evaluation.realism import Realism, realism
from simstudent.evaluation.totals import evidence
from simstudent.evaluation.words import population_words
from simstudent.rollout.records import Rollout, Step
from tests.evaluation.test_metrics import rollout

Row = tuple[int, str, str]
"""Student, simulated program, real program."""


def word(generator: random.Random, length: int = 6) -> str:
    return "".join(generator.choices("abc", k=generator.randint(1, length)))


def by_hand(labs: Sequence[Sequence[Row]], whose: set[int], by: set[int], k: int) -> tuple[int, list[float]]:
    """n, and the shares of `Missed`, in its order."""
    n, sums = 0, [0, 0, 0, 0]
    apart = Indel.normalized_distance
    for lab in labs:
        inner, outer = ([r for r in lab if r[0] in side] for side in (whose, by))
        if len({s for s, _, _ in inner}) <= k or not outer:
            continue
        n += len(inner)
        singles = [0] * len(outer)
        for student, simulated, real in inner:
            others = sorted({s for s, _, _ in inner} - {student})
            reach = [
                sorted(min(apart(mine, r[side]) for r in inner if r[0] == other) for other in others)[k - 1]
                for side, mine in ((2, real), (1, simulated))
            ]
            strangers = [r for r in outer if r[0] != student]
            sums[0] += all(apart(real, r[1]) > reach[0] for r in strangers)
            sums[1] += all(apart(simulated, r[2]) > reach[1] for r in strangers)
            sums[2] += all(apart(real, r[2]) > reach[0] for r in strangers)
            for at, r in enumerate(outer):
                singles[at] += apart(real, r[2]) > reach[0]
        sums[3] += min(singles)
    return n, [value / n for value in sums] if n else []


@pytest.mark.parametrize("k", [1, 2, 3])
def test_against_the_definition(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "NEIGHBOURS", k)
    generator, compared = random.Random(k), 0
    for _ in range(25):
        labs = [
            [(generator.randrange(7), word(generator), word(generator)) for _ in range(generator.randint(2, 16))]
            for _ in range(3)
        ]
        found = [between(np.array([r[0] for r in lab]), [r[1] for r in lab], [r[2] for r in lab]) for lab in labs]
        everyone = set(range(7))
        half = set(generator.sample(range(7), 4))
        for whose, by in ((half, everyone - half), (everyone, everyone)):
            masks = (np.array([s in side for s in range(7)]) for side in (whose, by))
            got, (n, shares) = missed(found, *masks), by_hand(labs, whose, by, k)
            assert got.n == n
            if n:
                assert [got.real, got.simulated, got.ceiling, got.single] == pytest.approx(shares, abs=1e-12)
                compared += 0 < sum(shares) < 4
    assert compared > 20


def made_up(students: int, simulated: str) -> list[Rollout]:
    """Programs of two assignments, all different; ``simulated``: like those of students, or always the same."""
    found = []
    for student, lab in itertools.product(range(students), ("one", "two")):
        generator = random.Random(f"{student}{lab}")
        real = [lab + "".join(generator.choices("abcdefgh", k=12)) for _ in range(4)]
        for start in range(1, 4):
            own = "".join(generator.choices("abcdefgh", k=12)) if simulated == "alike" else "abcdefghabcd"
            own = lab + own
            steps = [Step(1, own, 0.0, "graded", "W", real[start], 0.0, "graded", "W")]
            key = f"s{student}/{lab}/{start}"
            found.append(rollout(*steps, key=key, student=f"s{student}", assignment=lab, start=start, truths=1))
    return found


def of(rollouts: Sequence[Rollout]) -> tuple[Realism, Realism]:
    (own,) = evidence(rollouts, codebleu=False, language="python")
    found = realism(own, resamples=1000, seed=0)
    return found["students' programs"], found["simulated programs"]


def test_a_class_like_the_real_one_covers_it_and_one_program_does_not() -> None:
    alike, collapsed = of(made_up(12, "alike")), of(made_up(12, "one"))
    assert [r.told_apart for r in (*alike, *collapsed)] == [False, False, True, True]
    assert (alike[0].collapsed, collapsed[0].collapsed) == (False, True)
    assert collapsed[1].halves == 1.0  # nobody writes exactly this program, and among themselves all are equal
    assert alike[0].floor == collapsed[0].floor == alike[1].floor
    assert alike[0].single == collapsed[0].single
    assert any("a single program" in line for line in population_words("m", {"x": collapsed[0]}))
    assert not any("a single program" in line for line in population_words("m", {"x": alike[0]}))


def test_exact_copies_of_everybody_miss_nothing() -> None:
    programs = ["a", "ab", "abc", "xyz"] * 2
    found = [between(np.array([0, 1, 2, 3, 4, 5, 6, 7]), programs, programs)]
    everyone = np.ones(8, dtype=np.bool_)
    assert missed(found, everyone, everyone) == Missed(8, 0.0, 0.0, 0.0, 0.75)


def test_few_students_and_no_programs_have_no_value() -> None:
    for students in (0, 1):
        (own,) = evidence(made_up(students, "alike") or [rollout()], codebleu=False, language="python")
        assert neighbours(own, 0) == []
    realisms = evaluate(made_up(1, "alike"), codebleu=False, resamples=10).methods[0].realism
    assert "students' programs" not in realisms
    assert of(made_up(3, "alike"))[0].halves is None


def test_of_many_programs_some_are_drawn_and_later_samples_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    rollouts = made_up(6, "alike")
    again = [replace(r, sample=1, key=f"{r.key}/1") for r in rollouts]
    assert of([*rollouts, *again]) == of(rollouts)
    monkeypatch.setattr(subject, "PROGRAMS", 7)
    (own,) = evidence(rollouts, codebleu=False, language="python")
    assert [len(n.student) for n in neighbours(own, 0)] == [7, 7]
    assert [n.student.tolist() for n in neighbours(own, 0)] == [n.student.tolist() for n in neighbours(own, 0)]
