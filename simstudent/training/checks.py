"""What a stage cannot do as the recipe has it, here and under this launcher.

Said in the first second, before any data is read, and by ``simstudent validate``.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Literal

from simstudent.errors import SimstudentError
from simstudent.training import sharded
from simstudent.training.ranks import world_size

if TYPE_CHECKING:
    from simstudent.recipe import Recipe

Stage = Literal["sft", "dpo", "dapo"]
STAGES: tuple[Stage, ...] = ("sft", "dpo", "dapo")

ROLLED_OUT = ("transformers", "vllm")
"""Engines that roll a checkpoint out."""


def check(recipe: Recipe, stage: Stage) -> None:
    """Raises SimstudentError with all that is in the way of a stage."""
    found = refused(recipe, stage)
    if found:
        raise SimstudentError(f"simstudent {stage} cannot train this recipe:\n  " + "\n  ".join(found))


def refused(recipe: Recipe, stage: Stage) -> list[str]:
    """What is in the way of a stage, each with its fix, as far as the recipe and the launcher tell."""
    found = _sft(recipe) if stage == "sft" else _after_sft(recipe, stage)
    return [*found, *_batches(recipe, stage), *_trackers(recipe, stage), *sharded.refused(recipe, stage)]


def _sft(recipe: Recipe) -> list[str]:
    s, found = recipe.sft, []
    trace = recipe.dialogue.format == "trace"
    if trace and s.copied_lines < 1:
        found.append("of a trace all tokens are learnt: set sft.copied_lines: 1")
    if s.best == "skill" and trace:
        found.append("sft.best: skill rolls dialogues out, and traces have none: set it to loss or last")
    elif s.best == "skill" and recipe.rollout.engine not in ROLLED_OUT:
        found.append(
            f"sft.best: skill rolls checkpoints out, and rollout.engine: {recipe.rollout.engine} does not run them: "
            f"set rollout.engine to {' or '.join(ROLLED_OUT)}, or sft.best to loss or last"
        )
    if s.lora is None and recipe.model.quantization == "nf4":
        found.append("all weights are trained as they are: with sft.lora: null set model.quantization: none")
    if recipe.students.kind != "none" and world_size() > 1:
        found.append(
            "students' vectors are trained in one process, which alone sees who had a gradient: leave accelerate "
            "launch out, or set students.kind: none"
        )
    return found


def _after_sft(recipe: Recipe, stage: Stage) -> list[str]:
    found = []
    if recipe.students.kind != "none":
        found.append("dpo and dapo do not train students' vectors (students.kind: none); sft does")
    if recipe.sft.lora is None:
        found.append("dpo and dapo go on from an adapter, and sft.lora: null trains none")
    if recipe.dialogue.format == "trace":
        found.append("dpo and dapo learn from graded answers in dialogues (dialogue.format: chat)")
    if stage == "dapo":
        from simstudent.training.rewards import reward

        for name in recipe.dapo.rewards:
            try:
                reward(name)
            except ValueError as error:
                found.append(f"dapo.rewards: {error}")
    return found


def _batches(recipe: Recipe, stage: Stage) -> list[str]:
    """A batch must go up in the forward passes of all processes."""
    section = getattr(recipe, stage)
    batch, name = section.batch_size, "batch_size"
    if stage == "dapo":
        batch, name = batch * recipe.dapo.generations, "batch_size x generations"
    world = world_size()
    if batch % (section.micro_batch_size * world):
        return [
            f"{stage}: {name} ({batch}) is not a multiple of micro_batch_size x processes "
            f"({section.micro_batch_size} x {world}): set a smaller {stage}.micro_batch_size, or a larger batch_size"
        ]
    return []


def _trackers(recipe: Recipe, stage: Stage) -> list[str]:
    """Trackers (``trainer: {report_to: ...}``) that are not installed. Most are called as their packages are."""
    asked = getattr(recipe, stage).trainer.get("report_to") or []
    names = [asked] if isinstance(asked, str) else list(asked)
    packages = {name: {"azure_ml": "azureml", "flyte": "flytekit"}.get(name, name) for name in names}
    return [
        f"{stage}.trainer.report_to: {name} is not installed: pip install {package}, or leave it out"
        for name, package in packages.items()
        if name not in ("all", "none") and importlib.util.find_spec(package) is None
    ]
