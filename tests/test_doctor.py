"""``simstudent doctor``: it tells, and never fails, whatever is broken or missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import pytest

import graders
from graders.sandbox import WorkerLostError
from simstudent import doctor
from simstudent.cli import main

REQUIREMENTS = [
    "pyyaml>=1",
    "pytest>=1; extra == 'train'",
    "no-such-package>=2,<3; extra == 'train'",
    "no-such-package==1; extra == 'report'",
    'pytest[x]<1,>=0.1; extra == "codebleu"',
    "other-one; extra == 'dev'",
]


def test_the_report(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache" / "a").mkdir(parents=True)
    (tmp_path / "cache" / "a" / "b").write_bytes(bytes(3 << 20))
    (tmp_path / "bad.yaml").write_text("nam: x\n")
    monkeypatch.setenv("SIMSTUDENT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: REQUIREMENTS)
    assert main(["doctor", "recipes/demo.yaml", str(tmp_path / "bad.yaml"), str(tmp_path / "no.yaml")]) == 0
    out = capsys.readouterr().out
    version = importlib.metadata.version("pytest")
    assert "Graders: isolation level " in out
    assert f"train: incomplete (pytest {version}, no-such-package missing)" in out
    assert "report: not installed (no-such-package missing)" in out
    assert f"codebleu: ok, other versions than tested (pytest {version}, wants <1,>=0.1)" in out
    assert "other-one" not in out
    assert "  recipes/demo.yaml: " in out
    assert "bad.yaml: needs attention\n" in out
    assert "'nam'" in out or "nam:" in out
    assert "no recipe at" in out
    assert "cache, 1 file, 3.0 MiB" in out


def test_a_machine_that_has_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def lost() -> Any:
        raise WorkerLostError("no worker could be started")

    def unknown(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(graders, "isolation", lost)
    monkeypatch.setattr(importlib.metadata, "requires", unknown)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("SIMSTUDENT_CACHE", str(tmp_path / "nowhere"))
    lines = list(doctor.report([]))
    assert "Graders: no program can be run here: no worker could be started" in lines
    assert any(line.startswith("GPU: torch is not installed") for line in lines)
    assert any("simstudent itself is not installed" in line for line in lines)
    assert any(line.startswith("Recipes: none") for line in lines)
    assert "not made yet" in lines[-1]


def test_less_isolation_than_grading_requires_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graders, "isolation", lambda: graders.Isolation(0, (), {"seccomp": "refused"}))
    text = "\n".join(doctor.report([]))
    assert "not seccomp: refused" in text
    assert "below level" in text
