"""Requests that come one by one are let in a few at a time.

An engine that batches continuously reads a new prompt in the midst of the answers it writes. Each step with a prompt in
it is slower than one that only writes: it is run in pieces, where a step that only writes is one CUDA graph, and a
small model's time is that of launching. Rollouts that have drifted apart send a prompt at nearly every step; let in
together they cost one slow step for all.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class Bursts:
    """A door that opens ``seconds`` after the first of those who wait has come, or as soon as nobody is inside.

    So the engine never stands still because of it. 0: everybody goes in at once.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._inside = 0
        self._opening: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        if self._inside and self.seconds:
            if self._opening is None:
                loop = asyncio.get_running_loop()
                self._opening = loop.create_future()
                self._timer = loop.call_later(self.seconds, self._open)
            await asyncio.shield(self._opening)
        self._inside += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside -= 1
        if not self._inside:
            self._open()

    def _open(self) -> None:
        opening, timer = self._opening, self._timer
        self._opening = self._timer = None
        if timer is not None:
            timer.cancel()
        if opening is not None:
            opening.set_result(None)
