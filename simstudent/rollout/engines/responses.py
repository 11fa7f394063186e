"""What a chat completions server sends back: an answer, or why it is none."""

from __future__ import annotations

import datetime
import email.utils
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simstudent.rollout.engine import EngineError

SLACK = 2
"""Tokens by which servers differ in counting an answer that ran into the limit (the end token, say)."""


class RetryError(Exception):
    """A failure after which it is worth asking once more; ``wait``: the seconds that the server asks for."""

    def __init__(self, text: str, wait: float | None = None) -> None:
        super().__init__(text)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer. ``truncated``: the model ran into the limit that we had set. Tokens as the server counts them.

    ``cached_tokens``: of the prompt, those that the server had seen before.
    """

    text: str
    truncated: bool
    prompt_tokens: int
    cached_tokens: int
    reply_tokens: int

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def read_response(said: str, limit: int) -> Answer:
    """The answer in a response's text; ``limit``: the most tokens that we had asked for.

    Raises RetryError for what may come out right the next time (rubbish, no answer), EngineError for what will not: an
    answer that was filtered, or cut before the limit that we had set.
    """
    try:
        raw = json.loads(said)
        choice = raw["choices"][0]
        message, reason = choice["message"], choice.get("finish_reason")
        usage = raw.get("usage") or {}
        tokens = [_count(usage, name) for name in ("prompt_tokens", "completion_tokens")]
        cached = _count(usage.get("prompt_tokens_details") or {}, "cached_tokens")
        thought = _count(usage.get("completion_tokens_details") or {}, "reasoning_tokens")
        text = message.get("content") if message.get("content") is not None else message.get("refusal")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise RetryError(f"not an answer ({type(error).__name__}): {said:.200}") from None
    if reason == "content_filter":
        raise EngineError("the server's content filter held the answer back")
    if reason not in ("stop", "length") or not isinstance(text, str):
        raise RetryError(f"the answer ended with finish_reason {reason!r}: {said:.200}")
    if reason == "length" and tokens[1] - thought < limit - SLACK:
        # Not asked again: most often it is the model's thinking, and every attempt would have to be paid for.
        after = f"after {tokens[1]} tokens ({thought} of thinking) of {limit} asked for" if tokens[1] else "somewhere"
        raise EngineError(
            f"the server cut the answer {after}; set rollout.server.max_tokens, or ask for less thinking in "
            "rollout.server.body"
        )
    return Answer(text, reason == "length", tokens[0], cached, tokens[1])


def _count(raw: Mapping[str, Any], name: str) -> int:
    """A number of tokens; 0 where the server does not tell."""
    return int(raw.get(name) or 0)


def waiting_time(headers: Mapping[str, str]) -> float | None:
    """The seconds that Retry-After (or OpenAI's retry-after-ms) asks for; None when it asks for nothing readable."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        text = headers.get("retry-after", "")
        if text.strip().replace(".", "", 1).isdigit():
            return float(text)
        when = email.utils.parsedate_to_datetime(text)
        return max(0.0, (when - datetime.datetime.now(datetime.UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
