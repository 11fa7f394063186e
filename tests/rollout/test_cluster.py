"""Rollouts over a local Ray cluster of two actors, one of which is killed."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from simstudent.cli import main
from simstudent.errors import SimstudentError
from simstudent.recipe import load_recipe
from simstudent.rollout.cluster import run_on_ray
from simstudent.rollout.folder import read_facts, read_plan, read_rollouts
from tests.rollout.test_merge import rolled_out, same, written


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SimstudentError, match=r"simstudent\[ray\]"):
        run_on_ray(load_recipe(written(tmp_path)), None, root=tmp_path)


def test_ray_and_shard_exclude_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = str(tmp_path / "runs")
    assert main(["rollout", str(written(tmp_path)), "--runs", runs, "--ray", "--shard", "1/2"]) == 2
    assert "--shard" in capsys.readouterr().err


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
