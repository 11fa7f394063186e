"""From pieces of a log to trajectories: what belongs together is brought together and put in order.

A log tells of a trajectory row by row, or at once, or both. Each row that a source reads is a `Piece`; pieces of
the same student and assignment make one trajectory.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from simstudent.data.records import Assignment, Submission, Trajectory, outcome_of
from simstudent.data.rows import BadRowError, Place, Skips
from simstudent.errors import SimstudentError


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of one student's submissions to one assignment, as one row of a log tells them (never empty).

    ``order``: a number for each submission that puts it in its place; empty: their times do, or, where one has no time,
    the order of the file. ``place`` names the row in messages.
    """

    student: str
    assignment: str
    submissions: tuple[Submission, ...]
    place: Place
    order: tuple[float, ...] = ()


def add(known: dict[str, Assignment], assignment: Assignment) -> None:
    """Add what a part of a log says of an assignment: with tests it says more than without.

    Raises SimstudentError when another part has other words or tests, since one grader could not serve both.
    """
    there = known.setdefault(assignment.id, assignment)
    if there == assignment or (assignment.problem is None and there.problem is not None):
        return
    if there.problem is not None or assignment.problem is None:
        raise differing(assignment.id)
    known[assignment.id] = assignment


def differing(assignment: str) -> SimstudentError:
    """The error for an assignment of which two parts of a log say different things."""
    return SimstudentError(
        f"assignment {assignment!r} has another statement or other tests here than elsewhere in the log. Where "
        "a course has changed it, data.source.per_course: true (FalconCode) makes one assignment for each course"
    )


def merge(pieces: Sequence[Piece], source: str) -> Trajectory:
    """The trajectory of pieces of the same student and assignment, in the order of the file, oldest submission first.

    What has the same number, or the same time, stays in the order of the file. Raises BadRowError when some times
    have a time zone and others have none, which cannot be put in order.
    """
    submissions = [s for piece in pieces for s in piece.submissions]
    order: list[float] = [number for piece in pieces for number in piece.order]
    if len(order) != len(submissions):
        times = [s.time for s in submissions]
        order = [] if _ascending(times) else _instants(times)
    if order:
        places = sorted(range(len(submissions)), key=order.__getitem__)  # stable
        submissions = [submissions[place] for place in places]
    made = tuple(submissions)
    return Trajectory(pieces[0].student, pieces[0].assignment, made, outcome_of(made), source)


def instant(time: str) -> float:
    """A time as seconds since 1970. One without a time zone counts as UTC: only the order matters."""
    known = datetime.datetime.fromisoformat(time)
    return (known if known.tzinfo else known.replace(tzinfo=datetime.UTC)).timestamp()


def _ascending(times: Sequence[str | None]) -> bool:
    """Whether times are in order by their text already: all of one form, as ``2025-10-01T09:12:00+00:00``."""
    known = [time for time in times if time is not None]
    if len(known) < len(times) or len({(len(time), time[4:5], time[10:11], time[19:]) for time in known}) > 1:
        return False
    return len(known[0]) in (19, 20, 25) and known[0][4:5] == "-" and all(a <= b for a, b in pairwise(known))


def _instants(times: Sequence[str | None]) -> list[float]:
    """Times as seconds; none at all when one is unknown."""
    known = [time for time in times if time is not None]
    if len(known) < len(times):
        return []
    if len({datetime.datetime.fromisoformat(time).tzinfo is None for time in known}) > 1:
        raise BadRowError("some of its times have a time zone and some have none, so they cannot be put in order")
    return [instant(time) for time in known]


def group(pieces: Iterable[Piece], source: str, skips: Skips) -> Iterator[Trajectory]:
    """The trajectories of a log that fits into memory, sorted by student and assignment."""
    grouped: dict[tuple[str, str], list[Piece]] = {}
    for piece in pieces:
        grouped.setdefault((piece.student, piece.assignment), []).append(piece)
    for key in sorted(grouped):
        yield from merged(grouped.pop(key), source, skips)


def merged(pieces: Sequence[Piece], source: str, skips: Skips) -> Iterator[Trajectory]:
    """`merge`, a trajectory that cannot be put in order being skipped whole."""
    try:
        yield merge(pieces, source)
    except BadRowError as error:
        more = f" (and {len(pieces) - 1} more rows of that trajectory)" if len(pieces) > 1 else ""
        skips(pieces[0].place + more, error, len(pieces))
