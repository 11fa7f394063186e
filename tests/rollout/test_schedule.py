"""The schedule: equal work once, the order of starts, what is measured, and what a whole run writes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from graders import FunctionTest, Grade, Pool, Problem
from simstudent.data.records import Assignment, Submission, Trajectory
from simstudent.errors import SimstudentError
from simstudent.recipe import Recipe, recipe_from_dict
from simstudent.rollout.engine import Completion, EngineError, Sampling
from simstudent.rollout.engines import Counters
from simstudent.rollout.folder import read_rollouts
from simstudent.rollout.meter import Meter
from simstudent.rollout.opening import count_gpus
from simstudent.rollout.schedule import Job, ordered, run_jobs, spread
from simstudent.rollout.sharing import Shared, SharedEngine, metered, shared_engines, shared_grader
from simstudent.rollout.simulate import Past, Reply, Start, Student, starts

GREEDY = Sampling(stop_ids=(2,))
PROBLEM = Problem("p", (FunctionTest("(1,)", "2"),), entry="f")
ASSIGNMENT = Assignment("p", "Add one.", problem=PROBLEM)


def recipe(**rollout: object) -> Recipe:
    raw = {"name": "x", "model": {"id": "a/b"}, "data": {"source": {"kind": "course"}}, "rollout": rollout}
    return recipe_from_dict(raw)


def trajectory(student: str, count: int) -> Trajectory:
    subs = tuple(Submission(f"def f(n):\n    return {n}\n") for n in range(count))
    return Trajectory(student, "p", subs, "abandoned")


def all_starts(*lengths: int, samples: int = 1) -> list[Start]:
    found = [trajectory(f"s{n}", length) for n, length in enumerate(lengths)]
    grades = {t.key: tuple(Grade(0.0, "no_code") for _ in t.submissions) for t in found}
    return starts(found, {"p": ASSIGNMENT}, grades, first=1, samples=samples)


@dataclass
class Slow:
    """An engine that repeats the prompt's ids after a moment, and knows how many it had at once."""

    counters: Counters = field(default_factory=Counters)
    broken: bool = False
    now: int = 0
    most: int = 0

    async def generate(self, ids: Sequence[int], sampling: Sampling, *, seed: int, adapter: str | None) -> Completion:
        self.counters.requests += 1
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.001)
        self.now -= 1
        if self.broken:
            raise EngineError("made to fail")
        return Completion((*ids, seed), False)


def test_equal_greedy_requests_are_computed_once_whenever_they_come() -> None:
    async def ask() -> tuple[Slow, SharedEngine, list[Completion]]:
        slow = Slow()
        shared = SharedEngine(slow, Meter(1))
        found = await asyncio.gather(
            *(shared.generate([5, 6], GREEDY, seed=7, adapter=a) for a in (None, None, "a", "a", "b"))
        )
        found.append(await shared.generate([5, 6], GREEDY, seed=7, adapter=None))
        found.append(await shared.generate([5, 7], GREEDY, seed=7, adapter=None))
        return slow, shared, found

    slow, shared, found = asyncio.run(ask())
    assert (slow.counters.requests, shared.joined) == (4, 3)
    assert [answer.ids for answer in found] == [(5, 6, 7)] * 6 + [(5, 7, 7)]


def test_sampled_requests_are_each_their_own() -> None:
    async def ask() -> int:
        slow = Slow()
        shared = SharedEngine(slow, Meter(1))
        warm = Sampling(stop_ids=(2,), temperature=1.0)
        await asyncio.gather(*(shared.generate([5], warm, seed=n, adapter=None) for n in (1, 1, 2)))
        return slow.counters.requests

    assert asyncio.run(ask()) == 3


def test_a_failed_request_is_not_remembered_and_one_that_goes_away_leaves_the_others() -> None:
    async def ask() -> tuple[list[str], Completion]:
        slow = Slow(broken=True)
        shared = SharedEngine(slow, Meter(1))
        asks = (shared.generate([5], GREEDY, seed=0, adapter=None) for _ in range(2))
        failures = [type(f).__name__ for f in await asyncio.gather(*asks, return_exceptions=True)]
        slow.broken = False
        first = asyncio.create_task(shared.generate([5], GREEDY, seed=0, adapter=None))
        second = asyncio.create_task(shared.generate([5], GREEDY, seed=0, adapter=None))
        await asyncio.sleep(0)
        first.cancel()
        return failures, await second

    failures, answer = asyncio.run(ask())
    assert failures == ["EngineError", "EngineError"]
    assert answer.ids == (5, 0)


def test_only_the_latest_results_are_remembered() -> None:
    async def ask() -> list[int]:
        made: list[int] = []
        shared: Shared[int] = Shared(worth=lambda result: result != 9, room=2)

        async def make(n: int) -> int:
            made.append(n)
            return n

        for n in (1, 2, 1, 3, 2, 1, 9, 9):
            assert await shared(n, lambda n=n: make(n)) == n  # type: ignore[misc]
        return made

    assert asyncio.run(ask()) == [1, 2, 3, 2, 1, 9, 9]


def test_a_program_is_graded_once_and_a_failure_of_the_grader_again() -> None:
    class Counting:
        graded: list[str | None]

        def __init__(self) -> None:
            self.graded = []

        async def grade_async(self, code: str | None, problem: Problem) -> Grade:
            self.graded.append(code)
            await asyncio.sleep(0)
            return Grade(0.0, "grader_error" if code == "lost" else "graded")

    pool = Counting()

    async def grade_all() -> int:
        grade, grades = shared_grader(pool)  # type: ignore[arg-type]
        await asyncio.gather(*(grade(code, ASSIGNMENT) for code in ("a", "a", None, None, "lost")))
        await asyncio.gather(*(grade(code, ASSIGNMENT) for code in ("a", "lost")))
        return grades.joined

    assert asyncio.run(grade_all()) == 3
    assert pool.graded == ["a", None, "lost", "lost"]


