"""TRL's settings from a recipe: what all stages share, and ``trainer:`` against the fields TRL really has."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simstudent.recipe_errors import closest

if TYPE_CHECKING:
    from simstudent.recipe import Recipe
    from simstudent.training.sections import DapoSection, DpoSection, SftSection

CONFIGS = {"sft": "SFTConfig", "dpo": "DPOConfig", "dapo": "GRPOConfig"}

OURS = {
    "assistant_only_loss": "the encoder makes the labels",
    "beta": "set {stage}.beta",
    "bf16": "decided by the device",
    "dataset_text_field": "the encoder makes the ids",
    "epsilon": "set {stage}.epsilon",
    "epsilon_high": "set {stage}.epsilon_high",
    "eval_steps": "set {stage}.evaluations",
    "eval_strategy": "set {stage}.evaluations",
    "fp16": "decided by the device",
    "generation_batch_size": "set {stage}.batch_size and {stage}.generations",
    "gradient_accumulation_steps": "set {stage}.batch_size and {stage}.micro_batch_size",
    "gradient_checkpointing": "set {stage}.gradient_checkpointing",
    "learning_rate": "set {stage}.learning_rate",
    "lr_scheduler_type": "set {stage}.schedule",
    "max_completion_length": "set dialogue.answer_tokens",
    "max_length": "set dialogue.window",
    "num_generations": "set {stage}.generations",
    "num_train_epochs": "set {stage}.epochs",
    "output_dir": "the run folder is made for you",
    "packing": "set {stage}.packing",
    "padding_free": "set {stage}.packing",
    "per_device_eval_batch_size": "set {stage}.micro_batch_size",
    "per_device_train_batch_size": "set {stage}.micro_batch_size",
    "precompute_ref_log_probs": "set {stage}.reference",
    "reward_weights": "set {stage}.rewards",
    "save_steps": "set {stage}.evaluations",
    "save_strategy": "set {stage}.evaluations",
    "seed": "set seed",
    "steps_per_generation": "one batch of prompts is one step",
    "temperature": "set {stage}.temperature",
    "top_p": "set {stage}.top_p",
    "use_vllm": "set {stage}.vllm",
    "vllm_gpu_memory_utilization": "set {stage}.vllm_memory",
    "vllm_mode": "set {stage}.vllm",
    "warmup_ratio": "set {stage}.warmup",
    "warmup_steps": "set {stage}.warmup",
}
"""Fields of TRL's configs that a recipe sets elsewhere, and where."""


def check_trainer_keys(stage: str, trainer: dict[str, Any]) -> list[tuple[str, str]]:
    """(key, mistake) for every key that TRL's config of the stage does not have or that the recipe sets elsewhere.

    Unknown keys can only be seen where TRL is installed; without it only the second kind is reported.
    """
    mistakes = [(key, f"not a key of trainer: {OURS[key].format(stage=stage)}") for key in trainer if key in OURS]
    if importlib.util.find_spec("trl") is None:
        return mistakes
    import trl

    known = [f.name for f in dataclasses.fields(getattr(trl, CONFIGS[stage]))]
    unknown = [key for key in trainer if key not in OURS and key not in known]
    return mistakes + [(key, f"TRL's {CONFIGS[stage]} has no such field; {closest(key, known)}") for key in unknown]


def steps_of(rows: int, batch_size: int, epochs: float) -> int:
    """Optimiser steps of a whole training."""
    return max(1, math.ceil(math.ceil(rows / batch_size) * epochs))


def shared_settings(
    recipe: Recipe,
    section: SftSection | DpoSection | DapoSection,
    run: Path,
    *,
    device: str,
    steps: int,
    saves: int,
    world: int = 1,
) -> dict[str, Any]:
    """Fields that SFTConfig, DPOConfig and GRPOConfig all have. ``saves``: checkpoints over the ``steps``."""
    return {
        "output_dir": str(run / "checkpoints"),
        "num_train_epochs": section.epochs,
        "per_device_train_batch_size": section.micro_batch_size,
        "per_device_eval_batch_size": section.micro_batch_size,
        "gradient_accumulation_steps": max(1, section.batch_size // (section.micro_batch_size * world)),
        "learning_rate": section.learning_rate,
        "lr_scheduler_type": section.schedule,
        "warmup_steps": section.warmup,
        "bf16": True,
        "use_cpu": device == "cpu",
        "seed": recipe.seed,
        "save_strategy": "steps",
        "save_steps": math.ceil(steps / saves),
        "save_total_limit": 2,
        "logging_steps": max(1, min(10, steps // 20)),
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": device == "cuda",
        "ddp_find_unused_parameters": False,  # all that is trained is used in each step; looking for others takes time
    }


def validated_settings(steps: int, evaluations: int) -> dict[str, Any]:
    """Fields for a validation loss at each checkpoint, of which the best is kept."""
    return {
        "eval_strategy": "steps",
        "eval_steps": math.ceil(steps / evaluations),
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
    }
