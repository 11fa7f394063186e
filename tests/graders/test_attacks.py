"""Hostile programs at every isolation level that can be had here: they get no grade, no secret, no way out.

The public suite is not part of this repository. It is looked for in ``../shared/attacks`` beside the repository, or
where GRADERS_ATTACKS points. The programs in ``attacks`` are this project's own.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PUBLIC = Path(os.environ.get("GRADERS_ATTACKS", ROOT.parent / "shared" / "attacks"))
OWN = Path(__file__).with_name("attacks")
NOBODY = 54_321  # a user without a name, so that no process but ours is theirs
_BASE = "rlimits,capabilities,no_new_privs,seccomp"
# name: as root, level, layers
LEVELS = {
    "root with namespaces": (True, 4, None),
    "root without namespaces": (True, 3, f"{_BASE},uid,landlock"),
    "user with namespaces": (False, 4, None),
    "user with Landlock": (False, 3, f"{_BASE},landlock"),
    "user with seccomp only": (False, 2, _BASE),
}


@functools.cache
def _other_python() -> str | None:
    """An interpreter that an ordinary user can run, when this one lies in root's home."""
    code = "import sys, graders; sys.exit(sys.version_info < (3, 11))"
    for path in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            done = subprocess.run(
                [path, "-c", code], cwd="/", env={"PYTHONPATH": str(ROOT)}, user=NOBODY, group=NOBODY, extra_groups=[],
                capture_output=True, check=False,
            )  # fmt: skip
        except OSError:
            continue
        if done.returncode == 0:
            return path
    return None


def _call(python: str, user: dict[str, Any], *arguments: str) -> str:
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [python, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, check=False, **user
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(name: str, folder: Path) -> dict[str, str]:
    """Every program at one level; the grades, with what differs from run to run taken out."""
    as_root, level, layers = LEVELS[name]
    python: str | None = sys.executable
    user: dict[str, Any] = {}
    if as_root and os.geteuid() != 0:
        pytest.skip("needs root")
    if os.geteuid() == 0 and not as_root:
        python = _other_python()
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    if python is None:
        pytest.skip("no interpreter that an ordinary user can run")
    wanted = layers.split(",") if layers else None
    offered = int(_call(python, user, "-c", f"import graders; print(graders.isolation(layers={wanted}).level)"))
    if offered < level:
        pytest.skip(f"this machine offers level {offered} only")
    folder.chmod(0o777)
    grades = folder / "grades.json"
    arguments = ["-m", "tests.graders.hostile", "--own", str(OWN), "--least", str(level), "--grades", str(grades)]
    arguments += ["--public", str(PUBLIC)] if PUBLIC.exists() else []
    arguments += ["--layers", layers] if layers else []
    *wrong, summary = [json.loads(line) for line in _call(python, user, *arguments).splitlines()]
    assert not wrong, "\n".join(map(str, wrong))
    assert summary["level"] == level
    assert summary["programs"] >= (140 if PUBLIC.exists() else 40)
    text = re.sub(r"TOKEN-[0-9a-f]{32}|hostile-\w+", "...", grades.read_text(encoding="utf-8"))
    parsed: dict[str, str] = json.loads(text)
    return parsed


@pytest.mark.slow
@pytest.mark.parametrize("name", LEVELS)
def test_attacks(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:  # not pytest's own: no other user gets there
        grades = run(name, Path(folder))
    # The same program, the same grade: at every level, and on every interpreter of one version.
    grades = {k: _one_limit(v) if k.startswith("mem_") else v for k, v in grades.items()}
    first = _seen.setdefault("grades", grades)
    assert {k: (v, first[k]) for k, v in grades.items() if v != first[k]} == {}


def _one_limit(grade: str) -> str:
    """Which limit a memory hog meets first is a race on a busy machine: fresh pages cost CPU time as well."""
    return grade.replace("took too long", "used too much memory")


_seen: dict[str, dict[str, str]] = {}
