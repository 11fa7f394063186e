"""What selection and split did to a recipe's data, for a person and for a paper: terminal, Markdown, CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from simstudent.data import attrition
from simstudent.data.attrition import Attrition
from simstudent.data.division import Division, SideFacts
from simstudent.errors import SimstudentError


def terminal(table: Sequence[Attrition], division: Division) -> str:
    """Both tables and the remarks as text."""
    parts = [attrition.terminal(table), attrition.aligned(_sides(division)), *(f"  {line}" for line in notes(division))]
    return "\n".join(parts)


def markdown(table: Sequence[Attrition], division: Division) -> str:
    """Both tables and the remarks in Markdown."""
    remarks = "".join(f"* {line}\n" for line in notes(division))
    return attrition.markdown(table) + "\n" + attrition.piped(_sides(division)) + (f"\n{remarks}" if remarks else "")


def write(path: Path, table: Sequence[Attrition], division: Division) -> None:
    """Write the attrition table: CSV by ``.csv``; by ``.md``, Markdown with the sides too. Raises SimstudentError."""
    if path.suffix.lower() not in (".csv", ".md"):
        raise SimstudentError(f"{path}: name a .md (Markdown) or a .csv file for the attrition table")
    made = attrition.comma_separated(table) if path.suffix.lower() == ".csv" else markdown(table, division)
    path.write_text(made, encoding="utf-8")


def _sides(division: Division) -> list[list[str]]:
    rows = [["side", "trajectories", "students", "submissions", "assignments"]]
    for fact in division.facts:
        figures = (fact.trajectories, fact.students, fact.submissions, fact.assignments)
        rows.append([fact.place, *(f"{n:,}" for n in figures)])
    return rows


def notes(division: Division) -> list[str]:
    """What a reader should know of the sides: what is on none, and what held-out sides share with training."""
    found = [f"on no side: {count:,} trajectories {why}" for why, count in sorted(division.dropped.items())]
    for fact in division.facts:
        if fact.place != "train" and (shared := "; ".join(_shared(fact))):
            found.append(f"{fact.place} and training: {shared}")
    return found


def _shared(fact: SideFacts) -> Iterator[str]:
    if fact.shared_students:
        yield f"{fact.shared_students:,} of {fact.students:,} students are in both"
    if fact.shared_assignments:
        yield f"{fact.shared_assignments:,} of {fact.assignments:,} assignments are in both"
    for count, what in (
        (fact.same_trace, "are in training as a whole, under another key"),
        (fact.own_program, "have a program that the same student has in training"),
        (fact.same_program, "have a program that is in training"),
    ):
        if count:
            yield f"{count:,} of {fact.trajectories:,} trajectories {what}"
