"""Synthetic classes: who does what, when they stop, what is written, and that our own sources read it back."""

from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path
from typing import Any

import pytest

from graders import FunctionTest, Grade, Pool, Problem
from simstudent.cli import main
from simstudent.data.load import read
from simstudent.data.privacy import PrivacySection
from simstudent.data.progsnap2_write import Event, write_progsnap2
from simstudent.data.records import Assignment, Submission, Trajectory
from simstudent.data.sources.progsnap2 import ProgSnap2Source
from simstudent.data.sources.table import TableSource
from simstudent.recipe import DialogueSection
from simstudent.rollout.class_files import write_class
from simstudent.rollout.engine import EngineError
from simstudent.rollout.habits import going_on, habits
from simstudent.rollout.simulate import Past, Reply, Start
from simstudent.rollout.whole import Attempt, Work, work_through

PROBLEM = Problem("double", tuple(FunctionTest(f"({n},)", str(2 * n)) for n in (1, 2)), entry="double")
ASSIGNMENT = Assignment("double", "Return twice the number.", problem=PROBLEM)
HALF, RIGHT = "def double(n):\n    return 2\n", "def double(n):\n    return 2 * n\n"
GENERATED = {"by": "simstudent 0", "model": "m", "method": "sft", "run": "r", "seed": 1, "date": "2026-11-25"}


@pytest.fixture(scope="module")
def pool() -> Any:
    with Pool(1) as made:
        yield made


def work(pool: Pool, answers: list[Reply | None], most: int = 9, **look: Any) -> tuple[Work, list[Past]]:
    """What becomes of a student who answers so; None: the engine fails."""
    seen: list[Past] = []

    async def student(start: Start, past: Past, k: int) -> Reply:
        seen.append(past)
        reply = answers[len(seen) - 1]
        if reply is None:
            raise EngineError("gone")
        return reply

    async def grade(code: str | None, assignment: Assignment) -> Grade:
        return await pool.grade_async(code, PROBLEM)

    start = Start(Trajectory("sim-0001", "double", ()), ASSIGNMENT, (), 0)
    clock = (lambda k: f"2026-01-01T10:0{k}:00") if look.get("time_header") else (lambda k: None)
    done = asyncio.run(work_through(start, student, grade, most=most, clock=clock, look=DialogueSection(**look)))
    return done, seen


def test_it_ends_with_full_marks(pool: Pool) -> None:
    done, seen = work(pool, [Reply(HALF), Reply(None, "no idea"), Reply(RIGHT)])
    assert [(a.grade, a.status, a.tests) for a in done.attempts] == [
        (0.5, "graded", "PW"),
        (0.0, "no_code", "--"),
        (1.0, "graded", "PP"),
    ]
    assert (done.end, done.attempts[1].code) == ("solved", "no idea")
    assert [len(past.turns) for past in seen] == [0, 1, 2]
    assert "1 of 2 tests passed" in str(seen[1].turns[0].reaction)
    assert Work.from_dict(json.loads(json.dumps(done.to_dict()))) == done


def test_giving_up_and_patience_end_it_and_failures_are_nobodys(pool: Pool) -> None:
    gone, _ = work(pool, [Reply(HALF), Reply(None, "I give up.", gives_up=True)])
    assert (gone.end, len(gone.attempts)) == ("gave_up", 1)
    tired, _ = work(pool, [Reply(HALF)] * 3, most=3)
    assert (tired.end, len(tired.attempts)) == ("patience", 3)
    failed, _ = work(pool, [Reply(HALF), None])
    assert (failed.end, failed.error, len(failed.attempts)) == ("error", "EngineError: gone", 1)


def test_feedback_and_times_are_as_the_dialogue_says(pool: Pool) -> None:
    _, seen = work(pool, [Reply(HALF), Reply(RIGHT)], feedback="none")
    assert seen[1].turns[0].reaction == "Submission received."
    _, seen = work(pool, [Reply(HALF), Reply(RIGHT)], feedback="summary", time_header="elapsed")
    assert (seen[0].header, seen[1].header) == ("", "\n\n[60 s later]")
    assert "returned" not in str(seen[1].turns[0].reaction)


def test_patience_is_kaplan_and_meiers() -> None:
    # Of five: one leaves after 1, one succeeds at 2, one leaves after 2, two leave after 3.
    ends = [(1, True), (2, False), (2, True), (3, True), (3, True)]
    assert going_on(ends) == pytest.approx([4 / 5, 4 / 5 * 3 / 4, 0])
    assert going_on([(2, False)]) == [1, 1]
    assert going_on([]) == []


