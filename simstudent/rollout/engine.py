"""What every text engine offers the rollout: token ids in, token ids out, one request at a time, many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from simstudent.rollout.engines import Counters


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to decode. ``temperature`` 0 is greedy. Generation ends at any of ``stop_ids`` or after ``max_tokens``."""

    stop_ids: tuple[int, ...]
    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0


@dataclass(frozen=True, slots=True)
class Completion:
    """The generated ids, the stop token left out. ``truncated``: it ran into ``max_tokens`` without one."""

    ids: tuple[int, ...]
    truncated: bool


class EngineError(RuntimeError):
    """The engine failed on a request. Never the simulated student's fault, never a score."""


class Engine(Protocol):
    """An engine serves many concurrent ``generate`` calls; an async context manager opens and closes it."""

    counters: Counters

    async def generate(self, ids: Sequence[int], sampling: Sampling, *, seed: int, adapter: str | None) -> Completion:
        """Continue ``ids``. ``adapter`` names a LoRA adapter given at opening, None is the base model.

        The same ids, sampling, seed and adapter give the same answer whatever else runs, up to numerics.
        Raises EngineError when the engine fails.
        """
        ...
