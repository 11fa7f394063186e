"""The ITAP tutor's submissions, graded again: against the tutor's own verdicts, and against another grader's grades.

The data are not part of this repository; see the folder's own README for where they come from.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from graders import FunctionTest, Problem, grade_many, outcomes

DATA = Path(__file__).parents[3] / "shared" / "data" / "itap_csedm2019"


def _table(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="the ITAP data are not here")
def test_agrees_with_the_tutor_and_with_another_grader() -> None:
    problems = {}
    for line in (DATA / "extra" / "exercises.jsonl").read_text(encoding="utf-8").splitlines():
        raw = json.loads(line)
        tests = tuple(FunctionTest(t["args"], t["expected"]) for t in raw["tests"])
        name = raw["exercise_id"]
        # Types must match: the tutor's own grader tells 1 from 1.0, and so did the one that made the grades.
        problems[name] = Problem(name, tests, entry=raw["function"], cpu_seconds=0.2, strict=True)
    codes = {row["CodeStateID"]: row["Code"] for row in _table("CodeStates/CodeState.csv")}
    known = {row["EventID"]: row for row in _table("extra/grades.csv") if row["Grade"]}
    events = [row for row in _table("MainTable.csv") if row["EventID"] in known and row["ProblemID"] in problems]
    # Some states end in a stray backslash, left by the export.
    programs = [codes[row["CodeStateID"]].rstrip().removesuffix("\\") for row in events]
    grades = grade_many((code, problems[row["ProblemID"]]) for code, row in zip(programs, events, strict=True))
    verdicts, regraded = [], []
    for event, grade in zip(events, grades, strict=True):
        other = known[event["EventID"]]
        line = f"{event['ProblemID']}: {grade.status} {outcomes(grade)}, {event['Correct']}, {other['TestMask']}"
        if (grade.score == 1) != (event["Correct"] == "TRUE"):
            verdicts.append(line)
        if abs(grade.score - float(other["Grade"])) >= 1e-3:
            regraded.append(line)
    print(f"{len(verdicts)} of {len(events)} verdicts differ, {len(regraded)} grades", *verdicts, *regraded, sep="\n")
    assert len(verdicts) <= 0.01 * len(events), "\n".join(verdicts)
    assert len(regraded) <= 0.01 * len(events), "\n".join(regraded)
