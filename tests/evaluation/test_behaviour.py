"""Behaviour of models beside their students': correlations by hand, intervals, tests, tables."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest

from simstudent.data.records import Assignment
from simstudent.evaluation import behaviour_bootstrap as bootstrap
from simstudent.evaluation.behaviour import Behaviour, behaviour
from simstudent.evaluation.behaviour_columns import PUBLISHED, generated, pairs_of
from simstudent.evaluation.behaviour_runs import executed
from simstudent.evaluation.behaviour_tables import to_csv, to_json, to_markdown
from simstudent.rollout.traces import Traced, TraceStart, written


def sample(student: str, title: str, states: int, n: int = 0, *, complete: bool = True, code: str = "fd") -> Traced:
    """A made-up trace of growing programs, ten seconds apart."""
    start = TraceStart(student, Assignment(title, "", "coffeescript"), sample=n, cell="seen_student_seen_assignment")
    blocks = "".join(
        f"CODE {k} (2021-03-04 10:00:{10 * k:02d}):\n" + "\n".join(f"{code} {i}" for i in range(1, k + 1)) + "\n"
        for k in range(1, states + 1)
    )
    return written(start, blocks, complete).read()


TRUE = [sample(f"s{n % 4}", f"t{n // 4}", 1 + n % 4) for n in range(12)]
"""Four students, three titles; a student always writes as many states."""


def figures() -> Behaviour:
    pairs = pairs_of(TRUE)
    good = [sample(t.student, t.assignment, 1 + int(t.student[1:]), n) for t in TRUE for n in range(2)]
    poor = [sample(t.student, t.assignment, 4 - int(t.student[1:]), code="dot") for t in TRUE]
    return behaviour(pairs, [generated("good", good, pairs), generated("poor", poor, pairs)], resamples=300)


def test_correlations_tell_the_model_that_behaves_as_its_students() -> None:
    found = figures()
    good, poor = found.of("good"), found.of("poor")
    assert good.properties["states"].correlation.value == pytest.approx(1)
    assert poor.properties["states"].correlation.value == pytest.approx(-1)
    assert (good.properties["states"].mean, good.properties["states"].true) == (2.5, 2.5)
    assert good.properties["states"].true_se == pytest.approx(np.std([1, 2, 3, 4] * 3, ddof=1) / math.sqrt(12))
    # Nobody changes a number: no variance, no correlation, and it does not count into the mean.
    assert good.properties["number_changes"].correlation.value is None
    assert good.properties[f"{PUBLISHED}trace_length_all"].correlation.value == pytest.approx(1)
    assert good.correlation.value == pytest.approx(1)
    assert found.of("good", "seen_student_seen_assignment").pairs == 12
    assert (found.pairs, found.students, found.titles) == (12, 4, 3)


def test_bleu_is_against_the_student_s_own_last_program() -> None:
    pytest.importorskip("nltk")
    good, poor = figures().of("good"), figures().of("poor")
    assert good.bleu is not None
    assert poor.bleu is not None
    assert good.bleu.value is not None
    assert poor.bleu.value is not None
    assert good.bleu.value > poor.bleu.value
    assert good.self_bleu == good.true_self_bleu
    assert good.samples_bleu is not None
    assert good.samples_bleu >= 0.5


def test_models_are_compared_by_their_distance_to_the_truth() -> None:
    (states,) = [c for c in figures().comparisons if c.name == "states"]
    assert states.difference.value == -2  # |0| against the mean of 3, 1, 1, 3
    assert states.difference.interval is not None
    assert states.difference.interval.high < 0


def test_traces_without_a_state_or_without_an_end_are_counted_and_left_out() -> None:
    pairs = pairs_of(TRUE)
    start = TraceStart("s1", Assignment("t0", "", "coffeescript"))
    method = generated("m", [written(start, "nothing", True).read(), sample("s2", "t0", 3, complete=False)], pairs)
    assert (method.samples, method.empty, method.censored) == (2, 1, 1)
    assert np.isnan(method.means["states"]).all()  # of the censored one the end is not known
    assert np.isfinite(method.means["lines_added"]).sum() == 1
    found = behaviour(pairs, [method], resamples=100).of("m")
    assert (found.pairs, found.correlation.value) == (1, None)


def test_pearson_from_moments_is_numpy_s() -> None:
    draws = np.random.default_rng(0)
    x, y = draws.normal(size=20), draws.normal(size=20)
    x[3] = math.nan
    known = ~np.isnan(x)
    value = bootstrap.pearson(bootstrap.moments(x, y).sum(axis=0))
    assert float(value) == pytest.approx(np.corrcoef(x[known], y[known])[0, 1])


def test_a_crossed_resample_counts_a_pair_by_its_student_and_its_title() -> None:
    student, title = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    drawn = bootstrap.weights(student, title, resamples=200, seed=0)
    assert drawn.shape == (200, 4)
    assert (drawn.sum(axis=1) == 4).all()  # 2 students times 2 titles
    assert (drawn[:, 0] * drawn[:, 3] == drawn[:, 1] * drawn[:, 2]).all()
    one = bootstrap.weights(student, np.zeros(4, dtype=np.int64), resamples=50, seed=0)
    assert (one[:, 0] == one[:, 1]).all()


def test_the_interval_of_a_correlation_covers_the_truth() -> None:
    covered = 0
    for seed in range(60):
        draws = np.random.default_rng(seed)
        student, title = np.repeat(np.arange(15), 10), np.tile(np.arange(10), 15)
        shared = draws.normal(size=15)[student]
        x, y = shared + draws.normal(size=150), shared + draws.normal(size=150)  # a true correlation of .5
        drawn = bootstrap.weights(student, title, resamples=300, seed=seed)
        (found,) = (
            r.estimate(student) for r in bootstrap.resampled([bootstrap.moments(x, y)], bootstrap.pearson, drawn)
        )
        assert found.interval is not None
        covered += found.interval.low <= 0.5 <= found.interval.high
    assert covered >= 50  # 95 % nominal; students are few


def test_everything_is_written() -> None:
    found = figures()
    text = to_markdown(found)
    assert "| good | all | 12 |" in text
    assert "good - poor | states | -2.000" in text
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    (row,) = [
        r
        for r in rows
        if (r["method"], r["pairs"], r["property"], r["figure"]) == ("poor", "all", "states", "correlation")
    ]
    assert float(row["value"]) == pytest.approx(-1)
    assert json.loads(json.dumps(to_json(found), allow_nan=False))["pairs"] == 12


def test_whether_last_programs_run_is_known_of_whole_traces_only() -> None:
    good = TraceStart("s1", Assignment("add", ""))
    bad, cut = TraceStart("s2", Assignment("add", "")), TraceStart("s3", Assignment("add", ""))
    header = "CODE 1 (2021-03-04 10:00:00):\n"
    made = [
        written(good, f"{header}x = 1\n", True).read(),
        written(bad, f"{header}x =\n", True).read(),
        written(cut, f"{header}x = 1\n", False).read(),
    ]
    outcomes = executed(made)
    assert outcomes == {("python", "x = 1"): 1.0, ("python", "x ="): 0.0}
    pairs = pairs_of(made[:2], outcomes=outcomes)
    assert list(pairs.truth["last_compiles"]) == [1, 0]
    method = generated(
        "m",
        [written(good, f"{header}x = " + "1" * 1100, True).read()],
        pairs,
        outcomes={("python", "x = " + "1" * 1100): 1.0},
    )
    assert method.means["last_compiles"][0] == 1
    assert math.isnan(method.means["last_compiles_not_cut"][0])
