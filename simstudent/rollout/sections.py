"""The parts of a recipe's ``rollout`` that have sections of their own."""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from simstudent.section import Section

HERE = ("localhost", "127.0.0.1", "::1")
"""Hosts that are this machine."""


class Prices(Section):
    """What a million tokens cost, in any currency. ``cached``: of prompts that the server knew; default ``prompt``."""

    prompt: float = Field(ge=0)
    answer: float = Field(ge=0)
    cached: float | None = Field(None, ge=0)


class ServerSection(Section):
    """A server with OpenAI's chat completions, for ``rollout.engine: openai``."""

    url: str = "http://localhost:8000/v1"
    model: str | None = None
    """The model's name there; default: ``model.id``."""
    key_variable: str | None = None
    """The *name* of the environment variable with the key; null: no key."""
    send_data: bool = False
    """Students' programs may leave this machine. Needed for any other host than this one."""
    concurrency: int = Field(16, ge=1)
    """Requests at once."""
    timeout: float = Field(120.0, gt=0)
    """Seconds for one attempt, the answer's last byte included."""
    attempts: int = Field(8, ge=1)
    cache: bool = True
    max_tokens: int | None = Field(None, ge=16)
    """Most tokens of an answer, thinking included; default: ``dialogue.answer_tokens``."""
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """Under which name the server wants that limit."""
    body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of every request, as they are; null leaves one of ours out."""
    prices: Prices | None = None

    @model_validator(mode="after")
    def _safe(self) -> ServerSection:
        # Of the section, not of its fields: a message about a field would show what was given, perhaps a key.
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("server.url is no address such as http://localhost:8000/v1")
        if parts.username or parts.password or parts.query:
            raise ValueError("server.url holds credentials or a query; a key belongs into an environment variable")
        if self.key_variable is not None and not re.fullmatch(r"[A-Z][A-Z0-9_]*", self.key_variable):
            raise ValueError(
                "server.key_variable is the name of an environment variable, in capitals, such as OPENAI_API_KEY; "
                "never write the key itself into a recipe"
            )
        if any(re.search("key|auth|secret", name, re.IGNORECASE) for name in self.body):
            raise ValueError("server.body is written into run folders; no key may stand there")
        if parts.hostname not in HERE and not self.send_data:
            raise ValueError(
                f"server.url: students' programs would be sent to {parts.hostname}. If they may leave this machine, "
                "set rollout.server.send_data: true"
            )
        return self

    @property
    def decides(self) -> dict[str, Any]:
        """What of it decides the answers: not how patiently or how often is asked, and what it costs."""
        return self.model_dump(mode="json", include={"url", "model", "max_tokens", "body"})


class FewShotSection(Section):
    """Examples of training students in the prompts of ``base-fewshot`` (`simstudent.rollout.fewshot`)."""

    examples: int = Field(3, ge=1)
    """Trajectories, at most."""
    tokens: int = Field(1536, ge=64)
    """What they may take of the window, together; never more than half of what the answer leaves of it."""
