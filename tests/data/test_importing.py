"""Imports: several processes, trajectories told in pieces, resuming, and what becomes of an import that was killed."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simstudent.data import dataset, importing, rows
from simstudent.data.load import open_log, read
from simstudent.data.privacy import PrivacySection
from simstudent.data.records import Trajectory
from simstudent.data.sources.corpora import CourseSource
from simstudent.data.sources.table import TableSource
from simstudent.errors import SimstudentError

KEEP = PrivacySection(ids="keep")


def made_up(count: int, seed: int = 1, code: int = 40) -> list[dict[str, Any]]:
    """Rows of a made-up log: 40 students, 7 assignments, in no order."""
    draw = random.Random(seed)
    return [
        {
            "student": f"s{draw.randrange(40)}",
            "assignment": f"a{draw.randrange(7)}",
            "code": f"x = {n}\n" + "#" * draw.randrange(code),
            "time": f"2025-01-{draw.randrange(1, 29):02}T10:00:{n % 60:02}",
            "grade": draw.random(),
        }
        for n in range(count)
    ]


def write(path: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, **options)
    elif path.suffix == ".csv":
        pa.csv.write_csv(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def table(path: Path, **more: Any) -> TableSource:
    raw = {"kind": "table", "submissions": str(path), "columns": {"time": "time", "grade": "grade"}, **more}
    return TableSource.model_validate(raw)


def imported(source: Any, folder: Path, privacy: PrivacySection = KEEP, **options: Any) -> list[Trajectory]:
    importing.run(source, privacy, folder, **options)
    return list(dataset.trajectories(folder))


def by_key(made: list[Trajectory]) -> dict[str, Trajectory]:
    assert len({t.key for t in made}) == len(made)
    return {t.key: t for t in made}


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a dataset with what it holds."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A folder of a log in three kinds of file, each trajectory spread over all of them."""
    import pyarrow.csv  # noqa: F401 - pa.csv

    folder, rows = tmp_path / "log", made_up(900)
    folder.mkdir()
    write(folder / "1.jsonl", rows[:300])
    write(folder / "2.parquet", rows[300:600], row_group_size=50)
    write(folder / "3.csv", rows[600:])
    return folder


def test_a_dataset_is_what_the_log_is_in_memory(log: Path, tmp_path: Path) -> None:
    made = by_key(imported(table(log), tmp_path / "made"))
    assert made == by_key(list(read(table(log), KEEP).trajectories))
    assert sum(len(t.submissions) for t in made.values()) == 900
    manifest = dataset.manifest(tmp_path / "made")
    assert (manifest["trajectories"], manifest["submissions"], manifest["assignments"]) == (len(made), 900, 7)
    assert not list((tmp_path / "made").rglob("*.partial"))
    assert not (tmp_path / "made" / dataset.STAGE).exists()


