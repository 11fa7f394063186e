"""Many programs at once, and what happens when a worker is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

import graders
from graders import Grade, Pool, Problem, outcomes
from graders import pool as pool_module
from graders.python import grade_with
from graders.sandbox import Worker

RIGHT, WRONG = "def f(a, b): return a + b", "def f(a, b): return a"


def variants(count: int) -> list[str]:
    return [f"def f(a, b): return a + b + {i % 3}  # {i}" for i in range(count)]


def test_grade_many_keeps_the_order_and_reads_lazily(add: Problem) -> None:
    read = 0

    def items() -> Any:
        nonlocal read
        for code in variants(200):
            read += 1
            yield code, add

    with Pool(2) as pool:
        grades = pool.grade_many(items())
        assert next(grades).score == 1
        assert read < 100
        assert [outcomes(next(grades)) for _ in range(199)] == ["WW", "WW", "PP"] * 66 + ["WW"]


def test_equal_programs_run_once(add: Problem) -> None:
    with Pool(1) as pool:
        grades = list(pool.grade_many([(RIGHT, add), (WRONG, add)] * 50))
    assert len({id(g) for g in grades}) == 2
    assert [g.score for g in grades] == [1.0, 0.0] * 50


def test_a_stream_of_any_length_takes_little_memory(add: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_KNOWN", 8)
    with Pool(1) as pool:
        window = pool_module._Window(pool)
        grades = []
        for code in variants(30) + variants(30)[-8:] + variants(2):
            window.add((code, add))
            assert len(window._known) <= 8
            grades.append(window.first().result())
    assert len({id(g) for g in grades}) == 32  # the last eight of thirty were still known, the first two were not


def test_leaving_a_stream_withdraws_what_waits(add: Problem) -> None:
    with Pool(1) as pool:
        grades = pool.grade_many((code, add) for code in variants(500))
        next(grades)
        grades.close()
        assert pool.grade(RIGHT, add).score == 1
        assert pool._pending <= 1


def test_streams_of_coroutines(add: Problem) -> None:
    read = 0

    async def slowly() -> AsyncIterator[tuple[str, Problem]]:
        nonlocal read
        for code in variants(120):
            read += 1
            yield code, add

    async def run() -> tuple[list[float], list[float], int]:
        async with Pool(1) as pool:
            plain = [grade.score async for grade in pool.grade_many_async((c, add) for c in variants(12))]
            before = read
            async with aclosing(pool.grade_many_async(slowly())) as grades:
                some = [(await anext(grades)).score for _ in range(3)]
            task = asyncio.create_task(anext(pool.grade_many_async(slowly())))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await pool.grade_async(RIGHT, add)).score == 1
        return plain, some, read - before

    plain, some, ahead = asyncio.run(run())
    assert plain == [1.0, 0.0, 0.0] * 4
    assert some == [1.0, 0.0, 0.0]
    assert ahead <= 2 * 40

    async def alone() -> list[float]:
        scores = [grade.score async for grade in graders.grade_many_async([(RIGHT, add), (WRONG, add)], workers=1)]
        return [*scores, (await graders.grade_async(RIGHT, add)).score]

    assert asyncio.run(alone()) == [1.0, 0.0, 1.0]


def test_module_level_functions(add: Problem) -> None:
    assert graders.grade(RIGHT, add).score == 1
    assert [g.score for g in graders.grade_many([(RIGHT, add), (None, add)], workers=1)] == [1, 0]


def test_thousands_of_coroutines(add: Problem) -> None:
    codes = variants(60)

    async def run(pool: Pool) -> list[Grade]:
        return await asyncio.gather(*(pool.grade_async(codes[i % 60], add) for i in range(1500)))

    with Pool(2) as pool:
        grades = asyncio.run(run(pool))
    assert [g.score for g in grades] == [float(i % 60 % 3 == 0) for i in range(1500)]


def test_a_cancelled_coroutine_harms_nobody(add: Problem) -> None:
    async def run(pool: Pool) -> Grade:
        tasks = [asyncio.create_task(pool.grade_async(code, add)) for code in variants(20)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        return await pool.grade_async(RIGHT, add)

    with Pool(1) as pool:
        assert asyncio.run(run(pool)).score == 1


def test_equal_grades_on_a_busy_machine(add: Problem) -> None:
    codes = [
        *variants(6), "def f(a, b):\n while a: pass\n return 1", "def f(a, b): return object()", "x", "def f(:",
        "def f(a, b):\n for i in range(10**6): pass\n return a + b",
    ]  # fmt: skip
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        runs = []
        for workers in (1, 4):
            with Pool(workers) as pool:
                runs += [list(pool.grade_many((c, add) for c in codes)) for _ in range(2)]
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert all(run == runs[0] for run in runs)
    assert "".join(outcomes(g) for g in runs[0]) == "PPWWWWPPWWWWTPWW----PP"


def replaced(worker: Worker, first: int, add: Problem) -> bool:
    """Whether another process takes over, every grade on the way being right.

    Not at once: what is killed is the guard, and the worker behind it may answer before it is gone too.
    """
    for _ in range(100):
        assert grade_with(worker, RIGHT, add).score == 1
        if worker.pid != first:
            return True
        time.sleep(0.05)
    return False


def test_a_worker_killed_between_programs_is_replaced(add: Problem) -> None:
    worker = Worker()
    assert grade_with(worker, RIGHT, add).score == 1
    first = worker.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert replaced(worker, first, add)
    worker.close()


def test_a_worker_killed_in_the_middle_is_tried_again(add: Problem) -> None:
    worker = Worker()
    slow = "def f(a, b):\n for i in range(3 * 10**6): pass\n return a + b"
    assert grade_with(worker, slow, add).status == "graded"
    first = worker.pid
    assert first is not None
    killer = threading.Timer(0.03, os.kill, (first, signal.SIGKILL))
    killer.start()
    grade = grade_with(worker, slow, add)
    killer.join()
    assert grade.status == "graded"
    assert replaced(worker, first, add)
    worker.close()


def test_a_worker_lost_twice_is_a_grader_error(add: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    worker = Worker()
    grade = grade_with(worker, RIGHT, add)
    assert (grade.status, outcomes(grade)) == ("grader_error", "--")
    assert "lost" in grade.message
    monkeypatch.undo()
    assert grade_with(worker, RIGHT, add).score == 1
    worker.close()


def test_a_closed_pool_says_so(add: Problem) -> None:
    pool = Pool(1)
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        pool.grade(RIGHT, add)
    with pytest.raises(ValueError, match="at least 1"):
        Pool(0)


def test_workers_start_when_needed_and_end_with_the_pool(add: Problem) -> None:
    pool = Pool(4)
    assert not pool._threads
    pool.grade(RIGHT, add)
    pool.grade(WRONG, add)
    assert len(pool._threads) == 1
    children = _children(os.getpid())
    del pool
    assert len(_children(os.getpid())) < len(children)


def test_nothing_is_left_when_the_interpreter_exits() -> None:
    script = (
        "import os, graders; p = graders.Problem('p', (graders.FunctionTest('()', '1'),), entry='f')\n"
        "pool = graders.Pool(2); print(pool.grade('def f(): return 1', p).score)\n"
        "print(graders.grade('def f(): return 1', p).score)\n"
        "tasks = os.listdir('/proc/self/task')\n"
        "print(*[c for t in tasks for c in open(f'/proc/self/task/{t}/children').read().split()])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.returncode == 0
    *scores, pids = done.stdout.splitlines()
    assert scores == ["1.0", "1.0"]
    assert pids.split()
    deadline = time.monotonic() + 10
    while (left := [pid for pid in pids.split() if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left


def test_import_is_light() -> None:
    script = (
        "import sys, graders\n"
        "heavy = {'asyncio', 'sqlite3', 'subprocess', 'multiprocessing', 'numpy', 'torch', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def _children(pid: int) -> list[str]:
    found: list[str] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += (task / "children").read_text().split()
    return found
