"""Selection steps and the attrition table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graders import FunctionTest, Problem
from simstudent.data import attrition
from simstudent.data.attrition import Attrition, Tally
from simstudent.data.records import Assignment, Submission, Talk, Trajectory
from simstudent.data.select import STEPS, check_step, select
from simstudent.errors import SimstudentError
from simstudent.recipe import GraderSection
from tests.data.logs import trajectory

Steps = list[str | Mapping[str, Any]]
PYTHON = {"a": Assignment("a", "do it")}


def run(
    log: list[Trajectory], steps: Steps, known: Mapping[str, Assignment] = PYTHON, grader: GraderSection | None = None
) -> tuple[list[Trajectory], tuple[Attrition, ...]]:
    selection, tally = select(lambda: iter(log), steps, known, grader), Tally()
    return list(selection.trajectories(tally)), tally.table(selection.stages)


def codes(kept: list[Trajectory]) -> list[list[str]]:
    return [[s.code for s in t.submissions] for t in kept]


def test_selection_reports_what_each_step_left() -> None:
    log = [
        trajectory("a", 0.0, 1.0, 0.5),
        trajectory("b", 0.0, 0.0, 0.5, codes="xxy"),
        trajectory("c", 1.0),
        trajectory("c", 0.0, 0.0, assignment="b"),
    ]
    kept, table = run(log, ["stop_at_full_grade", "drop_unchanged", {"min_submissions": 2}, {"min_best_grade": 0.6}])
    assert [(t.student, len(t.submissions), t.outcome) for t in kept] == [("a", 2, "solved")]
    assert [(r.step, r.trajectories, r.students, r.submissions) for r in table] == [
        ("logged", 4, 3, 9),
        ("stop_at_full_grade", 4, 3, 8),
        ("drop_unchanged", 4, 3, 7),
        ("min_submissions: 2", 3, 3, 6),
        ("min_best_grade: 0.6", 1, 1, 2),
    ]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("drop_unchangd", "did you mean 'drop_unchanged'"),
        ("min_submissions", "needs a value, such as 'min_submissions: 2'"),
        ({"min_submissions": "two"}, "type int"),
        ({"min_best_grade": 50}, "a grade between 0 and 1"),
        ({"sample_students": 5}, "a share between 0 and 1"),
        ({"stop_at_full_grade": 1}, "takes no value"),
        ({"a": 1, "b": 2}, "one name with one value"),
        ({"exam": "no"}, "true or false"),
        ({"language": []}, "a value or a list"),
        ({"where": "x"}, "columns with their values"),
        ({"drop_regrade_mismatch": "all"}, "'submission' or 'trajectory'"),
        ({"one_assignment_per_lesson": "(a)(b)"}, "one group, not 2"),
        ({"one_assignment_per_lesson": "(a"}, "is none"),
    ],
)
def test_wrong_steps_are_explained(step: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        check_step(step)


def test_every_example_of_a_value_works() -> None:
    import yaml

    for name, kind in STEPS.items():
        step = yaml.safe_load(f"{name}: {kind.example}") if kind.value else name
        assert check_step(step).label == (f"{name}: {kind.example}" if kind.value else name)


def test_repetitions_by_text_by_layout_and_by_names() -> None:
    programs = ["x = 1", "x = 1", "x=1  # one", "y = 1", "y = 2", "print(max(y))", "print(min(y))"]
    log = [trajectory("a", *[0.0] * len(programs), codes=programs)]
    assert codes(run(log, ["drop_unchanged"])[0]) == [programs[:1] + programs[2:]]
    assert codes(run(log, ["drop_layout_changes"])[0]) == [programs[:1] + programs[3:]]
    assert codes(run(log, ["drop_renamings"])[0]) == [programs[:1] + programs[4:]]


def test_what_was_said_after_a_repetition_is_kept() -> None:
    said = (Talk("tutor", "try again"),)
    log = Trajectory("a", "a", (Submission("x"), Submission("x", talk=said), Submission("y")))
    ((kept,), _) = run([log], ["drop_unchanged"])
    assert [s.talk for s in kept.submissions] == [said, ()]


def test_runs_hints_and_what_does_not_compile_go() -> None:
    t = trajectory("a", 0.0, 0.0, 0.0, 0.0, codes=["x", "x =", "y", "z"])
    t = replace(
        t,
        submissions=(
            *t.submissions[:2],
            *(replace(s, kind=k) for s, k in zip(t.submissions[2:], ("run", "hint"), strict=True)),
        ),
    )
    assert codes(run([t], ["drop_runs"])[0]) == [["x", "x =", "z"]]
    assert codes(run([t], ["drop_hints"])[0]) == [["x", "x =", "y"]]
    assert codes(run([t], ["drop_not_compiling"])[0]) == [["x", "y", "z"]]
    only = replace(t, submissions=t.submissions[2:3])
    assert run([only], ["drop_runs"])[0] == []


def test_columns_of_the_log() -> None:
    log = [
        trajectory("a", 1.0, type="lab", exam=False, course=2, term="Spring 2021", redacted=0),
        trajectory("b", 1.0, type="Lab", exam=True, course=3, term="Fall 2021", redacted=1),
        trajectory("c", 1.0, type="skill", exam=0, course=3, term="Fall 2021"),
    ]
    kept = {
        str(step): "".join(t.student for t in run(log, [step])[0])
        for step in (
            {"assignment_kind": "lab"},
            {"exam": False},
            {"exam": True},
            {"course": [2, 4]},
            {"term": "fall 2021"},
            {"where": {"type": ["lab", "skill"], "course": 3}},
            "drop_redacted",
        )
    }
    assert list(kept.values()) == ["ab", "ac", "b", "a", "bc", "bc", "ac"]


def test_a_column_that_is_nowhere_is_an_error() -> None:
    with pytest.raises(SimstudentError, match="no submission has a column 'type'; did you mean 'typ'"):
        run([trajectory("a", 1.0, typ="lab")], [{"assignment_kind": "lab"}])
    assert run([], [{"assignment_kind": "lab"}])[0] == []


def test_cut_and_censored() -> None:
    cut = Trajectory("a", "a", (Submission("x", more={"possibly_cut": True}), Submission("y")))
    assert codes(run([cut], [{"drop_possibly_cut": "submission"}])[0]) == [["y"]]
    assert run([cut], [{"drop_possibly_cut": "trajectory"}])[0] == []
    assert run([cut], ["drop_censored"])[0] == [cut]
    assert run([trajectory("a", 1.0, censored=True)], ["drop_censored"])[0] == []


def test_grades_and_tests() -> None:
    log = [trajectory("a", 0.5, 0.0), trajectory("b", 0.0, 0.6), trajectory("c", None), trajectory("d", 0.0)]
    assert [t.student for t in run(log, [{"min_last_grade": 0.5}])[0]] == ["b"]
    assert [t.student for t in run(log, ["some_test_passed"])[0]] == ["a", "b"]
    graded = [trajectory("e", 0.0, tests="WP"), trajectory("f", 0.5, tests="WE")]
    assert [t.student for t in run(graded, ["some_test_passed"])[0]] == ["e"]


def test_language() -> None:
    known = {"a": Assignment("a", "", "python"), "b": Assignment("b", "", "CoffeeScript")}
    log = [trajectory("s", 1.0), trajectory("s", 1.0, assignment="b")]
    assert [t.assignment for t in run(log, [{"language": "coffeescript"}], known)[0]] == ["b"]


def test_of_each_lesson_the_assignment_with_most_submissions() -> None:
    log = [
        trajectory("a", 0.0, 0.0, assignment="l1_x", lesson="1"),
        trajectory("b", 0.0, assignment="l1_x", lesson="1"),
        trajectory("a", 0.0, 0.0, assignment="l1_y", lesson="1"),
        trajectory("a", 0.0, assignment="l2_b", lesson="2"),
        trajectory("a", 0.0, assignment="l2_a", lesson="2"),
    ]
    for value in ("lesson", r"^(l\d+)_"):
        kept, table = run(log, [{"one_assignment_per_lesson": value}])
        assert [t.assignment for t in kept] == ["l1_x", "l1_x", "l2_a"]
        assert [row.whole for row in table] == [False, True]
    # the count is of what the steps before have left
    kept, _ = run(log, [{"min_submissions": 2}, {"where": {"lesson": 1}}, {"one_assignment_per_lesson": "lesson"}])
    assert [t.assignment for t in kept] == ["l1_x"]
    with pytest.raises(SimstudentError, match="is not in the id 'l1_x'"):
        run(log, [{"one_assignment_per_lesson": "(w)"}])
    with pytest.raises(SimstudentError, match="no column 'week'"):
        run(log, [{"one_assignment_per_lesson": "week"}])


def test_length_outliers_are_dropped_where_they_are() -> None:
    # lengths 10, 11, 12, 13, 100: median 12, MAD 1, so 12 +- 3.5 / .6745
    log = [trajectory("s", 0.0, 0.1, 0.2, 0.3, 0.4, codes=["x" * n for n in (10, 100, 11, 12, 13)])]
    log.append(trajectory("s", 0.0, codes=["x" * 100], assignment="b"))  # its own assignment's only length
    (first, second), _ = run(log, [{"drop_length_outliers": 3.5}], {**PYTHON, "b": Assignment("b", "")})
    assert [s.grade for s in first.submissions] == [0.0, 0.2, 0.3, 0.4]
    assert second == log[1]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=30))
def test_outliers_go_by_the_textbook_median_and_mad(lengths: list[int]) -> None:
    from statistics import median

    log = [trajectory("s", *[0.0] * len(lengths), codes=["x" * n for n in lengths])]
    kept, _ = run(log, [{"drop_length_outliers": 2.0}])
    centre = median(lengths)
    mad = median(abs(n - centre) for n in lengths)
    usual = [n for n in lengths if not mad or 0.6745 * abs(n - centre) / mad <= 2.0 + 1e-12]
    assert [len(s.code) for t in kept for s in t.submissions] == usual


def test_regrade_mismatch() -> None:
    problem = Problem(id="a", entry="f", tests=(FunctionTest("(1,)", "1"), FunctionTest("(2,)", "2")))
    known = {"a": Assignment("a", "", problem=problem), "b": Assignment("b", "")}
    good, half = "def f(x):\n    return x", "def f(x):\n    return 1"
    log = [
        trajectory("s", 0.5, 1.0, codes=[half, good]),
        trajectory("t", 1.0, 1.0, codes=[half, good]),
        trajectory("s", 0.3, assignment="b"),
    ]
    section = GraderSection(workers=1)
    kept, _ = run(log, [{"drop_regrade_mismatch": "submission"}], known, section)
    assert [(t.student, len(t.submissions)) for t in kept] == [("s", 2), ("t", 1), ("s", 1)]
    kept, _ = run(log, [{"drop_regrade_mismatch": "trajectory"}], known, section)
    assert [(t.student, t.assignment) for t in kept] == [("s", "a"), ("s", "b")]
    with pytest.raises(SimstudentError, match="needs the graders"):
        run(log, [{"drop_regrade_mismatch": "trajectory"}], known)


def test_no_step_holds_the_stream() -> None:
    """One trajectory in, one out: nothing is kept between (steps that look at all of it do so before)."""
    alive = 0

    def log() -> Iterator[Trajectory]:
        nonlocal alive
        for n in range(100):
            alive += 1
            yield trajectory(f"s{n}", 0.0, 1.0, codes=[f"{n}", f"{n} "], type="lab", redacted=False)
            alive -= 1

    steps: Steps = [
        {"assignment_kind": "lab"},
        "drop_redacted",
        "drop_unchanged",
        {"one_assignment_per_lesson": "type"},
    ]
    for _ in select(log, steps, PYTHON).trajectories(Tally()):
        assert alive == 1


def test_a_share_of_the_students_is_drawn_with_all_that_is_theirs() -> None:
    log = [trajectory(f"s{n}", 0.0, assignment=name) for n in range(400) for name in "ab"]
    quarter, half = (run(log, [{"sample_students": share}])[0] for share in (0.25, 0.5))
    students = {t.student for t in quarter}
    assert 70 < len(students) < 130
    assert len(quarter) == 2 * len(students)
    assert students < {t.student for t in half}


def test_the_table_as_text_markdown_and_csv() -> None:
    table = (Attrition("logged", 1200, 30, 5000), Attrition("where: {a: [b|c]}", 1000, 30, 4000, whole=True))
    assert attrition.terminal(table).split("\n") == [
        "  step                trajectories  students     submissions",
        "  logged                     1,200        30           5,000",
        "  where: {a: [b|c]}*  1,000 (-200)        30  4,000 (-1,000)",
        "  * looked at all of the data before it decided",
    ]
    assert "| where: {a: [b\\|c]}* | 1,000 (-200) | 30 | 4,000 (-1,000) |\n" in attrition.markdown(table)
    assert attrition.comma_separated({"r": table}).split("\n")[1:3] == [
        "r,logged,1200,30,5000,0,0,0",
        "r,where: {a: [b|c]},1000,30,4000,200,0,1000",
    ]
