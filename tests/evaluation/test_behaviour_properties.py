"""Our own properties of traces, on made-up ones, worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from simstudent.data.records import Submission, Trajectory
from simstudent.evaluation.behaviour_colours import words
from simstudent.evaluation.behaviour_lines import line_edit
from simstudent.evaluation.behaviour_properties import OF_THE_END, properties, trace_of
from tests.evaluation.traces import trace


def test_the_way_of_a_trace() -> None:
    # Away from the end once in three edits; 6, 1, 6 characters from it before.
    found = properties(trace("pen red", "fd 10", "pen red", "fd 100"), "coffeescript")
    assert (found["states"], found["seconds"], found["seconds_per_edit"], found["year"]) == (4, 90, 30, 2021)
    assert found["backtracking"] == pytest.approx(1 / 3)
    assert (found["first_to_last"], found["distance_to_end"]) == (6, pytest.approx(13 / 3))


def test_one_state_says_nothing_of_edits() -> None:
    found = properties(trace("fd 10 # go"), "coffeescript")
    for name in ("backtracking", "distance_to_end", "edit_size", "lines_added", "edits_small_add", "seconds_per_edit"):
        assert math.isnan(found[name])
    assert (found["states"], found["seconds"], found["first_to_last"]) == (1, 0, 0)


def test_lines_are_paired_within_a_hunk_and_only_if_alike() -> None:
    edit = line_edit("lt 45\nfd 10\n", "lt 90\nfd 10\nfd 200\n")
    assert (edit.changed, edit.added, edit.deleted) == ((("lt 45", "lt 90"),), ("fd 200",), ())
    assert edit.numbers == 1
    edit = line_edit("speed Infinity", "# all of it\nmain = ->\n  speed Infinity\n  ht()")
    assert edit.changed == (("speed Infinity", "  speed Infinity"),)
    assert len(edit.added) == 3
    edit = line_edit("pen red", "dot blue, 100")
    assert (edit.changed, edit.added, edit.deleted) == ((), ("dot blue, 100",), ("pen red",))


def test_colour_changes_are_of_whole_words() -> None:
    assert line_edit("pen red, 10", "pen skyblue, 10").colours == 1
    assert line_edit("write 'scared'", "write 'scablue'").colours == 0
    assert words("pen skyblue\nfd distance # blue") == {"skyblue": 1, "blue": 1}


def test_a_censored_trace_tells_nothing_of_its_end() -> None:
    found = properties(trace("fd 10", "fd 20", complete=False), "coffeescript")
    assert all(math.isnan(found[name]) for name in found if name in OF_THE_END or name.startswith("last_word_"))
    assert (found["number_changes"], found["edit_size"], found["complete"]) == (1, 1, 0)


def test_states_that_may_have_been_cut_are_told() -> None:
    assert properties(trace("x" * 1018, "y"), "coffeescript")["possibly_cut"] == 0
    assert properties(trace("x" * 1019, "y"), "coffeescript")["possibly_cut"] == 1


def test_languages_differ_in_comments_functions_and_words() -> None:
    python = properties(trace("x = 1", "# sum\ndef f(n):\n    return n  # no"), "python")
    assert (python["last_comments"], python["last_functions"], python["last_word_return"]) == (1, 1, 1)
    coffee = properties(trace("await pause 1, defer()\nf = (x) -> box red"), "coffeescript")
    assert (coffee["last_functions"], coffee["last_word_await"], coffee["last_word_box"]) == (1, 1, 1)
    assert coffee["last_colours"] == 1
    assert properties(trace("fd 10\nfd 20"), "coffeescript", ("fd",))["last_word_fd"] == 2


def test_pauses_count_for_ten_minutes() -> None:
    times = ("2021-03-04 10:00:00", "2021-03-04 10:01:00", "2021-03-06 10:01:00")
    found = properties(trace("a", "b", "c", times=times), "python")
    assert (found["seconds"], found["active_seconds"]) == (2 * 86400 + 60, 660)


def test_a_student_s_trajectory_is_a_trace() -> None:
    states = (Submission("a", "2021-03-04T10:00:00+01:00"), Submission("b"))
    t = Trajectory("s1", "flower", states)
    assert trace_of(t).complete
    found = properties(trace_of(t), "python")
    assert math.isnan(found["seconds"])
    assert math.isnan(found["year"])
    cut = replace(t, submissions=(states[0], replace(states[1], more={"censored": True})))
    assert not trace_of(cut).complete
