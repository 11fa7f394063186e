"""A model in pieces over several GPUs (FSDP2), through ``accelerate launch`` with recipes/accelerate/fsdp2.yaml.

What a process then holds of a weight is a part of it, so whatever reads weights has to put them together first, with
all processes taking part.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simstudent.recipe import Recipe

CONFIG = "recipes/accelerate/fsdp2.yaml"


def fsdp() -> bool:
    """Whether ``accelerate launch`` was told to shard."""
    return _setting("ACCELERATE_USE_FSDP", "false") == "true"


def _setting(name: str, default: str) -> str:
    return os.environ.get(name, default).lower()


def refused(recipe: Recipe, stage: str) -> list[str]:
    """What of the recipe or of accelerate's configuration does not work in pieces, and the fix."""
    if not fsdp():
        return []
    found = []
    if stage == "dapo":
        found.append("dapo writes completions with the whole model: use recipes/accelerate/ddp.yaml")
    if stage != "dapo" and getattr(recipe, stage).backend == "unsloth":
        found.append(f"unsloth does not train a model in pieces: set {stage}.backend: plain, or use ddp.yaml")
    if recipe.model.quantization == "nf4":
        # Stored as uint8 they stay whole on each GPU. Stored as bfloat16 they can come to harm: codes that read as NaN
        # are reported to be replaced by others (bitsandbytes issue 1945, open).
        found.append(
            "NF4 weights are not safe in pieces: set model.quantization: none (FSDP2 shares out the bfloat16 "
            "base), or keep NF4 and use recipes/accelerate/ddp.yaml"
        )
    if _setting("FSDP_VERSION", "1") != "2":
        found.append(f"accelerate's configuration asks for FSDP1: set fsdp_version: 2, as in {CONFIG}")
    if _setting("FSDP_STATE_DICT_TYPE", "sharded_state_dict") != "full_state_dict":
        found.append(f"checkpoints need the whole adapter: set fsdp_state_dict_type: FULL_STATE_DICT, as in {CONFIG}")
    if _setting("FSDP_ACTIVATION_CHECKPOINTING", "false") == "true":
        found.append(f"set {stage}.gradient_checkpointing in the recipe, not fsdp_activation_checkpointing")
    if not can_shard():
        found.append("accelerate shards on GPUs only: without them use recipes/accelerate/ddp.yaml")
    return found


def can_shard() -> bool:
    """Whether accelerate shards here; on a CPU it would go on as if it had not been asked to."""
    import torch

    return bool(torch.cuda.is_available())


def exact_sums(trainer: Any) -> None:
    """Let FSDP2 add gradients up in float32 and leave losses as they are: accelerate has both rounded to bfloat16."""
    if not fsdp():
        return
    import torch
    from torch.distributed.fsdp import MixedPrecisionPolicy

    trainer.accelerator.state.fsdp_plugin.mixed_precision_policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16, reduce_dtype=torch.float32
    )


def whole_weights(trainer: Any, *, adapter: bool) -> dict[str, Any] | None:
    """What was trained, put together in the main process's memory (``adapter``: that alone); None without FSDP.

    All processes must call it.
    """
    if not fsdp():
        return None
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=adapter)
    return dict(get_model_state_dict(trainer.model, options=options))
