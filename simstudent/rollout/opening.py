"""What a language model needs to play: the engine that a recipe names, and the encoder of its run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from simstudent.dialogue.encode import Encoder, make_encoder
from simstudent.dialogue.template import ChatTemplate
from simstudent.errors import SimstudentError
from simstudent.recipe import Recipe
from simstudent.rollout.engine import Engine
from simstudent.runs import write_json


def encoder_of(recipe: Recipe, run: Path) -> Encoder:
    """The encoder with the template that the run was trained with, whatever the tokenizer would say today."""
    from simstudent.training.models import load_tokenizer

    tokenizer = load_tokenizer(recipe.model.id, recipe.model.revision)
    path = run / "template.json"
    if not path.exists():  # nothing was trained: the first rollouts of this run settle the template
        write_json(path, make_encoder(recipe, tokenizer).template.to_dict())
    template = ChatTemplate.from_dict(json.loads(path.read_text(encoding="utf-8")))
    return make_encoder(recipe, tokenizer, template)


@contextlib.asynccontextmanager
async def open_engines(
    recipe: Recipe, adapters: Mapping[str, Path], say: Callable[[str], None]
) -> AsyncIterator[Sequence[Engine]]:
    """The engine that ``rollout.engine`` names, with these adapters (name -> folder): one, or one for each GPU.

    Raises SimstudentError when it does not start.
    """
    r = recipe.rollout
    gpus = count_gpus(r.gpus, r.engine)
    say(f"Starting the {r.engine} engine with {recipe.model.id}" + (f" on {gpus} GPUs" if gpus > 1 else ""))
    if r.engine == "vllm":
        from simstudent.rollout.engines.vllm import VllmEngine

        vllm = VllmEngine(
            recipe.model.id,
            adapters,
            revision=recipe.model.revision,
            max_model_len=recipe.dialogue.window,
            seed=recipe.seed,
            max_lora_rank=max(map(_rank, adapters.values()), default=8),
            gpus=gpus,
        )
        async with vllm:
            yield [vllm.on(gpu) for gpu in range(gpus)]
    else:
        from simstudent.rollout.engines.transformers import TransformersEngine

        async with TransformersEngine(
            recipe.model.id, adapters, revision=recipe.model.revision, batch_size=r.batch_size
        ) as transformers:
            yield [transformers]


def count_gpus(wanted: int | Literal["auto"], engine: str) -> int:
    """How many GPUs ``rollout.gpus`` stands for here: ``auto`` is all that are visible, and 1 without any.

    Raises SimstudentError when there are not as many, or the engine takes but one.
    """
    if wanted == 1 or (wanted == "auto" and engine != "vllm"):
        return 1
    if engine != "vllm":
        raise SimstudentError(f"rollout.gpus is {wanted}, but the {engine} engine uses one device; set engine: vllm")
    import torch

    here = int(torch.cuda.device_count())
    if wanted == "auto":
        return max(1, here)
    if wanted > here > 0:
        raise SimstudentError(f"rollout.gpus is {wanted}, and this machine shows {here} (CUDA_VISIBLE_DEVICES?)")
    return wanted


def _rank(adapter: Path) -> int:
    return int(json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"])
