"""Equal work is done once: greedy requests to an engine, and programs to grade, however many rollouts ask for it."""

from __future__ import annotations

import asyncio
import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from graders import Grade, Pool
from simstudent.data.records import Assignment
from simstudent.rollout.engine import Completion, Engine, Sampling
from simstudent.rollout.meter import Meter
from simstudent.rollout.simulate import Grader

T = TypeVar("T")

REMEMBERED = 50_000
"""Answers and grades kept of a run, the latest; an answer of 300 tokens takes about 2 KB."""


class Shared(Generic[T]):
    """Calls by key: equal ones join the one that is under way, and the latest results are remembered.

    ``joined`` counts the calls that made no work of their own. What fails is forgotten, and so is a result that is not
    ``worth`` keeping. A caller that goes away leaves the work to the others.
    """

    def __init__(self, worth: Callable[[T], bool] = lambda result: True, room: int = REMEMBERED) -> None:
        self.joined = 0
        self._worth = worth
        self._room = room
        self._known: OrderedDict[Hashable, T] = OrderedDict()
        self._flying: dict[Hashable, asyncio.Task[T]] = {}

    async def __call__(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if key in self._known:
            self.joined += 1
            self._known.move_to_end(key)
            return self._known[key]
        task = self._flying.get(key)
        if task is None:
            task = self._flying[key] = asyncio.create_task(make())
            task.add_done_callback(partial(self._landed, key))
        else:
            self.joined += 1
        return await asyncio.shield(task)

    def _landed(self, key: Hashable, task: asyncio.Task[T]) -> None:
        del self._flying[key]
        if task.cancelled() or task.exception() is not None or not self._worth(task.result()):
            return
        self._known[key] = task.result()
        if len(self._known) > self._room:
            self._known.popitem(last=False)


class SharedEngine:
    """An engine that computes equal greedy requests (ids, sampling, adapter) once. Sampled ones are all its own.

    ``answers`` are those that several copies of one engine share.
    """

    def __init__(self, engine: Engine, meter: Meter, answers: Shared[tuple[array[int], bool]] | None = None) -> None:
        self.counters = engine.counters
        self._engine = engine
        self._meter = meter
        self._answers: Shared[tuple[array[int], bool]] = Shared() if answers is None else answers

    @property
    def joined(self) -> int:
        """How many requests were answered by others."""
        return self._answers.joined

    async def generate(self, ids: Sequence[int], sampling: Sampling, *, seed: int, adapter: str | None) -> Completion:
        """See ``Engine.generate``."""

        async def ask() -> Completion:
            with self._meter.generating():
                return await self._engine.generate(ids, sampling, seed=seed, adapter=adapter)

        async def compact() -> tuple[array[int], bool]:
            done = await ask()
            return array("I", done.ids), done.truncated

        if sampling.temperature > 0:
            return await ask()
        digest = hashlib.blake2b(array("I", ids).tobytes(), digest_size=16).digest()
        found, truncated = await self._answers((digest, sampling, adapter), compact)
        return Completion(tuple(found), truncated)


def shared_engines(engines: Sequence[Engine], meter: Meter) -> list[SharedEngine]:
    """Copies of one engine, a GPU each, between which equal requests are computed once."""
    answers: Shared[tuple[array[int], bool]] = Shared()
    return [SharedEngine(engine, meter, answers) for engine in engines]


def shared_grader(pool: Pool) -> tuple[Grader, Shared[Grade]]:
    """Grading in ``pool``, equal programs of one assignment once; and what counts them.

    The pool's cache knows what was graded before; it does not know what is being graded.
    """
    grades: Shared[Grade] = Shared(worth=lambda grade: grade.status != "grader_error")

    async def grade(code: str | None, assignment: Assignment) -> Grade:
        assert assignment.problem is not None
        problem = assignment.problem

        async def make() -> Grade:
            return await pool.grade_async(code, problem)

        return await grades((assignment.id, code), make)

    return grade, grades


def metered(grade: Grader, meter: Meter) -> Grader:
    """The grader, with what waits for it counted."""

    async def counted(code: str | None, assignment: Assignment) -> Grade:
        with meter.grading():
            return await grade(code, assignment)

    return counted
