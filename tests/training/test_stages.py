"""DPO and DAPO for real, on a tiny random model: from SFT, their own folders, what they log, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from simstudent.cli import main
from simstudent.errors import SimstudentError
from simstudent.recipe import Recipe, load_recipe
from simstudent.runs import newest_run, read_lines, read_manifest, stage_of
from simstudent.training.dapo import base_quantization, run_dapo
from simstudent.training.dpo import run_dpo
from simstudent.training.sft import run_sft
from simstudent.training.stages import adapters

pytest.importorskip("trl")

RECIPE = """\
name: tiny
seed: 3
model: {{id: {model}}}
data:
  source: {{kind: course}}
  select: [stop_at_full_grade, min_submissions: 3, max_submissions: 3]
dialogue: {{feedback: summary, window: 1280, answer_tokens: 24}}
sft: {{limit: 4, batch_size: 2, packing: true, evaluations: 1, learning_rate: 1e-3, copied_lines: 0.5}}
dpo:
  limit: 4
  batch_size: 2
  pairs: {{next: 1.0}}
  evaluations: 1
  learning_rate: 3e-2
  epochs: 2
  warmup: 0
  reference: adapter
dapo:
  limit: 2
  batch_size: 2
  generations: 2
  micro_batch_size: 4
  rewards: {{length: 1.0}}
  checkpoints: 1
  filter: false
"""


def length(code: str | None, example: object, grade: object) -> float:
    """A reward that varies even between a random model's answers."""
    return float(len(code or "") % 7)


