"""The recipe's ``trainer:`` mapping against the fields that the installed TRL really has."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import Any

from simstudent.recipe_errors import closest

OURS = {
    "bf16": "decided by the device",
    "fp16": "decided by the device",
    "dataset_text_field": "the encoder makes the ids",
    "assistant_only_loss": "the encoder makes the labels",
    "eval_steps": "set sft.evaluations",
    "eval_strategy": "set sft.evaluations",
    "gradient_accumulation_steps": "set sft.batch_size and sft.micro_batch_size",
    "gradient_checkpointing": "set sft.gradient_checkpointing",
    "learning_rate": "set sft.learning_rate",
    "lr_scheduler_type": "set sft.schedule",
    "max_length": "set dialogue.window",
    "num_train_epochs": "set sft.epochs",
    "output_dir": "the run folder is made for you",
    "packing": "not supported yet; rows are whole trajectories",
    "per_device_train_batch_size": "set sft.micro_batch_size",
    "per_device_eval_batch_size": "set sft.micro_batch_size",
    "save_steps": "set sft.evaluations",
    "save_strategy": "set sft.evaluations",
    "seed": "set seed",
    "warmup_ratio": "set sft.warmup",
    "warmup_steps": "set sft.warmup",
}
"""Fields of SFTConfig that a recipe sets elsewhere, and where."""


def check_trainer_keys(trainer: dict[str, Any]) -> list[tuple[str, str]]:
    """(key, mistake) for every key that TRL's SFTConfig does not have or that the recipe sets elsewhere.

    Unknown keys can only be seen where TRL is installed; without it only the second kind is reported.
    """
    mistakes = [(key, f"not a key of trainer: {OURS[key]}") for key in trainer if key in OURS]
    if importlib.util.find_spec("trl") is None:
        return mistakes
    from trl import SFTConfig

    known = [f.name for f in dataclasses.fields(SFTConfig)]
    unknown = [key for key in trainer if key not in OURS and key not in known]
    return mistakes + [(key, f"TRL's SFTConfig has no such field; {closest(key, known)}") for key in unknown]
