"""What a language model needs to play: the engine that a recipe names, the encoder of its run; and its student."""

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
from simstudent.rollout.chat import account, chat_model
from simstudent.rollout.engine import Engine, Sampling
from simstudent.rollout.engines.openai import ChatServer
from simstudent.rollout.fewshot import Example, few_shot, roomy, with_examples
from simstudent.rollout.meter import Meter
from simstudent.rollout.methods import Played
from simstudent.rollout.sharing import SharedEngine, shared_engines
from simstudent.rollout.simulate import Student, language_model
from simstudent.runs import write_json
from simstudent.training.models import resolve_model
from simstudent.training.students import has_students, load_roster

Player = SharedEngine | ChatServer
"""What answers for a model: an engine here, or a server."""


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
    recipe: Recipe, adapters: Mapping[str, Path], folder: Path, meter: Meter, say: Callable[[str], None]
) -> AsyncIterator[Sequence[Player]]:
    """The engine that ``rollout.engine`` names, with these adapters (name -> folder): one, or one for each GPU.

    ``meter`` counts what they work on. What a server has cost is told at the end and added to ``usage.json`` in the
    ``folder`` of the results. Raises SimstudentError when it does not start.
    """
    if recipe.rollout.engine == "openai":
        server = ChatServer(recipe.rollout.server, recipe.model.id, meter=meter)
        try:
            async with server:
                yield [server]
        finally:
            account(server.spending, recipe.rollout.server.prices, folder, say)
        return
    async with engines_here(recipe, adapters, say) as engines:
        yield shared_engines(engines, meter)


@contextlib.asynccontextmanager
async def engines_here(
    recipe: Recipe, adapters: Mapping[str, Path], say: Callable[[str], None]
) -> AsyncIterator[Sequence[Engine]]:
    """The engines on this machine alone, as they are: one, or one for each GPU."""
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
            gpu_memory_utilization=r.gpu_memory,
            enforce_eager=r.eager,
        )
        async with vllm:
            yield [vllm.on(gpu) for gpu in range(gpus)]
    else:
        from simstudent.rollout.engines.transformers import TransformersEngine

        async with TransformersEngine(
            recipe.model.id, adapters, revision=recipe.model.revision, batch_size=r.batch_size
        ) as transformers:
            yield [transformers]


def encoder_for(p: Played, encoder: Encoder, recipe: Recipe) -> Encoder:
    """The encoder of a method's prompts: with more room before the assignment where examples stand there."""
    return roomy(encoder, recipe.rollout.few_shot) if p.method == "base-fewshot" else encoder


def player(
    p: Played,
    engine: Player,
    encoder: Encoder,
    recipe: Recipe,
    adapters: Mapping[str, Path],
    shown: Sequence[Example] = (),
) -> Student:
    """The student that a method's model plays. ``shown``: what examples are taken from (``base-fewshot``)."""
    r, look, seed = recipe.rollout, recipe.dialogue, recipe.seed
    own, most = encoder_for(p, encoder, recipe), recipe.dialogue.answer_tokens
    if isinstance(engine, ChatServer):
        student = chat_model(
            engine, own, max_tokens=most, temperature=p.temperature, top_p=r.top_p, seed=seed, look=look
        )
    else:
        sampling = Sampling(own.stop_ids, most, p.temperature, r.top_p)
        token = _token(adapters[p.adapter] if p.adapter else Path(resolve_model(recipe.model.id)))
        student = language_model(engine, own, sampling, adapter=p.adapter, seed=seed, look=look, token=token)
    return with_examples(student, few_shot(shown, r.few_shot, own, seed)) if p.method == "base-fewshot" else student


def _token(folder: Path) -> Callable[[str], int] | None:
    """By student, the token that adapter or model was trained with before everything else; None: with none."""
    return load_roster(folder).token if has_students(folder) else None


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
