"""The unsloth backend: what is said where it cannot be used, and that rows, labels and adapters are the plain path's.

Most tests have a stand-in for unsloth, made of transformers and peft. One runs the real one, where it is installed.
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from simstudent.errors import SimstudentError
from simstudent.recipe import Recipe, load_recipe
from simstudent.runs import read_lines
from simstudent.training import unsloth
from simstudent.validate import notes

pytest.importorskip("trl")

RECIPE = """\
name: tiny
seed: 3
model: {{id: {model}}}
data:
  source: {{kind: course}}
  select: [stop_at_full_grade, min_submissions: 2, max_submissions: 3]
dialogue: {{feedback: summary, window: 2048, answer_tokens: 256}}
sft: {{backend: {backend}, limit: 2, batch_size: 2, packing: true, evaluations: 1, learning_rate: 1e-3, warmup: 0}}
"""


def recipe_at(folder: Path, model: Path, backend: str) -> Path:
    path = folder / f"{backend}.yaml"
    path.write_text(RECIPE.format(model=model, backend=backend), encoding="utf-8")
    return path


@pytest.fixture
def recipe(tiny_model: Path, tmp_path: Path) -> Recipe:
    return load_recipe(recipe_at(tmp_path, tiny_model, "unsloth"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A stand-in for unsloth; what it was asked for."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    calls: dict[str, Any] = {}

    class FastLanguageModel:
        @staticmethod
        def from_pretrained(path: str, **options: Any) -> tuple[Any, None]:
            calls["load"] = options
            return AutoModelForCausalLM.from_pretrained(path, dtype=options["dtype"]), None

        @staticmethod
        def get_peft_model(model: Any, **options: Any) -> Any:
            calls["adapter"] = options
            names = ("r", "lora_alpha", "lora_dropout", "target_modules")
            return get_peft_model(model, LoraConfig(**{n: options[n] for n in names}, task_type="CAUSAL_LM"))

    monkeypatch.setitem(sys.modules, "unsloth", types.SimpleNamespace(FastLanguageModel=FastLanguageModel))
    monkeypatch.setattr(unsloth, "missing", lambda: None)
    return calls


def installed(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], requires: list[str]) -> None:
    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: requires)


def test_it_is_said_that_it_is_not_installed(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, {"trl": "1.16.0"}, [])
    assert unsloth.missing() == "unsloth is not installed"
    with pytest.raises(SimstudentError, match=r"not installed\. Fix: pip install -c locks/unsloth\.txt"):
        unsloth.begin(recipe, "unsloth")
    assert any("backend: unsloth cannot be used here: unsloth is not installed" in note for note in notes(recipe))
    unsloth.begin(recipe, "plain")


def test_versions_that_it_does_not_work_with_are_named(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    needs = ["trl!=0.19.0,<=1.15.0", "datasets<5", "peft>=0.18", "mlx==1; sys_platform == 'none'", "vllm<1; extra=='x'"]
    found = {"unsloth": "2026.10.9", "trl": "1.16.0", "datasets": "5.2.0", "peft": "0.21.2", "vllm": "2"}
    installed(monkeypatch, found, needs)
    with pytest.raises(SimstudentError) as error:
        unsloth.begin(recipe, "unsloth")
    text = str(error.value)
    assert "trl 1.16.0 is installed, and it needs !=0.19.0,<=1.15.0" in text
    assert "datasets 5.2.0" in text
    assert "peft" not in text
    assert "vllm" not in text
    installed(monkeypatch, found | {"trl": "1.14.2", "datasets": "4.8.5"}, needs)
    assert unsloth.missing() is None


def test_an_import_that_fails_is_explained(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsloth, "missing", lambda: None)
    monkeypatch.setitem(sys.modules, "unsloth", None)
    with pytest.raises(SimstudentError, match=r"unsloth: it does not load: .* or backend: plain"):
        unsloth.begin(recipe, "unsloth")


def test_rows_labels_and_adapter_are_those_of_the_plain_path(
    recipe: Recipe, asked: dict[str, Any], tmp_path: Path
) -> None:
    """A run through the stand-in has the losses of the plain run, and DPO's policy starts from its adapter."""
    from simstudent.training.policy import load_policy
    from simstudent.training.sft import run_sft

    losses, runs = [], []
    for backend in ("plain", "unsloth"):
        made = recipe.model_copy(update={"sft": recipe.sft.model_copy(update={"backend": backend})})
        run = run_sft(made, root=tmp_path / backend, say=lambda text: None)
        assert run is not None
        runs.append(run)
        losses.append([x.get("validation_loss", x.get("loss")) for x in read_lines(run / "metrics.jsonl")])
    assert losses[1] == pytest.approx(losses[0], abs=5e-3)
    assert asked["load"]["max_seq_length"] == recipe.dialogue.window
    assert asked["load"]["load_in_4bit"] is False
    assert asked["load"]["use_exact_model_name"] is True
    assert (asked["adapter"]["r"], asked["adapter"]["lora_alpha"]) == (8, 16)
    assert asked["adapter"]["use_gradient_checkpointing"] is False

    adapter = runs[1] / "adapter"
    options: dict[str, Any] = {"tokens": 100, "checkpointing": "auto", "adapter": adapter}
    ours, theirs = (
        {n: p.detach().float() for n, p in load_policy(recipe, print, backend=b, **options).model.named_parameters()}
        for b in ("plain", "unsloth")
    )
    learnt = [n for n in ours if "lora_B" in n and ours[n].abs().sum() > 0]
    assert learnt
    assert all((ours[n] == theirs[n]).all() for n in learnt)


def test_changed_labels_are_refused() -> None:
    from datasets import Dataset

    from simstudent.training.packing import Collator

    rows = [{"input_ids": [5, 6, 7], "labels": [-100, 6, 7], "lengths": [3]}]
    trainer = types.SimpleNamespace(train_dataset=Dataset.from_list(rows), data_collator=Collator(0, flat=True))
    unsloth.check_rows(trainer, rows)
    trainer.train_dataset = Dataset.from_list([rows[0] | {"labels": [5, 6, 7]}])
    with pytest.raises(SimstudentError, match="changed the labels"):
        unsloth.check_rows(trainer, rows)
    trainer.train_dataset = Dataset.from_list(rows)
    trainer.data_collator = lambda packs: Collator(0, flat=True)([p | {"labels": p["input_ids"]} for p in packs])
    with pytest.raises(SimstudentError, match="labels of a batch"):
        unsloth.check_rows(trainer, rows)


@pytest.mark.slow
def test_the_real_one_learns_the_same(tiny_model: Path, tmp_path: Path) -> None:
    """Validation loss of the same recipe with and without it, each in a process of its own."""
    if (reason := unsloth.missing()) is not None:
        pytest.skip(reason)
    found = {}
    for backend in ("plain", "unsloth"):
        path, runs = recipe_at(tmp_path, tiny_model, backend), tmp_path / backend
        command = [sys.executable, "-m", "simstudent", "sft", str(path), "--runs", str(runs)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        (facts,) = runs.glob("*/adapter/training.json")
        found[backend] = json.loads(facts.read_text())["best_validation_loss"]
    assert found["unsloth"] == pytest.approx(found["plain"], abs=5e-3)
