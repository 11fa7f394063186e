"""Rollouts over a local Ray cluster of two actors, one of which is killed."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from simstudent.cli import main
from simstudent.errors import SimstudentError
from simstudent.recipe import Recipe, load_recipe
from simstudent.rollout import cluster
from simstudent.rollout.cluster import run_on_ray
from simstudent.rollout.folder import read_facts, read_plan, read_rollouts
from simstudent.runs import read_lines, write_lines
from tests.rollout.test_merge import rolled_out, same, written


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SimstudentError, match=r"simstudent\[ray\]"):
        run_on_ray(load_recipe(written(tmp_path)), None, root=tmp_path)


def test_ray_and_shard_exclude_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = str(tmp_path / "runs")
    assert main(["rollout", str(written(tmp_path)), "--runs", runs, "--ray", "--shard", "1/2"]) == 2
    assert "--shard" in capsys.readouterr().err


class NoCluster:
    """In place of Ray: the actors one after another in this process, the last ones not at all with ``only``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.only: int | None = None
        monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=lambda **_: None, shutdown=lambda: None))
        monkeypatch.setattr(cluster, "_all_shards", self.all_shards)

    def all_shards(
        self, recipe: Recipe, run: Path, actors: int, more: Mapping[str, Path], begun: str, say: Callable[[str], None]
    ) -> Path:
        for number in range(1, actors + 1):
            if self.only is not None and number > self.only:
                raise SimstudentError("made up: the driver ends here")
            folder = cluster.Worker().roll_out(recipe.to_dict(), str(run), (number, actors), {}, begun)
        return Path(folder)


def test_a_resumed_run_keeps_what_is_done_whatever_the_number_of_actors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(written(tmp_path), {"rollout.limit": 60})
    whole = rolled_out(written(tmp_path), tmp_path / "whole", "--limit", "60")
    ray, root = NoCluster(monkeypatch), tmp_path / "runs"
    ray.only = 1
    with pytest.raises(SimstudentError, match="the driver ends here"):
        run_on_ray(recipe, None, root=root, actors=3)
    (run,) = root.iterdir()
    (first,) = run.glob("rollouts/*")
    assert "actor1of3" in first.name

    ray.only = None
    made = run_on_ray(recipe, run, root=root, actors=2, resume=True)
    assert [path.name for path in run.glob("rollouts/*")] == [made.name], "shards are joined and gone"
    assert same(read_rollouts(made), read_rollouts(whole))
    assert read_plan(made) == read_plan(whole)
    counts = {str(facts["shard"]): facts["rollouts_without_model"] for facts in read_facts(made)}
    assert list(counts) == ["1/3", "1/2", "2/2"]
    assert all(counts.values())
    assert sum(counts.values()) == len(read_rollouts(whole)), "nothing was done twice"

    lines = list(read_lines(made / "random.jsonl"))
    failed = [line | {"error": "EngineError: made up", "steps": [], "stop": "error"} for line in lines[:3]]
    write_lines(made / "random.jsonl", [*failed, *lines[4:]])
    assert run_on_ray(recipe, run, root=root, actors=1, resume=True) == made, "the folder that was there"
    assert same(read_rollouts(made), read_rollouts(whole))
    done = [facts["rollouts_without_model"] for facts in read_facts(made)]
    assert (len(done), done[-1]) == (4, 4), "three that had failed and one that was missing"
    # One process goes on with what actors have made.
    more = ["--limit", "60", "--resume"]
    assert main(["rollout", str(written(tmp_path)), "--runs", str(root), "--run", str(run), *more]) == 0
    assert read_facts(made)[-1]["rollouts_without_model"] == 0
    with pytest.raises(SimstudentError, match="seed: 1 -> 2"):
        run_on_ray(recipe.model_copy(update={"seed": 2}), run, root=root, actors=2, resume=True)


def test_shards_that_somebody_divides_himself_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = rolled_out(written(tmp_path), tmp_path / "runs", "--shard", "1/2")
    NoCluster(monkeypatch)
    recipe, run = load_recipe(written(tmp_path)), own.parent.parent
    with pytest.raises(SimstudentError, match="nothing to resume"):
        run_on_ray(recipe, run, root=run.parent, actors=2, resume=True)
    made = run_on_ray(recipe, run, root=run.parent, actors=2)
    assert {path.name for path in run.glob("rollouts/*")} == {own.name, made.name}


def test_there_is_nothing_to_resume_without_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--ray"]):
        assert main(["rollout", str(written(tmp_path)), "--runs", str(tmp_path / "runs"), "--resume", *more]) == 2
        assert "--run" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason='pip install -e ".[ray]"')
def test_a_killed_actors_shard_is_redone(tmp_path: Path, tiny_model: Path) -> None:
    recipe = written(tmp_path, str(tiny_model), "base, repeat-last")
    whole = rolled_out(recipe, tmp_path / "whole", "--limit", "40")
    runs = tmp_path / "runs"
    # On the command line, since Ray starts processes of its own that are not to inherit this one's.
    command = ["rollout", str(recipe), "--limit", "40", "--runs", str(runs), "--ray", "local", "--actors", "2"]
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", "import sys; from simstudent.cli import main; sys.exit(main())", *command],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said, killed = [], None
    for line in process.stdout:
        said.append(line)
        if killed is None and (match := re.search(r"pid=(\d+).*Starting the transformers engine", line)):
            killed = int(match[1])
            os.kill(killed, signal.SIGKILL)
    assert process.wait(timeout=60) == 0, "".join(said)
    assert killed is not None
    assert sum("its actor died" in line for line in said) == 1
    (merged,) = (path for path in runs.glob("*/rollouts/*") if "shard" not in path.name)
    assert same(read_rollouts(merged), read_rollouts(whole))
    assert read_plan(merged) == read_plan(whole)
    assert {facts["shard"] for facts in read_facts(merged)} == {"1/2", "2/2"}
    assert (merged / "metrics.json").read_text() == (whole / "metrics.json").read_text()

    lines = list(read_lines(merged / "base.jsonl"))
    failed = [line | {"error": "EngineError: made up", "steps": [], "stop": "error"} for line in lines[:2]]
    write_lines(merged / "base.jsonl", [*failed, *lines[3:]])
    resumed = [*command[:-1], "1", "--run", str(merged.parent.parent), "--resume"]
    result = subprocess.run(
        [sys.executable, "-u", "-c", "import sys; from simstudent.cli import main; sys.exit(main())", *resumed],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert [path.name for path in merged.parent.iterdir()] == [merged.name]
    assert same(read_rollouts(merged), read_rollouts(whole))
    last = read_facts(merged)[-1]
    assert last["shard"] == "1/1"
    assert last["models"]["rollouts"] == 3