def test_units_of_a_file_lose_and_double_nothing(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = by_key(imported(table(log), tmp_path / "whole"))
    for size in (997, 4096):
        monkeypatch.setattr(rows.units, "__defaults__", (size,))
        assert len(rows.units(rows.files(log, ""))) > 5
        assert by_key(imported(table(log), tmp_path / f"by-{size}", workers=1)) == whole


@pytest.mark.slow
def test_several_processes_make_the_same_files(log: Path, tmp_path: Path) -> None:
    importing.run(table(log), KEEP, tmp_path / "one", workers=1)
    importing.run(table(log), KEEP, tmp_path / "two", workers=2)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_trajectory_in_one_row_group_is_not_sorted_again(tmp_path: Path) -> None:
    rows = [{"student": f"s{n}", "assignment": "a", "code": "x", "time": "2025-01-01", "grade": 1} for n in range(9)]
    said: list[str] = []
    made = imported(table(write(tmp_path / "x.jsonl", rows)), tmp_path / "made", say=said.append)
    assert [t.student for t in made] == [f"s{n}" for n in range(9)]  # the order of the file
    assert not any("Sorting" in line for line in said)
    made = imported(table(write(tmp_path / "x.jsonl", [*rows, rows[4]])), tmp_path / "again", say=said.append)
    assert [t.student for t in made] == [*(f"s{n}" for n in range(9) if n != 4), "s4"]
    assert "Sorting the rows of 1 trajectories that the log tells in several" in said


def test_equal_times_keep_the_order_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    same = {"student": "s", "assignment": "a", "time": "2025-01-01", "grade": 0}
    for file in range(3):
        write(tmp_path / "log" / f"{file}.jsonl", [{**same, "code": f"{file}-{n}"} for n in range(30)])
    (made,) = imported(table(tmp_path / "log"), tmp_path / "made")
    assert [s.code for s in made.submissions] == [f"{file}-{n}" for file in range(3) for n in range(30)]


def test_order_by_number_over_several_files(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    for file, numbers in enumerate([(10, 2), (9, 1)]):
        made = [{"student": "s", "assignment": "a", "code": f"c{n}", "n": n} for n in numbers]
        write(tmp_path / "log" / f"{file}.jsonl", made)
    source = table(tmp_path / "log", columns={"order": "n"})
    (t,) = imported(source, tmp_path / "made")
    assert [s.code for s in t.submissions] == ["c1", "c2", "c9", "c10"]


def test_skips_of_all_parts_are_counted_together(log: Path, tmp_path: Path) -> None:
    for name in ("4.jsonl", "5.jsonl"):
        (log / name).write_text('{"student": "s1"}\n{"no json\n')
    with pytest.raises(SimstudentError, match=r"4\.jsonl, line 1: no column 'assignment'.*on_bad_row: skip"):
        importing.run(table(log), KEEP, tmp_path / "made")
    said: list[str] = []
    importing.run(table(log, on_bad_row="skip"), KEEP, tmp_path / "made", say=said.append)
    facts = dataset.manifest(tmp_path / "made")
    assert (facts["submissions"], sum(facts["skipped"].values())) == (900, 4)
    assert "  skipped 4 broken rows" in said
    assert any("the first: 4.jsonl, line 1" in line for line in said)


def test_a_mended_log_goes_on_with_what_has_not_changed(log: Path, tmp_path: Path) -> None:
    broken = log / "9.jsonl"
    broken.write_text('{"student": "s1"}\n')
    with pytest.raises(SimstudentError):
        importing.run(table(log), KEEP, tmp_path / "made")
    broken.unlink()
    with pytest.raises(SimstudentError, match=r"has no dataset\.json; its import was not finished: run it again"):
        list(dataset.trajectories(tmp_path / "made"))
    said: list[str] = []
    made = imported(table(log), tmp_path / "made", say=said.append)
    assert "  3 of them were read before" in said
    assert by_key(made) == by_key(imported(table(log), tmp_path / "fresh"))
    assert content(tmp_path / "made") == content(tmp_path / "fresh")


def test_other_settings_read_everything_again(log: Path, tmp_path: Path) -> None:
    (log / "9.jsonl").write_text('{"student": "s1"}\n')
    with pytest.raises(SimstudentError):
        importing.run(table(log), KEEP, tmp_path / "made")
    (log / "9.jsonl").unlink()
    said: list[str] = []
    half = table(log, columns={"time": "time", "grade": "grade", "grade_max": 2})
    made = imported(half, tmp_path / "made", say=said.append)
    assert not any("read before" in line for line in said)
    assert max(s.grade or 0 for t in made for s in t.submissions) < 0.51


def test_what_an_import_was_killed_after_its_end_leaves_is_cleared(log: Path, tmp_path: Path) -> None:
    made = imported(table(log), tmp_path / "made")
    (tmp_path / "made" / dataset.STAGE).mkdir()
    assert imported(table(log), tmp_path / "made") == made
    assert not (tmp_path / "made" / dataset.STAGE).exists()


def test_two_imports_do_not_write_the_same_folder(log: Path, tmp_path: Path) -> None:
    held = dataset.staging(tmp_path / "made", dataset.STAGE)
    with held, pytest.raises(SimstudentError, match="another process is writing"):
        importing.run(table(log), KEEP, tmp_path / "made")


def test_assignments_met_on_the_way_are_kept_once(log: Path, tmp_path: Path) -> None:
    imported(table(log), tmp_path / "made")
    known = dataset.assignments(tmp_path / "made")
    assert sorted(known) == [f"a{n}" for n in range(7)]
    assert known["a0"].statement == "Assignment a0"


def test_the_course_becomes_a_dataset(tmp_path: Path) -> None:
    course = CourseSource(kind="course")
    made = imported(course, tmp_path / "made")
    assert made == list(read(course).trajectories)
    source = dataset.DatasetSource(kind="dataset", folder=tmp_path / "made")
    again = open_log(source, KEEP)
    assert list(again.trajectories) == made
    assert again.assignments == dict(read(course).assignments)
    with pytest.raises(SimstudentError, match="is a dataset already"):
        importing.run(source, KEEP, tmp_path / "other")


def test_large_programs_make_several_row_groups(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", made_up(12, code=2_000_000))
    made = imported(table(path), tmp_path / "made")
    assert by_key(made) == by_key(list(read(table(path), KEEP).trajectories))
    files = [pq.ParquetFile(p) for p in (tmp_path / "made").glob("part-*")]
    assert sum(file.num_row_groups for file in files) > 2


KILLED = """
import sys
from pathlib import Path
from simstudent.data import importing, rows
from simstudent.data.privacy import PrivacySection
from simstudent.data.sources.table import TableSource
rows.units.__defaults__ = (40_000,)
if __name__ == "__main__":
    source = TableSource.model_validate({"kind": "table", "submissions": sys.argv[1],
        "columns": {"time": "time", "grade": "grade"}})
    importing.run(source, PrivacySection(ids="keep"), Path(sys.argv[2]), workers=2)
"""


@pytest.mark.slow
def test_an_import_killed_at_any_moment_goes_on_to_the_same_dataset(tmp_path: Path) -> None:
    """Twenty kills at random moments; then, and at each of them, nothing half-written looks whole."""
    (tmp_path / "log").mkdir()
    for n in range(4):
        write(tmp_path / "log" / f"{n}.jsonl", made_up(2000, seed=n, code=200))
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    command = [sys.executable, str(script), str(tmp_path / "log")]
    started = time.monotonic()
    subprocess.run([*command, str(tmp_path / "whole")], check=True)
    took = time.monotonic() - started
    draw, folder, killed, finished = random.Random(7), tmp_path / "made", 0, 0
    while killed < 20:
        process = subprocess.Popen([*command, str(folder)])
        try:
            process.wait(draw.uniform(0.2, 1.05) * took)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        if (folder / "dataset.json").exists():  # whole, though its stage may still be there
            finished += 1
            assert list(dataset.trajectories(folder)) == list(dataset.trajectories(tmp_path / "whole"))
            shutil.rmtree(folder)
        else:
            with pytest.raises(SimstudentError):
                list(dataset.trajectories(folder))
    subprocess.run([*command, str(folder)], check=True)
    assert content(folder) == content(tmp_path / "whole")
    print(f"{killed} kills, {finished} imports that came to their end")
