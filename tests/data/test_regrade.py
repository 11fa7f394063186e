"""What agreement with the log means, where it holds grades and where it holds verdicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from graders import FunctionTest, Pool, Problem
from simstudent.data.records import Assignment, Submission, Trajectory
from simstudent.data.regrade import disagreements, open_pool, regrade
from simstudent.data.rewrite import Agreement, Shown, compare
from simstudent.recipe import GraderSection

TASK = Assignment(
    "a", "Write f.", "python", Problem("a", (FunctionTest("(1,)", "1"), FunctionTest("(2,)", "4")), entry="f")
)
HALF, WHOLE = "def f(x):\n    return x\n", "def f(x):\n    return x * x\n"


@pytest.mark.parametrize(("logged", "same", "verdicts"), [((0.0, 1.0), 2, True), ((0.0, 0.5), 0, False)])
def test_a_log_of_verdicts_is_compared_by_verdict(logged: tuple[float, float], same: int, verdicts: bool) -> None:
    trajectory = Trajectory("s", "a", (Submission(HALF, grade=logged[0]), Submission(WHOLE, grade=logged[1])))
    agreement, shown = Agreement(), Shown(9)
    with Pool(1) as pool:
        (made,) = compare([trajectory], {"a": TASK}, pool, agreement, shown.add)
        grades = regrade([trajectory], {"a": TASK}, pool)
    assert [s.grade for s in made.submissions] == [0.5, 1.0]
    assert agreement.verdicts == verdicts
    assert agreement.share == same / 2
    assert len(shown.verdicts if verdicts else shown.grades) == len(disagreements([trajectory], grades)) == 2 - same


@pytest.mark.parametrize("there", ["a file in place of the folder", "another kind of file"])
def test_a_cache_that_cannot_be_used_does_not_stop_grading(
    there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMSTUDENT_CACHE", str(tmp_path / "cache"))
    if there == "another kind of file":
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "grades.sqlite").write_text("no database\n" * 100)
    else:
        (tmp_path / "cache").write_text("")
    with pytest.warns(UserWarning, match=r"grades\.sqlite: no cache of grades"):
        pool = open_pool(GraderSection(workers=1))
    with pool:
        assert TASK.problem is not None
        assert pool.grade(HALF, TASK.problem).score == 0.5
