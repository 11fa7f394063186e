"""The details as tables: populations, comparisons, temperatures and strata."""

from __future__ import annotations

from collections.abc import Mapping

from simstudent.evaluation.metrics import Figures
from simstudent.evaluation.numbers import Section, number, section, shown
from simstudent.evaluation.realism import Realism
from simstudent.evaluation.strata import Stratum

BY = {
    "student_outcome": "By what the student achieved in the end",
    "position": "By the number of submissions before the start",
    "length": "By the length of the student's trajectory",
    "program_lines": "By the lines of the student's last program before the start",
}
"""The strata in the tables of a rollout folder; those by assignment are many and stand in figures.csv."""


POPULATION_HEADINGS = (
    *("population", "distance is", "simulated", "students", "distance", "n"),
    *("half to half", "noise floor", "95 % of the floor", "told apart"),
)


def population_cells(found: Realism) -> list[str]:
    """One distance of two populations as the cells of a row, after its name."""
    return [
        *(found.kind, _optional(found.simulated), _optional(found.real)),
        *(shown(found.distance), f"{found.distance.pairs:,}"),
        *(_optional(found.halves), _optional(found.floor), _optional(found.floor_high)),
        {None: "-", True: "yes", False: "no"}[found.told_apart],
    ]


def realism(figures: Figures) -> Section:
    """A row a method and population."""
    rows = [
        [method.method, name, *population_cells(found), _optional(found.single)]
        for method in figures.methods
        for name, found in method.realism.items()
    ]
    headings = ("method", *POPULATION_HEADINGS, "one program")
    reading = (
        "Distance: all simulated steps (or rollouts) to the students' on the same steps. Half to half: the simulations "
        "of one random half of the students to the real submissions of the other half. Noise floor: the real "
        "submissions of one half to those of the other, mean over random halvings, and what 95 % of them stay under. "
        "Told apart: half to half is above that. Compare half to half with the floor, not the distance: with fewer "
        "students all distances are larger. One program: half to half of a generator that hands in a single real "
        "program for each assignment, the one that covers most."
    )
    return section("populations", "All distances of the populations", headings, rows, reading)


def comparisons(figures: Figures) -> Section:
    """A row a measure and pair of methods."""
    rows = [
        [
            *(c.measure.replace("_", " "), c.one, c.other, shown(c.mean_one), shown(c.mean_other)),
            *(shown(c.difference, True), _p(c.p), _p(c.p_holm), f"{c.difference.pairs:,}", f"{c.difference.students}"),
        ]
        for c in figures.comparisons
    ]
    headings = (
        *("measure", "one", "other", "mean of one", "of the other", "difference"),
        *("p", "p (Holm)", "steps", "students"),
    )
    reading = (
        "Steps that both methods cover. p: two-sided, signs of whole students' differences flipped at random (all "
        "patterns where they are few); Holm: corrected for the number of pairs in a measure."
    )
    return section("comparisons", "Methods compared on the same steps", headings, rows, reading)


def calibration(figures: Figures) -> Section:
    """A row a method and temperature."""
    rows = [
        [
            *(c.method, f"{s.temperature:g}", number(s.copies, True), number(s.solved, True)),
            *(number(s.distance, False), "nearest" if s.temperature == c.nearest else ""),
        ]
        for c in figures.calibration
        for s in c.settings
    ]
    headings = ("method", "temperature", "copies - students'", "solved - students'", "distance", "")
    reading = (
        "Distance: the sum of both, without signs. Choose a temperature on validation students, not on the test's."
    )
    return section("temperatures", "Temperatures", headings, rows, reading)


def strata(figures: Figures, by: Mapping[str, str] = BY) -> list[Section]:
    """A section a kind of stratum."""
    headings = ("method", "stratum", "rollouts", "steps", "Cov", "GP", "CB", "skill GP", "copies", "solved")
    return [
        section(
            f"by-{name.replace('_', '-')}",
            title,
            (*headings, "students solve"),
            [[m.method, *_stratum(s)] for m in figures.methods for s in m.strata if s.by == name],
        )
        for name, title in by.items()
    ]


def _stratum(s: Stratum) -> list[str]:
    means = s.means
    return [
        *(s.value, f"{s.rollouts:,}", f"{means['coverage'].pairs:,}"),
        *(shown(means[m]) for m in ("coverage", "grade_proximity", "codebleu")),
        *(shown(s.skill, True), shown(means["repeats_previous"]), shown(s.solved), shown(s.student_solved)),
    ]


def _optional(value: float | None) -> str:
    return "-" if value is None else number(value, False)


def _p(value: float | None) -> str:
    return "-" if value is None else "< .001" if value < 0.001 else number(value, False)
