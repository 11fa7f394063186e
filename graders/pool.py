"""Many programs at once: threads that each own one worker process, behind plain, streaming and async calls."""

from __future__ import annotations

import os
import queue
import threading
import weakref
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import aclosing
from functools import partial
from types import ModuleType, TracebackType
from typing import Any

from graders import checker, falconcode, python
from graders.cache import GradeCache
from graders.policy import Isolation, Policy
from graders.problem import Grade, Problem
from graders.sandbox import Worker

_Item = tuple[str | None, Problem]
_Job = tuple[Callable[[Worker], Any], "Future[Any]"]
_AHEAD = 32  # programs a worker may have waiting in `grade_many`: enough never to starve, little memory
_KNOWN = 4096  # programs of a stream that are remembered, so that equal ones that are not far apart run once


class Pool:
    """Worker processes, one a core unless ``workers`` says otherwise, started when first needed.

    Any number of threads and coroutines may use one pool at once. With ``cache``, known grades are looked up and
    new ones kept. Close it with ``close`` or as a context manager (``async with``, too); otherwise it closes when
    collected, or when the interpreter exits. A pool does not survive `os.fork`: make one in each process.

    ``min_isolation`` is the least level (see `Isolation`) at which programs are run: 2 by default on Linux, 1
    elsewhere, where there is no more. Below it every call raises IsolationError, unless ``allow_unsafe``.
    ``layers`` names the layers to use instead of all that the machine has, for tests of the others.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        cache: GradeCache | None = None,
        min_isolation: int | None = None,
        allow_unsafe: bool = False,
        layers: Iterable[str] | None = None,
    ) -> None:
        self._policy = Policy.of(min_isolation, allow_unsafe, layers)
        if workers is not None and workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        self.workers = workers or _cores()
        self.cache = cache
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._pending = 0
        self._pid = os.getpid()
        self._finalizer = weakref.finalize(self, _close, self._jobs, self._threads)

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Pool:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import asyncio

        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Finish what was handed in, then end the workers. Further calls raise RuntimeError."""
        self._finalizer()

    def grade(self, code: str | None, problem: Problem) -> Grade:
        """Grade one program; ``None`` or blank code is ``no_code``.

        A failure of ours is tried again once, then comes back as status ``grader_error``. Raises ProblemError
        when the problem's values cannot be handed to another process or its language has no grader here, and
        IsolationError when this machine cannot shut programs in as well as the pool requires.
        """
        return self.grade_soon(code, problem).result()

    async def grade_async(self, code: str | None, problem: Problem) -> Grade:
        """As `grade`, for coroutines: thousands may await at once; programs run as workers become free."""
        import asyncio

        return await asyncio.wrap_future(self.grade_soon(code, problem))

    def grade_many(self, items: Iterable[_Item]) -> Iterator[Grade]:
        """Grades in the order of ``items``, as they become known; ``items`` is read only a little ahead.

        Equal pairs of code and problem run once, unless thousands of others lie between them; a `GradeCache` knows
        them all. Leaving the loop withdraws what does not run yet. Raises ProblemError at the place of the faulty
        problem.
        """
        window = _Window(self)
        try:
            for item in items:
                window.add(item)
                while window.ready():
                    yield window.first().result()
            while window.waiting:
                yield window.first().result()
        finally:
            window.cancel()

    async def grade_many_async(self, items: Iterable[_Item] | AsyncIterable[_Item]) -> AsyncGenerator[Grade, None]:
        """As `grade_many`, for ``async for``. Leaving the loop, or a cancelled task, withdraws what does not run yet;
        to be sure that this happens at once, close it (`contextlib.aclosing`)."""
        import asyncio

        window = _Window(self)
        try:
            async for item in _each(items):
                window.add(item)
                while window.ready():
                    yield await asyncio.wrap_future(window.first())
            while window.waiting:
                yield await asyncio.wrap_future(window.first())
        finally:
            window.cancel()

    def grade_soon(self, code: str | None, problem: Problem) -> Future[Grade]:
        """As `grade`, at once: a future, for callers that have something else to do meanwhile."""
        self._check_process()
        kind(problem).prepare(problem)
        found = self.cache.get(code, problem) if self.cache is not None else None
        if found is not None:
            future: Future[Grade] = Future()
            future.set_result(found)
            return future
        return self.submit(partial(_grade, code=code, problem=problem, cache=self.cache))

    def submit(self, action: Callable[[Worker], Any]) -> Future[Any]:
        """Have ``action`` done with one of the workers, as soon as one is free: what other graders are built on."""
        self._check_process()
        future: Future[Any] = Future()
        with self._lock:
            if not self._finalizer.alive:
                raise RuntimeError("this Pool is closed")
            # A thread more only while all are busy: most callers never need a second worker.
            self._pending += 1
            if len(self._threads) < min(self.workers, self._pending):
                parts = (self._jobs, self._policy)
                thread = threading.Thread(target=_drive, args=parts, name="graders", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._jobs.put((action, future))
        future.add_done_callback(self._finished)
        return future

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise RuntimeError("this Pool belongs to the process that made it; make another after a fork")

    def _finished(self, future: Future[Any]) -> None:
        with self._lock:
            self._pending -= 1


class _Window:
    """The programs of a stream that are being graded, in order, and the last ones that were."""

    def __init__(self, pool: Pool) -> None:
        self.waiting: deque[Future[Grade]] = deque()
        self._pool = pool
        self._known: dict[_Item, Future[Grade]] = {}

    def add(self, item: _Item) -> None:
        """Hand one more in, unless an equal one was, not long ago."""
        future = self._known.pop(item, None)
        if future is None:
            future = self._pool.grade_soon(*item)
        self._known[item] = future  # now the latest
        if len(self._known) > _KNOWN:
            del self._known[next(iter(self._known))]
        self.waiting.append(future)

    def ready(self) -> bool:
        """Whether the first should be given out before another is handed in."""
        return len(self.waiting) > _AHEAD * self._pool.workers or (bool(self.waiting) and self.waiting[0].done())

    def first(self) -> Future[Grade]:
        return self.waiting.popleft()

    def cancel(self) -> None:
        """Withdraw what nobody waits for any more."""
        for future in self.waiting:
            future.cancel()


async def _each(items: Iterable[_Item] | AsyncIterable[_Item]) -> AsyncIterator[_Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def kind(problem: Problem) -> ModuleType:
    """The module that grades such problems."""
    if problem.language == "pencilcode":
        from graders.pencilcode import grading

        return grading
    if problem.autograder is not None:
        return falconcode
    return python if problem.checker is None else checker


def _grade(worker: Worker, code: str | None, problem: Problem, cache: GradeCache | None) -> Grade:
    grade: Grade = kind(problem).grade_with(worker, code, problem)
    if cache is not None:
        cache.put(code, problem, grade)
    return grade


def _drive(jobs: queue.SimpleQueue[_Job | None], policy: Policy) -> None:
    """One thread's life: one worker, one job after another, until told to stop."""
    worker = Worker(policy)
    try:
        while (job := jobs.get()) is not None:
            action, future = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = action(worker)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            del job, future, action
    finally:
        worker.close()


def _close(jobs: queue.SimpleQueue[_Job | None], threads: list[threading.Thread]) -> None:
    for _ in threads:
        jobs.put(None)
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def isolation(*, layers: Iterable[str] | None = None) -> Isolation:
    """How well this machine shuts programs in, by starting a worker and asking it (some tenths of a second).

    Raises WorkerLostError, which tells why, when no worker can be started.
    """
    worker = Worker(Policy.of(0, True, layers))
    try:
        return worker.isolation()
    finally:
        worker.close()


_shared: list[Pool] = []
_shared_lock = threading.Lock()


def grade(code: str | None, problem: Problem) -> Grade:
    """Grade one program in a pool of one worker that this process keeps for the purpose; see `Pool.grade`."""
    return shared().grade(code, problem)


async def grade_async(code: str | None, problem: Problem) -> Grade:
    """As `grade`, for coroutines; for many of them at once make a `Pool`, which uses all cores."""
    return await shared().grade_async(code, problem)


def shared() -> Pool:
    """A pool of one worker that this process keeps for calls of single programs."""
    with _shared_lock:
        if not _shared or _shared[0]._pid != os.getpid():
            _shared[:] = [Pool(1)]
        return _shared[0]


def grade_many(
    items: Iterable[_Item], *, workers: int | None = None, cache: GradeCache | None = None
) -> Iterator[Grade]:
    """Grade a stream of (code, problem) in a pool of its own; see `Pool.grade_many`."""
    with Pool(workers, cache=cache) as pool:
        yield from pool.grade_many(items)


async def grade_many_async(
    items: Iterable[_Item] | AsyncIterable[_Item], *, workers: int | None = None, cache: GradeCache | None = None
) -> AsyncGenerator[Grade, None]:
    """Grade a stream of (code, problem) in a pool of its own; see `Pool.grade_many_async`."""
    async with Pool(workers, cache=cache) as pool, aclosing(pool.grade_many_async(items)) as grades:
        async for grade in grades:
            yield grade
