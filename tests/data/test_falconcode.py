"""FalconCode's three forms: the hub's table streamed, files with its columns, the tables of the original release."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import simstudent.data.samples.falconcode
from graders import Pool
from simstudent.data import importing
from simstudent.data.dataset import trajectories
from simstudent.data.load import Log, open_log
from simstudent.data.privacy import PrivacySection
from simstudent.data.records import Trajectory
from simstudent.data.rewrite import Agreement, compare
from simstudent.data.sources.falconcode import FalconCodeSource, FalconColumns
from simstudent.errors import SimstudentError

SAMPLE = Path(simstudent.data.samples.falconcode.__file__).parent
SCRIPT = "import autograder\ndef test_passed():\n    return 100\n"
ROW: dict[str, Any] = {
    "problem_id": "lab1_sum",
    "course_id": 2,
    "prompt": "Add.",
    "source_code": "print(1)\r\n",
    "student_id": "s1",
    "score": 50.0,
    "timestamp": "2021-02-01 10:00:00",
    "testcase": SCRIPT,
    "type": "Lab",
    "exam": 0,
    "redacted": 0,
    "max_score": 100,
}


def source(**options: Any) -> FalconCodeSource:
    return FalconCodeSource(kind="falconcode", **options)


def jsonl(folder: Path, *rows: Any) -> Path:
    path = folder / "log.jsonl"
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
    return path


def opened(made: FalconCodeSource) -> tuple[Log, tuple[Trajectory, ...]]:
    log = open_log(made, PrivacySection(ids="keep"))
    return log, tuple(log.trajectories)


def test_a_row_becomes_a_submission_with_the_courses_own_grader(tmp_path: Path) -> None:
    later = {**ROW, "score": 100, "timestamp": "2021-02-01 11:00:00"}
    alone = {**ROW, "score": -1, "timestamp": "2021-02-01 09:00:00"}
    log, (t,) = opened(source(files=jsonl(tmp_path, later, ROW, alone)))
    assert [(s.kind, s.grade) for s in t.submissions] == [("run", None), ("submission", 0.5), ("submission", 1.0)]
    assert (t.key, t.outcome, t.submissions[0].code) == ("s1/lab1_sum", "solved", "print(1)\n")
    assert t.submissions[0].more == {
        "type": "lab",
        "course": "2",
        "term": "Spring 2021",
        "lesson": "lab1",
        "exam": False,
        "redacted": False,
    }
    problem = log.assignments["lab1_sum"].problem
    assert problem is not None
    assert (problem.id, problem.autograder, problem.max_points) == ("lab1_sum", SCRIPT, 100.0)


def test_the_sample_is_graded_as_its_log_says_and_equal_in_both_forms() -> None:
    hub, release = (dict(by_key(opened(made)[1])) for made in (source(files=SAMPLE / "hub"), of_release()))
    assert hub.keys() == release.keys()
    assert len({t.student for t in hub.values()}) >= 15
    assert all(plain(hub[key]) == plain(release[key]) for key in hub)
    assert {s.more["split"] for t in hub.values() for s in t.submissions} == {"train", "test"}
    log, held = opened(source(files=SAMPLE / "hub"))
    agreement = Agreement()
    with Pool(2) as pool:
        graded = list(compare(held[:6], log.assignments, pool, agreement))
    assert agreement.share == 1.0
    assert any("Error Occurred:" in (s.feedback or "") for t in graded for s in t.submissions)


def of_release() -> FalconCodeSource:
    pytest.importorskip("markdownify")
    return source(release=SAMPLE / "release")


def by_key(held: tuple[Trajectory, ...]) -> list[tuple[str, Trajectory]]:
    return [(t.key, t) for t in held]


def plain(t: Trajectory) -> list[tuple[Any, ...]]:
    return [(s.code, s.time, s.grade, s.kind, {k: v for k, v in s.more.items() if k != "split"}) for s in t.submissions]


def test_the_releases_statements_become_text() -> None:
    log, _ = opened(of_release())
    statement = log.assignments["lsn06_temperature"].statement
    assert "`Freezing`" in statement
    assert "```\nFahrenheit: 77.0\nNot freezing\n```" in statement


def test_a_table_of_the_hub_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    made = source(hub=str(SAMPLE / "hub"), config="default", splits=("train", "test"))
    held = by_key(opened(made)[1])
    assert dict(held) == dict(by_key(opened(source(files=SAMPLE / "hub"))[1]))
    folder = importing.run(made, PrivacySection(ids="keep"), tmp_path / "data", workers=1).folder
    assert {t.key for t in trajectories(folder)} == {key for key, _ in held}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"config": "none"}, "has no config 'none'; set data.source.config"),
        ({"config": "default", "splits": ("val",)}, "has no split 'val'; set data.source.splits"),
    ],
)
def test_a_wrong_name_in_a_hub_table_is_explained(
    options: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(SimstudentError, match=message):
        opened(source(hub=str(SAMPLE / "hub"), **options))


def test_what_keeps_from_the_hub_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def refuse(error: Exception) -> None:
        def load(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(datasets, "load_dataset", load)

    refuse(ConnectionError("Couldn't reach 'koutch/falcon_code' on the Hub (OfflineModeIsEnabled)"))
    with pytest.raises(SimstudentError, match=r"cannot be reached .*HF_HUB_OFFLINE.* data.source.files"):
        opened(source(hub="koutch/falcon_code"))
    refuse(datasets.exceptions.DatasetNotFoundError("Dataset 'koutch/falcon_code' is a gated dataset on the Hub."))
    with pytest.raises(SimstudentError, match=r"gated.*//huggingface.co/datasets/koutch/falcon_code.* hf auth login"):
        opened(source(hub="koutch/falcon_code"))
    refuse(datasets.exceptions.DatasetNotFoundError("Dataset 'koutch/falcon_cod' doesn't exist on the Hub"))
    with pytest.raises(SimstudentError, match="is that the right name"):
        opened(source(hub="koutch/falcon_cod"))


@pytest.mark.parametrize("places", [{}, {"hub": "a/b", "files": "x.csv"}])
def test_exactly_one_place_is_named(places: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="exactly one of hub, files and release"):
        source(**places)


BROKEN: list[tuple[Any, str]] = [
    ("{", "not valid JSON"),
    ({k: v for k, v in ROW.items() if k != "source_code"}, "no column 'source_code'"),
    ({**ROW, "problem_id": " "}, "'problem_id' is empty"),
    ({**ROW, "student_id": None}, "'student_id' is missing"),
    ({**ROW, "score": 101}, "outside 0 to 100"),
    ({**ROW, "score": -2}, "outside 0 to 100"),
    ({**ROW, "score": float("nan")}, "not a finite number"),
    ({**ROW, "timestamp": "yesterday"}, "'timestamp' is not a time"),
    ({**ROW, "exam": "maybe"}, "'exam' should be 0 or 1, not 'maybe'"),
    ({**ROW, "problem_id": "lab2", "prompt": None}, "'prompt' is missing"),
    ({**ROW, "problem_id": "lab2", "testcase": "def test_passed(:"}, "script does not compile"),
    ({**ROW, "problem_id": "lab2", "max_score": 0}, "'max_points' must be a positive number"),
    ({**ROW, "source_code": "a\x00"}, "NUL bytes"),
]


@pytest.mark.parametrize(("row", "reason"), BROKEN)
def test_a_broken_row_is_named_and_can_be_skipped(row: Any, reason: str, tmp_path: Path) -> None:
    path = jsonl(tmp_path, ROW, row)
    with pytest.raises(SimstudentError) as caught:
        opened(source(files=path))
    assert "log.jsonl, line 2: " in str(caught.value)
    assert reason in str(caught.value)
    log, held = opened(source(files=path, on_bad_row="skip"))
    assert len(held) == len(log.skips) == 1


def test_a_problem_that_changed_needs_an_assignment_for_each_course(tmp_path: Path) -> None:
    other = {**ROW, "course_id": 4, "testcase": SCRIPT.replace("100", "10"), "student_id": "s2"}
    path = jsonl(tmp_path, ROW, other)
    with pytest.raises(SimstudentError, match=r"line 2: assignment 'lab1_sum' has another .*per_course: true"):
        opened(source(files=path))
    log, held = opened(source(files=path, per_course=True))
    assert [t.key for t in held] == ["s1/lab1_sum@2", "s2/lab1_sum@4"]
    assert [t.submissions[0].more["lesson"] for t in held] == ["lab1@2", "lab1@4"]
    assert [a.problem.id for a in log.assignments.values() if a.problem] == ["lab1_sum", "lab1_sum"]


def test_a_problem_that_changed_is_found_across_parts_of_an_import_too(tmp_path: Path) -> None:
    for split, script in (("train", SCRIPT), ("test", SCRIPT.replace("100", "10"))):
        jsonl(tmp_path, {**ROW, "testcase": script}).rename(tmp_path / f"{split}-00000-of-00001.jsonl")
    with pytest.raises(SimstudentError, match="'lab1_sum' has another statement or other tests"):
        importing.run(source(files=tmp_path), PrivacySection(ids="keep"), tmp_path / "data", workers=1)


def test_a_script_that_only_some_rows_have_serves_all(tmp_path: Path) -> None:
    log, (t,) = opened(source(files=jsonl(tmp_path, {**ROW, "testcase": None}, ROW, {**ROW, "testcase": ""})))
    assert log.assignments[t.assignment].problem is not None
    assert len(t.submissions) == 3


def test_other_names_full_marks_and_further_columns(tmp_path: Path) -> None:
    row = {**ROW, "score": 5, "who": "s9", "concepts": ["loops"], "term": "Fall 1999", "lesson": 7}
    columns = FalconColumns(student="who", more=("concepts",))
    _, (t,) = opened(source(files=jsonl(tmp_path, row), columns=columns, score_max=10))
    more = t.submissions[0].more
    assert (t.student, t.submissions[0].grade, more["concepts"]) == ("s9", 0.5, ["loops"])
    assert (more["term"], more["lesson"]) == ("Fall 1999", "7")


def release(folder: Path, **changes: Any) -> Path:
    """The sample's release with one table changed: None removes it, a function maps its rows."""
    target = folder / "release"
    shutil.copytree(SAMPLE / "release", target)
    for name, change in changes.items():
        (path,) = target.glob(f"*{name}*")
        with path.open(newline="", encoding="utf-8") as file:
            table = list(csv.DictReader(file))
        path.unlink()
        if change is not None:
            table = [change(n, row) for n, row in enumerate(table)]
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(table[0]))
                writer.writeheader()
                writer.writerows(table)
    return target


