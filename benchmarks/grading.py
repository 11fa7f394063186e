"""How fast programs are graded: ours, fully locked down, against a bare fork and against what others do.

    python benchmarks/grading.py [--rounds 5] [--programs 300] [--workers N]

Every way grades the same programs: 24 short functions with 5 tests each, one in eight wrong. One core (all processes
pinned to it), then all. Medians over rounds, in programs a second; rounds of the ways take turns, so that a change in
the machine's load meets them all. Runs nothing hostile: only ours could take it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import falconcode  # beside this file

import graders
from graders.flavours import SLIM

_BODY = """
def {name}(values, limit):
    \"\"\"Sum up to a limit, the way a beginner would.\"\"\"
    total = 0
    seen = []
    for index in range(len(values)):
        value = values[index]
        if value in seen:
            continue
        if value > limit:
            break
        seen.append(value)
        if value % 2 == 0:
            total = total + value * {factor}
        else:
            total = total + value
    text = ''
    for letter in str(total):
        if letter.isdigit():
            text += letter
        else:
            text += '-' + letter
    result = 0
    count = 0
    while count < len(text):
        result = result * 10 + (ord(text[count]) - ord('0'))
        count += 1
    return result{error}
"""
_ENDLESS = "def f(values, limit):\n    while True:\n        limit += 1\n"
_CALLS = (([1, 2, 3], 5), ([], 0), ([4, 4, 9, 2], 8), (list(range(20)), 100), ([7, 6, 5], 6))
Way = Callable[[list[tuple[str, int]], int], float | None]  # seconds, where the way itself knows better


def programs(count: int, endless: float) -> list[tuple[str, int]]:
    """(code, factor) of so many programs, all different."""
    made = []
    for number in range(count):
        factor = number % 24
        error = " + 1" if number % 8 == 0 else ""
        code = _ENDLESS if endless and number % round(1 / endless) == 3 else ""
        made.append(((code or _BODY.format(name="f", factor=factor, error=error)) + f"# {number}\n", factor))
    return made


def expected(factor: int) -> list[int]:
    space: dict[str, Any] = {}
    exec(_BODY.format(name="f", factor=factor, error=""), space)
    return [space["f"](*call) for call in _CALLS]


def problem(factor: int, stop: bool) -> graders.Problem:
    pairs = zip(_CALLS, expected(factor), strict=True)
    tests = tuple(graders.FunctionTest(repr(call), repr(value)) for call, value in pairs)
    return graders.Problem(f"bench{factor}", tests, entry="f", cpu_seconds=0.1, stop_at_timeout=stop)


def inside(code: str, factor: int, send: Callable[[int], object]) -> None:
    """What a harness without any isolation does with a program, in a process that it has already."""
    space: dict[str, Any] = {}
    exec(compile(code, "student.py", "exec"), space)
    send(sum(space["f"](*call) == value for call, value in zip(_CALLS, EXPECTED[factor], strict=True)))


EXPECTED = {factor: expected(factor) for factor in range(24)}


# --- the ways -----------------------------------------------------------------------------------------------------


_FORKS = """
import importlib, os, sys, time
os.register_at_fork = lambda **hooks: None
for name in sys.argv[2:]:
    importlib.import_module(name)
begin = time.perf_counter()
for _ in range(int(sys.argv[1])):
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
print(time.perf_counter() - begin)
"""


def bare_fork(items: list[tuple[str, int]], workers: int, modules: Sequence[str] = ()) -> float:
    """os.fork, _exit, wait in a fresh interpreter that runs nothing. The floor."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _FORKS, str(len(items)), *modules],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def bare_fork_loaded(items: list[tuple[str, int]], workers: int) -> float:
    """The same in one that has imported what our workers have."""
    return bare_fork(items, workers, (*SLIM, "ctypes"))


def _fork_and_send(item: tuple[str, int], writer: int) -> int:
    pid = os.fork()
    if not pid:
        inside(*item, lambda passed: os.write(writer, bytes([passed])))
        os._exit(0)
    return pid


def fork_and_run(items: list[tuple[str, int]], workers: int) -> None:
    """A fork that runs the program and its tests, without isolation, limits or a safe way back."""
    for item in items:
        reader, writer = os.pipe()
        pid = _fork_and_send(item, writer)
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)
        os.waitpid(pid, 0)


def mp_process(items: list[tuple[str, int]], workers: int) -> None:
    """A multiprocessing.Process (fork) and a Pipe for each program."""
    context = multiprocessing.get_context("fork")

    def one(item: tuple[str, int]) -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=inside, args=(*item, theirs.send))
        process.start()
        ours.recv()
        process.join()

    with ThreadPoolExecutor(workers) as threads:
        list(threads.map(one, items))


def manager_process(items: list[tuple[str, int]], workers: int) -> None:
    """As evaluate's code_eval and human-eval: a Manager, and a Process that appends to its list."""
    context = multiprocessing.get_context("fork")

    def one(item: tuple[str, int]) -> None:
        with context.Manager() as manager:
            result = manager.list()
            process = context.Process(target=inside, args=(*item, result.append))
            process.start()
            process.join()
            assert len(result) == 1

    with ThreadPoolExecutor(workers) as threads:
        list(threads.map(one, items))


