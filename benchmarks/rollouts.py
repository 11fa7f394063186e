"""Rollouts by this project's schedule beside a step-synchronous loop: one engine, one setting, the same starts.

    python benchmarks/rollouts.py recipes/newcaledonia.yaml --model MODEL [--adapter FOLDER]

The step-synchronous loop is what one writes first: for each of the five steps generate the answers of all rollouts in
one big call, wait for the last of them, grade all programs in the pool, wait for the last of them, go on. Both loops
run the very same ``simulate`` coroutines over the very same engine; the other loop's hold each other up at two barriers
a step. Methods (base, adapter) come one after another there, and at once here. No grade is cached from before; the
engine's prefix cache is emptied before each run; loops alternate, ``--repeats`` times each, after a short run that
warms everything up.

``--stragglers P`` lets a share P of the answers run on to the limit of tokens, ``--loops P`` lets a share P of the
programs never end, on top of what the model does by itself; several values are several settings. A hash decides which,
so both loops have the same. ``--bursts`` are values of the engine's ``burst`` that ours is measured with, each in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from graders import Grade, Pool
from simstudent.data import regrade
from simstudent.data.records import Assignment
from simstudent.dialogue.encode import Encoder, make_encoder
from simstudent.recipe import Recipe, load_recipe
from simstudent.rollout.engine import Completion, Engine, Sampling
from simstudent.rollout.meter import Meter
from simstudent.rollout.opening import engines_here
from simstudent.rollout.records import Rollout
from simstudent.rollout.run import prepare_simulation
from simstudent.rollout.schedule import Job, run_jobs, spread
from simstudent.rollout.sharing import metered, shared_engines, shared_grader
from simstudent.rollout.simulate import (
    Grader,
    Past,
    Reply,
    Start,
    Student,
    language_model,
    request_seed,
    simulate,
)
from simstudent.training.models import load_tokenizer

T = TypeVar("T")
ENDLESS = "\nwhile True:\n    pass\n"


@dataclass(frozen=True)
class Shares:
    """What is made to happen on top of what the model does: shares of answers, and of programs."""

    stragglers: float
    loops: float


class Drawn:
    """An engine of whose answers a share runs on to the limit of tokens, the same ones in every run."""

    def __init__(self, engine: Engine, share: float) -> None:
        self.counters = engine.counters
        self._engine = engine
        self._share = share

    async def generate(self, ids: Sequence[int], sampling: Sampling, *, seed: int, adapter: str | None) -> Completion:
        if seed % 10_000 < self._share * 10_000:
            sampling = replace(sampling, stop_ids=())
        return await self._engine.generate(ids, sampling, seed=seed, adapter=adapter)


def looping(student: Student, share: float) -> Student:
    """A student of whose programs a share never ends."""

    async def respond(start: Start, past: Past, k: int) -> Reply:
        reply = await student(start, past, k)
        if reply.code is not None and request_seed(1, f"loops {start.key}", k) % 10_000 < share * 10_000:
            return replace(reply, code=reply.code + ENDLESS)
        return reply

    return respond


class Barrier(Generic[T]):
    """Calls that wait until all who are still running have called; then all run, and all wait for the last."""

    def __init__(self, running: int) -> None:
        self._running = running
        self._calls: list[tuple[Callable[[], Awaitable[T]], asyncio.Future[T]]] = []

    async def __call__(self, work: Callable[[], Awaitable[T]]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._calls.append((work, future))
        self._go()
        return await future

    def leave(self) -> None:
        """One fewer is running."""
        self._running -= 1
        self._go()

    def _go(self) -> None:
        if self._calls and len(self._calls) == self._running:
            calls, self._calls = self._calls, []
            self._task = asyncio.create_task(self._run(calls))

    async def _run(self, calls: Sequence[tuple[Callable[[], Awaitable[T]], asyncio.Future[T]]]) -> None:
        results = await asyncio.gather(*(work() for work, _ in calls))
        for (_, future), result in zip(calls, results, strict=True):
            future.set_result(result)


async def step_synchronous(
    students: Mapping[str, Student], starts: Sequence[Start], recipe: Recipe, grade: Grader, meter: Meter
) -> list[Rollout]:
    """The other loop: one method after another, all rollouts of it in step."""
    found = []
    for method, student in students.items():
        found += await _in_step(method, student, starts, recipe, grade, meter)
    return found


async def _in_step(
    method: str, student: Student, starts: Sequence[Start], recipe: Recipe, grade: Grader, meter: Meter
) -> list[Rollout]:
    answers: Barrier[Reply] = Barrier(len(starts))
    grades: Barrier[Grade] = Barrier(len(starts))

    async def answered(start: Start, past: Past, k: int) -> Reply:
        return await answers(lambda: student(start, past, k))

    async def graded(code: str | None, assignment: Assignment) -> Grade:
        return await grades(lambda: grade(code, assignment))

    async def one(start: Start) -> Rollout:
        rollout = await simulate(start, method, answered, graded, steps=recipe.rollout.steps, look=recipe.dialogue)
        answers.leave()
        grades.leave()
        meter.add(rollout)
        return rollout

    return list(await asyncio.gather(*(one(start) for start in starts)))


async def ours(
    students: Mapping[str, Student], starts: Sequence[Start], recipe: Recipe, grade: Grader, meter: Meter
) -> list[Rollout]:
    """This project's schedule, written to disk as in a run."""
    from simstudent.rollout.folder import read_rollouts

    jobs = [Job(method, student, starts, prefixes=method) for method, student in students.items()]
    with tempfile.TemporaryDirectory() as folder:
        await run_jobs(jobs, recipe, Path(folder), grade, lambda line: None, meter, recipe.rollout.concurrency)
        return read_rollouts(Path(folder))


