from __future__ import annotations

import dataclasses
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from graders import Grade, GradeCache, Pool, Problem, TestOutcome

CODE = "def f(a, b): return a + b"
GRADE = Grade(0.5, "graded", (TestOutcome("pass"), TestOutcome("wrong", None, "returned 'é\ud800'")), "", 0.25)


def test_keeps_a_grade_as_it_is(tmp_path: Path, add: Problem) -> None:
    cache = GradeCache(tmp_path / "grades.sqlite")
    assert cache.get(CODE, add) is None
    cache.put(CODE, add, GRADE)
    cache.close()
    again = GradeCache(tmp_path / "grades.sqlite")
    found = again.get(CODE, add)
    assert found == GRADE
    assert found is not None
    assert found.cpu_seconds == 0.25


def test_key_is_what_decides_the_grade(tmp_path: Path, add: Problem) -> None:
    cache = GradeCache(tmp_path / "grades.sqlite")
    cache.put(CODE, add, GRADE)
    assert cache.get(CODE, dataclasses.replace(add, statement="other words")) == GRADE
    assert cache.get(CODE + " ", add) is None
    assert cache.get(None, add) is None
    assert cache.get(CODE, dataclasses.replace(add, cpu_seconds=1.0)) is None
    assert cache.get(CODE, dataclasses.replace(add, tests=add.tests[:1])) is None


def test_our_failures_are_not_kept(tmp_path: Path, add: Problem) -> None:
    cache = GradeCache(tmp_path / "grades.sqlite")
    cache.put(CODE, add, Grade(0.0, "grader_error"))
    assert cache.get(CODE, add) is None


def test_pool_uses_it(tmp_path: Path, add: Problem) -> None:
    cache = GradeCache(tmp_path / "grades.sqlite")
    with Pool(1, cache=cache) as pool:
        first = pool.grade(CODE, add)
        assert cache.get(CODE, add) == first
    cache.put(CODE, add, GRADE)
    with Pool(1, cache=cache) as pool:
        assert pool.grade(CODE, add) == GRADE
        assert not pool._threads


def test_survives_writers_being_killed(tmp_path: Path, add: Problem) -> None:
    path = tmp_path / "grades.sqlite"
    script = (
        "import sys; from graders import *\n"
        "p = Problem('p', (FunctionTest('()', '1'),), entry='f'); c = GradeCache(sys.argv[1])\n"
        "for i in range(10**6):\n c.put(str(i) + sys.argv[2], p, Grade(1.0, 'graded'))\n"
        " i == 20 and print('on', flush=True)"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(path), str(i)], stdout=subprocess.PIPE) for i in range(2)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"on\n"
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    cache = GradeCache(path)
    cache.put(CODE, add, GRADE)
    assert cache.get(CODE, add) == GRADE
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("SELECT count(*) FROM grades").fetchone()[0] > 40
    connection.close()


def test_waits_for_whoever_has_the_file_open_while_it_is_made(tmp_path: Path, add: Problem) -> None:
    path = tmp_path / "grades.sqlite"
    other = sqlite3.connect(path, check_same_thread=False)
    other.execute("CREATE TABLE other (x)")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):  # however long it is ready to wait
        sqlite3.connect(path, timeout=60).execute("PRAGMA journal_mode=WAL")
    end = threading.Timer(0.1, other.close)
    end.start()
    cache = GradeCache(path)
    end.join()
    cache.put(CODE, add, GRADE)
    assert cache.get(CODE, add) == GRADE


def test_a_full_disk_loses_no_grade(tmp_path: Path, add: Problem) -> None:
    cache = GradeCache(tmp_path / "grades.sqlite")
    cache._connection.execute("PRAGMA max_page_count=4")  # SQLite's own error for a disk without room
    programs = [f"{CODE}# {n}" + "x" * 500 for n in range(60)]
    with pytest.warns(UserWarning, match="grades are kept no longer") as told, Pool(1, cache=cache) as pool:
        grades = [pool.grade(code, add) for code in programs]
    assert [g for g in grades if g.score != 1.0] == []  # the grader's own: nothing came from the cache
    assert len([w for w in told if "kept no longer" in str(w.message)]) == 1


def locked(path: Path) -> sqlite3.Connection:
    """Another process's connection that lets nobody write until it is rolled back."""
    other = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


def test_a_moment_of_another_process_is_waited_for(tmp_path: Path, add: Problem) -> None:
    cache = GradeCache(tmp_path / "grades.sqlite")
    other = locked(tmp_path / "grades.sqlite")
    end = threading.Timer(0.1, other.rollback)
    end.start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put(CODE, add, GRADE)
    end.join()
    assert cache.get(CODE, add) == GRADE


def test_a_file_that_stays_locked_is_waited_for_once_and_used_again_when_it_is_free(
    tmp_path: Path, add: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graders.cache._PATIENCE", 0.2)
    cache = GradeCache(tmp_path / "grades.sqlite")
    other = locked(tmp_path / "grades.sqlite")
    began = time.monotonic()
    with pytest.warns(UserWarning, match="another process keeps it locked") as told, Pool(1, cache=cache) as pool:
        assert [pool.grade(f"{CODE}# {n}", add).score for n in range(20)] == [1.0] * 20
    assert len(told) == 1
    assert time.monotonic() - began < 2, "not 20 times the patience"
    assert cache.get(f"{CODE}# 0", add) is None
    other.rollback()
    cache.put(CODE, add, GRADE)
    assert cache.get(CODE, add) == GRADE
    other.execute("BEGIN IMMEDIATE")
    end = threading.Timer(0.05, other.rollback)
    end.start()
    cache.put(CODE + " ", add, GRADE)  # waited for again
    end.join()
    assert cache.get(CODE + " ", add) == GRADE


def test_a_file_that_is_read_only_is_read(tmp_path: Path, add: Problem) -> None:
    cache = GradeCache(tmp_path / "grades.sqlite")
    cache.put(CODE, add, GRADE)
    cache._connection.execute("PRAGMA query_only=1")  # as without the right to write, which root always has
    with pytest.warns(UserWarning, match=r"kept no longer \(attempt to write a readonly"):
        cache.put(f"{CODE} ", add, GRADE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put(f"{CODE}  ", add, GRADE)  # it was told
    assert cache.get(CODE, add) == GRADE


def test_a_file_damaged_meanwhile_costs_no_grade(tmp_path: Path, add: Problem) -> None:
    path = tmp_path / "grades.sqlite"
    cache = GradeCache(path)
    for n in range(50):
        cache.put(f"{CODE}# {n}", add, GRADE)
    cache.close()
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (size - 4096))
    cache = GradeCache(path)
    with pytest.warns(UserWarning, match="neither found nor kept any longer") as told, Pool(1, cache=cache) as pool:
        assert [pool.grade(f"{CODE}# {n}", add).score for n in range(5)] == [1.0] * 5
    assert len(told) == 1


def test_a_closed_cache_is_a_mistake_of_the_caller(tmp_path: Path, add: Problem) -> None:
    cache = GradeCache(tmp_path / "grades.sqlite")
    cache.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        cache.put(CODE, add, GRADE)


def test_refuses_another_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database\n" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        GradeCache(tmp_path / "notes.txt")
