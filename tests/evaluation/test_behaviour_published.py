"""The published metrics of traces: made-up traces always, the published code's own values where they are at hand."""

from __future__ import annotations

import gzip
import json
import math
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from simstudent.data.trace_text import Trace
from simstudent.evaluation import behaviour_published as published
from tests.evaluation.traces import trace

GENERATED = Path(__file__).parents[3] / "shared" / "data" / "pencilcode_generated"
EDITS = (
    *("color_changes", "number_changes", "comment_additions", "function_additions"),
    *("lines_added", "lines_deleted", "lines_modified"),
)


def expected() -> dict[str, Any]:
    path = GENERATED / "expected_metrics.json"
    if not path.exists():
        pytest.skip("the published values are not here")
    held: dict[str, Any] = json.loads(path.read_bytes())
    return held


def rows(name: str) -> dict[tuple[str, int], dict[str, Any]]:
    with gzip.open(GENERATED / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return {(row["title"], row["origin_row"]): row for row in map(json.loads, file)}


def as_trace(row: dict[str, Any], convention: str) -> Trace:
    programs = tuple(row["programs"])
    if convention == "as_published":
        programs = published.with_newlines(programs)
    return Trace(row["title"], programs, tuple(row["timestamps"]), tuple(range(1, len(programs) + 1)), True)


@pytest.mark.parametrize("convention", ["as_published", "stripped"])
def test_every_published_value(convention: str) -> None:
    held, traces = expected(), rows("traces")
    checked = 0
    for title, models in held["titles"].items():
        found = []
        for record in models["trace-model"]["records"]:
            made, wanted = as_trace(traces[title, record["origin_row"]], convention), record[convention]
            found.append(published.properties(made))
            assert found[-1] == pytest.approx(wanted["metrics"], abs=1e-9)
            details(made, wanted)
            checked += 1
        if convention == "as_published":
            means = {name: fmean(metrics[name] for metrics in found) for name in found[0]}
            assert means == pytest.approx(models["trace-model"]["means"], abs=1e-9)
    assert checked == 80


def details(made: Trace, wanted: dict[str, Any]) -> None:
    """What the published code gives besides its metrics."""
    programs = made.programs
    ends = published.to_the_end(programs)
    back = wanted["backtracking"]
    assert (ends[:-1] or [0]) == back["dists"]
    assert (published.backtracking(ends), sum(ends)) == (back["ratio"], back["sum"])
    assert [b - a for a, b in pairwise(ends)] == wanted["backtracking_diff_dists"]
    assert [published.distance(a, b) for a, b in pairwise(programs)] == wanted["sequential"]
    total = sum((published.edit(a, b) for a, b in pairwise(programs)), published.Edits())
    assert {name: getattr(total, name) for name in EDITS} == {name: wanted["edits"][name] for name in EDITS}
    assert {name: getattr(total, f"num_{name}") for name in published.CATEGORIES} == wanted["edits"]["edit_categories"]
    assert sum(map(published.comments, programs)) == wanted["total_num_comments"]
    assert published.colours(made) == wanted["colors_last"]


def test_one_state_has_no_way_and_published_code_says_0() -> None:
    found = published.properties(trace("pen red\nfd 100"))
    assert found["trace_length_all"] == 1
    assert found["trace_year_last"] == 2021
    assert all(found[name] == 0 for name in found if name.startswith("edit_") or "distance" in name or "time" in name)
    assert found["backtracking_ratio_all"] == 0


def test_a_time_that_is_none_is_unknown() -> None:
    found = published.properties(trace("a", "b", times=("2021-03-04 10:00:00", "2021-13-44 10:00:00")))
    assert math.isnan(found["trace_year_last"])
    assert math.isnan(found["total_time_all"])
    assert found["trace_length_all"] == 2


def test_pairs_reach_over_the_whole_difference() -> None:
    found = published.edit("lt 45\nfd 10\n", "lt 90\nfd 10\nfd 200\n")
    assert (found.lines_modified, found.lines_added, found.number_changes) == (2, 0, 1)
    assert found.num_modify_existing == 1


def test_kinds_of_edits() -> None:
    many = "".join(f"dot {n}\n" for n in range(5))
    assert published.edit("pen red", "pen blue").color_changes == 1
    assert published.edit("", many).num_large_add == 1
    assert published.edit(many, "").num_large_del == 1
    assert published.edit("fd 1", "fd 1\n# up\nf = -> up") == published.Edits(
        lines_added=2, comment_additions=1, function_additions=1, num_small_add=1
    )
    assert published.edit("a\nb", "a").num_small_del == 1


def test_colours_count_anywhere_in_a_word() -> None:
    assert published.colours(trace("pen skyblue\nfd distance")) == {"blue": 1, "skyblue": 1, "tan": 1}


def test_newlines_of_the_published_parser() -> None:
    assert published.with_newlines(["a", "b", "c"]) == ("a\n", "b\n", "c")
    assert published.with_newlines(["a"]) == ("a",)
