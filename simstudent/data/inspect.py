"""What a log holds, in figures: counts, distributions, time span, languages, examples. Read once, as a stream."""

from __future__ import annotations

import datetime
import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from simstudent.data.pieces import instant
from simstudent.data.records import Assignment, Submission, Trajectory
from simstudent.data.split import position

BINS = 20  # of the distribution of grades
EXAMPLES = 3


@dataclass(slots=True)
class Summary:
    """Figures of a stream of trajectories; `add` takes them one by one. Memory grows with students, not programs."""

    trajectories: int = 0
    students: set[str] = field(default_factory=set)
    kinds: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    """Submissions of a trajectory -> how many trajectories have so many."""
    lines: Counter[int] = field(default_factory=Counter)
    """Lines of a program -> how many programs."""
    grades: Counter[int] = field(default_factory=Counter)
    """Bin of 1 / BINS of a grade -> how many submissions; full marks have a bin of their own."""
    ungraded: int = 0
    unchanged: int = 0
    """Submissions whose program equals the one before it."""
    talk: int = 0
    days: Counter[str] = field(default_factory=Counter)
    first: str | None = None
    last: str | None = None
    assignments: dict[str, list[int]] = field(default_factory=dict)
    """Id -> trajectories, submissions, trajectories solved."""
    examples: list[tuple[float, str, Trajectory]] = field(default_factory=list)

    def add(self, t: Trajectory) -> None:
        """Count a trajectory."""
        self.trajectories += 1
        self.students.add(t.student)
        self.outcomes[t.outcome] += 1
        self.lengths[len(t.submissions)] += 1
        row = self.assignments.setdefault(t.assignment, [0, 0, 0])
        row[0] += 1
        row[1] += len(t.submissions)
        row[2] += t.outcome == "solved"
        for before, s in zip((None, *t.submissions), t.submissions, strict=False):
            self._count(before, s)
        draw = (-position(0, "inspect", t.key), t.key, t)  # the same examples whatever the order of the file
        if 2 <= len(t.submissions) <= 12:
            (heapq.heappush if len(self.examples) < EXAMPLES else heapq.heappushpop)(self.examples, draw)

    def _count(self, before: Submission | None, s: Submission) -> None:
        self.kinds[s.kind] += 1
        self.lines[s.code.count("\n") + (not s.code.endswith("\n"))] += 1
        self.talk += len(s.talk)
        self.unchanged += before is not None and before.code == s.code
        if s.grade is None:
            self.ungraded += 1
        else:
            self.grades[math.floor(s.grade * BINS)] += 1
        if s.time is not None:
            self.days[datetime.datetime.fromisoformat(s.time).date().isoformat()] += 1
            self.first = s.time if self.first is None else min(self.first, s.time, key=instant)
            self.last = s.time if self.last is None else max(self.last, s.time, key=instant)

    @property
    def submissions(self) -> int:
        """States of programs of every kind."""
        return self.kinds.total()


def summarise(trajectories: Iterable[Trajectory]) -> Summary:
    """The figures of all trajectories."""
    summary = Summary()
    for t in trajectories:
        summary.add(t)
    return summary


def quantile(counts: Mapping[int, int], share: float) -> int:
    """The least value that at least ``share`` of all counted values do not exceed; 0 when nothing was counted."""
    total, seen = sum(counts.values()), 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= share * total:
            return value
    return 0


def languages(summary: Summary, assignments: Mapping[str, Assignment]) -> Counter[str]:
    """Submissions by the language of their assignment."""
    found: Counter[str] = Counter()
    for name, (_, submissions, _) in summary.assignments.items():
        found[assignments[name].language if name in assignments else "unknown"] += submissions
    return found


def facts(summary: Summary, assignments: Mapping[str, Assignment]) -> list[tuple[str, str]]:
    """The figures as (name, text) pairs, for a person."""
    tested = sum(name in assignments and assignments[name].problem is not None for name in summary.assignments)
    kinds = ", ".join(f"{count:,} of kind {kind}" for kind, count in summary.kinds.most_common())
    solved = summary.outcomes["solved"]
    graded = summary.submissions - summary.ungraded
    full = summary.grades[BINS]
    rows = [
        ("students", f"{len(summary.students):,}"),
        ("assignments", f"{len(summary.assignments):,} ({tested:,} with tests for the graders)"),
        ("trajectories", f"{summary.trajectories:,} ({_outcomes(summary)})"),
        ("events", f"{summary.submissions:,} ({kinds})"),
        ("per trajectory", _spread(summary.lengths, "events")),
        ("lines of a program", _spread(summary.lines, "lines")),
        ("same as the one before", f"{summary.unchanged:,} ({_share(summary.unchanged, summary.submissions)})"),
        ("logged grades", f"{graded:,}, of them {full:,} full marks ({_share(full, graded)})" if graded else "none"),
        ("solved", f"{solved:,} of {summary.trajectories:,} trajectories ({_share(solved, summary.trajectories)})"),
        ("languages", ", ".join(f"{name} {count:,}" for name, count in languages(summary, assignments).most_common(8))),
        ("times", f"{summary.first} to {summary.last}" if summary.first else "none"),
    ]
    return rows + ([("hints and talk", f"{summary.talk:,} messages")] if summary.talk else [])


def _outcomes(summary: Summary) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in summary.outcomes.most_common())


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "none"


def _spread(counts: Mapping[int, int], unit: str) -> str:
    total = sum(counts.values())
    mean = sum(value * count for value, count in counts.items()) / total if total else 0
    ends = f"median {quantile(counts, 0.5)}, 95 % at most {quantile(counts, 0.95)}, longest {max(counts, default=0)}"
    return f"mean {mean:.1f} {unit}, {ends}"


def busiest(summary: Summary, count: int = 15) -> list[tuple[str, int, int, int]]:
    """The assignments with most submissions: id, trajectories, submissions, trajectories solved."""
    ranked = sorted(summary.assignments.items(), key=lambda pair: (-pair[1][1], pair[0]))
    return [(name, row[0], row[1], row[2]) for name, row in ranked[:count]]


def examples(summary: Summary) -> Sequence[Trajectory]:
    """A few trajectories of ordinary length, drawn by a hash of their key."""
    return [t for _, _, t in sorted(summary.examples, reverse=True)]
