"""Splits: sides, cells, leaks, and that nobody moves when data is added."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simstudent.data.division import Division, divide
from simstudent.data.records import Trajectory
from simstudent.data.split import CELLS, SplitSection, side_of
from simstudent.errors import SimstudentError
from tests.data.logs import many, trajectory

MANY = [trajectory(f"s{n}", 0.0, 1.0, codes=[f"{n} 0", f"{n} 1"]) for n in range(1000)]


def placed(log: list[Trajectory], seed: int = 1, **section: Any) -> tuple[dict[str, list[Trajectory]], Division]:
    division = divide(log, SplitSection(**section), seed)
    found: dict[str, list[Trajectory]] = {}
    for place, t in zip(division.places, log, strict=True):
        found.setdefault(place, []).append(t)
    return found, division


def test_shares_are_about_right_and_every_student_is_on_one_side() -> None:
    sides, division = placed(MANY, test=0.2, validation=0.2)
    assert 160 < len(sides["test"]) < 240
    assert 120 < len(sides["validation"]) < 200
    assert sum(map(len, sides.values())) == 1000
    assert [(f.place, f.trajectories, f.shared_students) for f in division.facts] == [
        (side, len(sides[side]), 0) for side in ("train", "validation", "test")
    ]


def test_the_seed_decides() -> None:
    sides = [[side_of(f"s{n}", seed=seed, test=0.3, validation=0.2) for n in range(50)] for seed in (1, 1, 2)]
    assert sides[0] == sides[1] != sides[2]


def test_an_empty_side_is_refused() -> None:
    with pytest.raises(SimstudentError, match=r"by student, no trajectory of 1 falls on the \w+ side"):
        divide(MANY[:1], SplitSection(), 1)


@pytest.mark.parametrize("by", ["student", "assignment", "cells"])
@settings(max_examples=3, deadline=None)
@given(kept=st.sets(st.integers(0, 599), min_size=200), seed=st.integers(0, 3))
def test_nobody_changes_sides_when_data_is_added(by: str, kept: set[int], seed: int) -> None:
    everything = list(many(60, 10))
    shares: dict[str, Any] = {"unseen_students": 0.1, "unseen_assignments": 0.1} if by == "cells" else {}
    where = [
        {t.key: "test" if place in CELLS else place for place, held in sides.items() for t in held}
        for sides, _ in (
            placed(log, seed, by=by, test=0.3, validation=0.3, **shares)
            for log in (everything, [everything[n] for n in sorted(kept)])
        )
    ]
    assert where[1].items() <= where[0].items()


def test_by_assignment() -> None:
    sides, division = placed(list(many(20, 60)), by="assignment")
    names = {side: {t.assignment for t in held} for side, held in sides.items()}
    assert not names["train"] & names["test"]
    assert not names["train"] & names["validation"]
    assert not names["test"] & names["validation"]
    assert [f.shared_students for f in division.facts] == [0, 20, 20]


def test_cells_are_what_they_say_and_have_their_shares() -> None:
    log = list(many(150, 60))
    cells, division = placed(log, by="cells", unseen_students=0.1, unseen_assignments=0.1)
    students, titles = {t.student for t in cells["train"]}, {t.assignment for t in cells["train"]}
    for place in CELLS:
        student, title = place.split("_student_")
        assert {t.student in students for t in cells[place]} == {student == "seen"}
        assert {t.assignment in titles for t in cells[place]} == {title == "seen_assignment"}
    shares = {place: len(held) / len(log) for place, held in cells.items()}
    unseen_students = len({t.student for t in cells["unseen_student_seen_assignment"]}) / 150
    unseen_titles = len({t.assignment for t in cells["seen_student_unseen_assignment"]}) / 60
    assert 0.05 < unseen_students < 0.16
    assert 0.02 < unseen_titles < 0.2
    rest = (1 - unseen_students) * (1 - unseen_titles)
    assert shares["unseen_student_unseen_assignment"] == pytest.approx(unseen_students * unseen_titles)
    assert shares["seen_student_seen_assignment"] == pytest.approx(0.2 * rest, rel=0.1)
    assert shares["validation"] == pytest.approx(0.2 * 0.8 * rest, rel=0.1)
    facts = {f.place: f for f in division.facts}
    assert facts["unseen_student_seen_assignment"].shared_students == 0
    assert facts["seen_student_unseen_assignment"].shared_assignments == 0


def test_a_student_without_anything_in_training_is_unseen() -> None:
    """Seen means: in train. With one trace a student, no student of the test side can be."""
    log = [trajectory(f"s{n}", 1.0, assignment=f"a{n % 3}", codes=[str(n)]) for n in range(200)]
    cells, _ = placed(log, by="cells")
    assert "seen_student_seen_assignment" not in cells
    assert len(cells["unseen_student_seen_assignment"]) > 20


TERMS = [
    *(trajectory(f"old{n}", 1.0, codes=[f"o{n}"], term="Spring 2021") for n in range(30)),
    *(trajectory(f"new{n}", 1.0, codes=[f"n{n}"], term="Spring 2022") for n in range(30)),
    *(trajectory(f"old{n}", 1.0, codes=[f"a{n}"], assignment="b", term="Spring 2022") for n in range(5)),
    trajectory("between", 1.0, term="Fall 2021"),
]
NAMED = {"train": "Spring 2021", "test": ["spring 2022"]}


def test_by_term_students_of_both_terms_are_dropped_or_kept_and_reported() -> None:
    sides, division = placed(TERMS, by="term", sides=NAMED)
    assert {t.student[:3] for t in sides["test"]} == {"new"}
    assert {t.student[:3] for t in [*sides["train"], *sides["validation"]]} == {"old"}
    assert division.dropped == {"of no side": 1, "of students who are in training too": 5}
    sides, division = placed(TERMS, by="term", sides=NAMED, shared_students="keep")
    assert len(sides["test"]) == 35
    training = {t.student for t in sides["train"]}
    both = [t for t in sides["test"] if t.student in training]
    assert division.facts[2].shared_students == len(both) > 0


def test_a_trajectory_over_two_terms_is_on_no_side() -> None:
    two = trajectory("x", 0.0, 1.0, term="Spring 2021")
    late = trajectory("x", 1.0, term="Spring 2022")
    both = Trajectory("x", "a", two.submissions + late.submissions)
    _, division = placed([*TERMS, both], by="term", sides=NAMED)
    assert division.dropped["with submissions of several sides"] == 1


def test_by_column_the_log_has_its_own_sides() -> None:
    log = [
        trajectory(f"{side}{n}", 1.0, codes=[f"{side}{n}"], split=side)
        for side in ("train", "val", "test")
        for n in range(3)
    ]
    sides, division = placed(log, by="column")
    assert {side: {t.student[:-1] for t in held} for side, held in sides.items()} == {
        "train": {"train"},
        "validation": {"val"},
        "test": {"test"},
    }
    assert not division.dropped
    with pytest.raises(SimstudentError, match=r"no submission of s0/a has a column 'split'"):
        placed(MANY, by="column")
    with pytest.raises(SimstudentError, match="3 trajectories of no side"):
        placed(log, by="column", sides={"train": "train", "test": "tst", "validation": "test"})


DATED = [
    trajectory(f"s{n}", 0.0, 1.0, codes=[f"{n}a", f"{n}b"], times=[f"2021-{1 + n // 28:02}-{1 + n % 28:02}"] * 2)
    for n in range(200)
]


def test_by_time_with_a_date_and_with_a_share() -> None:
    across = trajectory("late", 0.0, 1.0, times=["2021-04-30", "2021-05-01T00:00:00+00:00"])
    unknown = trajectory("when", 0.0, 1.0, times=["2021-04-30", None])
    sides, division = placed([*DATED, across, unknown], by="time", test_from="2021-05-01")
    assert all(t.submissions[0].time >= "2021-05-01" for t in sides["test"])  # type: ignore[operator]
    assert all(t.submissions[0].time < "2021-05-01" for t in sides["train"])  # type: ignore[operator]
    assert division.dropped == {"with submissions of several sides": 1, "without times": 1}
    sides, _ = placed(DATED, by="time", test=0.25)
    assert len(sides["test"]) == 50
    assert {t.student for t in sides["test"]} == {f"s{n}" for n in range(150, 200)}


def test_a_sample_of_the_test_side_is_stable_and_of_each_cell() -> None:
    sides, division = placed(MANY, test_sample=50)
    assert len(sides["test"]) == 50
    assert division.dropped["not drawn into the sample"] > 100
    fewer, _ = placed(MANY[:900], test_sample=50)
    left = [t for t in sides["test"] if t in MANY[:900]]
    assert set(left) <= set(fewer["test"])  # what stays does not depend on what was added
    cells, _ = placed(list(many(150, 60)), by="cells", unseen_students=0.1, unseen_assignments=0.1, test_sample=7)
    assert [len(cells[cell]) for cell in CELLS] == [7] * 4


def copied() -> list[Trajectory]:
    """MANY, with test students who hand in what a training student has, whole and in part."""
    seed_one = {
        side: [t for t in MANY if side_of(t.student, seed=1, test=0.2, validation=0.2) == side]
        for side in ("train", "test")
    }
    whole, part = seed_one["test"][:2]
    model = seed_one["train"][0]
    return [
        *MANY,
        Trajectory(whole.student, "b", model.submissions),
        Trajectory(part.student, "b", (model.submissions[0], part.submissions[0])),
    ]


def test_copies_are_found_and_can_be_dropped() -> None:
    _, division = placed(copied())
    test = division.facts[2]
    assert (test.same_trace, test.same_program, test.own_program) == (1, 2, 0)
    _, division = placed(copied(), copies="drop_traces")
    assert (division.facts[2].same_trace, division.facts[2].same_program) == (0, 1)
    assert sum(division.dropped.values()) == 1
    _, division = placed(copied(), copies="drop_programs")
    assert (division.facts[2].same_trace, division.facts[2].same_program) == (0, 0)
    assert sum(division.dropped.values()) == 2


def test_a_students_own_programs_across_sides_are_found() -> None:
    log = [
        t for n in range(30) for t in (trajectory("s", 1.0, codes=["same" if n < 25 else str(n)], assignment=f"a{n}"),)
    ]
    sides, division = placed(log, by="assignment", test=0.3)
    again = sum(t.submissions[0].code == "same" for t in sides["test"])
    assert division.facts[2].own_program == again > 0


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("xyz"), st.text("pq", max_size=2)), min_size=1))
def test_leaks_are_what_a_plain_comparison_finds(rows: list[tuple[str, str, str]]) -> None:
    log = [
        trajectory(s, *[0.0] * len(c), codes=c, assignment=a)
        for s, a, c in {(s, a): (s, a, c or "-") for s, a, c in rows}.values()
    ]
    try:
        sides, division = placed(log, by="assignment", test=0.4, validation=0.3)
    except SimstudentError:
        return
    train = sides["train"]
    for fact in division.facts[1:]:
        held = sides[fact.place]
        programs = {s.code for t in train for s in t.submissions}
        own = {(t.student, s.code) for t in train for s in t.submissions}
        whole = {tuple(s.code for s in t.submissions) for t in train}
        assert fact.same_program == sum(any(s.code in programs for s in t.submissions) for t in held)
        assert fact.own_program == sum(any((t.student, s.code) in own for s in t.submissions) for t in held)
        assert fact.same_trace == sum(tuple(s.code for s in t.submissions) in whole for t in held)
        assert fact.shared_students == len({t.student for t in held} & {t.student for t in train})


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"by": "term"}, "needs sides"),
        ({"by": "term", "sides": {"train": "A", "test": ["a"]}}, "names a on two sides"),
        ({"by": "student", "column": "x"}, "column has no meaning for a split by student"),
        ({"by": "time", "test_from": "spring"}, "not a time in ISO 8601"),
        ({"by": "cells", "shared_students": "keep"}, "no meaning"),
    ],
)
def test_wrong_splits_are_explained(section: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SplitSection(**section)
