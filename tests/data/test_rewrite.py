"""Regrading into a dataset: parts, what is listed, and going on after a kill."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from graders import FunctionTest, Pool, Problem
from simstudent.data import dataset, rewrite
from simstudent.data.records import Assignment, Submission, Trajectory
from simstudent.data.regrade import Disagreement
from simstudent.errors import SimstudentError
from simstudent.runs import read_lines

TASK = Assignment(
    "a", "Write f.", "python", Problem("a", (FunctionTest("(1,)", "1"), FunctionTest("(2,)", "4")), entry="f")
)
KNOWN = {"a": TASK, "free": Assignment("free", "Anything.")}
WHOLE, HALF = "def f(x):\n    return x * x\n", "def f(x):\n    return x\n"


def made_up(count: int) -> list[Trajectory]:
    """Every third log entry is wrong about its second program."""
    return [
        Trajectory(
            f"s{n}",
            "a" if n % 5 else "free",
            (Submission(HALF + f"# {n}\n", grade=0.5), Submission(WHOLE, grade=n % 3 / 2)),
        )
        for n in range(count)
    ]


def test_grades_and_feedback_are_written_and_disagreements_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrite, "PART_BYTES", 3000)
    log = made_up(12)
    with Pool(2) as pool:
        agreement = rewrite.write(log, KNOWN, pool, tmp_path / "made", {"kind": "test"})
    made = list(dataset.trajectories(tmp_path / "made"))
    manifest = dataset.manifest(tmp_path / "made")
    assert len(manifest["parts"]) > 2
    assert manifest["source"] == {"kind": "regraded", "of": {"kind": "test"}}
    assert [t.key for t in made] == [t.key for t in log]
    for t, before in zip(made, log, strict=True):
        if t.assignment == "free":
            assert t == before
        else:
            assert [s.grade for s in t.submissions] == [0.5, 1.0]
            assert t.outcome == "solved"
            assert [s.more["logged_grade"] for s in t.submissions] == [s.grade for s in before.submissions]
            assert "f(2)" in (t.submissions[0].feedback or "")
    wrong = [t.key for t in log if t.assignment == "a" and t.submissions[1].grade != 1.0]
    listed = [Disagreement.from_dict(line) for line in read_lines(tmp_path / "made" / rewrite.LISTED)]
    assert [(d.key, d.number, d.grade.score) for d in listed] == [(key, 2, 1.0) for key in wrong]
    assert (agreement.compared, agreement.agreed) == (18, 18 - len(wrong))
    assert dataset.assignments(tmp_path / "made") == KNOWN
    assert not (tmp_path / "made" / rewrite.STAGE).exists()


def test_what_was_done_before_is_kept_only_while_it_is_of_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrite, "PART_BYTES", 3000)
    done: list[int] = []

    def stop(more: int) -> None:
        done.append(more)
        if len(done) == 7:
            raise KeyboardInterrupt

    with Pool(1) as pool:
        with pytest.raises(KeyboardInterrupt):
            rewrite.write(made_up(12), KNOWN, pool, tmp_path / "made", {}, stop)
        with pytest.raises(SimstudentError):
            list(dataset.trajectories(tmp_path / "made"))
        kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "made").glob("part-*.parquet")}
        assert len(kept) >= 1
        log = made_up(12)
        changed = [*log[:1], Trajectory("s1", "a", (Submission("pass", grade=0.0),)), *log[2:]]
        agreement = rewrite.write(changed, KNOWN, pool, tmp_path / "made", {})
        fresh = rewrite.write(changed, KNOWN, pool, tmp_path / "fresh", {})
    assert agreement == fresh
    assert list(dataset.trajectories(tmp_path / "made")) == list(dataset.trajectories(tmp_path / "fresh"))


KILLED = """
import sys
from pathlib import Path
from tests.data.test_rewrite import KNOWN, made_up, rewrite
from graders import Pool
from graders.cache import GradeCache
rewrite.PART_BYTES = 20_000
if __name__ == "__main__":
    with Pool(2, cache=GradeCache(sys.argv[2])) as pool:
        rewrite.write(made_up(400), KNOWN, pool, Path(sys.argv[1]), {})
"""


@pytest.mark.slow
def test_a_regrading_killed_at_any_moment_goes_on_to_the_same_dataset(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    root = Path(__file__).parent.parent.parent

    def command(folder: str, cache: str) -> list[str]:
        return [sys.executable, str(script), str(tmp_path / folder), str(tmp_path / cache)]

    started = time.monotonic()
    environment = {"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"}
    subprocess.run(command("whole", "cache-1"), check=True, env=environment)
    took = time.monotonic() - started
    draw = random.Random(3)
    for _ in range(6):
        process = subprocess.Popen(command("made", "cache-2"), env=environment)
        time.sleep(draw.uniform(0.3, 0.7) * took)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (tmp_path / "made" / "dataset.json").exists():
            break
        with pytest.raises(SimstudentError):
            list(dataset.trajectories(tmp_path / "made"))
    if not (tmp_path / "made" / "dataset.json").exists():
        subprocess.run(command("made", "cache-2"), check=True, env=environment)
    made, whole = tmp_path / "made", tmp_path / "whole"
    assert list(dataset.trajectories(made)) == list(dataset.trajectories(whole))
    lists = [[Disagreement.from_dict(line) for line in read_lines(f / rewrite.LISTED)] for f in (made, whole)]
    assert lists[0] == lists[1]  # but for the CPU seconds that were measured
    assert lists[0]
    assert json.loads((made / "dataset.json").read_bytes()) == json.loads((whole / "dataset.json").read_bytes())
