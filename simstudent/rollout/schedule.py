"""When which rollout runs: thousands of ``simulate`` coroutines at once, each written down as it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from graders import Grade, Pool
from simstudent.data.records import Assignment
from simstudent.recipe import Recipe
from simstudent.rollout.records import Rollout
from simstudent.rollout.simulate import Start, Student, simulate
from simstudent.runs import append_line


@dataclass(frozen=True, slots=True)
class Job:
    """One method's open starts. ``label`` is the name under which its rollouts are written."""

    label: str
    student: Student
    starts: Sequence[Start]


async def run_job(job: Job, recipe: Recipe, folder: Path, pool: Pool, say: Callable[[str], None]) -> None:
    """Run the starts of one method, at most ``rollout.concurrency`` at once, writing each as it ends."""
    r, look = recipe.rollout, recipe.dialogue
    room, path = asyncio.Semaphore(r.concurrency), folder / f"{job.label}.jsonl"
    path.touch()
    began, told, tokens, failed = time.monotonic(), time.monotonic(), 0, 0

    async def grade(code: str | None, assignment: Assignment) -> Grade:
        assert assignment.problem is not None
        return await pool.grade_async(code, assignment.problem)

    async def one(start: Start) -> Rollout:
        async with room:
            return await simulate(start, job.label, job.student, grade, steps=r.steps, look=look)

    tasks = [asyncio.create_task(one(s)) for s in job.starts]
    try:
        for number, task in enumerate(asyncio.as_completed(tasks), 1):
            rollout = await task
            append_line(path, rollout.to_dict())
            tokens += sum(s.reply_tokens for s in rollout.steps)
            failed += rollout.error is not None
            if time.monotonic() - told > 10:
                told = time.monotonic()
                left = (told - began) / number * (len(tasks) - number)
                speed = f"{tokens / (told - began):.0f} tokens/s, " if tokens else ""
                say(f"  {job.label}: {number}/{len(tasks)} rollouts, {speed}{left:.0f} s left")
    finally:
        for task in tasks:
            task.cancel()
    seconds = time.monotonic() - began
    line = f"  {job.label}: {len(tasks)} rollouts in {seconds:.1f} s"
    if tokens:
        line += f" ({tokens:,} tokens written, {tokens / seconds:.0f} tokens/s)"
    if failed:
        line += f"; {failed} FAILED (engine or grader, see 'error' in {path.name}; --resume runs them again)"
    say(line)
