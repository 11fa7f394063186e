"""Real submissions, graded again: the grades logged with them were computed by another grader.

The data are not part of this repository; see the file's own README for where they come from.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from graders import FunctionTest, Problem, grade_many, outcomes

DATA = Path(__file__).parents[3] / "shared" / "data" / "newcaledonia"


def _lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def _problems(**fields: Any) -> dict[str, Problem]:
    return {
        raw["exercise_id"]: Problem(
            id=raw["exercise_id"],
            tests=tuple(FunctionTest(t["args"], t["expected"]) for t in raw["tests"]),
            entry=raw["function"],
            prelude=raw["prelude"],
            solution=raw["solution"],
            cpu_seconds=0.2,  # the default would spend minutes on endless loops
            **fields,
        )
        for raw in _lines("exercises.jsonl")
    }


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="the NewCaledonia data are not here")
def test_agrees_with_the_logged_grades() -> None:
    problems = _problems()
    solutions = list(grade_many((p.solution, p) for p in problems.values()))
    assert [g.score for g in solutions] == [1.0] * len(problems)
    submissions = _lines("submissions.jsonl")
    grades = grade_many((s["code"], problems[s["exercise_id"]]) for s in submissions)
    letters = {"pass": "P", "wrong": "W", "timeout": "T"}
    different = []
    for submission, grade in zip(submissions, grades, strict=True):
        if abs(grade.score - submission["grade"]) >= 1e-3:
            logged = "".join(letters.get(r, "E") for r in submission["test_results"])
            different.append(f"{submission['function']}: {grade.status} {outcomes(grade)}, logged {logged}")
    print(f"{len(different)} of {len(submissions)} grades differ", *different, sep="\n")
    assert len(different) <= 0.01 * len(submissions), "\n".join(different)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="the NewCaledonia data are not here")
def test_the_same_grades_byte_for_byte_on_a_busy_machine() -> None:
    problems = _problems(stop_at_timeout=True)
    submissions = _lines("submissions.jsonl")[::4][:1000]

    def run(workers: int) -> list[str]:
        pairs = ((s["code"], problems[s["exercise_id"]]) for s in submissions)
        return [json.dumps(grade.to_dict() | {"cpu_seconds": 0}) for grade in grade_many(pairs, workers=workers)]

    first = run(1)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(6)]
    try:
        under_load = run(2)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert under_load == first
    assert run(2) == first