def first(**values: str) -> Any:
    return lambda n, row: {**row, **values} if n == 0 else row


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runs": None}, r"no table fits '\*runs\*'"),
        ({"problems": None}, r"no table fits '\*problems\*'"),
        ({"code_samples": None}, r"no table fits '\*code_samples\*'"),
        ({"runs": first(code_hash="x")}, r"runs.csv, line 2: no program with the hash 'x'"),
        ({"runs": first(problem_id="lab0")}, r"line 2: problem 'lab0' of course '2' is not in the problems' table"),
        ({"runs": first(score="21")}, r"line 2: 'score' is outside 0 to 20"),
        ({"problems": first(prompt="")}, r"problems.csv, line \d+: 'prompt' is missing"),
        ({"problems": lambda n, row: {**row, "id": "x"}}, "problem 'x' of course '2' stands twice, differently"),
        ({"courses": first(year="")}, r"courses.csv, line 2: 'year' is missing"),
        ({"code_samples": first(source_code="\x00")}, r"code_samples.csv, line \d+: 'source_code' holds NUL"),
    ],
)
def test_a_damaged_release_is_explained(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    pytest.importorskip("markdownify")
    with pytest.raises(SimstudentError, match=message):
        opened(source(release=release(tmp_path, **changes)))


def test_without_a_courses_table_the_recipe_knows_the_terms(tmp_path: Path) -> None:
    pytest.importorskip("markdownify")
    _, held = opened(source(release=release(tmp_path, courses=None)))
    assert {s.more["term"] for t in held for s in t.submissions} == {"Spring 2021", "Spring 2022"}
