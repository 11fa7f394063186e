"""The figures of ``simstudent data inspect``."""

from __future__ import annotations

import re

import pytest

from simstudent.data import inspect, inspect_page
from simstudent.data.inspect import quantile, summarise
from simstudent.data.load import read
from simstudent.data.records import Assignment, Submission, Talk, Trajectory
from simstudent.data.sources.corpora import CourseSource

KNOWN = {"a": Assignment("a", "A."), "b": Assignment("b", "B.", "javascript")}
LOG = [
    Trajectory(
        "s1", "a", (Submission("x", "2025-03-01T00:30:00+02:00", 0.0), Submission("x\n1\n", None, 1.0)), "solved"
    ),
    Trajectory("s2", "a", (Submission("<script>", "20250301T101500", 0.97, talk=(Talk("tutor", "t"),)),), "abandoned"),
    Trajectory("s2", "b", (Submission("y", "2025-02-28T23:00:00+00:00", kind="run"), Submission("y")), "unknown"),
]


def test_what_is_counted() -> None:
    summary = summarise(LOG)
    assert (summary.trajectories, len(summary.students), summary.submissions) == (3, 2, 5)
    assert dict(summary.kinds) == {"submission": 4, "run": 1}
    assert dict(summary.lengths) == {2: 2, 1: 1}
    assert dict(summary.lines) == {1: 4, 2: 1}
    assert (summary.ungraded, summary.unchanged, summary.talk) == (2, 1, 1)
    assert dict(summary.grades) == {0: 1, inspect.BINS: 1, 19: 1}  # full marks apart from nearly full
    assert summary.assignments == {"a": [2, 3, 1], "b": [1, 2, 0]}
    assert inspect.languages(summary, KNOWN) == {"python": 3, "javascript": 2}
    # By the clock and not by the text: half past midnight at +02:00 is the evening before, in UTC.
    assert (summary.first, summary.last) == ("2025-03-01T00:30:00+02:00", "20250301T101500")
    assert dict(summary.days) == {"2025-03-01": 2, "2025-02-28": 1}


def test_quantiles() -> None:
    assert [quantile({1: 5, 2: 4, 9: 1}, share) for share in (0.5, 0.51, 0.9, 0.95, 1)] == [1, 2, 2, 9, 9]
    assert quantile({}, 0.5) == 0


def test_examples_do_not_depend_on_the_order_of_the_log() -> None:
    log = list(read(CourseSource(kind="course")).trajectories)
    shown = inspect.examples(summarise(log))
    assert shown == inspect.examples(summarise(reversed(log)))
    assert len(shown) == inspect.EXAMPLES


def test_an_empty_stream_has_figures_too() -> None:
    assert ("students", "0") in inspect.facts(summarise([]), {})


def test_the_page_stands_alone_and_shows_text_as_text() -> None:
    pytest.importorskip("matplotlib")
    log = [*LOG, Trajectory("s3", "a", (Submission("<script>alert(1)</script>"), Submission("b\x1b[31m")))]
    html = inspect_page.page(summarise(log), KNOWN, ["  a note"], "the <name>")
    assert "<script" not in html
    assert "\x1b" not in html
    assert "&lt;script&gt;" in html
    assert not re.search(r"(src|href)=.?https?:", html)
    assert html.count("<figure>") == 4
