"""kill -9 of the client, a worker or a child at random moments under load: nothing wrong, nothing left, all graded.

200 kills instead of 40: GRADERS_KILLS=200.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import graders

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("GRADERS_KILLS", "40"))
PROGRAMS = 60 * KILLS
CLIENT = """
import sys, graders
from tests.graders.test_kill import PROGRAMS, problem, program
cache = graders.GradeCache(sys.argv[1])
with graders.Pool(2, cache=cache) as pool:
    items = ((program(i), problem()) for i in range(PROGRAMS))
    print(sum(g.status == "grader_error" for g in pool.grade_many(items)), flush=True)
"""


def problem() -> graders.Problem:
    tests = (graders.FunctionTest("(3,)", "3"), graders.FunctionTest("(7,)", "7"))
    return graders.Problem("kill", tests, entry="f", cpu_seconds=0.2)


def program(number: int) -> str:
    """Right, wrong, half right, broken, endless (now and then) or large."""
    if number % 97 == 0:
        return f"def f(x):\n while x == 3: pass\n return x # {number}"
    return (
        f"def f(x): return x # {number}",
        f"def f(x): return x + 1 # {number}",
        f"def f(x): return 7 # {number}",
        f"def f(x): raise KeyError({number})",
        f"import json\ndef f(x): return json.loads(str(x)) # {number}",
        f"def f(x):\n for i in range(20000): pass\n return [x] * {number}",
    )[number % 6]


def right(number: int) -> str:
    """The outcomes of that program."""
    return "TP" if number % 97 == 0 else ("PP", "WW", "WP", "EE", "PP", "WW")[number % 6]


def family(pid: int) -> list[int]:
    """A process's descendants, as far as they live at this moment."""
    found: list[int] = []
    pending = [pid]
    for parent in pending:  # grows on the way
        try:
            tasks = list(Path(f"/proc/{parent}/task").iterdir())
            children = [int(c) for t in tasks for c in (t / "children").read_text().split()]
        except OSError:
            continue
        pending += children
        found += children
    return found


def alive(pids: list[int]) -> list[int]:
    """Those of them that are still there and still run the worker's script."""
    found = []
    for pid in pids:
        try:
            if b"worker.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            pass
    return found


def clients(cache: Path) -> Iterator[subprocess.Popen[str]]:
    while True:
        command = [sys.executable, "-c", CLIENT, str(cache)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        yield subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_kill_nine(tmp_path: Path) -> None:
    rng = random.Random(5)
    start = clients(tmp_path / "cache")
    client = next(start)
    kills = {"client": 0, "worker": 0, "child": 0}
    seen: set[int] = set()
    while sum(kills.values()) < KILLS:
        time.sleep(rng.uniform(0.02, 0.4))
        if client.poll() is not None:
            break  # all done before the last kill
        descendants = family(client.pid)
        seen.update(descendants)
        what = rng.choice(("client", "worker", "worker", "child", "child"))
        if what == "client":
            client.kill()
            client.wait()
            deadline = time.monotonic() + 5
            while alive(descendants) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert not alive(descendants), "orphans"
            client = next(start)
        elif descendants:
            # The deepest is a child, if there is one at this moment.
            target = descendants[-1] if what == "child" else rng.choice(descendants)
            try:
                os.kill(target, signal.SIGKILL)
            except ProcessLookupError:
                continue
        else:
            continue
        kills[what] += 1
    print(kills)
    for _ in range(3):  # programs that lost two workers in a row are grader errors, which no cache keeps
        output, _ = client.communicate(timeout=300)
        if client.returncode == 0 and output.strip() == "0":
            break
        client = next(start)
    assert output.strip() == "0", "not all were graded in the end"
    deadline = time.monotonic() + 5
    while alive(sorted(seen)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(sorted(seen)), "orphans of earlier clients"
    cache = graders.GradeCache(tmp_path / "cache")
    wrong = {}
    for number in range(PROGRAMS):
        grade = cache.get(program(number), problem())
        if grade is None or graders.outcomes(grade) != right(number):
            wrong[number] = json.dumps(grade and grade.to_dict())
    cache.close()
    assert not wrong
