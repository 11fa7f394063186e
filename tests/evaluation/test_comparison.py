"""Tests between methods, temperatures and strata, against plain loops."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from simstudent.evaluation.calibration import calibrations
from simstudent.evaluation.files import HEADINGS, to_csv
from simstudent.evaluation.metrics import evaluate
from simstudent.evaluation.statistics import holm, sign_flip
from simstudent.evaluation.strata import POSITIONS, _ranges
from simstudent.evaluation.tables import to_markdown
from simstudent.evaluation.words import explain
from simstudent.rollout.records import Rollout
from tests.evaluation.test_metrics import figures, rollout, step
from tests.evaluation.test_populations import made_up


def test_all_sign_patterns() -> None:
    apart = [0.5, -0.2, 0.0, 0.7, 0.1]
    known = [d for d in apart if d]
    patterns = [sum(s * d for s, d in zip(signs, known, strict=True)) for signs in itertools.product((1, -1), repeat=4)]
    expected = sum(abs(t) >= abs(sum(known)) - 1e-9 for t in patterns) / len(patterns)
    assert sign_flip(np.array(apart), resamples=16, seed=0) == expected
    assert sign_flip(np.array([0.0, 0.0, 0.3]), resamples=100, seed=0) is None


def test_random_sign_patterns() -> None:
    apart = np.random.default_rng(0).normal(0.3, 1, 12)
    exact = sign_flip(apart, resamples=4096, seed=0)
    drawn = sign_flip(apart, resamples=4000, seed=0)
    assert exact is not None
    assert drawn == pytest.approx(exact, abs=0.03)
    assert sign_flip(np.full(40, 1.0), resamples=999, seed=0) == 1 / 1000  # never 0
    assert sign_flip(np.full(40, 1.0), resamples=999, seed=0) == sign_flip(np.full(40, 2.0), resamples=999, seed=9)


def test_the_sign_test_keeps_its_level() -> None:
    generator = np.random.default_rng(4)
    found = [sign_flip(generator.normal(0, 1, 10), resamples=1024, seed=0) for _ in range(400)]
    assert 0.02 < sum(p is not None and p <= 0.05 for p in found) / 400 < 0.08


def test_holm_by_hand() -> None:
    """Holm's own order: 3 x .01, 2 x .02, then the .03 may not fall below; beyond 1 is 1."""
    assert holm([0.03, 0.01, None, 0.02]) == pytest.approx([0.04, 0.03, None, 0.04])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def two_methods() -> list[Rollout]:
    return [*made_up(6, seed=1), *(replace(r, method="dpo") for r in made_up(6, seed=1)[::2])]


def test_a_comparison_is_over_the_steps_that_both_cover() -> None:
    """made_up's seeds make real programs and simulations; the second method gets other grades and fewer steps."""
    generator = random.Random(0)
    one = made_up(6, seed=1)
    other = []
    for r in one:
        steps = tuple(replace(s, grade=generator.randrange(4) / 3) for s in r.steps[: generator.randint(1, 4)])
        if r.sample == 0:
            other.append(replace(r, method="dpo", steps=steps))
    pairs: dict[str, list[float]] = {}
    dpo = {(r.student, r.assignment, r.start): r for r in other}
    for r in one:
        for s in r.steps:
            partner = dpo[r.student, r.assignment, r.start]
            if s.k <= len(partner.steps):  # the other's single sample stands beside both
                mine, theirs = (1 - abs(x.grade - x.student_grade) for x in (s, partner.steps[s.k - 1]))
                pairs.setdefault(r.student, []).append(mine - theirs)
    found = {c.measure: c for c in figures([*one, *other]).comparisons}["grade_proximity"]
    everything = [d for of in pairs.values() for d in of]
    assert (found.one, found.other) == ("sft", "dpo")
    assert found.difference.value == pytest.approx(sum(everything) / len(everything))
    assert found.difference.pairs == found.mean_one.pairs == found.mean_other.pairs == len(everything)
    assert found.p == sign_flip(np.array([sum(of) for of in pairs.values()]), resamples=200, seed=0)
    swapped = {c.measure: c for c in figures([*other, *one]).comparisons}["grade_proximity"]
    assert (swapped.one, swapped.other, swapped.p) == ("dpo", "sft", found.p)
    assert swapped.difference.value == pytest.approx(-(found.difference.value or 0))


