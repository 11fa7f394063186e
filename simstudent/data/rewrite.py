"""``simstudent data regrade``: a log against the graders, and a dataset with the graders' grades and feedback.

Verdicts are kept by (program, problem, version of the graders), and each part of the new dataset with what it was made
of, so that a run that was killed goes on where it was.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graders import VERSION, Grade, Pool, outcomes
from graders.feedback import feedback
from simstudent.data import dataset
from simstudent.data.records import Assignment, Trajectory, outcome_of
from simstudent.data.regrade import AGREE, Disagreement, graded
from simstudent.runs import read_lines, write_json, write_lines

STAGE = ".regrade"
PART_BYTES = 32 << 20  # of trajectories in memory, about, that make a part
LISTED = "disagreements.jsonl"


@dataclass(slots=True)
class Agreement:
    """How often the graders say what the log says, by assignment."""

    rows: dict[str, list[int]] = field(default_factory=dict)
    """Assignment -> submissions with a logged grade and tests; those with the same grade; with the same verdict (full
    marks or not)."""
    partial: int = 0
    """Logged grades between 0 and 1."""
    graded: int = 0
    failed: int = 0
    """Submissions that the graders failed on: not graded, whatever the log says."""
    failures: list[str] = field(default_factory=list)
    """The first of them, with the reason."""

    @property
    def compared(self) -> int:
        return sum(row[0] for row in self.rows.values())

    @property
    def agreed(self) -> int:
        return sum(map(self.same, self.rows.values()))

    @property
    def share(self) -> float | None:
        """The share of logged grades that agree, over all assignments; None when there is none to compare."""
        return self.agreed / self.compared if self.compared else None

    @property
    def verdicts(self) -> bool:
        """Whether the log says only right or wrong, so that verdicts are what can be compared."""
        return self.partial == 0

    def same(self, row: Sequence[int]) -> int:
        """The submissions of a row that agree."""
        return row[2] if self.verdicts else row[1]

    def add(self, other: Mapping[str, Any]) -> None:
        """Count what another part (its ``dataclasses.asdict``) has counted."""
        for name, more in other["rows"].items():
            self.rows[name] = [a + b for a, b in zip(self.rows.get(name, [0, 0, 0]), more, strict=True)]
        self.partial += other["partial"]
        self.graded += other["graded"]
        self.failed += other["failed"]
        self.failures = (self.failures + other["failures"])[:100]


@dataclass(slots=True)
class Shown:
    """The first disagreements of a log: in grade, and in verdict."""

    most: int
    grades: list[Disagreement] = field(default_factory=list)
    verdicts: list[Disagreement] = field(default_factory=list)

    def add(self, d: Disagreement) -> None:
        """Keep it if there is room."""
        self.grades += [d][: self.most - len(self.grades)]
        self.verdicts += [d][: self.most - len(self.verdicts)] if d.verdict else []


def compare(
    trajectories: Iterable[Trajectory],
    assignments: Mapping[str, Assignment],
    pool: Pool,
    agreement: Agreement,
    listed: Callable[[Disagreement], None] = lambda disagreement: None,
    progress: Callable[[int], None] = lambda graded: None,
) -> Iterator[Trajectory]:
    """The trajectories with the graders' grades and full feedback in place of the logged ones; ``agreement`` counts.

    The logged grade stays in ``more`` as ``logged_grade``, the outcome of each test as ``tests``. A submission that
    the graders failed on has no grade, and is counted. Submissions to assignments without tests stay as they are.
    ``progress`` is told how many more were graded.
    """
    for t, grades in graded(trajectories, assignments, pool):
        if assignments[t.assignment].problem is None:
            yield t
            continue
        row = agreement.rows.setdefault(t.assignment, [0, 0, 0])
        for number, (s, grade) in enumerate(zip(t.submissions, grades, strict=True), 1):
            if grade.status == "grader_error":
                agreement.add(
                    {"rows": {}, "graded": 0, "failed": 1, "failures": [f"{t.key}, {number}: {grade.message}"]}
                )
            elif s.grade is not None:
                told, same = Disagreement(t.key, number, s.grade, grade), abs(s.grade - grade.score) < AGREE
                row[0] += 1
                row[1] += same
                row[2] += not told.verdict
                agreement.partial += 0 < s.grade < 1
                if not same:
                    listed(told)
        agreement.graded += len(grades)
        progress(len(grades))
        yield _regraded(t, grades, assignments[t.assignment])


def _regraded(t: Trajectory, grades: Sequence[Grade], assignment: Assignment) -> Trajectory:
    made = []
    assert assignment.problem is not None
    for s, grade in zip(t.submissions, grades, strict=True):
        more = {"logged_grade": s.grade, **s.more, "tests": outcomes(grade)}  # the log's own word, if regraded again
        failed = grade.status == "grader_error"
        told = None if failed else feedback(grade, assignment.problem, "full")
        made.append(dataclasses.replace(s, grade=None if failed else grade.score, feedback=told, more=more))
    return dataclasses.replace(t, submissions=tuple(made), outcome=outcome_of(tuple(made)))


def write(
    trajectories: Iterable[Trajectory],
    assignments: Mapping[str, Assignment],
    pool: Pool,
    folder: Path,
    source: Mapping[str, Any],
    progress: Callable[[int], None] = lambda graded: None,
) -> Agreement:
    """A regraded dataset in ``folder``, with the disagreements in a file of it. An interrupted one goes on.

    ``source``: what the manifest says of where the data comes from. Raises SimstudentError when the folder holds
    something else. Memory holds a part at a time.
    """
    total, parts = Agreement(), []
    with dataset.staging(folder, STAGE) as stage:
        for number, held in enumerate(dataset.chunks(iter(trajectories), PART_BYTES)):
            facts = _part(list(held), assignments, pool, folder / f"part-{number:06}.parquet", stage, progress)
            total.add(facts["agreement"])
            parts.append(facts["part"])
        for stale in set(folder.glob("part-*")) - {folder / part["file"] for part in parts}:
            stale.unlink()
        lists = [stage / f"{part['file']}.{LISTED}" for part in parts]
        found = (line for path in lists for line in read_lines(path))
        write_lines(folder / LISTED, (line for line in found if line["verdict"] or not total.verdicts))
        known = (assignments[name].to_dict() for name in assignments)
        dataset.finish(folder, known, parts, {"source": {"kind": "regraded", "of": source}, "graders": VERSION})
        shutil.rmtree(stage)
    return total


def _part(
    held: Sequence[Trajectory],
    assignments: Mapping[str, Assignment],
    pool: Pool,
    path: Path,
    stage: Path,
    progress: Callable[[int], None],
) -> dict[str, Any]:
    """What is known of a part: from before, when it was made of the same, or by making it."""
    there = stage / f"{path.name}.json"
    digest = _digest(held, assignments)
    if there.exists() and path.exists():
        facts: dict[str, Any] = json.loads(there.read_bytes())
        if facts["digest"] == digest and not facts["agreement"]["failed"]:
            progress(facts["agreement"]["graded"])
            return facts
    agreement = Agreement()
    found: list[Disagreement] = []
    part = dataset.write_part(path, compare(held, assignments, pool, agreement, found.append, progress))
    write_lines(stage / f"{path.name}.{LISTED}", (d.to_dict() for d in found))
    facts = {"digest": digest, "part": part, "agreement": dataclasses.asdict(agreement)}
    write_json(there, facts)
    return facts


def _digest(held: Sequence[Trajectory], assignments: Mapping[str, Assignment]) -> str:
    """What a part is made of, as a hash: programs, problems with their limits, the graders' version."""
    made = hashlib.sha256(str(VERSION).encode())
    for t in held:
        made.update(json.dumps(t.to_dict(), sort_keys=True).encode())
    for name in sorted({t.assignment for t in held}):
        made.update(json.dumps(assignments[name].to_dict(), sort_keys=True).encode())
    return made.hexdigest()
