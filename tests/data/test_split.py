"""Splits by student and selection steps."""

from __future__ import annotations

import pytest

from simstudent.data.records import Submission, Trajectory
from simstudent.data.select import check_step, select
from simstudent.data.split import check_no_leak, side_of, split
from simstudent.errors import SimstudentError


def trajectory(student: str, *grades: float, codes: str = "") -> Trajectory:
    subs = tuple(Submission(codes[n] if codes else f"c{n}", grade=g) for n, g in enumerate(grades))
    return Trajectory(student, "a", subs)


MANY = [trajectory(f"s{n}", 0.0, 1.0) for n in range(1000)]


def test_shares_are_about_right_and_every_student_is_on_one_side() -> None:
    sides = split(MANY, seed=1, test=0.2, validation=0.2)
    assert {t.student for held in sides.values() for t in held} == {t.student for t in MANY}
    assert 160 < len(sides["test"]) < 240
    assert 120 < len(sides["validation"]) < 200
    check_no_leak(sides)


def test_a_student_stays_where_they_are_when_others_are_added() -> None:
    few, many = (split(MANY[:n], seed=3, test=0.2, validation=0.2) for n in (100, 1000))
    for side, held in few.items():
        assert {t.student for t in held} <= {t.student for t in many[side]}


def test_the_seed_decides() -> None:
    sides = [[side_of(f"s{n}", seed=seed, test=0.3, validation=0.2) for n in range(50)] for seed in (1, 1, 2)]
    assert sides[0] == sides[1] != sides[2]


def test_an_empty_side_is_refused() -> None:
    with pytest.raises(SimstudentError, match=r"no student of 1 falls on the \w+ side"):
        split(MANY[:1], seed=1, test=0.2, validation=0.2)


def test_a_leak_is_found() -> None:
    with pytest.raises(SimstudentError, match="split leak: student s0"):
        check_no_leak({"train": MANY[:2], "validation": (), "test": MANY[:1]})


def test_selection_reports_what_each_step_left() -> None:
    log = [
        trajectory("a", 0.0, 1.0, 0.5),
        trajectory("b", 0.0, 0.0, 0.5, codes="xxy"),
        trajectory("c", 1.0),
    ]
    kept, table = select(log, ["stop_at_full_grade", "drop_unchanged", {"min_submissions": 2}, {"min_best_grade": 0.6}])
    assert [(t.student, len(t.submissions), t.outcome) for t in kept] == [("a", 2, "solved")]
    assert [(r.step, r.trajectories, r.submissions) for r in table] == [
        ("logged", 3, 7),
        ("stop_at_full_grade", 3, 6),
        ("drop_unchanged", 3, 5),
        ("min_submissions: 2", 2, 4),
        ("min_best_grade: 0.6", 1, 2),
    ]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("drop_unchangd", "did you mean 'drop_unchanged'"),
        ("min_submissions", "needs a value"),
        ({"min_submissions": "two"}, "type int"),
        ({"stop_at_full_grade": 1}, "takes no value"),
        ({"a": 1, "b": 2}, "one name with one value"),
    ],
)
def test_wrong_steps_are_explained(step: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_step(step)  # type: ignore[arg-type]