@pytest.fixture(scope="module")
def recipe(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    text = RECIPE.replace("length: 1.0", "tests.training.test_stages:length: 1.0")
    path.write_text(text.format(model=tiny_model), encoding="utf-8")
    return load_recipe(path)


@pytest.fixture(scope="module")
def sft(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = run_sft(recipe, root=tmp_path_factory.mktemp("runs"), say=lambda text: None)
    assert run is not None
    return run


def test_nothing_starts_without_an_sft_run(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(SimstudentError, match="no SFT run to start from"):
        run_dpo(recipe, root=tmp_path, say=lambda text: None)


def test_an_sft_run_of_another_dialogue_does_not_fit(recipe: Recipe, sft: Path) -> None:
    other = recipe.model_copy(update={"dialogue": recipe.dialogue.model_copy(update={"system": "Be a student."})})
    with pytest.raises(SimstudentError, match="does not fit this recipe"):
        run_dpo(other, root=sft.parent, say=lambda text: None, start=sft)


@pytest.mark.slow
def test_dpo_starts_at_a_margin_of_exactly_zero_and_prefers_what_came_next(recipe: Recipe, sft: Path) -> None:
    run = run_dpo(recipe, root=sft.parent, say=lambda text: None)
    assert run is not None
    assert stage_of(run) == "dpo"
    assert read_manifest(run)["from"] == sft.name
    assert adapters(run) == {"sft": sft / "adapter", "dpo": run / "adapter"}
    assert not (run / "adapter" / "ref").exists()
    margins = [line["margin"] for line in read_lines(run / "metrics.jsonl") if "margin" in line]
    assert margins[0] == 0.0  # policy and reference are the same adapter
    assert margins[-1] > 0
    assert json.loads((run / "adapter" / "training.json").read_text())["steps"] == 4
    assert newest_run(sft.parent) == run


@pytest.mark.slow
def test_a_reference_computed_ahead_is_the_same_policy(recipe: Recipe, sft: Path) -> None:
    """Within bfloat16's rounding; summed in bfloat16, as TRL up to 1.14 does, it is .43 here."""
    ahead = recipe.model_copy(update={"dpo": recipe.dpo.model_copy(update={"reference": "precomputed", "limit": 4})})
    run = run_dpo(ahead, root=sft.parent, say=lambda text: None)
    assert run is not None
    margins = [line["margin"] for line in read_lines(run / "metrics.jsonl") if "margin" in line]
    assert abs(margins[0]) < 0.05


@pytest.mark.slow
def test_dapo_learns_from_graded_completions(recipe: Recipe, sft: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_dapo(recipe, root=sft.parent, say=print)
    assert run is not None
    assert adapters(run) == {"sft": sft / "adapter", "dapo": run / "adapter"}
    (line,) = [line for line in read_lines(run / "metrics.jsonl") if "reward" in line]
    assert line["unscored"] == 0.0
    assert 0 <= line["varying"] <= 1
    assert 0 < line["grading_wait_share"] < 1
    assert main(["rollout", "--steps", "1", "--limit", "2", "--runs", str(sft.parent)]) == 0
    out = capsys.readouterr().out
    assert "  dapo: 2 rollouts" in out
    assert "  sft: 2 rollouts" in out


def test_too_few_prompts_for_a_batch_are_told(recipe: Recipe, tmp_path: Path) -> None:
    few = recipe.model_copy(update={"dapo": recipe.dapo.model_copy(update={"limit": 3, "batch_size": 4})})
    with pytest.raises(SimstudentError, match="3 prompts are no batch of 4"):
        run_dapo(few, root=tmp_path, say=lambda text: None)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_most_skilful_checkpoint_is_kept(recipe: Recipe, tmp_path: Path) -> None:
    sft = recipe.sft.model_copy(update={"best": "skill", "evaluations": 2, "batch_size": 1})
    said: list[str] = []
    run = run_sft(recipe.model_copy(update={"sft": sft}), root=tmp_path, say=said.append, max_minutes=5)
    assert run is not None
    skills = json.loads((run / "checkpoints.json").read_text())["skill in test outcomes"]
    best = json.loads((run / "adapter" / "training.json").read_text())["best_checkpoint"]
    assert len(skills) == 2
    assert skills[best] == max(skills.values())
    kept = (run / "adapter" / "adapter_model.safetensors").read_bytes()
    assert kept == (run / "checkpoints" / best / "adapter_model.safetensors").read_bytes()


@pytest.mark.slow
def test_time_runs_out_with_a_checkpoint_to_go_on_from(recipe: Recipe, tmp_path: Path) -> None:
    sft = recipe.sft.model_copy(update={"batch_size": 1, "epochs": 3.0})
    longer = recipe.model_copy(update={"sft": sft})
    run = run_sft(longer, root=tmp_path, say=lambda text: None, max_minutes=1e-6)
    assert run is not None
    assert not (run / "adapter").exists()
    assert run_sft(longer, root=tmp_path, say=lambda text: None, resume=True) == run
    assert (run / "adapter").is_dir()


def test_pairs_are_written_and_shown(recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from simstudent.recipe import dump_yaml

    path = tmp_path / "r.yaml"
    path.write_text(dump_yaml(recipe), encoding="utf-8")
    assert main(["pairs", str(path), "--to", str(tmp_path / "pairs.jsonl")]) == 0
    assert "next: 4 pairs, mean tokens" in capsys.readouterr().out
    records = list(read_lines(tmp_path / "pairs.jsonl"))
    assert {r["side"] for r in records} == {"train", "validation"}
    assert all(r["prompt"][-1]["role"] == "user" for r in records)
    assert all(r["chosen"] != r["rejected"] for r in records)


def test_a_pairs_file_without_a_folder_is_refused_before_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pairs", "recipes/demo.yaml", "--to", "/nonexistent/pairs.jsonl"]) == 2
    seen = capsys.readouterr()
    assert "there is no folder /nonexistent" in seen.err
    assert not seen.out


@pytest.mark.parametrize("value", ["warm", "0,x", "-1"])
def test_temperatures_are_numbers(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["rollout", f"--temperature={value}"])
    assert "argument --temperature" in capsys.readouterr().err


def test_quantised_weights_beside_vllm_are_refused_unless_asked_for(recipe: Recipe) -> None:
    def with_(quantization: str, merge: bool) -> Recipe:
        model = recipe.model.model_copy(update={"quantization": quantization})
        return recipe.model_copy(
            update={"model": model, "dapo": recipe.dapo.model_copy(update={"merge_quantized": merge})}
        )

    assert base_quantization(with_("auto", False), vllm=True) == "none"
    assert base_quantization(with_("auto", False), vllm=False) is None
    assert base_quantization(with_("nf4", True), vllm=True) is None
    with pytest.raises(SimstudentError, match="merge_quantized"):
        base_quantization(with_("nf4", False), vllm=True)


def test_preferences_do_not_go_on_from_a_run_with_students_vectors(recipe: Recipe, sft: Path, tmp_path: Path) -> None:
    run = tmp_path / sft.name
    shutil.copytree(sft, run)
    text = (run / "recipe.yaml").read_text(encoding="utf-8")
    assert "  kind: none\n" in text
    (run / "recipe.yaml").write_text(text.replace("  kind: none\n", "  kind: table\n"), encoding="utf-8")
    with pytest.raises(SimstudentError, match=r"students\.kind"):
        run_dpo(recipe, root=tmp_path, say=lambda text: None, start=run)
