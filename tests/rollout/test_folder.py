"""What a folder of rollouts tells beside the rollouts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from graders import FunctionTest, Problem
from simstudent.data.records import Assignment
from simstudent.errors import SimstudentError
from simstudent.rollout.folder import read_assignments, read_rollouts, read_settings, write_assignments
from simstudent.rollout.records import Rollout, Step


def test_assignments_are_written_for_people(tmp_path: Path) -> None:
    assert read_assignments(tmp_path) == {}
    problem = Problem("f", (FunctionTest("(1, 2)", "3"),), entry="f", solution="def f(a, b):\n    return a + b")
    task = Assignment("f", "Add.", problem=problem)
    write_assignments(tmp_path, [task, Assignment("g", "Draw.", "pencilcode"), task])
    assert read_assignments(tmp_path) == {
        "f": {"statement": "Add.", "language": "python", "tests": ["f(1, 2)"]},
        "g": {"statement": "Draw.", "language": "pencilcode", "tests": []},
    }
    assert "return" not in (tmp_path / "assignments.json").read_text()  # neither solutions nor expected values


def test_damaged_folders_are_told_apart_by_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{broken", encoding="utf-8")
    with pytest.raises(SimstudentError, match=r"settings\.json: not a JSON object"):
        read_settings(tmp_path)
    (tmp_path / "base.jsonl").write_text('{"key": "a"}\n', encoding="utf-8")
    with pytest.raises(SimstudentError, match=r"base\.jsonl, line 1: not a rollout"):
        read_rollouts(tmp_path)


def test_records_are_read_whatever_the_order_of_their_fields(tmp_path: Path) -> None:
    code = "def f(x):\n    return x\n"
    steps = (Step(1, code, 0.5, "graded", "PW", code, 1.0, "graded", "PP", said=("Why?",)),)
    rollouts = [Rollout(f"{n}", "base", "s", "a", n, 0, 1, steps, "student_done", True, code, 0.5) for n in (1, 2, 3)]
    written, turned, older = (r.to_dict() for r in rollouts)
    turned["steps"] = [dict(reversed(step.items())) for step in turned["steps"]]
    del older["cell"], older["steps"][0]["feedback"]
    lines = [written, dict(reversed(turned.items())), older]
    (tmp_path / "base.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    found = read_rollouts(tmp_path)
    assert found == rollouts
    # One text, however often it is written down: a class repeats its programs in every start and sample.
    assert len({id(text) for r in found for text in (r.previous_code, r.steps[0].code, r.steps[0].student_code)}) == 1
