"""FalconCode's protocol: a program with the course's script, ours against a Python process for each `run_script`.

    python benchmarks/falconcode.py [--rounds 5] [--programs 40]

A made-up script of five runs. Programs that print the same as one before, as most do in a course, and programs that
all print something of their own, for which the script has to run again. The other way is what a course does: the
script in this process, and for each of its runs a new Python with the program in a file. All pinned to one core.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import graders

_SCRIPT = """from cs110 import autograder
def test_passed():
    points = 0
    for numbers in ([3, 4], [0, 0], [10, -2], [7, 7], [100, 1]):
        out, err = autograder.run_script("lab.py", numbers)
        lines = out.strip().splitlines()
        if lines and autograder.equals(lines[-1].split()[-1], sum(numbers)):
            print("PASSED")
            points += 20
        else:
            print("FAILED")
    return points
"""
_PROGRAM = """# version {number}
def total(values):
    result = 0
    for value in values:
        result = result + value
    return result

first = int(input("First: "))
second = int(input("Second: "))
print("{greeting}")
print("Sum:", total([first, second]))
"""


def programs(count: int, alike: bool, mark: str) -> list[str]:
    """So many different programs; ``alike``, they print the same."""
    greetings = ("Hello" if alike else f"Hello {mark} {number}" for number in range(count))
    return [_PROGRAM.format(number=f"{mark} {number}", greeting=greeting) for number, greeting in enumerate(greetings)]


def published(codes: list[str]) -> None:
    """The script here, each run of the program in a Python of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lab.py"

        def run_script(_filename: str, inputs: list[int]) -> tuple[str, str]:
            text = "".join(f"{item}\n" for item in inputs)
            done = subprocess.run([sys.executable, path], input=text, capture_output=True, text=True, timeout=5)
            return done.stdout, done.stderr

        module = ModuleType("cs110")
        module.autograder = module  # type: ignore[attr-defined]
        module.run_script = run_script  # type: ignore[attr-defined]
        module.equals = lambda a, b: float(a) == float(b)  # type: ignore[attr-defined]
        sys.modules["cs110"] = module
        space: dict[str, Callable[[], int]] = {"print": lambda *_: 0}  # type: ignore[dict-item]
        exec(_SCRIPT, space)
        for code in codes:
            path.write_text(code, encoding="utf-8")
            assert space["test_passed"]() == 100


def main(rounds: int = 5, count: int = 40) -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    problem = graders.Problem(id="lab", autograder=_SCRIPT, max_points=100)
    times: dict[str, list[float]] = {"ours, outputs seen before": [], "ours, outputs of their own": [], "published": []}
    with graders.Pool(1) as pool:

        def ours(codes: list[str]) -> None:
            assert all(grade.score == 1 for grade in pool.grade_many((code, problem) for code in codes))

        ours(programs(3, True, "warm"))
        for number in range(rounds):
            turns = (
                (ours, programs(count, True, f"a{number}")),
                (ours, programs(count, False, f"b{number}")),
                (published, programs(max(count // 10, 3), True, f"c{number}")),
            )
            for spent, (way, codes) in zip(times.values(), turns, strict=True):
                begin = time.perf_counter()
                way(codes)
                spent.append((time.perf_counter() - begin) * 1000 / len(codes))
    os.sched_setaffinity(0, cores)
    medians = {name: statistics.median(spent) for name, spent in times.items()}
    print("\nFalconCode, five runs a program, one core\n| way | ms a program | ours is |\n|---|---|---|")
    for name, value in medians.items():
        print(f"| {name} | {value:.1f} | {value / medians['ours, outputs seen before']:.1f} x |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--programs", type=int, default=40)
    chosen = parser.parse_args()
    main(chosen.rounds, chosen.programs)
