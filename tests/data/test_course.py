"""The made-up course: what is packaged is what the generator writes, and what its README says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from importlib.resources import files
from itertools import pairwise

import pytest

from graders import Grade, Pool
from simstudent.data import course
from simstudent.data.course import generate
from simstudent.data.course.exercises import read
from simstudent.data.course.mistakes import KINDS, candidates
from simstudent.data.course.text import rename
from simstudent.data.records import Corpus, Submission


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return course.load()


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool() as pool:
        yield pool


def packaged(name: str) -> list[str]:
    return files(course).joinpath(name).read_text(encoding="utf-8").splitlines()


def submissions(corpus: Corpus) -> list[tuple[str, Submission]]:
    return [(t.assignment, s) for t in corpus.trajectories for s in t.submissions]


def regrade(pool: Pool, corpus: Corpus, chosen: list[tuple[str, Submission]]) -> list[Grade]:
    return list(pool.grade_many((s.code, corpus.assignments[name].problem) for name, s in chosen))  # type: ignore[misc]


def test_it_says_that_it_is_made_up(corpus: Corpus) -> None:
    assert {t.source for t in corpus.trajectories} == {"made-up course"}
    assert all(re.fullmatch(r"made-up-\d{3}", student) for student in corpus.students)
    assert all(set(json.loads(line)) == set(generate.Row.__slots__) for line in packaged("submissions.jsonl"))
    assert "Nobody wrote these submissions." in "\n".join(packaged("README.md"))


def test_trajectories_are_in_order_and_stop_at_the_first_full_grade(corpus: Corpus) -> None:
    place = list(corpus.assignments)
    keys = [(t.student, place.index(t.assignment)) for t in corpus.trajectories]
    assert keys == sorted(set(keys))
    for trajectory in corpus.trajectories:
        full = [s.grade == 1.0 for s in trajectory.submissions]
        assert True not in full[:-1]
        assert trajectory.outcome == ("solved" if full[-1] else "abandoned")


def test_a_student_hands_in_one_thing_at_a_time(corpus: Corpus) -> None:
    for student in corpus.students:
        times = [s.time for t in corpus.trajectories if t.student == student for s in t.submissions]
        moments = [datetime.fromisoformat(time or "") for time in times]
        assert moments == sorted(set(moments))
        assert {moment.year for moment in moments} == {2025}


def test_every_solution_gets_the_full_grade(pool: Pool) -> None:
    solved = [(s.code, e.problem()) for e in generate.EXERCISES for s in e.solutions()]
    assert {grade.score for grade in pool.grade_many(solved)} == {1.0}
    assert all(5 <= len(exercise.tests) <= 8 for exercise in generate.EXERCISES)


def test_the_packaged_assignments_are_the_generators(corpus: Corpus) -> None:
    assert packaged("assignments.jsonl") == list(generate.assignment_lines())
    assert len(corpus.assignments) >= 10


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_a_students_rows_come_out_the_same_under_any_hash_seed(hash_seed: str) -> None:
    script = (
        "from graders import Pool\n"
        "from simstudent.data.course.generate import submission_lines\n"
        "with Pool(1) as pool:\n"
        "    print(*submission_lines(pool.grade_many, [7, 31]), sep='\\n')\n"
    )
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONUTF8": "1"}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    mine = [line for line in packaged("submissions.jsonl") if re.search(r'"made-up-0(07|31)"', line)]
    assert run.stdout.splitlines() == mine


def test_a_sample_of_logged_grades_equals_a_fresh_regrade(corpus: Corpus, pool: Pool) -> None:
    chosen = submissions(corpus)[::23]
    assert [g.score for g in regrade(pool, corpus, chosen)] == [s.grade for _, s in chosen]


@pytest.mark.slow
def test_regenerating_gives_identical_bytes(pool: Pool) -> None:
    numbers = range(1, generate.STUDENTS + 1)
    assert list(generate.submission_lines(pool.grade_many, numbers)) == packaged("submissions.jsonl")


@pytest.mark.slow
def test_every_logged_grade_equals_a_fresh_regrade_and_mistakes_vary(corpus: Corpus, pool: Pool) -> None:
    logged = submissions(corpus)
    grades = regrade(pool, corpus, logged)
    assert [g.score for g in grades] == [s.grade for _, s in logged]
    seen = Counter(g.status for g in grades)
    ends = Counter(t.status for g in grades for t in g.tests)
    errors = {t.error for g in grades for t in g.tests if t.status == "error"}
    assert 0.05 < seen["syntax_error"] / len(grades) < 0.12
    assert seen["runtime_error"] > 20
    assert ends["wrong"] > ends["error"] > ends["timeout"] > 50
    assert {"NameError", "TypeError", "AttributeError", "KeyError", "IndexError", "UnboundLocalError"} <= errors


def test_the_readmes_counts_are_true(corpus: Corpus) -> None:
    claimed = dict(re.findall(r"^\| ([a-z0-9 -]+) \| (\d+) \|$", "\n".join(packaged("README.md")), re.MULTILINE))
    logs = [t.submissions for t in corpus.trajectories]
    counted = {
        "students": len(corpus.students),
        "assignments": len(corpus.assignments),
        "trajectories": len(logs),
        "submissions": sum(map(len, logs)),
        "longest trajectory": max(map(len, logs)),
        "solved in the end": sum(log[-1].grade == 1 for log in logs),
        "solved at the first submission": sum(log[0].grade == 1 for log in logs),
        "first submissions with grade 0": sum(log[0].grade == 0 for log in logs),
        "submissions that do not compile": sum(not compiles(s.code) for log in logs for s in log),
        "submissions equal to the one before": sum(a.code == b.code for log in logs for a, b in pairwise(log)),
    }
    assert {name: int(number) for name, number in claimed.items()} == counted


def compiles(code: str) -> bool:
    try:
        compile(code, "submission", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


def test_the_data_is_small() -> None:
    assert sum(len(entry.read_bytes()) for entry in files(course).iterdir() if entry.is_file()) < 1_500_000


def test_mark_up_gives_lines_and_misunderstandings() -> None:
    solution = read("\nfor i in a:\n#~ for i in range(a):\n    print(i)\n    #~ -\n    #~ print(a)\n")
    assert solution.lines == ("for i in a:", "    print(i)")
    assert solution.ideas == ((0, "for i in range(a):"), (1, None), (1, "    print(a)"))


def test_renaming_leaves_attributes_and_plain_text_alone() -> None:
    assert rename("word.count(count)  # count", {"count": "n"}) == "word.count(n)  # count"
    assert rename('print(f"count: {count}", "count")', {"count": "n"}) == 'print(f"count: {n}", "count")'


def test_every_kind_of_mistake_has_room_somewhere_and_changes_the_program() -> None:
    kinds = set()
    for exercise in generate.EXERCISES:
        for solution in exercise.solutions():
            lines = list(solution.lines)
            for mistake in candidates(lines, solution.ideas):
                assert tuple(lines[mistake.start : mistake.end]) != mistake.lines
                kinds.add(mistake.kind)
    assert kinds == set(KINDS)
