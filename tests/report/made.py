"""Rollout folders for tests: a made-up class, with a program that would like to be markup."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from simstudent.rollout.records import Rollout
from simstudent.runs import write_lines
from tests.evaluation.test_metrics import class_of

HOSTILE = "x = '</script><script>alert(1)</script><img src=http://x.example/ onerror=alert(2)>'\nprint('\x1b[31m')\n"


def folder(path: Path, *, students: int = 6, methods: Sequence[str] = ("sft", "repeat-last"), data: str = "d1") -> Path:
    """A rollout folder with settings and assignments; the first program of sft is hostile."""
    path.mkdir(parents=True)
    rollouts = class_of(students, tuple(methods))
    first = next(at for at, r in enumerate(rollouts) if r.method == methods[0])
    step = replace(
        rollouts[first].steps[0], code=HOSTILE, feedback="<b>no</b>", student_feedback="2 of 5 tests passed."
    )
    rollouts[first] = replace(rollouts[first], steps=(step, *rollouts[first].steps[1:]))
    write(path, rollouts)
    settings = {"source": "table", "data_hash": data, "split": "test", "steps": 5, "model": {"id": "m"}, "seed": 1}
    (path / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    names = {r.assignment: {"statement": "<i>Add</i>", "language": "python", "tests": ["f(1)"]} for r in rollouts}
    (path / "assignments.json").write_text(json.dumps(names), encoding="utf-8")
    return path


def write(path: Path, rollouts: Sequence[Rollout]) -> None:
    for method in {r.method for r in rollouts}:
        write_lines(path / f"{method}.jsonl", [r.to_dict() for r in rollouts if r.method == method])