_SCRIPT = """
import json, sys
code, calls = json.load(sys.stdin)
space = {}
exec(code, space)
print([space["f"](*call) for call in calls])
"""


def sub_process(items: list[tuple[str, int]], workers: int) -> None:
    """subprocess.run([python, -I, -S]) for each program."""

    def one(item: tuple[str, int]) -> None:
        command = [sys.executable, "-I", "-S", "-c", _SCRIPT]
        done = subprocess.run(command, input=json.dumps([item[0], _CALLS]), capture_output=True, text=True, check=True)
        assert len(json.loads(done.stdout)) == len(_CALLS)

    with ThreadPoolExecutor(workers) as threads:
        list(threads.map(one, items))


class Ours:
    """A warm pool, at the best isolation there is."""

    def __init__(self, workers: int) -> None:
        self.pool = graders.Pool(workers)
        self.problems = [problem(factor, stop=False) for factor in range(24)]
        self([*programs(workers * 4, 0)], workers)

    def __call__(self, items: list[tuple[str, int]], workers: int) -> None:
        for grade in self.pool.grade_many((code, self.problems[factor]) for code, factor in items):
            assert grade.status in ("graded", "timeout"), grade

    def latencies(self, items: list[tuple[str, int]]) -> list[float]:
        """Milliseconds for each program, one at a time."""
        taken = []
        for code, factor in items:
            begin = time.perf_counter()
            self.pool.grade(code, self.problems[factor])
            taken.append((time.perf_counter() - begin) * 1000)
        return sorted(taken)


# --- measuring ----------------------------------------------------------------------------------------------------


def measure(ways: dict[str, tuple[Way, int]], rounds: int, workers: int) -> dict[str, float]:
    """Programs a second: the median over rounds in which every way has its turn."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, (way, count) in ways.items():
            items = [(f"{code}# {number}\n", factor) for code, factor in programs(count, 0)]
            begin = time.perf_counter()
            seconds = way(items, workers)
            rates[name].append(count / (seconds or time.perf_counter() - begin))
    return {name: statistics.median(values) for name, values in rates.items()}


def report(title: str, rates: dict[str, float], base: str) -> None:
    print(f"\n{title}\n| way | programs/s | ms each | ours is |\n|---|---|---|---|")
    for name, rate in rates.items():
        print(f"| {name} | {rate:.0f} | {1000 / rate:.2f} | {rates[base] / rate:.2f} x |")


def one_core(options: argparse.Namespace) -> dict[str, float]:
    """All ways pinned to one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    ours = Ours(1)
    few = max(options.programs // 10, 10)
    ways: dict[str, tuple[Way, int]] = {
        "ours": (ours, options.programs),
        "bare fork, nothing imported": (bare_fork, options.programs),
        "bare fork, our modules imported": (bare_fork_loaded, options.programs),
        "fork and run": (fork_and_run, options.programs),
        "multiprocessing": (mp_process, options.programs // 2),
        "Manager + Process": (manager_process, few),
        "subprocess": (sub_process, few),
    }
    rates = measure(ways, options.rounds, 1)
    report("One core", rates, "ours")
    times = ours.latencies(programs(options.programs * 3, 0))
    print(
        f"\nours, one at a time: median {statistics.median(times):.2f} ms, p99 {times[len(times) * 99 // 100]:.2f} ms"
    )
    for stop, words in ((True, "stopping at the first time-out"), (False, "all tests of each")):
        ours.problems = [problem(factor, stop) for factor in range(24)]
        items = [(code + f"# {stop}\n", factor) for code, factor in programs(options.programs, 0.05)]
        begin = time.perf_counter()
        ours(items, 1)
        rate = len(items) / (time.perf_counter() - begin)
        print(f"ours, 5 % endless loops, 0.1 s of CPU a test, {words}: {rate:.0f} programs/s")
    ours.pool.close()
    os.sched_setaffinity(0, cores)
    return rates


def all_cores(options: argparse.Namespace, single: dict[str, float]) -> None:
    """As many of each as there are cores."""
    workers = options.workers or len(os.sched_getaffinity(0))
    ours = Ours(workers)
    few = max(options.programs // 10, 10) * workers
    ways: dict[str, tuple[Way, int]] = {
        "ours": (ours, options.programs * workers),
        "multiprocessing": (mp_process, options.programs * workers // 2),
        "Manager + Process": (manager_process, few),
        "subprocess": (sub_process, few),
    }
    rates = measure(ways, options.rounds, workers)
    report(f"{workers} workers", rates, "ours")
    print(f"\nours: {rates['ours'] / single['ours']:.2f} x one core")
    ours.pool.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--programs", type=int, default=300)
    parser.add_argument("--workers", type=int)
    options = parser.parse_args()
    print(f"{platform.python_version()} on {platform.machine()}, Linux {platform.release()}, {os.cpu_count()} cores, "
          f"load {os.getloadavg()[0]:.1f}\n{str(graders.isolation()).splitlines()[0]}")  # fmt: skip
    all_cores(options, one_core(options))
    falconcode.main(options.rounds)


if __name__ == "__main__":
    main()
