"""ProgFeed: rows become submissions to functions, autograders become tests. The sample is made up."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from simstudent.data.load import open_log
from simstudent.data.privacy import PrivacySection
from simstudent.data.records import Corpus, Talk
from simstudent.data.rows import Skips
from simstudent.data.sources.progfeed import ProgFeedSource
from simstudent.data.sources.progfeed_tests import cases
from simstudent.errors import SimstudentError

SAMPLE = Path(__file__).parent / "samples" / "progfeed"
REAL = Path(__file__).parents[3] / "shared" / "data" / "progfeed_sample"


def read(folder: Path, scrub: tuple[Any, ...] = (), **options: Any) -> tuple[Corpus, Skips]:
    source = ProgFeedSource(kind="progfeed", folder=folder, **options)
    log = open_log(source, PrivacySection(ids="keep", scrub=scrub))
    return Corpus(log.assignments, tuple(log.trajectories)), log.skips


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLE, tmp_path / "clone"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_each_graded_function_is_a_submission() -> None:
    corpus, skips = read(SAMPLE)
    found = {t.key: t for t in corpus.trajectories}
    assert list(found) == [
        "student_9001/pre-lab01.between",
        "student_9001/pre-lab01.mean",
        "student_9002/pre-lab01.hello.py",
        "student_9002/pre-lab01.mean",
    ]
    first, second = found["student_9001/pre-lab01.mean"].submissions
    assert [first.grade, second.grade] == pytest.approx([1 / 3, 1.0])
    assert first.feedback == "mean() test: 1 of 3 test cases passed"
    assert first.talk == (Talk("tutor", "What do you divide the sum by?"),)
    assert first.time == "2025-09-01T09:00:00"
    assert (first.more["exp_group"], first.more["testcase_mask"]) == ("1", "[0, 1, 0]")
    assert not {"student_id", "consented"} & set(first.more)
    whole = found["student_9002/pre-lab01.hello.py"].submissions[0]
    assert whole.grade == 0.25  # two tests of one file, by their points
    assert found["student_9002/pre-lab01.mean"].submissions[0].grade == 0.0  # no mask: all or nothing
    assert skips.notes["rows of students who did not consent"] == 1
    assert skips.notes["test cases of autograders that could not be read"] == 1
    assert skips.notes["assignments without tests"] == 1


def test_autograders_become_tests_where_they_compare_returned_values() -> None:
    found = cases(SAMPLE)
    assert sorted(found) == ["prelab01.between", "prelab01.mean"]  # not those that write files or ignore case
    mean = found["prelab01.mean"]
    assert [(t.args, t.expected) for t in mean.tests] == [
        ("([1, 2, 3],)", "2.0"),
        ("([0, 0],)", "0"),
        ("([10, 5],)", "7.5"),
    ]
    assert (mean.tolerance, mean.unread) == (0.005, 1)
    assert mean.statement == "Write a function mean that returns the average of a list of numbers."
    assert [t.args for t in found["prelab01.between"].tests] == ["(1, 2, 3)", "(1, 5, -3)"]


def test_feedback_of_the_language_model_and_whole_files_are_the_recipes_choice() -> None:
    corpus, _ = read(SAMPLE, ai_feedback="feedback")
    first = corpus.trajectories[1].submissions[0]
    assert first.feedback == "mean() test: 1 of 3 test cases passed\nWhat do you divide the sum by?"
    assert not first.talk
    corpus, skips = read(SAMPLE, program="file", on_bad_row="skip")
    assert corpus.trajectories[1].submissions[0].code.startswith("import math\n\n\ndef mean(xs):\n    return sum(xs)")
    assert len(skips) == 2  # student_9002's files are not in all_labs
    assert "no file 'numbers.py' of that submission in all_labs" in skips.examples[0]


def test_functions_of_the_same_file_that_are_called_come_along(copy: Path) -> None:
    table = copy / "all_submissions_consolidated.csv"
    edit(table, "    return low < x < high", "    return low < mean([x]) < high")
    corpus, _ = read(copy)
    called, alone = corpus.trajectories[0].submissions
    wrong = "def mean(xs):\n    return sum(xs)"
    assert called.code == f"{wrong}\n\n\ndef between(low, x, high):\n    return low < mean([x]) < high\n"
    assert "mean" not in alone.code
    assert corpus.trajectories[1].submissions[0].code == wrong + "\n"


def test_names_in_comments_are_scrubbed() -> None:
    corpus, _ = read(SAMPLE, scrub=("names",))
    assert "# Name: <name>" in corpus.trajectories[1].submissions[1].code


DAMAGE = [
    ('"[0, 1, 0]"', '"[0, 2, 0]"', "'testcase_mask' should be a list of 0 and 1"),
    ('"[0, 1, 0]"', '"0, 1"', "'testcase_mask' should be a list of 0 and 1"),
    ("mean() test,0,5,", "mean() test,9,5,", "'score' is '9', outside 0 to 5"),
    ("mean() test,0,5,", "mean() test,,5,", "'score' should be a number"),
    ("2025-09-01-09-00-00", "2025-09-01-25-00-00", "'submission_timestamp' is not a time"),
    ("student_9001,", ",", "'student_id' is missing"),
]


@pytest.mark.parametrize(("old", "new", "reason"), DAMAGE)
def test_damaged_rows_stop_or_are_counted(old: str, new: str, reason: str, copy: Path) -> None:
    edit(copy / "all_submissions_consolidated.csv", old, new)
    with pytest.raises(SimstudentError) as caught:
        read(copy)
    assert "all_submissions_consolidated.csv, line 2: " in str(caught.value)
    assert reason in str(caught.value)
    assert len(read(copy, on_bad_row="skip")[1]) == 1


def test_damaged_files_are_named(copy: Path) -> None:
    (copy / "tests_x.json").write_text('{"lab": {"f": [{"args": "(1,)"}]}}')
    with pytest.raises(SimstudentError, match=r"tests_x.json: not a table of tests"):
        read(copy)
    (copy / "tests_x.json").unlink()
    (copy / "autograders" / "preLab01_autograder" / "test.py").write_text("def (")
    with pytest.raises(SimstudentError, match=r"test.py: not a Python program"):
        read(copy)
    edit(copy / "all_submissions_consolidated.csv", "student_id", "student")
    with pytest.raises(SimstudentError, match="no column 'student_id'"):
        read(copy)
    (copy / "all_submissions_consolidated.csv").unlink()
    with pytest.raises(SimstudentError, match=r"set data\.source\.folder"):
        read(copy)


def test_a_file_outside_the_clone_is_not_read(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("secret")
    edit(copy / "all_submissions_consolidated.csv", ",numbers.py,", ",../../../../../secret.py,")
    corpus, skips = read(copy, program="file", on_bad_row="skip")
    assert "no file '../../../../../secret.py'" in skips.examples[0]
    assert "secret" not in str(corpus)


@pytest.mark.skipif(not REAL.exists(), reason="the ProgFeed sample is not here")
def test_the_real_rows() -> None:
    corpus, skips = read(REAL)
    assert (len(corpus.students), len(corpus.assignments), len(corpus.trajectories)) == (5, 2, 10)
    assert all(a.problem is not None and len(a.problem.tests) == 10 for a in corpus.assignments.values())
    grades = Counter(s.grade for t in corpus.trajectories for s in t.submissions)
    assert (sum(grades.values()), grades[1.0]) == (22, 16)
    assert not skips.notes
