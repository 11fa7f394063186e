"""Shards and their merging; a run that is killed and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from simstudent.cli import main
from simstudent.errors import SimstudentError
from simstudent.rollout.folder import read_facts, read_plan, read_rollouts
from simstudent.rollout.merge import merge, parse_shard
from simstudent.rollout.records import Rollout
from simstudent.runs import read_lines, write_lines

RECIPE = """
name: shards
model: {id: MODEL}
data:
  source: {kind: course}
  select: [stop_at_full_grade, min_submissions: 2, max_submissions: 8]
  split: {test: 0.2, validation: 0.2}
dialogue: {feedback: summary, window: 1024, answer_tokens: 24}
rollout: {methods: [METHODS], steps: 3, resamples: 100}
"""


def written(tmp_path: Path, model: str = "nobody/nothing", methods: str = "repeat-last, random") -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.replace("MODEL", model).replace("METHODS", methods))
    return path


def rolled_out(recipe: Path, runs: Path, *more: str) -> Path:
    """The folder of rollouts that the command made."""
    assert main(["rollout", str(recipe), "--runs", str(runs), *more]) == 0
    return max(runs.glob("*/rollouts/*"), key=lambda p: p.stat().st_mtime_ns)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """The whole, and three shards of it."""
    folder = tmp_path_factory.mktemp("shards")
    recipe = written(folder)
    shards = [rolled_out(recipe, folder / f"runs{n}", "--shard", f"{n}/3") for n in (1, 2, 3)]
    return rolled_out(recipe, folder / "whole"), shards


def same(one: Sequence[Rollout], other: Sequence[Rollout]) -> bool:
    return [r.to_dict() for r in one] == [r.to_dict() for r in other]


def test_shards_are_parts_of_the_whole_by_trajectory_and_merge_into_it(
    course: tuple[Path, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, shards = course
    trajectories = [{r.key.rsplit("/", 2)[0] for r in read_rollouts(shard)} for shard in shards]
    assert all(trajectories)
    assert sum(map(len, trajectories)) == len(set().union(*trajectories))
    to = tmp_path / "merged"
    assert main(["merge", *map(str, shards), "--to", str(to), "--resamples", "100"]) == 0
    assert same(read_rollouts(to), read_rollouts(whole))
    assert (to / "settings.json").read_text() == (whole / "settings.json").read_text()
    assert (to / "metrics.json").read_text() == (whole / "metrics.json").read_text()
    assert json.loads((to / "assignments.json").read_text()) == json.loads((whole / "assignments.json").read_text())
    assert read_plan(to) == read_plan(whole)
    assert [facts["shard"] for facts in read_facts(to)] == ["1/3", "2/3", "3/3"]
    again = tmp_path / "again"
    merge([*reversed(shards), shards[0]], again)
    assert (again / "repeat-last.jsonl").read_bytes() == (to / "repeat-last.jsonl").read_bytes()
    capsys.readouterr()
    assert main(["merge", str(shards[0]), "--to", str(to)]) == 2
    assert "not empty" in capsys.readouterr().err


def test_missing_and_unfinished_shards_are_named(course: tuple[Path, list[Path]], tmp_path: Path) -> None:
    _, (first, second, third) = course
    with pytest.raises(SimstudentError, match="shard 2/3"):
        merge([first, third], tmp_path / "x")
    assert not (tmp_path / "x").exists()
    cut = copied(second, tmp_path / "cut")
    lines = list(read_lines(cut / "repeat-last.jsonl"))
    write_lines(cut / "repeat-last.jsonl", [*lines[2:], lines[1] | {"error": "EngineError: made up"}])
    with pytest.raises(SimstudentError, match=f"2 of {len(lines)} rollouts of repeat-last"):
        merge([first, cut, third], tmp_path / "x")
    said: list[str] = []
    merge([first, cut, third], tmp_path / "x", partial=True, say=said.append)
    assert any("2 of" in line for line in said)
    # A rollout that failed in one folder and not in the other is the one that did not; so nothing is missing.
    merge([first, cut, second, third], tmp_path / "y", say=said.append)
    assert not any(r.error for r in read_rollouts(tmp_path / "y"))
    (cut / "plan.json").write_text(json.dumps({"random": 1}))
    with pytest.raises(SimstudentError, match=r"cut: repeat-last, which other shards have"):
        merge([first, cut, third], tmp_path / "z")
    for shard in (first, second, third):
        (copied(shard, tmp_path / shard.name) / "plan.json").unlink()
    merge([tmp_path / shard.name for shard in (first, second, third)], tmp_path / "z")  # nobody wrote it down


def copied(folder: Path, to: Path) -> Path:
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_what_contradicts_is_refused(course: tuple[Path, list[Path]], tmp_path: Path) -> None:
    _, shards = course
    other = copied(shards[0], tmp_path / "other")
    (line, *lines) = read_lines(other / "repeat-last.jsonl")
    write_lines(other / "repeat-last.jsonl", [line | {"solved": not line["solved"]}, *lines])
    with pytest.raises(SimstudentError, match=f"{line['key']} is in .* they differ"):
        merge([*shards, other], tmp_path / "x")
    settings = json.loads((other / "settings.json").read_text())
    (other / "settings.json").write_text(json.dumps(settings | {"steps": 9}))
    with pytest.raises(SimstudentError, match="steps: 3 -> 9"):
        merge([*shards, other], tmp_path / "x")
    (other / "settings.json").unlink()
    with pytest.raises(SimstudentError, match=r"no settings\.json"):
        merge([*shards, other], tmp_path / "x")


def test_every_file_is_read_once(
    course: tuple[Path, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr("simstudent.rollout.merge.read_lines", lambda path: read.append(path) or read_lines(path))
    merge(course[1], tmp_path / "x")
    assert sorted(read) == sorted(path for shard in course[1] for path in shard.glob("*.jsonl"))


def test_what_servers_took_is_added_up(course: tuple[Path, list[Path]], tmp_path: Path) -> None:
    """Requests, tokens, cost; no cost where a folder has none; a folder that is named twice counts once."""
    shards = [copied(shard, tmp_path / f"shard{n}") for n, shard in enumerate(course[1])]
    prices = {"prompt": 1.0, "cached": None, "answer": 4.0}
    for n, shard in enumerate(shards, 1):
        spent = {"requests": n, "failed": 1, "prompt_tokens": 1000 * n, "answer_tokens": 10 * n}
        usage = spent | {"cost": (1000 * n + 40 * n) / 1e6, "prices": prices}
        (shard / "usage.json").write_text(json.dumps(usage))
    merge([*shards, shards[0]], tmp_path / "x")
    made = json.loads((tmp_path / "x" / "usage.json").read_text())
    assert (made["requests"], made["failed"], made["prompt_tokens"], made["answer_tokens"]) == (6, 3, 6000, 60)
    assert made["cost"] == pytest.approx(6240 / 1e6)
    assert made["prices"] == prices
    assert len(read_facts(tmp_path / "x")) == 3
    (shards[0] / "usage.json").write_text(json.dumps({"requests": 5}))
    (shards[1] / "usage.json").unlink()
    merge(shards, tmp_path / "y")
    made = json.loads((tmp_path / "y" / "usage.json").read_text())
    assert made["requests"] == 8
    assert "cost" not in made
    merge(course[1], tmp_path / "z")
    assert not (tmp_path / "z" / "usage.json").exists()


def test_a_folder_takes_in_what_other_divisions_did_of_it(course: tuple[Path, list[Path]], tmp_path: Path) -> None:
    """Two of three shards, then all three divided anew, of which only what was missing was done."""
    whole, (first, second, third) = course
    to = tmp_path / "x"
    merge([first, second], to, partial=True)
    rest = copied(third, tmp_path / "rest")
    settings = json.loads((rest / "settings.json").read_text())
    (rest / "settings.json").write_text(json.dumps(settings | {"shard": "1/1"}))
    (rest / "plan.json").write_bytes((whole / "plan.json").read_bytes())
    cut = list(read_lines(rest / "random.jsonl"))
    write_lines(rest / "random.jsonl", cut[1:])
    lacks = f"1 of {read_plan(whole)['random']} rollouts of random"
    before = (to / "random.jsonl").read_bytes()
    with pytest.raises(SimstudentError, match=lacks) as told:
        merge([to, rest], to)
    assert "repeat-last" not in str(told.value)
    assert (to / "random.jsonl").read_bytes() == before
    write_lines(rest / "random.jsonl", cut)
    merge([to, rest], to)
    assert same(read_rollouts(to), read_rollouts(whole))
    assert read_plan(to) == read_plan(whole)
    assert [facts["shard"] for facts in read_facts(to)] == ["1/3", "2/3", "1/1"]
    assert {path.name for path in tmp_path.iterdir()} == {"x", "rest"}


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(SimstudentError, match="is no shard"):
        parse_shard(text)


@pytest.mark.slow
def test_a_killed_run_goes_on_without_loss_or_repetition(tmp_path: Path, tiny_model: Path) -> None:
    recipe = written(tmp_path, str(tiny_model), "base, repeat-last")
    whole = rolled_out(recipe, tmp_path / "whole", "--limit", "24")
    runs = tmp_path / "runs"
    command = [sys.executable, "-c", "from simstudent.cli import main; main()", "rollout", str(recipe), "--limit", "24"]
    env = os.environ | {"HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        [*command, "--runs", str(runs)], env=env, start_new_session=True, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    lines = 0
    while lines < 5 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
        lines = sum(path.read_bytes().count(b"\n") for path in runs.glob("*/rollouts/*/base.jsonl"))
    assert process.poll() is None, "it was to be killed in the middle"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (path,) = runs.glob("*/rollouts/*/base.jsonl")
    before = path.read_bytes()
    done = before.count(b"\n")
    assert 5 <= done < read_plan(path.parent)["base"]
    with path.open("ab") as file:  # as when the last write was cut
        file.write(before[: before.index(b"\n") // 2])
    result = subprocess.run(
        [*command, "--runs", str(runs), "--run", str(path.parent.parent.parent), "--resume"],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert f"base: {done} rollouts are there already" in result.stdout
    assert "half written" in result.stdout
    assert path.read_bytes().startswith(before[: before.rindex(b"\n") + 1]), "what was done is kept as it was"
    keys = [line["key"] for line in read_lines(path)]
    assert len(keys) == len(set(keys)) == read_plan(path.parent)["base"]
    assert same(read_rollouts(path.parent), read_rollouts(whole))
    assert (path.parent / "metrics.json").read_text() == (whole / "metrics.json").read_text()