async def measure(
    loop: Callable[..., Awaitable[list[Rollout]]],
    engines: Sequence[Engine],
    encoder: Encoder,
    adapters: Sequence[str | None],
    starts: Sequence[Start],
    recipe: Recipe,
    drawn: Shares,
) -> tuple[dict[str, Any], list[Rollout]]:
    """One run of one loop: its facts and rollouts."""
    await empty_prefix_cache(engines[0])
    meter = Meter(len(starts) * len(adapters))
    counters = engines[0].counters
    before = replace(counters)
    shared = shared_engines([Drawn(engine, drawn.stragglers) for engine in engines], meter)
    sampling = Sampling(encoder.stop_ids, recipe.dialogue.answer_tokens)
    students = {
        adapter or "base": looping(
            spread(
                [
                    language_model(e, encoder, sampling, adapter=adapter, seed=recipe.seed, look=recipe.dialogue)
                    for e in shared
                ]
            ),
            drawn.loops,
        )
        for adapter in adapters
    }
    with Pool(recipe.grader.workers) as pool:
        # Worker processes stand before the clock starts, as the engine does.
        problems = [s.assignment.problem for s in starts[:1] if s.assignment.problem]
        await asyncio.gather(*(pool.grade_async(f"x = {n}", problems[0]) for n in range(2 * pool.workers)))
        grade, _ = shared_grader(pool)
        meter.start()
        rollouts = await loop(students, starts, recipe, metered(grade, meter), meter)
        facts = meter.facts()
    generated = counters.generated_tokens - before.generated_tokens
    prompts = counters.prompt_tokens - before.prompt_tokens
    cached = counters.cached_tokens - before.cached_tokens
    timeouts = sum(step.status == "timeout" for r in rollouts for step in r.steps)
    return facts | {
        "loop": loop.__name__,
        "requests": counters.requests - before.requests,
        "requests_joined": shared[0].joined,
        "generated_tokens_per_second": round(generated / facts["seconds"], 1),
        "prefix_cache_hit_rate": round(cached / prompts, 4) if prompts else None,
        "timeouts": timeouts,
        "truncated": sum(step.truncated for r in rollouts for step in r.steps),
    }, rollouts


async def empty_prefix_cache(engine: Any) -> None:
    """So that no run profits from the one before. The engine is idle."""
    inner = getattr(engine, "_engine", engine)
    if hasattr(inner, "_llm"):
        await inner._llm.reset_prefix_cache()
    else:
        inner._prefixes.clear()


def agreement(one: Sequence[Rollout], other: Sequence[Rollout]) -> float:
    """The share of rollouts whose programs are the same in both; numerics of a batch make a few differ."""
    codes = {(r.method, r.key): [s.code for s in r.steps] for r in one}
    return statistics.mean(codes[r.method, r.key] == [s.code for s in r.steps] for r in other)


def show(facts: Mapping[str, Any]) -> str:
    hidden = facts["grading_hidden_share"]
    return (
        f"  {facts['loop']:17} {facts['seconds']:7.1f} s {facts['rollouts_per_second']:8.1f} rollouts/s "
        f"{facts['generated_tokens_per_second']:9,.0f} tokens/s  engine waits {facts['engine_wait_share']:6.1%}  "
        f"grading hidden {0 if hidden is None else hidden:6.1%}  "
        f"prefix cache {facts['prefix_cache_hit_rate'] or 0:4.0%}  {facts['timeouts']} time-outs, "
        f"{facts['truncated']} answers at the limit, {facts['failed']} failed"
    )


