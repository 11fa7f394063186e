"""When which rollout runs: all methods at once, thousands of ``simulate`` coroutines, each written down as it ends.

Nothing waits for the slowest of a batch, of a method or of a step: whenever a rollout ends, the next one begins. A run
holds at most ``rollout.concurrency`` rollouts, whatever the number of starts, so neither engine nor graders can be
flooded.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from simstudent.recipe import Recipe
from simstudent.rollout.meter import Meter
from simstudent.rollout.records import Rollout
from simstudent.rollout.simulate import Grader, Past, Reply, Start, Student, simulate
from simstudent.runs import append_line

TOLD = 10.0  # seconds between two progress lines in a log; a terminal's is rewritten every second


@dataclass(frozen=True, slots=True)
class Job:
    """One method's open starts. ``label`` is the name under which its rollouts are written.

    ``prefixes``: jobs with the same value put the same prompts to the engine for the same start (one adapter at several
    temperatures), so that they can use each other's.
    """

    label: str
    student: Student
    starts: Sequence[Start]
    prefixes: str = ""


def shard_of(trajectory: str, shards: int) -> int:
    """Which of so many shards a trajectory's rollouts belong to, 0 to ``shards`` - 1: a hash of its key.

    All starts of a trajectory are in one shard, since they share their history and so the engine's prefix cache.
    """
    digest = hashlib.sha256(trajectory.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % shards


def spread(students: Sequence[Student]) -> Student:
    """One student of several copies (an engine each): a trajectory always stays with the same."""

    async def respond(start: Start, past: Past, k: int) -> Reply:
        return await students[shard_of(start.trajectory.key, len(students))](start, past, k)

    return respond


def ordered(jobs: Sequence[Job]) -> Iterator[tuple[Job, Start]]:
    """The order in which rollouts begin.

    Neighbours share as much of their prompts as possible, for the engine's prefix cache: an adapter's after another's;
    within it all starts of a trajectory, from the shortest history on, each of which is the beginning of the next; at
    each start all temperatures and samples. Trajectories with most steps to simulate come first, so that the end of a
    run is made of short ones (the longest-processing-time rule of Graham 1969).
    """
    for _, group in groupby(sorted(jobs, key=lambda job: job.prefixes), key=lambda job: job.prefixes):
        found = [(job, start) for job in group for start in job.starts]
        steps: dict[str, int] = {}
        for _, start in found:
            key = start.trajectory.key
            steps[key] = steps.get(key, 0) + len(start.trajectory.submissions) - start.t
        yield from sorted(found, key=lambda pair: _place(pair[1], steps))


def _place(start: Start, steps: dict[str, int]) -> tuple[int, str, int, int]:
    key = start.trajectory.key
    return -steps[key], key, start.t, start.sample


async def run_jobs(
    jobs: Sequence[Job],
    recipe: Recipe,
    folder: Path,
    grade: Grader,
    say: Callable[[str], None],
    meter: Meter,
    concurrency: int,
) -> None:
    """Run all starts of all jobs, at most ``concurrency`` at once, and write each rollout as it ends.

    An exception of ours ends them all; failures of engine and grader are the rollout's own, and recorded in it.
    """
    queue, steps = ordered(jobs), recipe.rollout.horizon
    tallies = {job.label: _Tally(len(job.starts)) for job in jobs}
    for job in jobs:
        (folder / f"{job.label}.jsonl").touch()

    async def work() -> None:
        for job, start in queue:
            rollout = await simulate(start, job.label, job.student, grade, steps=steps, look=recipe.dialogue)
            append_line(folder / f"{job.label}.jsonl", rollout.to_dict())
            meter.add(rollout)
            tally = tallies[job.label]
            tally.add(rollout)
            if tally.ended == tally.total:
                say(tally.line(job.label))

    await side_by_side(work, min(concurrency, meter.total))


async def side_by_side(work: Callable[[], Coroutine[Any, Any, None]], count: int) -> None:
    """So many workers that take from the same queue, until it is empty; an exception of one ends them all."""
    workers = [asyncio.create_task(work()) for _ in range(count)]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()


@dataclass(slots=True)
class _Tally:
    """How far one method is."""

    total: int
    ended: int = 0
    failed: int = 0
    tokens: int = 0

    def add(self, rollout: Rollout) -> None:
        self.ended += 1
        self.tokens += sum(step.reply_tokens for step in rollout.steps)
        self.failed += rollout.error is not None

    def line(self, label: str) -> str:
        text = f"  {label}: {self.total:,} rollouts"
        if self.tokens:
            text += f", {self.tokens:,} tokens written"
        if self.failed:
            text += f"; {self.failed} FAILED (engine or grader, see 'error' in {label}.jsonl; --resume runs them again)"
        return text


@asynccontextmanager
async def progress(meter: Meter, say: Callable[[str], None]) -> AsyncIterator[None]:
    """Tell how far it is, meanwhile: a line in a terminal, a line every ten seconds in a log."""

    async def tell() -> None:
        live, told = sys.stdout.isatty(), time.monotonic()
        try:
            while True:
                await asyncio.sleep(1.0)
                if live:
                    print(f"\r  {meter.line()}\x1b[K", end="", flush=True)
                elif time.monotonic() - told >= TOLD:
                    told = time.monotonic()
                    say(f"  {meter.line()}")
        finally:
            if live:
                print("\r\x1b[K", end="", flush=True)

    task = asyncio.create_task(tell())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
