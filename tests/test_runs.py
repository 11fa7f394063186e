"""Run folders: interrupted writes, the newest run, what changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simstudent.cli_rollout import unlike_training
from simstudent.errors import SimstudentError
from simstudent.recipe import Recipe, recipe_from_dict
from simstudent.rollout.folder import read_rollouts
from simstudent.runs import (
    append_line,
    create_run,
    cut_half_line,
    differences,
    half_written,
    newest_run,
    read_lines,
    read_manifest,
    read_recipe,
    write_lines,
)


def recipe(name: str = "demo") -> Recipe:
    return recipe_from_dict({"name": name, "model": {"id": "x/y"}, "data": {"source": {"kind": "course"}}})


def test_lines_come_back_and_an_interrupted_one_is_no_line(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    records = [{"n": 1, "text": "é\n\udc80"}, {"n": 2}]
    for record in records:
        append_line(path, record)
    whole = path.read_bytes()
    assert not half_written(path)
    assert not cut_half_line(path)
    path.write_bytes(whole + b'{"n": 3, "te')
    path.chmod(0o444)  # somebody else's folder can be read
    assert list(read_lines(path)) == records
    assert path.read_bytes() == whole + b'{"n": 3, "te', "whoever writes it may go on"
    assert half_written(path)
    path.chmod(0o644)
    assert cut_half_line(path)
    assert path.read_bytes() == whole
    write_lines(path, records[1:])
    assert list(read_lines(path)) == records[1:]
    assert list(read_lines(tmp_path / "none.jsonl")) == []


def test_a_broken_line_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": \n{"n": 3}\n')
    with pytest.raises(SimstudentError, match="line 2: not valid JSON"):
        list(read_lines(path))


def test_the_newest_trained_run_is_found(tmp_path: Path) -> None:
    runs = [create_run(tmp_path, recipe(name), {"data_hash": "h"}) for name in ("a", "b", "a")]
    assert len(set(runs)) == 3
    assert newest_run(tmp_path) is None
    for number, run in enumerate(runs[:2]):
        (run / "adapter").mkdir()
        (run / "adapter" / "adapter_config.json").write_text("{}")
        manifest = read_manifest(run) | {"started": f"2025-01-0{number + 1}"}
        (run / "manifest.json").write_text(json.dumps(manifest))
    assert newest_run(tmp_path) == runs[1]
    assert newest_run(tmp_path, name="a") == runs[0]
    assert newest_run(tmp_path, name="a", finished=False) == runs[2]
    assert newest_run(tmp_path, name="c") is None


def test_a_run_holds_its_recipe_and_versions(tmp_path: Path) -> None:
    run = create_run(tmp_path, recipe(), {"data_hash": "h"})
    assert read_recipe(run) == recipe()
    manifest = read_manifest(run)
    assert manifest["data_hash"] == "h"
    assert manifest["versions"]["python"]
    with pytest.raises(SimstudentError, match="not a run folder"):
        read_recipe(tmp_path)


def test_differences_name_the_keys() -> None:
    assert differences({"a": {"b": 1, "c": 2}, "d": 1}, {"a": {"b": 3, "c": 2}}) == ["a.b: 1 -> 3", "d: 1 -> None"]


@pytest.mark.parametrize("line", ['{"key": 1}', '{"steps": 3}', '{"steps": [{"k": 1}]}', "[1]"])
def test_a_line_that_is_no_rollout_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "sft.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(SimstudentError, match=r"sft\.jsonl, line 1: not a rollout"):
        read_rollouts(tmp_path)


def test_a_recipe_that_shows_dialogues_unlike_those_of_training_is_noticed(tmp_path: Path) -> None:
    run = create_run(tmp_path, recipe(), {})
    other = recipe_from_dict({**recipe().to_dict(), "dialogue": {"feedback": "none"}})
    assert unlike_training(other, run) == [], "nothing was trained"
    (run / "adapter").mkdir()
    (run / "adapter" / "adapter_config.json").write_text("{}")
    assert unlike_training(recipe(), run) == []
    assert unlike_training(other, run) == ["dialogue.feedback: 'full' -> 'none'"]
