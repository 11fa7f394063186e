"""What a language model needs to play: the engine that a recipe names, and the encoder of its run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from simstudent.dialogue.encode import Encoder, make_encoder
from simstudent.dialogue.template import ChatTemplate
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
async def open_engine(
    recipe: Recipe, adapters: Mapping[str, Path], say: Callable[[str], None]
) -> AsyncIterator[Engine]:
    """The engine that ``rollout.engine`` names, with these adapters (name -> folder)."""
    r = recipe.rollout
    say(f"Starting the {r.engine} engine with {recipe.model.id}")
    if r.engine == "vllm":
        from simstudent.rollout.engines.vllm import VllmEngine

        opened: Any = VllmEngine(
            recipe.model.id,
            adapters,
            revision=recipe.model.revision,
            max_model_len=recipe.dialogue.window,
            seed=recipe.seed,
            max_lora_rank=max(map(_rank, adapters.values()), default=8),
        )
    else:
        from simstudent.rollout.engines.transformers import TransformersEngine

        opened = TransformersEngine(recipe.model.id, adapters, revision=recipe.model.revision, batch_size=r.batch_size)
    async with opened as engine:
        yield engine


def _rank(adapter: Path) -> int:
    return int(json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"])
