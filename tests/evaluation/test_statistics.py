"""The bootstrap against plain loops that do the same one resample at a time."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from simstudent.evaluation import statistics
from simstudent.evaluation.statistics import Array, Totals, degradation, estimate, interval, micro, paper, resample

SEED, RESAMPLES = 5, 400


def made_up() -> dict[str, Totals]:
    students, steps = 7, 4
    generator = np.random.default_rng(1)
    counts = generator.integers(0, 4, size=(students, steps)).astype(float)
    counts[:, 3] = 0
    counts[2, 3] = 2  # a step that few resamples know
    counts[4] = 0  # a student without a value
    other = generator.integers(1, 3, size=(students, steps)).astype(float)
    return {
        "a": Totals(counts * generator.random((students, steps)), counts),
        "b": Totals(other * generator.random((students, steps)), other),
    }


def by_hand(statistic: str, sums: list[list[float]], counts: list[list[float]]) -> float:
    """The statistics again, in plain Python."""
    n = [sum(column) for column in zip(*counts, strict=True)]
    s = [sum(column) for column in zip(*sums, strict=True)]
    if statistic == "micro":
        return sum(s) / sum(n) if sum(n) else math.nan
    means = [a / b if b else math.nan for a, b in zip(s, n, strict=True)]
    wanted = means if statistic == "paper" else [m - means[0] for m in means[1:]]
    known = [m for m in wanted if not math.isnan(m)]
    return sum(known) / len(known) if known else math.nan


@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize(("label", "statistic"), [("micro", micro), ("paper", paper), ("delta", degradation)])
def test_resamples_and_interval_equal_a_plain_loop(label: str, statistic: statistics.Statistic, name: str) -> None:
    quantities = made_up()
    sums, counts = quantities[name].sums.tolist(), quantities[name].counts.tolist()
    students = len(sums)
    picks = np.random.default_rng(SEED).integers(0, students, size=(RESAMPLES, students))
    drawn = [by_hand(label, [sums[i] for i in pick], [counts[i] for i in pick]) for pick in picks]
    left_out = [by_hand(label, sums[:i] + sums[i + 1 :], counts[:i] + counts[i + 1 :]) for i in range(students)]
    value = by_hand(label, sums, counts)

    sample = resample(quantities, resamples=RESAMPLES, seed=SEED)
    vectorised = statistic(sample.resamples[name].sums, sample.resamples[name].counts)
    np.testing.assert_allclose(vectorised, drawn, rtol=1e-9)
    np.testing.assert_allclose(
        statistic(sample.jackknife[name].sums, sample.jackknife[name].counts), left_out, rtol=1e-9
    )
    found = estimate(sample, name, statistic)
    assert found.value == pytest.approx(value)
    assert found.pairs == sum(map(sum, counts))
    assert found.students == sum(sum(row) > 0 for row in counts)
    assert found.interval is not None
    low, high = bca_by_hand(value, [v for v in drawn if not math.isnan(v)], left_out)
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))


def bca_by_hand(value: float, drawn: list[float], left_out: list[float]) -> tuple[float, float]:
    """Efron's formula, term by term."""
    normal = NormalDist()
    below = sum(1.0 if v < value - 1e-12 else 0.5 if v <= value + 1e-12 else 0.0 for v in drawn) / len(drawn)
    z0 = normal.inv_cdf(below)
    mean = sum(left_out) / len(left_out)
    a = sum((mean - v) ** 3 for v in left_out) / (6 * sum((mean - v) ** 2 for v in left_out) ** 1.5)
    ends = []
    for z in (normal.inv_cdf(0.025), normal.inv_cdf(0.975)):
        rank = normal.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))) * (len(drawn) - 1)
        ordered = sorted(drawn)
        low = math.floor(rank)
        ends.append(ordered[low] + (rank - low) * (ordered[min(low + 1, len(drawn) - 1)] - ordered[low]))
    return ends[0], ends[1]