def trajectory(student: str, assignment: str, day: int, *grades: float) -> tuple[Trajectory, tuple[Grade, ...]]:
    subs = tuple(Submission(f"x = {n}", f"2026-01-0{day}T10:{10 * n:02}:00") for n in range(len(grades)))
    return Trajectory(student, assignment, subs), tuple(Grade(g, "graded") for g in grades)


def test_habits_are_those_of_training() -> None:
    made = [
        trajectory("a", "late", 2, 0, 1),
        trajectory("a", "early", 1, 0, 0, 0),
        trajectory("b", "early", 1, 0, 0),
        trajectory("c", "early", 1, 1),
    ]
    known = habits([t for t, _ in made], {t.key: g for t, g in made})
    assert list(known.shares.items()) == [("early", 1.0), ("late", pytest.approx(1 / 3))]
    assert known.longest == 3
    drawn = [known.most(1, f"s{n}", "early") for n in range(400)]
    assert set(drawn) == {2, 3}
    assert 0.2 < drawn.count(2) / 400 < 0.5  # Kaplan and Meier: one of three leaves after 2
    assert drawn[:9] == [known.most(1, f"s{n}", "early") for n in range(9)]
    clock = known.clock(1, "s", "late")
    assert [clock(k) for k in (1, 2, 3)] == [f"2026-01-02T10:{m}0:00" for m in (0, 1, 2)]


def some_works() -> list[Work]:
    def attempt(code: str, grade: float, **more: Any) -> Attempt:
        return Attempt(code, grade, "graded", "PW", 'told,\n"so"', **more)

    return [
        Work("sim-0001", "double", (attempt(HALF, 0.5), attempt("# é,\n" + RIGHT, 1.0)), "solved", 4),
        Work("sim-0002", "double", (attempt(HALF, 0.5, said=("why?",)), attempt('a = "\r\n\0"', 0.0)), "gave_up", 9),
        Work("sim-0003", "double", (), "error", 2, "EngineError: gone"),
        Work("sim-0004", "double", (), "gave_up", 2),
    ]


def test_both_formats_come_back_through_our_own_sources(tmp_path: Path) -> None:
    works = some_works()
    write_class(tmp_path, works, {"double": ASSIGNMENT}, GENERATED)
    progsnap2 = ProgSnap2Source(
        kind="progsnap2",
        folder=tmp_path / "progsnap2",
        assignments=tmp_path / "assignments.jsonl",
        feedback=("X-Feedback",),
    )
    columns = {"order": "attempt", "grade": "grade", "feedback": "feedback"}
    table = TableSource(
        kind="table",
        submissions=tmp_path / "submissions.jsonl",
        assignments=tmp_path / "assignments.jsonl",
        columns=columns,  # type: ignore[arg-type]
    )
    for source in (progsnap2, table):
        corpus = read(source, PrivacySection(ids="keep"))
        assert [t.key for t in corpus.trajectories] == ["sim-0001/double", "sim-0002/double"]
        assert [t.outcome for t in corpus.trajectories] == ["solved", "abandoned"]
        first, second = corpus.trajectories
        assert [(s.code, s.grade, s.feedback) for s in first.submissions] == [
            (HALF, 0.5, 'told,\n"so"'),
            ("# é,\n" + RIGHT, 1.0, 'told,\n"so"'),
        ]
        assert second.submissions[1].code == 'a = "\n\ufffd"'
        problem = corpus.assignments["double"].problem
        assert problem is not None
        assert (problem.tests, problem.entry) == (PROBLEM.tests, PROBLEM.entry)


def test_every_row_says_that_it_is_generated(tmp_path: Path) -> None:
    write_class(tmp_path, some_works(), {"double": ASSIGNMENT}, GENERATED)
    with (tmp_path / "progsnap2" / "MainTable.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(r["EventType"], r["SubjectID"], r["Order"]) for r in rows] == [
        ("Submit", "sim-0001", "1"),
        ("Submit", "sim-0001", "2"),
        ("Submit", "sim-0002", "3"),
        ("Submit", "sim-0002", "4"),
        ("X-GiveUp", "sim-0002", "5"),
        ("X-GiveUp", "sim-0004", "6"),
    ]
    for row in rows:
        marks = {name: row[f"X-Generated{name.capitalize()}"] for name in GENERATED}
        assert marks == {name: str(value) for name, value in GENERATED.items()}
    assert rows[0]["CodeStateID"] == rows[2]["CodeStateID"] != rows[1]["CodeStateID"]
    lines = [json.loads(line) for line in (tmp_path / "submissions.jsonl").read_text().splitlines()]
    assert all(line["generated"] == GENERATED for line in lines)
    said = (tmp_path / "progsnap2" / "DatasetMetadata.csv").read_text()
    assert "No student wrote any of this" in said
    assert "EventOrderScope,Restricted" in said
    readme = (tmp_path / "README.md").read_text()
    assert "3 artificial students, 3 trajectories, 4 submissions" in readme
    assert "failed: 1" in readme
    write_class(tmp_path, some_works(), {"double": ASSIGNMENT}, GENERATED | {"model": "none"})
    assert "programs are students' data" in (tmp_path / "README.md").read_text()


