"""Fine-tuning for real, on a tiny random model: a run folder, its resumption, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from simstudent.cli import main
from simstudent.errors import SimstudentError
from simstudent.recipe import Recipe, load_recipe
from simstudent.runs import newest_run, read_lines, read_manifest
from simstudent.training.sft import run_sft
from simstudent.training.stages import last_checkpoint, prepared

pytest.importorskip("trl")

RECIPE = """\
name: tiny
seed: 3
model: {{id: {model}}}
data:
  source: {{kind: course}}
  select: [stop_at_full_grade, min_submissions: 2, max_submissions: 3]
dialogue: {{feedback: summary, window: 2048, answer_tokens: 256}}
sft: {{limit: 8, batch_size: 2, micro_batch_size: 2, evaluations: 2, learning_rate: 1e-3}}
rollout: {{limit: 3, methods: [base, sft, repeat-last]}}
"""


@pytest.fixture(scope="module")
def recipe_path(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(RECIPE.format(model=tiny_model), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(recipe_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    run = run_sft(load_recipe(recipe_path), root=tmp_path_factory.mktemp("runs"), say=lambda text: None)
    assert run is not None
    return run


def changed(recipe: Recipe, **sft: Any) -> Recipe:
    return recipe.model_copy(update={"sft": recipe.sft.model_copy(update=sft)})


def test_a_run_folder_holds_all_of_it(trained: Path) -> None:
    manifest = read_manifest(trained)
    assert manifest["train"]["rows"] == 8
    assert manifest["train"]["trained"] > 0
    assert len(manifest["data_hash"]) == 16
    assert json.loads((trained / "template.json").read_text())["end"] == "<|im_end|>"
    assert json.loads((trained / "adapter" / "adapter_config.json").read_text())["r"] == 8
    outcome = json.loads((trained / "adapter" / "training.json").read_text())
    lines = list(read_lines(trained / "metrics.jsonl"))
    losses = {line["step"]: line["validation_loss"] for line in lines if "validation_loss" in line}
    assert list(losses) == [2, 4]
    assert outcome["steps"] == 4
    assert outcome["best_validation_loss"] == pytest.approx(min(losses.values()), abs=1e-6)
    assert outcome["best_checkpoint"] == f"checkpoint-{min(losses, key=losses.__getitem__)}"
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4]


def test_the_adapter_is_that_of_the_best_checkpoint(trained: Path) -> None:
    from safetensors.torch import load_file

    best = json.loads((trained / "adapter" / "training.json").read_text())["best_checkpoint"]
    kept = load_file(trained / "adapter" / "adapter_model.safetensors")
    theirs = load_file(trained / "checkpoints" / best / "adapter_model.safetensors")
    assert kept.keys() == theirs.keys()
    assert all((kept[name] == theirs[name]).all() for name in kept)
    assert any(kept[name].abs().sum() > 0 for name in kept if "lora_B" in name)


def test_the_losses_are_drawn(trained: Path) -> None:
    pytest.importorskip("matplotlib")
    text = (trained / "loss.svg").read_text(encoding="utf-8")
    assert "validation" in text
    assert "training" in text


def test_a_dry_run_writes_nothing(recipe_path: Path, tmp_path: Path) -> None:
    said: list[str] = []
    assert run_sft(load_recipe(recipe_path), root=tmp_path / "runs", say=said.append, dry_run=True) is None
    assert not (tmp_path / "runs").exists()
    assert "4 steps of 2 rows" in "\n".join(said)
    assert "min_submissions: 2" in "\n".join(said)


def test_resuming_goes_on_as_if_never_interrupted(trained: Path, recipe_path: Path, tmp_path: Path) -> None:
    """A run cut off after its first checkpoint, with a half-written second one, ends with the same losses."""
    run = tmp_path / trained.name
    shutil.copytree(trained, run)
    shutil.rmtree(run / "adapter")
    (run / "checkpoints" / "checkpoint-4" / "trainer_state.json").unlink()
    assert run_sft(load_recipe(recipe_path), root=tmp_path, say=lambda text: None, resume=True) == run

    def losses(folder: Path) -> list[tuple[int, float | None, float | None]]:
        return [(x["step"], x.get("loss"), x.get("validation_loss")) for x in read_lines(folder / "metrics.jsonl")]

    assert losses(run) == losses(trained)


def test_resuming_with_another_recipe_is_refused(trained: Path, recipe_path: Path, tmp_path: Path) -> None:
    run = tmp_path / trained.name
    shutil.copytree(trained, run)
    shutil.rmtree(run / "adapter")
    recipe = load_recipe(recipe_path)
    with pytest.raises(SimstudentError, match=r"sft\.learning_rate: 0\.001 -> 0\.002"):
        run_sft(changed(recipe, learning_rate=2e-3), root=tmp_path, say=lambda text: None, resume=True)
    manifest = read_manifest(run) | {"data_hash": "other"}
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SimstudentError, match="data_hash"):
        run_sft(recipe, root=tmp_path, say=lambda text: None, resume=True)
    with pytest.raises(SimstudentError, match="nothing to resume"):
        run_sft(recipe, root=tmp_path / "none", say=lambda text: None, resume=True)


def test_half_written_checkpoints_are_passed_over(tmp_path: Path) -> None:
    for step, state in ((10, "{}"), (20, "{"), (30, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        for name in ("adapter_config.json", "optimizer.pt", "scheduler.pt"):
            (folder / name).touch()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-10"]
    assert last_checkpoint(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("name", "launch"), [("optimizer.pt", None), ("optimizer.bin", "FSDP2"), ("latest", "DeepSpeed")]
)
def test_a_checkpoint_of_another_launch_is_kept_and_refused(tmp_path: Path, name: str, launch: str | None) -> None:
    folder = tmp_path / "checkpoints" / "checkpoint-5"
    folder.mkdir(parents=True)
    for file in ("adapter_config.json", name, "scheduler.pt"):
        (folder / file).touch()
    (folder / "trainer_state.json").write_text("{}")
    if launch is None:
        assert prepared(tmp_path) == folder
    else:
        with pytest.raises(SimstudentError, match=f"written under {launch} and cannot be resumed here"):
            prepared(tmp_path)
    assert folder.is_dir()


@pytest.mark.slow
def test_tensorboard_gets_the_losses_of_the_run(recipe_path: Path, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    recipe = changed(load_recipe(recipe_path), trainer={"report_to": "tensorboard"})
    run = run_sft(recipe, root=tmp_path, say=lambda text: None)
    assert run is not None
    (file,) = run.rglob("events.out.tfevents.*")
    found = events.EventAccumulator(str(file)).Reload()
    lines = list(read_lines(run / "metrics.jsonl"))
    for tag, name in (("train/loss", "loss"), ("eval/loss", "validation_loss")):
        theirs = [(scalar.step, scalar.value) for scalar in found.Scalars(tag)]
        assert theirs == [(x["step"], pytest.approx(x[name], abs=1e-5)) for x in lines if name in x]


@pytest.mark.slow
def test_from_the_newest_run_to_a_table(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`simstudent rollout` with no recipe: engines, graders, figures, resumption and recomputation."""
    root = str(trained.parent)
    assert main(["rollout", "--steps", "2", "--runs", root]) == 0
    assert newest_run(trained.parent) == trained
    (folder,) = (trained / "rollouts").iterdir()
    lines = {p.stem: list(read_lines(p)) for p in folder.glob("*.jsonl")}
    assert {name: len(found) for name, found in lines.items()} == {"base": 3, "sft": 3, "repeat-last": 3}
    assert all(line["error"] is None for found in lines.values() for line in found)
    assert all(line["truths"] <= 2 for found in lines.values() for line in found)
    assert "repeat-last" in capsys.readouterr().out

    whole = (folder / "sft.jsonl").read_bytes()
    (folder / "sft.jsonl").write_bytes(whole[: whole.index(b"\n") + 40])
    assert main(["rollout", "--steps", "2", "--runs", root, "--resume"]) == 0
    again = list(read_lines(folder / "sft.jsonl"))
    assert sorted(x["key"] for x in again) == sorted(x["key"] for x in lines["sft"])

    figures = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").unlink()
    assert main(["evaluate", str(folder)]) == 0
    assert json.loads((folder / "metrics.json").read_text()) == figures

    assert main(["rollout", "--steps", "3", "--runs", root, "--resume"]) == 2
    assert "steps: 2 -> 3" in capsys.readouterr().err


def test_an_untrained_recipe_says_what_to_do(
    recipe_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rollout", str(recipe_path), "--runs", str(tmp_path)]) == 2
    assert "simstudent sft" in capsys.readouterr().err
    assert main(["rollout", "--runs", str(tmp_path)]) == 2
    assert "no trained run" in capsys.readouterr().err


def test_preview_shows_what_is_trained(recipe_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preview", str(recipe_path), "-n", "1"]) == 0
    text = capsys.readouterr().out
    assert "```python" in text
    assert "green: trained" in text
    assert main(["preview", str(recipe_path), "--student", "nobody"]) == 2
