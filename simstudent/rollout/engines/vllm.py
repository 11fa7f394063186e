"""The vLLM engine: AsyncLLM with continuous batching, prefix caching, and the adapter chosen per request.

Runs on an NVIDIA GPU (package ``vllm``) and, slowly, on a CPU (package ``vllm-cpu``).
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from simstudent.errors import SimstudentError, missing_extra
from simstudent.rollout.engine import Completion, EngineError, Sampling
from simstudent.training.models import resolve_model

CPU_CACHE_GIB = "2"
"""KV cache on a CPU unless VLLM_CPU_KVCACHE_SPACE says otherwise; vLLM's own default takes most of the memory."""


class VllmEngine:
    """An ``Engine`` over vLLM. Open it with ``async with``; opening takes up to a minute.

    ``model`` as for ``resolve_model``. ``adapters``: LoRA folders by name, of rank up to ``max_lora_rank``.
    ``max_model_len``: most tokens of prompt and answer. Raises SimstudentError when vLLM is not installed or
    does not start.
    """

    def __init__(
        self,
        model: str,
        adapters: Mapping[str, Path],
        *,
        revision: str | None = None,
        max_model_len: int = 4096,
        max_lora_rank: int = 8,
        seed: int = 0,
        dtype: str = "bfloat16",
        gpu_memory_utilization: float = 0.85,
        enforce_eager: bool = False,
    ) -> None:
        self.model, self.adapters = model, {name: Path(path) for name, path in adapters.items()}
        self.options: dict[str, Any] = {
            "revision": revision,
            "max_model_len": max_model_len,
            "seed": seed,
            "dtype": dtype,
            "enforce_eager": enforce_eager,
            "enable_prefix_caching": True,
        }
        if adapters:
            self.options |= {"enable_lora": True, "max_loras": len(adapters), "max_lora_rank": _rank(max_lora_rank)}
        self.gpu_memory_utilization = gpu_memory_utilization
        self.numbers = itertools.count()
        self.llm: Any = None

    async def __aenter__(self) -> VllmEngine:
        prepare_environment()
        try:
            from vllm import AsyncEngineArgs
            from vllm.platforms import current_platform
            from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as error:
            raise missing_extra(error.name or "vllm", "vllm") from None
        options = dict(self.options)
        if not current_platform.is_cpu():
            options["gpu_memory_utilization"] = self.gpu_memory_utilization
        try:
            args = AsyncEngineArgs(model=resolve_model(self.model), skip_tokenizer_init=True, **options)
            self.llm = AsyncLLM.from_engine_args(args)
        except (RuntimeError, ValueError, OSError) as error:
            raise SimstudentError(f"vLLM does not start with {self.model}: {error}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.llm.shutdown()
        self.llm = None

    async def generate(self, ids: Sequence[int], sampling: Sampling, *, seed: int, adapter: str | None) -> Completion:
        """As ``Engine.generate``. Greedy answers can vary in a few tokens with what else is in the batch."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            stop_token_ids=list(sampling.stop_ids),
            seed=seed,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        try:
            final = None
            async for output in self.llm.generate(
                {"prompt_token_ids": list(ids)},
                params,
                request_id=str(next(self.numbers)),
                lora_request=self._lora(adapter),
            ):
                final = output
        except asyncio.CancelledError:
            raise
        except Exception as error:  # whatever vLLM raises is the engine's failure, and recorded as such
            raise EngineError(f"vLLM: {type(error).__name__}: {error}") from error
        if final is None:
            raise EngineError("vLLM ended a request without an answer")
        answer = final.outputs[0]
        found = tuple(answer.token_ids)
        if found and found[-1] in sampling.stop_ids:
            found = found[:-1]
        return Completion(found, truncated=answer.finish_reason == "length")

    def _lora(self, adapter: str | None) -> Any:
        if adapter is None:
            return None
        from vllm.lora.request import LoRARequest

        number = list(self.adapters).index(adapter) + 1
        return LoRARequest(adapter, number, str(self.adapters[adapter]))


def prepare_environment() -> None:
    """What vLLM reads from the environment when it is imported; what the user has set stays."""
    # Forked after torch has run in this process, the engine hangs or fails to initialise CUDA.
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", CPU_CACHE_GIB)
    if importlib.util.find_spec("flashinfer") is None:
        os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")


def _rank(wanted: int) -> int:
    """The smallest adapter rank that vLLM has kernels for and that is enough."""
    return next((rank for rank in (8, 16, 32, 64, 128, 256) if rank >= wanted), wanted)