def test_a_dataset_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write_progsnap2(folder, [Event("Submit", "s", "p", "x = 1")], "t", {})

    def broken() -> Any:
        yield Event("Submit", "s", "p", "x = 2")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_progsnap2(folder, broken(), "t", {})
    assert "x = 1" in (folder / "CodeStates" / "CodeStates.csv").read_text()
    write_progsnap2(folder, [Event("Submit", "s", "p", "x = 3", time="2026-01-01T00:00:00")], "t", {})
    assert "x = 3" in (folder / "CodeStates" / "CodeStates.csv").read_text()
    assert "ServerTimestamp" in (folder / "MainTable.csv").read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


RECIPE = """
name: cls
model: {id: nobody/nothing}
data:
  source: {kind: course}
rollout: {methods: [repeat-last], temperature: 0.7}
"""


def test_a_class_is_made_resumed_and_the_same_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    command = ["simulate", str(tmp_path / "r.yaml"), "--method", "nearest", "--students", "6"]
    command += ["--runs", str(tmp_path / "runs"), "--to"]
    once, twice = tmp_path / "one", tmp_path / "two"
    assert main([*command, str(once)]) == 0
    works = [json.loads(line) for line in (once / "works.jsonl").read_text().splitlines()]
    assert {w["student"] for w in works} == {f"sim-000{n}" for n in range(1, 7)}
    assert len({w["key"] for w in works}) == len(works)

    # Killed in the middle: the last line is half, one has failed, nothing else is there.
    twice.mkdir()
    (twice / "settings.json").write_bytes((once / "settings.json").read_bytes())
    lines = (once / "works.jsonl").read_bytes().splitlines(keepends=True)
    failed = json.dumps(json.loads(lines[7]) | {"error": "EngineError: gone", "end": "error"}).encode() + b"\n"
    (twice / "works.jsonl").write_bytes(b"".join([*lines[:5], failed, lines[6][:40]]))
    assert main([*command, str(twice)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main([*command, str(twice), "--resume"]) == 0
    for name in ("submissions.jsonl", "README.md", "progsnap2/MainTable.csv", "progsnap2/CodeStates/CodeStates.csv"):
        assert (twice / name).read_bytes() == (once / name).read_bytes()
    assert main([*command, str(twice), "--resume", "--seed", "2"]) == 2
    assert "seed: 1 -> 2" in capsys.readouterr().err


def test_a_class_of_failures_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(start: Start, past: Past, k: int) -> Reply:
        raise EngineError("no server")

    monkeypatch.setattr("simstudent.rollout.synthetic.baseline", lambda *_: gone)
    (tmp_path / "r.yaml").write_text(RECIPE)
    command = ["simulate", str(tmp_path / "r.yaml"), "--method", "random", "--students", "2"]
    assert main([*command, "--runs", str(tmp_path / "runs"), "--to", str(tmp_path / "c")]) == 2
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["settings.json", "works.jsonl"]


def test_everybody_does_the_assignments_that_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    command = ["simulate", str(tmp_path / "r.yaml"), "--students", "3", "--runs", str(tmp_path / "runs")]
    command += ["--to", str(tmp_path / "c"), "--assignments"]
    assert main([*command, "nowhere", "--method", "random"]) == 2
    known = capsys.readouterr().err.split("it has ")[1].split(",")[0]
    assert main([*command, known, "--method", "random"]) == 0
    works = [json.loads(line) for line in (tmp_path / "c" / "works.jsonl").read_text().splitlines()]
    assert [w["key"] for w in sorted(works, key=lambda w: str(w["key"]))] == [f"sim-000{n}/{known}" for n in (1, 2, 3)]
    assert main([*command[:-3], "--to", str(tmp_path / "m"), "--method", "random", "--most", "1"]) == 0
    short = [json.loads(line) for line in (tmp_path / "m" / "works.jsonl").read_text().splitlines()]
    assert {len(w["attempts"]) for w in short} == {1}
    assert {w["end"] for w in short} == {"solved", "patience"}
    assert main([*command[:-3], "--to", str(tmp_path / "d"), "--method", "oracle"]) == 2
    assert "plays no whole trajectories" in capsys.readouterr().err
    assert main([*command[:-3], "--to", str(tmp_path / "d"), "--method", "base", "--temperature", "0"]) == 2
    assert "all artificial students would be the same" in capsys.readouterr().err
