"""Training in processes of their own: killed at any step and resumed, and two together against one."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from simstudent.runs import read_lines
from tests.tiny import save_writer

pytest.importorskip("trl")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RECIPE = """\
name: tiny
seed: 3
model: {{id: {model}}}
data:
  source: {{kind: course}}
  select: [stop_at_full_grade, min_submissions: 3, max_submissions: 3]
dialogue: {{feedback: summary, window: 2048, answer_tokens: 256}}
sft: {{limit: 16, batch_size: 2, evaluations: 4, learning_rate: 1e-2}}
dpo: {{limit: 16, batch_size: 2, evaluations: 4, learning_rate: 1e-2, pairs: {{next: 1.0}}}}
"""
DAPO = """\
dialogue: {{feedback: summary, window: 1280, answer_tokens: 64}}
sft: {{limit: 4, batch_size: 2, packing: true, evaluations: 1, learning_rate: 1e-3}}
dapo:
  {{limit: 12, batch_size: 2, generations: 4, micro_batch_size: 4, checkpoints: 3, learning_rate: 2e-3,
   rewards: {{"tests.training.test_stages:length": 1.0}}}}
"""
Curve = list[tuple[int, float | None, float | None]]


@pytest.fixture(scope="module")
def recipe(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(RECIPE.format(model=tiny_model), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an SFT run that nothing interrupted."""
    return train("sft", recipe, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def preferred(recipe: Path, whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a DPO run that nothing interrupted."""
    return train("dpo", recipe, tmp_path_factory.mktemp("preferred"), "--from", str(whole))


def start(stage: str, recipe: Path, root: Path, *more: str, launcher: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    if "tests.training.fsdp_on_cpu" not in launcher:
        launcher = (*launcher, "-m", "simstudent")
    command = [sys.executable, *launcher, stage, str(recipe), "--runs", str(root), *more]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)


def train(stage: str, recipe: Path, root: Path, *more: str, launcher: tuple[str, ...] = ()) -> Path:
    """Train to the end; the one run folder of that stage that this made or finished."""
    assert start(stage, recipe, root, *more, launcher=launcher).wait(timeout=120) == 0
    return max(root.glob("tiny-*"), key=lambda p: p.stat().st_mtime)


def curve(run: Path) -> Curve:
    return [(x["step"], x.get("loss"), x.get("validation_loss")) for x in read_lines(run / "metrics.jsonl")]


def assert_same_adapter(a: Path, b: Path, tolerance: float) -> None:
    from safetensors.torch import load_file

    ours, theirs = (load_file(run / "adapter" / "adapter_model.safetensors") for run in (a, b))
    assert ours.keys() == theirs.keys()
    assert max(float((ours[n] - theirs[n]).abs().max()) for n in ours) <= tolerance
    assert max(float(ours[n].abs().max()) for n in ours if "lora_B" in n) > 10 * tolerance


def kill_at(stage: str, recipe: Path, root: Path, step: int, before: set[Path]) -> Path:
    """Start training and kill it, without warning, once it has logged so many steps."""
    process = start(stage, recipe, root)
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        for run in set(root.glob("tiny-*")) - before:
            path = run / "metrics.jsonl"
            if path.exists() and path.read_bytes().count(b'"loss"') >= step:
                os.killpg(process.pid, signal.SIGKILL)
                assert process.wait() == -signal.SIGKILL
                return run
        time.sleep(0.002)
    raise AssertionError("it ended before it could be killed")


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_any_step_and_resumed_is_as_if_nothing_had_been(
    recipe: Path, whole: Path, tmp_path: Path, seed: int
) -> None:
    step = random.Random(seed).randint(1, 6)
    run = kill_at("sft", recipe, tmp_path, step, set())
    assert not (run / "adapter").exists()
    assert train("sft", recipe, tmp_path, "--resume") == run
    assert curve(run) == curve(whole), f"killed at step {step}"
    assert_same_adapter(run, whole, 0.0)


def test_dpo_killed_and_resumed(recipe: Path, whole: Path, preferred: Path, tmp_path: Path) -> None:
    copy = tmp_path / whole.name
    copy.symlink_to(whole)
    run = kill_at("dpo", recipe, tmp_path, 3, {copy})
    assert start("dpo", recipe, tmp_path, "--resume").wait(timeout=120) == 0
    assert curve(run) == curve(preferred)
    assert_same_adapter(run, preferred, 0.0)


def launcher(config: str, folder: Path) -> tuple[str, ...]:
    """``accelerate launch`` with two CPU processes, else as a configuration in recipes/accelerate says.

    ``accelerate launch --cpu --num_processes 2`` would start one.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = yaml.safe_load((ROOT / "recipes" / "accelerate" / f"{config}.yaml").read_text(encoding="utf-8"))
    path = folder / f"{config}.yaml"
    path.write_text(yaml.safe_dump(settings | {"use_cpu": True, "num_processes": 2}), encoding="utf-8")
    return ("-m", "accelerate.commands.launch", "--config_file", str(path), "--main_process_port", str(port))


def assert_same_training(run: Path, whole: Path, tolerance: float) -> None:
    """The losses and the adapter of two processes, which trained together, and of one."""
    assert json.loads((run / "adapter" / "training.json").read_text(encoding="utf-8"))["processes"] == 2
    ours, theirs = curve(run), curve(whole)
    assert [step for step, _, _ in ours] == [step for step, _, _ in theirs]
    for (_, *a), (_, *b) in zip(ours, theirs, strict=True):
        assert [x is None for x in a] == [x is None for x in b]
        assert [x for x in a if x is not None] == pytest.approx([x for x in b if x is not None], abs=tolerance)


@pytest.fixture(scope="module")
def reinforced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A recipe whose model writes programs, its SFT run, and a DAPO run from that which nothing interrupted."""
    folder = tmp_path_factory.mktemp("dapo")
    recipe = folder / "tiny.yaml"
    text = RECIPE[: RECIPE.index("dialogue:")] + DAPO
    recipe.write_text(text.format(model=save_writer(folder / "writer")), encoding="utf-8")
    sft = train("sft", recipe, folder)
    return recipe, sft, train("dapo", recipe, folder)


def sampled(run: Path) -> list[tuple[int, float | None, float | None]]:
    """Per step: the reward, and the length of what was sampled."""
    return [(x["step"], x.get("reward"), x.get("mean_length")) for x in read_lines(run / "metrics.jsonl")]


@pytest.mark.parametrize("step", [1, 4])  # before the first checkpoint, and after
def test_dapo_killed_and_resumed(reinforced: tuple[Path, Path, Path], tmp_path: Path, step: int) -> None:
    """The same prompts, completions, rewards, losses and adapter."""
    recipe, sft, whole = reinforced
    copy = tmp_path / sft.name
    copy.symlink_to(sft)
    run = kill_at("dapo", recipe, tmp_path, step, {copy})
    assert start("dapo", recipe, tmp_path, "--resume").wait(timeout=120) == 0
    assert (run / "prompts.json").read_bytes() == (whole / "prompts.json").read_bytes()
    assert sampled(run) == sampled(whole)
    assert len({reward for _, reward, _ in sampled(run)}) > 2
    assert curve(run) == curve(whole)
    assert_same_adapter(run, whole, 0.0)


def test_two_processes_learn_as_one_does(recipe: Path, whole: Path, tmp_path: Path) -> None:
    """The same rows in each step, shared by two processes: losses and adapter but for the order of sums."""
    run = train("sft", recipe, tmp_path, launcher=launcher("ddp", tmp_path))
    assert_same_training(run, whole, 1e-4)
    assert_same_adapter(run, whole, 1e-4)


def test_two_processes_prefer_as_one_does(recipe: Path, whole: Path, preferred: Path, tmp_path: Path) -> None:
    """The reference's log-probabilities, computed ahead by both, are there for both."""
    run = train("dpo", recipe, tmp_path, "--from", str(whole), launcher=launcher("ddp", tmp_path))
    assert_same_training(run, preferred, 1e-4)
    assert_same_adapter(run, preferred, 1e-4)
    assert not (run / "reference").exists()


def test_a_model_in_pieces_is_saved_resumed_and_learns_as_a_whole_one_does(
    recipe: Path, whole: Path, tmp_path: Path
) -> None:
    """FSDP2, stopped after its first step and resumed: weights in bfloat16 where the whole model keeps float32."""
    pieces = (*launcher("fsdp2", tmp_path), "-m", "tests.training.fsdp_on_cpu")
    run = train("sft", recipe, tmp_path, "--max-minutes", "1e-6", launcher=pieces)
    assert not (run / "adapter").exists()
    assert train("sft", recipe, tmp_path, "--resume", launcher=pieces) == run
    assert_same_training(run, whole, 2e-3)
    assert_same_adapter(run, whole, 1e-4)
