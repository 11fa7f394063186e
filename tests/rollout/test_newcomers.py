"""Traces written with new students' vectors, of an adapter and of a whole model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simstudent.cli import main
from simstudent.runs import read_lines
from tests.rollout.test_traces import train


@pytest.mark.slow
@pytest.mark.parametrize("lora", ["null", "{r: 4}"])
def test_new_students_write_traces_with_their_vectors(lora: str, tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    run = train(tmp_path, tiny_model, "traces", lora=lora, students="table")
    asked = ["--k", "1", "--seeds", "1", "--epochs", "1", "--rollouts", "3", "--resamples", "100"]
    assert main(["adapt", str(run), *asked]) == 0
    (folder,) = (run / "adapt").iterdir()
    files = {p.stem: list(read_lines(p)) for p in (folder / "traces").glob("*.jsonl")}
    counts = {name: len(lines) for name, lines in files.items()}
    assert counts == {"nobody": 6, "vector-k1": 6, "students": 3, "training-trace": 3, "training-mean": 6}
    assert all(line["error"] is None for lines in files.values() for line in lines)
    assert {p.name for p in (folder / "traces").iterdir() if p.is_dir()} == set()
    raw = json.loads((folder / "adapt.json").read_text())
    assert raw["points"]["of"] == 3
    text = (folder / "table.md").read_text()
    assert "What is written with the vectors" in text
    (folder / "table.md").unlink()
    assert main(["adapt", str(folder), "--resamples", "100"]) == 0
    assert (folder / "table.md").read_text() == text
    # A folder of traces like any other.
    assert main(["behaviour", str(folder / "traces"), "--resamples", "100"]) == 0
