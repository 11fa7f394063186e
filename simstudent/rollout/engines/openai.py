"""Any server that speaks OpenAI's chat completions: hosted models, or vLLM, llama.cpp, Ollama and others nearby.

One request a submission: the dialogue as chat messages. What goes wrong between here and the server is the server's
failure, an EngineError and never a student's: a request is repeated while that may help, and an answer that the server
itself cut short, filtered or garbled is none.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import os
import random
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from simstudent.cache import cache_folder
from simstudent.errors import SimstudentError, missing_extra
from simstudent.rollout.engine import EngineError
from simstudent.rollout.engines import Counters
from simstudent.rollout.engines.responses import Answer, RetryError, read_response, waiting_time
from simstudent.rollout.meter import Meter
from simstudent.rollout.sections import ServerSection
from simstudent.rollout.sharing import Shared
from simstudent.runs import write_json

Messages = Sequence[Mapping[str, str]]

LONGEST_WAIT = 600.0
"""Seconds: a server that asks for more (a daily quota) is not waited for."""
PAUSE = 1.0
"""Seconds before the second attempt; they double from one attempt to the next."""
LONGEST_PAUSE = 60.0
"""Seconds between two attempts, at most, unless the server asks for more."""
PATIENCE = 20
"""So many requests in a row that fail for good end the run: the server is down, or refuses all of them."""
STOPPING = {
    401: "it does not accept the key",
    402: "it wants to be paid",
    404: "it knows no such address or model",
}
"""Answers that every other request would get as well."""


@dataclass(slots=True)
class Spending:
    """What was asked of a server and what came back. Tokens as the server counts them, of answered requests."""

    requests: int = 0
    from_cache: int = 0
    repeated: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    answer_tokens: int = 0

    def add(self, answer: Answer) -> None:
        self.requests += 1
        self.prompt_tokens += answer.prompt_tokens
        self.cached_prompt_tokens += answer.cached_tokens
        self.answer_tokens += answer.reply_tokens

    def to_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


def key_of(section: ServerSection) -> str:
    """The key from the environment, "" where none is needed. Raises SimstudentError when its variable is not set."""
    name = section.key_variable
    key = os.environ.get(name, "").strip() if name else ""
    if name and not key:
        raise SimstudentError(f"the environment variable {name} (rollout.server.key_variable) is not set")
    return key


class ChatServer:
    """A server behind ``chat``; open it with ``async with``. ``model``: its name there, unless the section names one.

    ``folder``: of the answers' cache. ``meter`` counts when anything is asked. ``pause``: before the second attempt,
    instead of PAUSE. Opening raises SimstudentError when httpx2 is not installed or the key's variable is not set.
    """

    def __init__(
        self,
        section: ServerSection,
        model: str,
        *,
        folder: Path | None = None,
        meter: Meter | None = None,
        pause: float | None = None,
    ) -> None:
        self.counters = Counters()
        self.spending = Spending()
        self._section, self._model, self._pause = section, section.model or model, PAUSE if pause is None else pause
        self._folder = (folder or cache_folder() / "answers") if section.cache else None
        self._answers: Shared[Answer] = Shared()
        self._meter = meter or Meter(0)
        self._room = asyncio.Semaphore(section.concurrency)
        self._open_from = 0.0  # no request before this time (monotonic): the server has asked everybody to wait
        self._failures = 0  # in a row
        self._key = ""
        self._client: Any = None

    async def __aenter__(self) -> ChatServer:
        if importlib.util.find_spec("httpx2") is None:
            raise missing_extra("httpx2", "openai")
        import httpx2

        self._key = key_of(self._section)
        self._client = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=self._section.timeout,
            limits=httpx2.Limits(max_connections=self._section.concurrency),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def chat(self, messages: Messages, *, max_tokens: int, temperature: float, top_p: float, seed: int) -> Answer:
        """The answer to a conversation. Equal questions (sampled ones: with equal seeds) are asked once.

        Raises EngineError when the server fails, SimstudentError when it would fail on all others too.
        """
        limit = self._section.max_tokens or max_tokens
        body: dict[str, Any] = {"model": self._model, "messages": list(messages), self._section.limit_field: limit}
        body |= {"temperature": temperature}
        if temperature > 0:
            body |= {"top_p": top_p, "seed": seed}
        asked = {name: value for name, value in (body | self._section.body).items() if value is not None}
        question = json.dumps([self._section.url, asked, seed if temperature > 0 else None], sort_keys=True)
        key = hashlib.sha256(question.encode("utf-8", "surrogatepass")).hexdigest()
        return await self._answers(key, lambda: self._answered(key, asked, limit))

    @property
    def joined(self) -> int:
        """How many requests were answered by equal ones of this run."""
        return self._answers.joined

    async def _answered(self, key: str, body: Mapping[str, Any], limit: int) -> Answer:
        if (known := self._kept(key)) is not None:
            self.spending.from_cache += 1
            return known
        try:
            async with self._room:
                with self._meter.generating():
                    answer = await self._patiently(body, limit)
        except EngineError as error:
            self.spending.failed += 1
            self._failures += 1
            if self._failures >= PATIENCE:
                raise SimstudentError(
                    f"{self._section.url}: {PATIENCE} requests in a row have failed, so the run stops here; what was "
                    f"done is kept (--resume goes on). The last: {error}"
                ) from error
            raise
        self._failures = 0
        self.spending.add(answer)
        self.counters.requests += 1
        self.counters.prompt_tokens += answer.prompt_tokens
        self.counters.cached_tokens += answer.cached_tokens
        self.counters.generated_tokens += answer.reply_tokens
        self._keep(key, answer)
        return answer

    async def _patiently(self, body: Mapping[str, Any], limit: int) -> Answer:
        """Ask until there is an answer or no attempt is left, waiting longer each time, or as the server says."""
        attempts = self._section.attempts
        for attempt in range(1, attempts + 1):
            await self._gate()
            try:
                return await self._once(body, limit)
            except RetryError as problem:
                if attempt == attempts:
                    raise EngineError(f"{attempts} attempts, the last: {problem}") from problem
                if problem.wait is not None and problem.wait > LONGEST_WAIT:
                    raise EngineError(f"{problem}; it asks to wait {problem.wait:.0f} s") from problem
                self.spending.repeated += 1
                self._open_from = max(self._open_from, time.monotonic() + (problem.wait or 0.0))
                pause = min(LONGEST_PAUSE, self._pause * 2 ** (attempt - 1))
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # at random, so that not all come back at once
        raise AssertionError("at least one attempt")

    async def _gate(self) -> None:
        """Wait while the server wants nobody to ask."""
        while (left := self._open_from - time.monotonic()) > 0:
            await asyncio.sleep(left)

    async def _once(self, body: Mapping[str, Any], limit: int) -> Answer:
        import httpx2

        if self._client is None or self._client.is_closed:
            raise EngineError("the server is not open")
        try:
            async with asyncio.timeout(self._section.timeout):  # the client's own limits count each read anew
                response = await self._client.post(f"{self._section.url.rstrip('/')}/chat/completions", json=body)
        except TimeoutError:
            raise RetryError(f"no answer within {self._section.timeout:g} s") from None
        except httpx2.HTTPError as error:
            raise RetryError(f"{type(error).__name__}: {self._hidden(str(error))}") from None
        said = self._hidden(response.text)
        if response.status_code in STOPPING or (response.status_code == 429 and "insufficient_quota" in said):
            reason = STOPPING.get(response.status_code, "the quota is used up")
            raise SimstudentError(f"{self._section.url}: {reason} (status {response.status_code}: {said:.300})")
        if response.status_code in (408, 409, 425, 429) or response.status_code >= 500:
            wait = waiting_time(response.headers)
            raise RetryError(f"status {response.status_code}: {said:.300}", wait)
        if response.status_code != 200:
            raise EngineError(f"the server refused the request (status {response.status_code}: {said:.300})")
        try:
            return read_response(response.text, limit)
        except RetryError as error:
            raise RetryError(self._hidden(str(error)), error.wait) from None
        except EngineError as error:
            raise EngineError(self._hidden(str(error))) from None

    def _hidden(self, text: str) -> str:
        """What a server said, without the key: some repeat it in their messages, and messages are written down."""
        return text.replace(self._key, "***") if self._key else text

    def _path(self, key: str) -> Path | None:
        return None if self._folder is None else self._folder / key[:2] / f"{key}.json"

    def _kept(self, key: str) -> Answer | None:
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        try:
            return Answer(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError):  # damaged, or of another version: it is asked again, and written anew
            return None

    def _keep(self, key: str, answer: Answer) -> None:
        path = self._path(key)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, answer.to_dict())
        except OSError as error:  # the answer is paid for, and as good without a copy of it
            warnings.warn(f"{path}: answers are not kept ({error})", stacklevel=2)
