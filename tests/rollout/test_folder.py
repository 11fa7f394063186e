"""What a folder of rollouts tells beside the rollouts."""

from __future__ import annotations

from pathlib import Path

import pytest

from graders import FunctionTest, Problem
from simstudent.data.records import Assignment
from simstudent.errors import SimstudentError
from simstudent.rollout.folder import read_assignments, read_rollouts, read_settings, write_assignments


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
