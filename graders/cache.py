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
    file, or locked for a minute.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        import sqlite3

        self.path = os.fspath(path)
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._full = False
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

        with self._lock:
            row = self._usable().execute("SELECT grade FROM grades WHERE key = ?", (_key(code, problem),)).fetchone()
        return None if row is None else Grade.from_dict(json.loads(row[0]))

    def put(self, code: str | None, problem: Problem, grade: Grade) -> None:
        """Keep a grade, at once and for good.

        Where nothing more can be written (a full disk, say) it warns once and keeps no further grade: the grade itself
        is as good as without a cache, and is not lost for it.
        """
        import json
        import sqlite3
        import warnings

        if grade.status == "grader_error" or self._full:
            return
        row = (_key(code, problem), json.dumps(grade.to_dict()))
        try:
            with self._lock, self._usable() as connection:
                connection.execute("INSERT OR REPLACE INTO grades VALUES (?, ?)", row)
        except sqlite3.OperationalError as error:
            self._full = True
            warnings.warn(f"{self.path}: grades are kept no longer ({error}); grading goes on", stacklevel=2)

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
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


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