async def nobody(start: Start, past: Past, k: int) -> Reply:
    return Reply(None)


def test_neighbours_share_their_prompts_and_the_longest_begin() -> None:
    found = all_starts(3, 5, 2, samples=2)
    jobs = [Job("sft@0.5", nobody, found, "sft"), Job("base", nobody, found), Job("sft@1", nobody, found, "sft")]
    order = [(job.label, start.trajectory.student, start.t, start.sample) for job, start in ordered(jobs)]
    assert len(order) == 3 * len(found)
    assert [s for label, s, t, _ in order if label == "base" and t == 1] == ["s1", "s1", "s0", "s0", "s2", "s2"]
    assert {label for label, *_ in order[: len(found)]} == {"base"}, "one adapter after another"
    at_start = [entry for entry in order if entry[1:3] == ("s1", 2) and entry[0] != "base"]
    assert at_start == [("sft@0.5", "s1", 2, 0), ("sft@1", "s1", 2, 0), ("sft@0.5", "s1", 2, 1), ("sft@1", "s1", 2, 1)]
    places = [order.index(entry) for entry in at_start]
    assert places == list(range(places[0], places[0] + 4)), "all temperatures and samples of a start together"


def test_never_more_than_the_concurrency_and_all_are_written(tmp_path: Path) -> None:
    found = all_starts(6, 6, 6)
    slow = Slow()

    def student(name: str) -> Student:
        async def respond(start: Start, past: Past, k: int) -> Reply:
            await slow.generate([k], GREEDY, seed=0, adapter=name)
            return Reply(f"def f(n):\n    return {k}\n", reply_tokens=3)

        return respond

    jobs = [Job(name, student(name), found) for name in ("a", "b")]
    meter, said = Meter(2 * len(found)), []

    async def run() -> None:
        with Pool(1) as pool:
            grade, _ = shared_grader(pool)
            await run_jobs(jobs, recipe(steps=2), tmp_path, metered(grade, meter), said.append, meter, 4)

    asyncio.run(run())
    assert slow.most == 4
    rollouts = read_rollouts(tmp_path)
    assert sorted(r.key for r in rollouts if r.method == "b") == sorted(s.key for s in found)
    assert (meter.ended, meter.reply_tokens) == (len(rollouts), 3 * sum(len(r.steps) for r in rollouts))
    assert sorted(line.split(":")[0] for line in said) == ["  a", "  b"]


def test_a_trajectory_stays_with_one_copy_of_the_engine_and_equal_requests_join_across() -> None:
    found = all_starts(*[4] * 60)
    served: dict[str, set[int]] = {}

    def copy(number: int) -> Student:
        async def respond(start: Start, past: Past, k: int) -> Reply:
            served.setdefault(start.trajectory.key, set()).add(number)
            return Reply(None)

        return respond

    async def ask() -> int:
        student = spread([copy(n) for n in range(3)])
        for start in found:
            await student(start, Past((), None), 1)
        slow = Slow()
        first, second = shared_engines([slow, slow], Meter(1))
        await asyncio.gather(*(e.generate([5], GREEDY, seed=0, adapter=None) for e in (first, second)))
        return slow.counters.requests

    assert asyncio.run(ask()) == 1
    assert all(len(copies) == 1 for copies in served.values())
    counts = [sum(copies == {n} for copies in served.values()) for n in range(3)]
    assert min(counts) > 10, "about as many each"


def test_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [count_gpus(wanted, "vllm") for wanted in (1, 2, "auto")] == [1, 2, 2]  # type: ignore[arg-type]
    assert count_gpus("auto", "transformers") == 1
    with pytest.raises(SimstudentError, match="shows 2"):
        count_gpus(3, "vllm")
    with pytest.raises(SimstudentError, match="engine: vllm"):
        count_gpus(2, "transformers")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert [count_gpus(wanted, "vllm") for wanted in ("auto", 2)] == [1, 2]  # type: ignore[arg-type]


def test_a_bug_ends_the_run_and_is_told(tmp_path: Path) -> None:
    async def bug(start: Start, past: Past, k: int) -> Reply:
        raise ZeroDivisionError

    async def run() -> None:
        grade, _ = shared_grader(Pool(1))
        await run_jobs([Job("a", bug, all_starts(3))], recipe(), tmp_path, grade, print, Meter(2), 4)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(run())


def test_what_the_engine_waits_for_is_measured() -> None:
    now = [0.0]
    meter = Meter(1, clock=lambda: now[0])
    meter.start()

    def passes(seconds: float) -> None:
        now[0] += seconds

    passes(1)  # a prompt is built: the engine has nothing
    with meter.generating():
        passes(5)
        with meter.grading():
            passes(3)  # hidden
    with meter.grading(), meter.grading():
        passes(1)  # the engine waits for grades
    assert meter.wait_share() == pytest.approx(2 / 10)
    assert meter.hidden_share() == pytest.approx(3 / 4)
    facts = meter.facts()
    assert (facts["seconds"], facts["engine_wait_share"], facts["grading_queue_peak"]) == (10.0, 0.2, 2)
    assert Meter(1).hidden_share() is None
