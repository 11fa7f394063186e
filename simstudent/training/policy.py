"""The model that is trained: a base, in 4 bits where that is wanted, with a fresh adapter or a trained one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simstudent.training import sharded, unsloth
from simstudent.training.memory import available_memory, plan_memory
from simstudent.training.models import best_device, load_model, resolve_model, with_adapter

if TYPE_CHECKING:
    from collections.abc import Callable

    from simstudent.recipe import Recipe
    from simstudent.training.sections import Backend


@dataclass(frozen=True, slots=True)
class Policy:
    """``model`` is the base, or a trainable PeftModel when it began from an adapter."""

    model: Any
    device: str
    quantization: str
    checkpointing: bool
    attention: str | None = None
    """The implementation that was asked for; None: transformers' own choice."""


def quantization_of(recipe: Recipe, device: str) -> str:
    """``nf4`` or ``none``: what the recipe's ``auto`` means on this device, and in pieces over several."""
    wanted = recipe.model.quantization
    if recipe.sft.lora is None:
        return "none"
    if wanted == "auto":
        return "nf4" if device == "cuda" and not sharded.fsdp() else "none"
    return wanted


def load_policy(
    recipe: Recipe,
    say: Callable[[str], None],
    *,
    tokens: int,
    checkpointing: bool | str,
    adapter: Path | None = None,
    quantization: str | None = None,
    reserved: float = 0.0,
    backend: Backend = "plain",
    attention: str | None = None,
) -> Policy:
    """Load the base and, if given, put a trained adapter on it that training goes on with.

    Through unsloth the model has an adapter in any case, if none is given a fresh one.

    ``tokens``: most tokens of a forward pass, for the memory plan, which is said before training starts. ``reserved``:
    the share of the device's memory that something else (vLLM beside the trainer) is going to take.
    """
    import transformers

    device = best_device()
    lora = recipe.sft.lora
    quantization = quantization or quantization_of(recipe, device)
    transformers.set_seed(recipe.seed)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()  # of a whole model, each checkpoint would draw one
    free = available_memory(device, reserved)
    if backend == "unsloth":
        path = resolve_model(recipe.model.id)
        model = unsloth.load_base(recipe, path, quantization=quantization, device=_this_device(device))
    else:
        model = load_model(
            recipe.model.id,
            revision=recipe.model.revision,
            quantization=quantization,  # type: ignore[arg-type]
            dtype="bfloat16" if lora is not None else "float32",
            device=_this_device(device),
            attention=attention,
        )
    kept = "NF4 (QLoRA)" if quantization == "nf4" else "bfloat16 (LoRA)"
    kept += ", through unsloth" if backend == "unsloth" else "" if attention is None else f", attention {attention}"
    say(f"Training on {device}, " + ("all weights, in float32" if lora is None else f"base weights {kept}"))
    plan = plan_memory(model, rank=None if lora is None else lora.r, tokens=tokens, available=free)
    checkpointed = plan.checkpointing(checkpointing)
    say(plan.text(checkpointed))
    if backend == "unsloth":
        model = unsloth.add_adapter(recipe, model, checkpointing=checkpointed, adapter=adapter)
    elif adapter is not None:
        model = with_adapter(model, adapter, trainable=True)
    return Policy(model, device, quantization, checkpointed, attention)


def _this_device(device: str) -> str:
    """With several GPUs, the one of this process."""
    if device != "cuda":
        return device
    import accelerate

    return str(accelerate.PartialState().device)


def lora_config(recipe: Recipe) -> Any:
    """The recipe's adapter as peft describes it; None where all weights are trained."""
    from peft import LoraConfig

    lora = recipe.sft.lora
    if lora is None:
        return None
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target if isinstance(lora.target, str) else list(lora.target),
        task_type="CAUSAL_LM",
    )


def outcome(trainer: Any, policy: Policy) -> dict[str, Any]:
    """Facts of a finished training, for ``training.json`` beside the adapter."""
    import torch

    state = trainer.state
    cuda = policy.device == "cuda"
    return {
        "device": torch.cuda.get_device_name() if cuda else policy.device,
        "processes": trainer.accelerator.num_processes,
        "quantization": policy.quantization,
        "steps": state.global_step,
        "best_checkpoint": state.best_model_checkpoint and Path(state.best_model_checkpoint).name,
        "best_validation_loss": state.best_metric,
        "peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if cuda else None,
    }
