"""What selection and split did to a recipe's data, for a person and for a paper: terminal, Markdown, CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from simstudent.data import attrition
from simstudent.data.attrition import Attrition
from simstudent.data.division import Division, SideFacts
from simstudent.data.split import CELLS
from simstudent.errors import SimstudentError


def terminal(table: Sequence[Attrition], division: Division) -> str:
    """Both tables and the remarks as text."""
    parts = [attrition.terminal(table), attrition.aligned(_sides(division)), *(f"  {line}" for line in notes(division))]
    return "\n".join(parts)


Tables = Mapping[str, tuple[Sequence[Attrition], Division]]
"""The attrition table and the division of each recipe, by its name."""


def markdown(tables: Tables) -> str:
    """For each recipe both tables and the remarks in Markdown."""
    parts = []
    for recipe, (table, division) in tables.items():
        remarks = "".join(f"* {line}\n" for line in notes(division))
        made = (f"## {recipe}\n", attrition.markdown(table), attrition.piped(_sides(division)), remarks)
        parts += [part for part in made if part]
    return "\n".join(parts)


def check_name(path: Path) -> None:
    """Raises SimstudentError when a file's name does not say which form it should have."""
    if path.suffix.lower() not in (".csv", ".md"):
        raise SimstudentError(f"{path}: name a .md (Markdown) or a .csv file for the attrition table")


def write(path: Path, tables: Tables, head: str = "") -> None:
    """Write the attrition tables: CSV by ``.csv``; by ``.md``, Markdown with the sides too, below ``head``.

    Raises SimstudentError for any other name.
    """
    check_name(path)
    if path.suffix.lower() == ".csv":
        made = attrition.comma_separated({name: table for name, (table, _) in tables.items()})
    else:
        made = head + markdown(tables)
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
    named = fact.place in CELLS  # a cell's name says who is in training
    if fact.shared_students and not named:
        yield f"{fact.shared_students:,} of {fact.students:,} students are in both"
    if fact.shared_assignments and not named:
        yield f"{fact.shared_assignments:,} of {fact.assignments:,} assignments are in both"
    for count, what in (
        (fact.same_trace, "are in training as a whole, under another key"),
        (fact.own_program, "have a program that the same student has in training"),
        (fact.same_program, "have a program that is in training"),
    ):
        if count:
            yield f"{count:,} of {fact.trajectories:,} trajectories {what}"
