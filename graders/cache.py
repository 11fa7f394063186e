"""Grades that are known already, in one SQLite file that many processes may share."""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from graders.problem import VERSION, Grade, Problem

if TYPE_CHECKING:
    import sqlite3


_PATIENCE = 60.0  # seconds that other processes may keep the file locked


def cache_folder() -> Path:
    """Where things that can be made again are kept: SIMSTUDENT_CACHE, by default ~/.cache/simstudent."""
    return Path(os.environ.get("SIMSTUDENT_CACHE") or "~/.cache/simstudent").expanduser()


class GradeCache:
    """Grades by what decides them: the code, the problem (but for its statement), VERSION and Python's version.

    ``path`` is created when missing. Any number of threads and processes may read and write at once, and be
    killed while they do; a network file system will not do, as for any SQLite file in WAL mode. A
    ``grader_error`` is never kept. Raises sqlite3.DatabaseError when ``path`` is some other kind of
    file, cannot be opened, or is locked for a minute.

    Once it is open no trouble with the file costs a grade, since every grade is as good without a cache. What another
    process locks is waited for, a minute at the first grade; those that come while it stays locked are not kept. A
    file that cannot be written (a full disk, no permission) is read only from then on, and a damaged one not used.
    Each of these is warned about once.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        import sqlite3

        self.path = os.fspath(path)
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._reads = self._writes = self._waits = True
        self._told_locked = False
        os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)  # noqa: PTH103, PTH100, PTH120
        self._connection: sqlite3.Connection = sqlite3.connect(self.path, timeout=_PATIENCE, check_same_thread=False)
        _switch_to_wal(self._connection)
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS grades (key BLOB PRIMARY KEY, grade TEXT NOT NULL) WITHOUT ROWID"
        )
        self._connection.commit()

    def get(self, code: str | None, problem: Problem) -> Grade | None:
        """The grade kept for this program, or None."""
        import json

        row = self._execute("SELECT grade FROM grades WHERE key = ?", (_key(code, problem),))
        return None if row is None else Grade.from_dict(json.loads(row[0]))

    def put(self, code: str | None, problem: Problem, grade: Grade) -> None:
        """Keep a grade, at once and for good."""
        import json

        if grade.status != "grader_error":
            row = (_key(code, problem), json.dumps(grade.to_dict()))
            self._execute("INSERT OR REPLACE INTO grades VALUES (?, ?)", row, writes=True)

    def _execute(self, statement: str, values: tuple[bytes | str, ...], writes: bool = False) -> tuple[str] | None:
        """The row that a statement finds; None as well where the file is of no use."""
        import sqlite3

        with self._lock:
            connection = self._usable()
            if not (self._writes if writes else self._reads):
                return None
            try:
                with connection:
                    row: tuple[str] | None = connection.execute(statement, values).fetchone()
            except sqlite3.ProgrammingError:
                raise  # our own mistake, such as a closed cache
            except sqlite3.DatabaseError as error:
                self._failed(error, writes)
                return None
            if writes and not self._waits:  # who locks it keeps writers out, but most often not readers
                self._wait_for_locks(True)
            return row

    def _failed(self, error: sqlite3.DatabaseError, writes: bool) -> None:
        """Do without what does not work any more, and tell so once."""
        import sqlite3
        import warnings

        if _is_busy(error):
            self._wait_for_locks(False)  # who keeps it for a minute may do so for hours
            if self._told_locked:
                return
            self._told_locked = True
            left = "another process keeps it locked; until that ends grades are not kept"
        elif writes and isinstance(error, sqlite3.OperationalError):
            self._writes = False
            left = "grades are kept no longer"
        else:
            self._reads = self._writes = False
            left = "grades are neither found nor kept any longer"
        warnings.warn(f"{self.path}: {left} ({error}); grading goes on", stacklevel=5)

    def _wait_for_locks(self, wait: bool) -> None:
        self._waits = wait
        self._connection.execute(f"PRAGMA busy_timeout={int(_PATIENCE * 1000) if wait else 0}")

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _usable(self) -> sqlite3.Connection:
        if self._pid != os.getpid():
            raise RuntimeError("a GradeCache belongs to the process that opened it; open another after a fork")
        return self._connection


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Turn on the write-ahead log, which the file remembers from then on.

    Unlike any other statement this one fails at once, whatever the connection's timeout, while another process is about
    to write, as when two create the file: two that wait with a shared lock to get an exclusive one would wait for ever.
    """
    import sqlite3

    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _is_busy(error: sqlite3.DatabaseError) -> bool:
    """Whether another process has the file locked."""
    import sqlite3

    code: int | None = getattr(error, "sqlite_errorcode", None)  # Python's own errors have none
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _key(code: str | None, problem: Problem) -> bytes:
    import hashlib

    text = "\0" if code is None else code
    return hashlib.sha256(_problem_key(problem) + text.encode("utf-8", "surrogatepass")).digest()


@functools.lru_cache(maxsize=4096)
def _problem_key(problem: Problem) -> bytes:
    import hashlib
    import json

    decides = {name: value for name, value in problem.to_dict().items() if name != "statement"}
    words = json.dumps([decides, VERSION, sys.version], sort_keys=True)
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).digest()
