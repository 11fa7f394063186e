"""Tutoring transcripts: programs with talk in between. The sample is made up."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from simstudent.data.load import open_log
from simstudent.data.privacy import PrivacySection
from simstudent.data.records import Corpus, Talk
from simstudent.data.rows import Skips
from simstudent.data.sources.tutoring import TutoringColumns, TutoringSource, of_asserts
from simstudent.errors import SimstudentError

SAMPLE = Path(__file__).parent / "samples" / "tutoring.jsonl"
SOCRATIC = Path(__file__).parents[3] / "shared" / "data" / "socratic_debugging" / "dialogues.jsonl"
ROWS: list[dict[str, Any]] = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]


def read(path: Path, columns: dict[str, Any] | None = None, **options: Any) -> tuple[Corpus, Skips]:
    made = TutoringColumns(**(columns or {"grade": "grade", "final_grade": "final"}))
    source = TutoringSource(kind="tutoring", dialogues=path, columns=made, **options)
    log = open_log(source, PrivacySection(ids="keep"))
    return Corpus(log.assignments, tuple(log.trajectories)), log.skips


def test_talk_stands_between_programs() -> None:
    corpus, skips = read(SAMPLE)
    first, second = corpus.trajectories[0].submissions
    assert [t.text for t in first.talk] == ["double(3) is 9. Why?", "Which operator did you use?", "Oh, plus!"]
    assert [t.role for t in first.talk] == ["student", "tutor", "student"]
    assert second.talk == (Talk("tutor", "Well done."),)
    assert (first.grade, second.grade, second.code) == (0.5, 1.0, "def double(n):\n    return n + n\n")
    assert skips.notes["assignments without tests, or with some that the graders cannot run"] == 1


def test_talk_before_any_program_follows_an_empty_one() -> None:
    corpus, _ = read(SAMPLE)
    empty, broken, last = corpus.trajectories[1].submissions
    assert (empty.code, empty.kind, [t.text for t in empty.talk]) == ("", "hint", ["How do I begin?", "With def."])
    assert (broken.code, last.code) == ("def double(n)", "def double(n):\n    return 2 * n\n")


def test_an_id_with_two_tasks_is_two_assignments() -> None:
    corpus, _ = read(SAMPLE)
    *named, bare = [t.assignment for t in corpus.trajectories]
    assert named == ["double", "double", "double-2"]
    assert re.fullmatch("task-[0-9a-f]{8}", bare)  # made of the statement
    assert [len(corpus.assignments[n].problem.tests) for n in ("double", "double-2")] == [2, 1]  # type: ignore[union-attr]
    assert corpus.assignments[bare].problem is None


def test_written_dialogues_are_marked() -> None:
    corpus, skips = read(SAMPLE, logged=False)
    assert all(s.more == {"logged": False} for t in corpus.trajectories for s in t.submissions)
    assert skips.notes["dialogues that were written, not logged from students"] == 4


ASSERTS = [
    ("assert f(1, -2) == 'x'", 1),
    ("assert f([1]) is None\n\nassert f({'a': 1}) == (1,)", 2),
    ("assert f(1) == 1\nassert g(1) == 1", None),
    ("x = 1\nassert f(x) == 1", None),
    ("assert f(1) != 1", None),
    ("assert f(n=1) == 1", None),
    ("assert f(", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "count"), ASSERTS)
def test_asserts_become_tests_when_all_of_them_do(text: str, count: int | None) -> None:
    problem = of_asserts(text)
    assert (None if problem is None else len(problem.tests)) == count


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"student": None}, "'student' is missing"),
    ({"statement": ""}, "'statement' is missing"),
    ({"turns": "hello"}, "'turns' should be a list of turns"),
    ({"turns": []}, "'turns' should be a list of turns"),
    ({"turns": [{"role": "parrot", "text": "x"}]}, "turn 1: 'role' is 'parrot', not one of student, user"),
    ({"turns": [{"role": "student"}]}, "turn 1: no column 'text'"),
    ({"turns": [{"role": "student", "text": "x", "program": [3, ["y"]]}]}, "'program' should be text, not list"),
    ({"program": "", "turns": [{"role": "student", "text": "x"}]}, "there is no program in the dialogue"),
    ({"program": "a\x00b"}, "'program' holds NUL bytes"),
    ({"grade": 3}, "outside 0 to 1"),
    (
        {"tests": [{"args": "1", "expected": "2"}], "entry": "f"},
        "'tests': problem 'task', test 1: 'args' must be a tuple",
    ),
]


@pytest.mark.parametrize(("change", "reason"), BROKEN)
def test_a_broken_dialogue_stops_or_is_counted(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (ROWS[1], ROWS[0] | change)), encoding="utf-8")
    with pytest.raises(SimstudentError) as caught:
        read(path)
    assert "log.jsonl, line 2: " in str(caught.value)
    assert reason in str(caught.value)
    corpus, skips = read(path, on_bad_row="skip")
    assert (len(corpus.trajectories), len(skips)) == (1, 1)


def benchmark(folder: Path, **options: Any) -> tuple[Corpus, Skips]:
    columns = {
        "student": "dialogue_id",
        "assignment": "problem_id",
        "statement": "problem",
        "program": "buggy_code",
        "tests": "unit_tests",
        "turn_program": "code_states",
        "more": ["bug_id"],
    }
    return read(folder, columns, **options)


def test_text_files_of_the_benchmark() -> None:
    corpus, _ = benchmark(SAMPLE.parent / "socratic")
    (found,) = corpus.trajectories
    assert found.key == "7_12_double_socratic_dialogue/7"
    first, second = found.submissions
    assert [(t.role, t.text) for t in first.talk] == [
        ("student", "double(3) is 9.\nIt should be 6."),
        ("tutor", "What does line 3 do?"),
        ("student", "It squares! I see."),
    ]
    assert first.code.splitlines()[8:] == ["    # now it is doubled", "    return result"]  # numbers not aligned
    assert second.code.splitlines()[8:] == ["    else:", "        result = 0", "    return result"]  # aligned
    assert first.more == {"bug_id": "12"}
    assert corpus.assignments["7"].problem is not None


def test_damaged_text_files(tmp_path: Path) -> None:
    text = (SAMPLE.parent / "socratic" / "7_12_double_socratic_dialogue.txt").read_text(encoding="utf-8")
    (tmp_path / "copies").mkdir()
    (tmp_path / "1_1_a.txt").write_text(text)
    (tmp_path / "copies" / "1_1_a.txt").write_text(text)
    assert len(benchmark(tmp_path)[0].trajectories) == 1
    (tmp_path / "copies" / "1_1_a.txt").write_text(text + "\n")
    (tmp_path / "2_2_b.txt").write_text(text.replace("problem>", "task>"))
    (tmp_path / "3_3_c.txt").write_bytes("<problem>é".encode("latin-1"))
    _, skips = benchmark(tmp_path, on_bad_row="skip")
    assert skips.examples == [
        "1_1_a.txt: another dialogue has the same name",
        "2_2_b.txt: no <problem> in the file",
        "3_3_c.txt: not UTF-8 text (byte 9)",
    ]


def test_dialogues_without_tests_can_be_left_out() -> None:
    corpus, skips = read(SAMPLE, untested="drop")
    assert len(corpus.trajectories) == 3
    assert skips.notes["dialogues about assignments without tests left out (data.source.untested)"] == 1


@pytest.mark.skipif(not SOCRATIC.exists(), reason="the Socratic debugging dialogues are not here")
def test_the_real_dialogues() -> None:
    columns = {
        "student": "dialogue_id",
        "assignment": "problem_id",
        "statement": "problem",
        "program": "buggy_code",
        "tests": "unit_tests",
        "grade": "buggy_grade",
        "final_grade": "final_code_grade",
        "turn_program": "code_states",
    }
    corpus, _ = read(SOCRATIC, columns)
    assert len(corpus.trajectories) == 151
    assert sum(len(s.talk) for t in corpus.trajectories for s in t.submissions) == 1929
    assert sum(t.outcome == "solved" for t in corpus.trajectories) == 135
    assert sum(a.problem is not None for a in corpus.assignments.values()) == 41
