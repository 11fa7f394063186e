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
