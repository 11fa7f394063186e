"""What recoveries come to, by hand; and the command, from a trained run to its table."""

from __future__ import annotations

from typing import Any

import pytest

from simstudent.evaluation.recovery import REFERENCE, STAYS, STUDENTS, recovered, to_markdown

STARTS: dict[str, dict[str, Any]] = {
    "a/x/1/0": {
        "student": "a",
        "failing": "ab",
        "programs": ["abc", "abcd"],
        "grades": [0.0, 1.0],
        "reference": "abcd",
    },
    "b/x/1/0": {"student": "b", "failing": "xy", "programs": ["xyz"], "grades": [0.0], "reference": "abcd"},
}
MADE = {"true": {"a/x/1/0": (("abcd",), (1.0,)), "b/x/1/0": (("xy", "xyzz"), (0.0, 0.0))}}


def test_figures_by_hand() -> None:
    found = {r.condition: r for r in recovered(STARTS, MADE, attempts=2, resamples=200, seed=1)}
    assert list(found) == ["true", STUDENTS, STAYS, REFERENCE]
    values = {name: {m: e.value for m, e in r.figures.items()} for name, r in found.items()}
    assert values["true"] == {
        "solved": 0.5,
        "solved_in": 1.0,
        "attempts": 1.5,
        "like_students_last": pytest.approx((1 + 3 / 4) / 2),
        "like_failing": pytest.approx((1 / 2 + 1 / 2) / 2),
    }
    assert values[STUDENTS]["solved_in"] == 2.0
    assert values[STAYS]["like_failing"] == 1.0
    assert values[STAYS]["solved"] == 0.0
    assert values[REFERENCE]["solved"] == 1.0
    assert not found["true"].apart
    assert found[STUDENTS].apart["solved"].value == 0.0


def test_of_the_students_no_more_attempts_count_than_of_others() -> None:
    found = {r.condition: r for r in recovered(STARTS, MADE, attempts=1, resamples=200, seed=1)}
    assert found[STUDENTS].figures["solved"].value == 0.0
    assert found[STUDENTS].figures["attempts"].value == 1.0


def test_the_table_names_conditions_and_the_strong_student() -> None:
    found = recovered(STARTS, MADE, attempts=2, resamples=200, seed=1)
    text = to_markdown(found, starts=2, attempts=2, split="test", strong="s7")
    assert "| true |" in text
    assert "The strong student is s7" in text
    assert "Differences to true" in text
