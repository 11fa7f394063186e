"""The attrition table: what each selection step left of trajectories, students and submissions, like a paper's."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from simstudent.data.records import Trajectory


@dataclass(frozen=True, slots=True)
class Attrition:
    """What one step left: a row of the table. ``whole``: the step looked at all of the data before it decided."""

    step: str
    trajectories: int
    students: int
    submissions: int
    whole: bool = False


@dataclass(slots=True)
class Tally:
    """Counts what passes each of several stages in a row. Memory grows with the students, not with their programs."""

    counts: dict[int, list[int]] = field(default_factory=dict)
    """Stage -> trajectories, submissions."""
    reached: dict[str, int] = field(default_factory=dict)
    """Student -> the last stage that anything of theirs has passed: one entry a student, however many stages."""

    def watch(self, stage: int, stream: Iterable[Trajectory]) -> Iterator[Trajectory]:
        """The stream itself, counted."""
        row = self.counts.setdefault(stage, [0, 0])
        reached = self.reached
        for t in stream:
            row[0] += 1
            row[1] += len(t.submissions)
            if reached.get(t.student, -1) < stage:
                reached[t.student] = stage
            yield t

    def table(self, steps: Sequence[tuple[str, bool]]) -> tuple[Attrition, ...]:
        """The table, once the stream has come to its end. ``steps``: label and ``whole`` of each stage."""
        students = [0] * len(steps)
        for stage in self.reached.values():
            students[stage] += 1
        rows = []
        for stage, (label, whole) in enumerate(steps):
            trajectories, submissions = self.counts.get(stage, [0, 0])
            rows.append(Attrition(label, trajectories, sum(students[stage:]), submissions, whole))
        return tuple(rows)


WHOLE = "* looked at all of the data before it decided"


def terminal(table: Sequence[Attrition]) -> str:
    """The table as aligned text: what each step left and, in brackets, what it dropped."""
    return aligned(_cells(table)) + (f"\n  {WHOLE}" if any(row.whole for row in table) else "")


def markdown(table: Sequence[Attrition]) -> str:
    """The table in Markdown."""
    return piped(_cells(table)) + (f"\n\\{WHOLE}\n" if any(row.whole for row in table) else "")


def aligned(cells: Sequence[Sequence[str]]) -> str:
    """A table, its head first, as text: the first column to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = ([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))] for row in cells)
    return "\n".join("  " + "  ".join(row).rstrip() for row in rows)


def piped(cells: Sequence[Sequence[str]]) -> str:
    """A table, its head first, in Markdown."""
    head, *rows = [[cell.replace("|", "\\|") for cell in row] for row in cells]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


COLUMNS = ("trajectories", "students", "submissions")


def comma_separated(tables: Mapping[str, Sequence[Attrition]]) -> str:
    """Tables by the name of their recipe as CSV: plain numbers, with what was dropped in columns of its own."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["recipe", "step", *COLUMNS, *(f"dropped_{name}" for name in COLUMNS)])
    for recipe, table in tables.items():
        for before, row in zip((None, *table), table, strict=False):
            left = [getattr(row, name) for name in COLUMNS]
            was = [getattr(before or row, name) for name in COLUMNS]
            writer.writerow([recipe, row.step, *left, *(a - b for a, b in zip(was, left, strict=True))])
    return out.getvalue()


def _cells(table: Sequence[Attrition]) -> list[list[str]]:
    rows = [["step", *COLUMNS]]
    for before, row in zip((None, *table), table, strict=False):
        cells = [row.step + ("*" if row.whole else "")]
        for name in COLUMNS:
            left = getattr(row, name)
            dropped = 0 if before is None else getattr(before, name) - left
            cells.append(f"{left:,}" + (f" (-{dropped:,})" if dropped else ""))
        rows.append(cells)
    return rows