def test_holm_counts_the_pairs_of_methods() -> None:
    one = made_up(6, seed=1)
    others = [
        replace(r, method=name, steps=tuple(replace(s, grade=g) for s in r.steps))
        for name, g in (("a", 0.2), ("b", 0.9))
        for r in one
    ]
    found = [c for c in figures([*one, *others]).comparisons if c.measure == "grade_proximity"]
    assert [(c.one, c.other) for c in found] == [("sft", "a"), ("sft", "b"), ("a", "b")]
    assert [c.p_holm for c in found] == holm([c.p for c in found])


# --- strata ---------------------------------------------------------------------------------------------


def test_strata_by_hand() -> None:
    rollouts = made_up(6, seed=2)
    rollouts = [replace(r, solved=r.student < "s3") for r in rollouts]
    found = figures(rollouts).of("sft").strata
    for by, of in (
        ("student_outcome", lambda r: "solved" if r.solved else "not solved"),
        ("assignment", lambda r: r.assignment),
        ("position", lambda r: {1: "1", 2: "2", 3: "3-4", 4: "3-4"}.get(r.start, "5-9")),
    ):
        parts = {s.value: s for s in found if s.by == by}
        assert parts.keys() == {of(r) for r in rollouts}
        for name, part in parts.items():
            inside = [r for r in rollouts if of(r) == name]
            steps = [s for r in inside for s in r.steps]
            assert part.rollouts == len(inside)
            assert part.means["coverage"].value == pytest.approx(len(steps) / sum(r.truths for r in inside))
            assert part.means["grade_proximity"].pairs == len(steps)
            expected = sum(1 - abs(s.grade - s.student_grade) for s in steps) / len(steps)
            assert part.means["grade_proximity"].value == pytest.approx(expected)


def test_ranges() -> None:
    assert _ranges(np.array([0, 1, 2, 3, 4, 9, 10, 99]), POSITIONS) == [
        "0",
        "1",
        "2",
        "3-4",
        "3-4",
        "5-9",
        "10+",
        "10+",
    ]


# --- temperatures ---------------------------------------------------------------------------------------


def at(temperature: float, copies: int, solves: int) -> list[Rollout]:
    """Ten students of one step each; the real ones never copy and 5 of 10 solve it."""
    return [
        rollout(
            step(
                code="x = 0\n" if n < copies else f"x = {n + 9}\n",
                grade=1.0 if n >= 10 - solves else 0.0,
                student_grade=1.0 if n < 5 else 0.0,
            ),
            key=f"s{n}/lab/1/0",
            student=f"s{n}",
            method=f"sft@{temperature:g}",
        )
        for n in range(10)
    ]


def test_the_nearest_temperature() -> None:
    found = figures([*at(0.5, 8, 1), *at(0.8, 3, 4), *at(1.2, 0, 0)])
    (calibration,) = found.calibration
    assert (calibration.method, calibration.nearest) == ("sft", 0.8)
    assert [s.distance for s in calibration.settings] == pytest.approx([0.8 + 0.4, 0.3 + 0.1, 0.5])
    assert "calibration: sft is nearest to the students in copying and solving at temperature 0.8" in explain(found)
    assert "0.5: +80 and -40, 0.8: +30 and -10, 1.2: +0 and -50" in explain(found)
    assert "| sft | 0.8 | +.300 | -.100 | .400 | nearest |" in to_markdown(found)


def test_one_temperature_is_nothing_to_choose_from() -> None:
    assert figures(at(0.5, 8, 1)).calibration == ()
    assert calibrations({}) == ()
    assert figures([replace(r, method="sft@old") for r in at(0.5, 1, 1)]).calibration == ()


# --- files ----------------------------------------------------------------------------------------------


def test_every_figure_stands_in_the_csv_with_its_n() -> None:
    import csv
    import io

    found = evaluate(two_methods(), codebleu=False, resamples=50)
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert tuple(rows[0]) == HEADINGS
    cells = {(r["method"], r["table"], r["measure"], r["part"]): r for r in rows}
    assert len(cells) == len(rows)
    gp = found.of("sft").micro["grade_proximity"]
    row = cells["sft", "micro", "grade_proximity", ""]
    assert (float(row["value"]), int(row["n"]), int(row["students"])) == (gp.value, gp.pairs, gp.students)
    assert cells["sft", "micro", "codebleu", ""]["value"] == ""
    for expected in (("realism", "grades", "floor"), ("by position", "coverage", "1"), ("step", "coverage", "2")):
        assert cells["sft", *expected]["value"] != ""
    assert cells["sft - dpo", "comparison", "grade_proximity", "p_holm"]["n"] == str(
        found.comparisons[0].difference.pairs
    )