async def run(args: argparse.Namespace) -> None:
    overrides: dict[str, Any] = {
        "rollout.engine": args.engine,
        "rollout.steps": args.steps,
        "rollout.concurrency": args.concurrency,
        "rollout.gpus": args.gpus,
    }
    if args.model:
        overrides["model.id"] = args.model
    if args.limit:
        overrides["rollout.limit"] = args.limit
    if args.tokens:
        overrides["dialogue.answer_tokens"] = args.tokens
    recipe = load_recipe(args.recipe, overrides)
    with regrade.open_pool(recipe.grader) as pool:
        starts = prepare_simulation(recipe, pool, print).starts
    encoder = make_encoder(recipe, load_tokenizer(recipe.model.id, recipe.model.revision))
    adapters = {} if args.adapter is None else {"adapter": Path(args.adapter)}
    methods: list[str | None] = [None, *adapters]
    results: list[dict[str, Any]] = []
    began = time.monotonic()
    async with engines_here(recipe, adapters, print) as engines:
        print(f"Engine started in {time.monotonic() - began:.1f} s", flush=True)

        async def once(loop: Any, chosen: Sequence[str | None], starts: Sequence[Start], drawn: Shares) -> Any:
            return await measure(loop, engines, encoder, chosen, starts, recipe, drawn)

        for method in methods:
            facts, _ = await once(ours, [method], starts[:32], Shares(0.0, 0.0))
            print(f"32 rollouts of {method or 'base'} to warm up: {facts['seconds']:.1f} s", flush=True)
        for chosen in [methods] if len(methods) == 1 else [methods[1:], methods]:
            for stragglers, loops in zip(args.stragglers, args.loops, strict=True):
                drawn = Shares(stragglers, loops)
                results += await compare(once, engines, chosen, starts, drawn, args.repeats, args.bursts)
                if args.to:
                    setting = {k: v for k, v in vars(args).items() if k != "to"}
                    text = json.dumps({"setting": setting, "results": results}, indent=2)
                    Path(args.to).write_text(text, encoding="utf-8")


async def compare(
    once: Any,
    engines: Sequence[Any],
    chosen: Sequence[str | None],
    starts: Sequence[Start],
    drawn: Shares,
    repeats: int,
    bursts: Sequence[float],
) -> list[dict[str, Any]]:
    """Both loops, so many times in turn; ours with each value of ``bursts``."""
    label = " + ".join(method or "base" for method in chosen)
    setting = {"methods": label, "stragglers": drawn.stragglers, "loops": drawn.loops}
    print(f"{label}: {len(starts)} starts, {drawn.stragglers:.0%} drawn stragglers, {drawn.loops:.0%} endless programs")
    times: dict[float | None, list[float]] = {}
    programs: dict[float | None, list[Rollout]] = {}
    results: list[dict[str, Any]] = []
    for _ in range(repeats):
        for burst in (None, *bursts):
            for door in getattr(getattr(engines[0], "_engine", None), "doors", ()):
                door.seconds = burst or 0.0
            facts, programs[burst] = await once(ours if burst is not None else step_synchronous, chosen, starts, drawn)
            times.setdefault(burst, []).append(facts["seconds"])
            results.append({**setting, "burst": burst, **facts})
            print(show(facts) + ("" if burst is None else f", bursts of {burst:g} s"), flush=True)
    for burst in bursts:
        ratio = statistics.median(times[None]) / statistics.median(times[burst])
        same = agreement(programs[None], programs[burst])
        results.append({**setting, "burst": burst, "ratio": round(ratio, 3), "same_programs": round(same, 4)})
        print(
            f"  ours with bursts of {burst:g} s is {ratio:.2f} times as fast (medians of {repeats}); {same:.1%} of the "
            "rollouts hand in the same programs in both",
            flush=True,
        )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--model", help="over the recipe's model.id")
    parser.add_argument("--adapter", help="an adapter's folder: it, then it and the base model are measured")
    parser.add_argument("--engine", choices=["vllm", "transformers"], default="vllm")
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--limit", type=int, help="so many starts")
    parser.add_argument("--tokens", type=int, help="over the recipe's dialogue.answer_tokens")
    parser.add_argument("--concurrency", type=int, default=1024, help="of ours; the other loop has none")
    parser.add_argument(
        "--stragglers", type=float, nargs="+", default=[0.0, 0.1], help="shares of answers, a setting each"
    )
    parser.add_argument("--loops", type=float, nargs="+", default=[0.0, 0.05], help="shares of programs, one for each")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--bursts", type=float, nargs="+", default=[0.25], help="seconds; vllm only")
    parser.add_argument("--to", metavar="FILE", help="write all facts as JSON")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
