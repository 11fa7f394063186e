"""What agreement with the log means, where it holds grades and where it holds verdicts."""

from __future__ import annotations

import pytest

from graders import FunctionTest, Pool, Problem
from simstudent.data.records import Assignment, Submission, Trajectory
from simstudent.data.regrade import disagreements, regrade
from simstudent.data.rewrite import Agreement, Shown, compare

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
