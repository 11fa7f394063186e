"""Which trajectories hold a program that training has: hashes of programs on disk, looked at range by range.

Equal programs have equal hashes, so a range of hashes can be looked at alone: memory is that of one range and a few
bytes a trajectory. A database that joined all of them at once ran out of memory at 370 million programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

RANGES = 256
_ROW = [("n", "<i8"), ("program", "<u8")]
_ODD = 0x9E3779B97F4A7C15


class Programs:
    """(trajectory, hash of one of its programs) pairs, 16 bytes each, in a file a range of hashes in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.paths = [folder / f"programs-{n:03}" for n in range(RANGES)]

    def add(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Append pairs; trajectories by their number in the stream, from 0, hashes of 64 bits."""
        import numpy as np

        rows = np.array(pairs, _ROW)
        rows = rows[rows["program"].argsort()]
        borders = np.arange(1, RANGES, dtype=np.uint64) << np.uint64(56)
        parts = np.split(rows, rows["program"].searchsorted(borders))
        for path, part in zip(self.paths, parts, strict=True):
            if len(part):
                with path.open("ab") as file:
                    part.tofile(file)

    def copied(self, training: Array, students: Array) -> tuple[Array, Array]:
        """Which trajectories outside of training have a program that training has: of anyone's, of the same student's.

        All by number: ``training`` (bool), ``students`` (hashes of 64 bits), and both that are returned (bool).
        """
        import numpy as np

        anyone, own = np.zeros(len(training), bool), np.zeros(len(training), bool)

        def by_student(rows: Array) -> Array:
            mixed: Array = rows["program"] ^ (students[rows["n"]] * np.uint64(_ODD))
            return mixed

        for path in self.paths:
            if not path.exists():
                continue
            rows = np.fromfile(path, _ROW)
            there = training[rows["n"]]
            theirs, ours = rows[there], rows[~there]
            found = ours[np.isin(ours["program"], theirs["program"])]
            anyone[found["n"]] = True
            theirs = theirs[np.isin(theirs["program"], found["program"])]
            own[found["n"][np.isin(by_student(found), by_student(theirs))]] = True
        return anyone, own
