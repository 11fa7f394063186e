"""Rollouts of a split by cells: each remembers its cell, and figures can be had of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from simstudent.cli import main
from simstudent.data.split import CELLS
from simstudent.rollout.folder import read_rollouts

RECIPE = """
name: cells
model: {id: nobody/nothing}
data:
  source: {kind: course}
  select: [min_submissions: 2, max_submissions: 4]
  split: {by: cells, unseen_students: 0.2, unseen_assignments: 0.2, test_sample: 2}
rollout:
  methods: [repeat-last, constant-0]
  resamples: 100
"""


def test_figures_of_one_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    assert main(["rollout", str(recipe), "--runs", str(tmp_path / "runs")]) == 0
    (folder,) = (tmp_path / "runs").glob("*/rollouts/*")
    rollouts = read_rollouts(folder)
    assert {r.cell for r in rollouts} == set(CELLS)
    assert main(["evaluate", str(folder), "--resamples", "100", "--cell", CELLS[1]]) == 0
    assert (folder / f"metrics-{CELLS[1]}.json").exists()
    capsys.readouterr()
    assert main(["evaluate", str(folder), "--cell", "elsewhere"]) == 2
    assert f"cells: {', '.join(sorted(CELLS))}" in capsys.readouterr().err
    recipe.write_text(RECIPE + f"  split: {CELLS[0]}\n")
    assert main(["rollout", str(recipe), "--runs", str(tmp_path / "one")]) == 0
    (folder,) = (tmp_path / "one").glob("*/rollouts/*")
    assert {r.cell for r in read_rollouts(folder)} == {CELLS[0]}


def test_teacher_forced_is_one_step_from_every_history_and_the_table_says_so(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE + "  split: test\n  steps: 3\n")
    runs = tmp_path / "runs"
    assert main(["rollout", str(recipe), "--runs", str(runs), "--mode", "teacher-forced"]) == 0
    assert main(["rollout", str(recipe), "--runs", str(runs)]) == 0
    forced, free = (next(runs.glob(f"*/rollouts/{label}-*")) for label in ("test-teacher-forced", "test-k3"))
    steps = {r.key: r.steps for r in read_rollouts(free) if r.method == "repeat-last"}
    for rollout in (r for r in read_rollouts(forced) if r.method == "repeat-last"):
        assert (rollout.truths, rollout.steps) == (1, steps[rollout.key][:1])
    assert (forced / "table.md").read_text().startswith("> Teacher-forced")
    assert "Teacher-forced" not in (free / "table.md").read_text()
