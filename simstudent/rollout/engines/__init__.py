"""The text engines: a language model behind transformers or vLLM, a server over HTTP, and baselines without a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """What an engine has done since it was opened; it only grows.

    ``prompt_tokens`` counts the prompts of answered and failed requests that were begun, ``cached_tokens`` those of
    them that were not computed again, ``generated_tokens`` the answers with their stop tokens. ``busy_seconds`` is the
    time during which at least one request was being worked on.
    """

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    busy_seconds: float = 0.0
