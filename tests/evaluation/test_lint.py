"""Lint findings: those of the tool itself, of the file as it is."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from pathlib import Path

import pytest

from simstudent.errors import SimstudentError
from simstudent.evaluation.metrics import evaluate
from simstudent.evaluation.programs import findings, measured
from simstudent.evaluation.steps import Steps
from simstudent.evaluation.tables import to_markdown
from simstudent.evaluation.totals import evidence
from tests.evaluation.test_metrics import rollout, step


def test_lint_findings_are_those_of_pycodestyle_a_line(tmp_path: Path) -> None:
    programs = [
        "x = 1\n",
        "x=1",
        "x=1  \n\n\n",
        "def f(:\n x\n",
        "\tx = 1\nif x :\n    y\n",
        "def f():\n    return 1\nx = 'abc\n",
        f"x = '{'long' * 30}'\n",
        "x = 1  # noqa\nimport os, sys\n",
        "\x0c\nx = 1\n",
    ]
    for program in programs:
        path = tmp_path / "program.py"
        path.write_text(program, encoding="utf-8")
        # The tool itself, one file at a time: a line a finding.
        command = [sys.executable, "-W", "ignore", "-m", "pycodestyle", "--max-line-length=79", str(path)]
        said = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False).stdout
        with path.open(encoding="utf-8") as file:
            assert findings(program) == len(said.splitlines()) / len(file.readlines()), program
    assert findings("") == 0


def untidy(language: str, *, lint: bool) -> Steps:
    rollouts = [rollout(step(code="x=1\n", student_code="x = 1\n"))]
    return evidence(rollouts, codebleu=False, language=language, lint=lint)[0].steps


def test_lint_is_counted_where_it_is_asked_for() -> None:
    steps = untidy("python", lint=True)
    assert (steps.sizes["lint"][0], steps.sizes["student_lint"][0]) == (1.0, 0.0)
    assert steps.values["lint_difference"][0] == steps.values["lint_distance"][0] == 1.0
    for without in (untidy("python", lint=False), untidy("javascript", lint=True)):
        assert math.isnan(without.values["lint_difference"][0])
    assert [len(measured(texts, lint=True).sizes["lint"]) for texts in ([], ["x"])] == [0, 1]


def test_lint_stands_beside_the_other_sizes() -> None:
    rollouts = [
        rollout(step(code="x=1\n"), key=f"{student}/lab/1/0", student=student) for student in ("ann", "bob", "cyd")
    ]
    figures = evaluate(rollouts, codebleu=False, lint=True, resamples=100)
    assert figures.lint
    assert figures.methods[0].realism["lint findings a line"].distance.value == 1
    table = to_markdown(figures).split("### Sizes of programs")[1].split("\n\n")[1].splitlines()
    cells = dict(zip(*(line.split(" | ") for line in (table[0], table[2])), strict=True))
    assert cells["lint findings a line, signed"].startswith("+1.000")


def test_without_the_tool_lint_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SimstudentError, match="pip install pycodestyle"):
        measured(["x"], lint=True)