def test_of_one_step_only() -> None:
    quantities = made_up()
    sample = resample(quantities, resamples=50, seed=0)
    found = estimate(sample, "a", micro, step=1)
    assert found.value == pytest.approx(quantities["a"].sums[:, 1].sum() / quantities["a"].counts[:, 1].sum())
    assert found.pairs == quantities["a"].counts[:, 1].sum()
    assert estimate(sample, "a", micro, step=3).students == 1
    assert estimate(sample, "a", micro, step=3).interval is None


def test_blocks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = resample(made_up(), resamples=100, seed=0).resamples["a"].sums
    monkeypatch.setattr(statistics, "_BLOCK", 21)
    np.testing.assert_allclose(resample(made_up(), resamples=100, seed=0).resamples["a"].sums, whole, rtol=1e-12)


def test_quantities_do_not_disturb_each_other() -> None:
    both = made_up()
    alone = resample({"b": both["b"]}, resamples=100, seed=0)
    together = resample(both, resamples=100, seed=0)
    np.testing.assert_array_equal(together.resamples["b"].sums, alone.resamples["b"].sums)


def test_one_student_has_a_value_and_no_interval() -> None:
    one = {"x": Totals(np.array([[0.5, 1.5]]), np.array([[1.0, 2.0]]))}
    found = estimate(resample(one, resamples=100, seed=0), "x", paper)
    assert (found.value, found.pairs, found.students, found.interval) == (0.625, 3, 1, None)


def test_nothing_at_all_has_no_value() -> None:
    nothing = {"x": Totals(np.zeros((3, 2)), np.zeros((3, 2))), "y": Totals(np.zeros((3, 1)), np.ones((3, 1)))}
    sample = resample(nothing, resamples=10, seed=0)
    assert estimate(sample, "x", micro) == statistics.Estimate(None, 0, 0, None)
    assert estimate(sample, "y", degradation).value is None  # a single step cannot degrade
    assert estimate(resample({"x": Totals(np.zeros((0, 2)), np.zeros((0, 2)))}, resamples=10, seed=0), "x", paper) == (
        statistics.Estimate(None, 0, 0, None)
    )


def test_no_interval_of_no_width() -> None:
    alike = {"x": Totals(np.array([[0.3], [0.6], [0.3]]), np.array([[1.0], [2.0], [1.0]]))}
    found = estimate(resample(alike, resamples=100, seed=0), "x", micro)
    assert found.value == pytest.approx(0.3)
    assert found.interval is None


def test_percentiles_where_bca_is_undefined() -> None:
    drawn: Array = np.linspace(0, 1, 101)
    spread: Array = np.array([0.4, 0.5, 0.6])
    percentile = interval(0.5, drawn, np.array([0.5, 0.5, 0.5]))  # no acceleration
    assert percentile == statistics.Interval(pytest.approx(0.025), pytest.approx(0.975), "percentile")
    for value, left_out in ((2.0, spread), (0.5, np.array([0.4, np.nan, 0.6]))):
        found = interval(value, drawn, left_out)
        assert found is not None
        assert found.kind == "percentile"
    bca = interval(0.5, drawn, spread)
    assert bca is not None
    assert bca.kind == "bca"


@pytest.mark.parametrize("students", [10, 40])
def test_intervals_cover_the_truth_about_as_often_as_they_say(students: int) -> None:
    generator = np.random.default_rng(11)
    hits = 0
    for trial in range(200):
        counts = generator.integers(1, 6, size=(students, 1)).astype(float)
        level = 0.6 + 0.1 * generator.standard_normal((students, 1))  # students differ: values are not independent
        found = estimate(resample({"x": Totals(level * counts, counts)}, resamples=500, seed=trial), "x", micro)
        assert found.interval is not None
        hits += found.interval.low <= 0.6 <= found.interval.high
    assert 0.85 <= hits / 200 <= 0.99
