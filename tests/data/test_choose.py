"""From a recipe's data section to sides: in memory and as a stream, and the command that shows it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simstudent.cli import main
from simstudent.data import course, dataset
from simstudent.data.load import choose, prepare
from simstudent.data.records import Trajectory
from simstudent.errors import SimstudentError
from simstudent.recipe import DataSection

CELLS = {"by": "cells", "unseen_students": 0.2, "unseen_assignments": 0.2}
STEPS = ["drop_unchanged", {"drop_length_outliers": 3.5}, {"one_assignment_per_lesson": r"^(\w)"}]


def section(source: dict[str, Any], **more: Any) -> DataSection:
    return DataSection.model_validate({"source": source, **more}, context={"folder": Path()})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made, place = course.load(), tmp_path_factory.mktemp("dataset")
    part = dataset.write_part(place / "part-000000.parquet", made.trajectories)
    dataset.finish(place, (a.to_dict() for a in made.assignments.values()), [part], {})
    return place


def test_a_dataset_streams_to_the_same_sides_as_a_log_in_memory(folder: Path) -> None:
    for split in ({}, {**CELLS, "test_sample": 5}, {"by": "time", "shared_students": "keep"}):
        stream = prepare(section({"kind": "dataset", "folder": str(folder)}, select=STEPS, split=split), seed=2)
        memory = prepare(section({"kind": "course"}, select=STEPS, split=split), seed=2)
        assert stream.sides == memory.sides
        assert stream.cells == memory.cells
        assert (stream.attrition, stream.division) == (memory.attrition, memory.division)
        assert stream.hash == memory.hash


def test_a_dataset_is_never_in_memory_as_a_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = most = reads = 0
    real = dataset.trajectories

    def counted(place: Path) -> Iterator[Trajectory]:
        nonlocal alive, most, reads
        reads += 1
        for t in real(place):
            alive += 1
            most = max(most, alive)
            yield t
            alive -= 1

    monkeypatch.setattr(dataset, "trajectories", counted)
    chosen = choose(section({"kind": "dataset", "folder": str(folder)}, select=STEPS), seed=1)
    assert (most, reads) == (1, 3)  # two steps that look at all of it, and the division
    assert sum(1 for _ in chosen.placed()) == chosen.attrition[-1].trajectories
    assert (most, reads) == (1, 4)


def test_cells_are_parts_of_the_test_side_with_names() -> None:
    data = prepare(section({"kind": "course"}, split=CELLS), seed=1)
    parts = [t for held in data.cells.values() for t in held]
    assert sorted(t.key for t in parts) == sorted(t.key for t in data.sides["test"])
    for cell, held in data.cells.items():
        assert data.held(cell) == held
    plain = prepare(section({"kind": "course"}), seed=1)
    assert plain.held("test") == plain.sides["test"]
    with pytest.raises(SimstudentError, match="no trajectory in seen_student_seen_assignment; there is: train, valid"):
        plain.held("seen_student_seen_assignment")


def test_a_selection_that_leaves_nothing_shows_the_table() -> None:
    with pytest.raises(
        SimstudentError, match=r"left no trajectory:\n  step .*\n  logged .*\n  min_submissions: 999 +0"
    ):
        prepare(section({"kind": "course"}, select=[{"min_submissions": 999}]), seed=1)


def test_the_command_writes_tables_and_sides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demo = "recipes/demo.yaml"
    assert main(["data", "split", demo, "--attrition", str(tmp_path / "a.md"), "--csv", str(tmp_path / "s.csv")]) == 0
    out = capsys.readouterr().out
    made = (tmp_path / "a.md").read_text()
    assert "min_submissions: 2" in out
    assert f"`simstudent data split {demo} --attrition" in made
    assert "## demo\n\n| step | trajectories |" in made
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["side"] for row in rows} == {"train", "validation", "test"}
    assert f"{len(rows)} (-" in made
    assert main(["data", "split", demo, "--attrition", str(tmp_path / "a.csv")]) == 0
    assert (tmp_path / "a.csv").read_text().startswith("recipe,step,trajectories,students,submissions,dropped_traj")
    assert main(["data", "split", demo, "--attrition", str(tmp_path / "a.txt")]) == 2
    assert main(["data", "split", demo, "recipes/falconcode-sample.yaml", "--csv", str(tmp_path / "s.csv")]) == 2
