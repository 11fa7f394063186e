"""How long the figures of a million simulated steps take, from ``rollouts.jsonl`` to all of them, without CodeBLEU.

    python benchmarks/evaluation.py [--steps 1000000] [--changes 0.4]

The class is made up: programs of some 15 lines, of which a sampling method writes a new one in ``--changes`` of its
steps and otherwise copies, five samples a start, beside a method that repeats the last program and one that asserts 0.
Times are CPU seconds of this process and its children, and wall seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from simstudent.evaluation.metrics import evaluate
from simstudent.rollout.folder import read_rollouts
from simstudent.rollout.records import Rollout, Step

ATTEMPTS = 6
SAMPLES = 5
METHODS = {"repeat-last": 1, "constant-0": 1, "sft": SAMPLES}
STEPS_A_TRAJECTORY = sum(range(1, ATTEMPTS)) * (SAMPLES + 2)
TRAJECTORIES_A_STUDENT = 20


def program(generator: random.Random) -> str:
    """A made-up function of 10 to 20 lines; hardly ever the same twice."""
    lines = ["def total(values, limit):", "    result = 0"]
    for number in range(generator.randint(3, 6)):
        a, b = generator.randint(0, 999), generator.randint(0, 999)
        lines += [
            f"    for value in values[{a}:]:",
            f"        if value > limit + {b}:",
            f"            result += value * {number}",
        ]
    return "\n".join([*lines, "    return result", ""])


def edited(code: str, generator: random.Random) -> str:
    """The program with one line more, or one number changed, as novices do."""
    lines = code.split("\n")
    at = generator.choice([n for n, line in enumerate(lines) if "result +=" in line])
    if generator.random() < 0.5:
        lines.insert(at, f"            print(value, {generator.randint(0, 99_999)})")
    else:
        lines[at] = f"            result += value * {generator.randint(0, 99_999)}"
    return "\n".join(lines)


def trajectory(student: int, number: int, changes: float) -> Iterator[Rollout]:
    generator = random.Random(f"{student}/{number}")
    real = [program(generator)]
    while len(real) < ATTEMPTS:
        real.append(edited(real[-1], generator))
    grades = [*sorted(generator.randrange(5) / 5 for _ in real[1:]), 1.0]
    for method, samples in METHODS.items():
        for start in range(1, ATTEMPTS):
            for sample in range(samples):
                code, grade, steps = real[start - 1], grades[start - 1], []
                for k in range(1, ATTEMPTS - start + 1):
                    if method == "sft" and generator.random() < changes:
                        code, grade = edited(code, generator), generator.randrange(5) / 5
                    own = (
                        (None, 0.0, "constant", "") if method == "constant-0" else (code, grade, "graded", tests(grade))
                    )
                    truth = grades[start + k - 1]
                    steps.append(Step(k, *own, real[start + k - 1], truth, "graded", tests(truth)))
                yield Rollout(
                    *(f"{student}/{number}/{start}/{sample}", method, f"s{student}", f"a{number}", start, sample),
                    *(len(steps), tuple(steps), "student_done", True, real[start - 1], grades[start - 1]),
                )


def tests(grade: float) -> str:
    return "P" * round(5 * grade) + "W" * (5 - round(5 * grade))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--changes", type=float, default=0.4)
    args = parser.parse_args()
    students = max(1, round(args.steps / STEPS_A_TRAJECTORY / TRAJECTORIES_A_STUDENT))
    with tempfile.TemporaryDirectory() as folder:
        texts: set[str | None] = set()
        steps = 0
        with contextlib.ExitStack() as stack:
            files = {m: stack.enter_context(Path(folder, f"{m}.jsonl").open("w", encoding="utf-8")) for m in METHODS}
            for student, number in itertools.product(range(students), range(TRAJECTORIES_A_STUDENT)):
                for r in trajectory(student, number, args.changes):
                    files[r.method].write(json.dumps(r.to_dict()) + "\n")
                    steps += len(r.steps)
                    texts |= {s.code for s in r.steps}
        print(f"{steps:,} steps, {students} students, {len(texts):,} different programs, {os.cpu_count()} cores")
        wall, cpu = time.time(), used()
        rollouts = read_rollouts(Path(folder))
        report("reading", wall, cpu)
        wall, cpu = time.time(), used()
        figures = evaluate(rollouts, codebleu=False)
        report("figures", wall, cpu)
        print(f"skill {figures.of('sft').skill['grade_proximity'].difference}")


def used() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def report(name: str, wall: float, cpu: float) -> None:
    print(f"{name}: {used() - cpu:.1f} s CPU, {time.time() - wall:.1f} s")


if __name__ == "__main__":
    main()
