"""What the figures say and what they do not, in plain words that do not flatter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simstudent.evaluation.calibration import Calibration
from simstudent.evaluation.metrics import Figures, MethodFigures
from simstudent.evaluation.numbers import shown
from simstudent.evaluation.realism import Realism
from simstudent.evaluation.statistics import Estimate

FEW_STUDENTS = 20


def conditions(settings: Mapping[str, Any]) -> list[str]:
    """What has to be known of a rollout folder, by its settings, before its figures are read."""
    lines = []
    if settings.get("mode") == "teacher-forced":
        lines.append(
            "Teacher-forced: one step from every real history. Steps do not follow from one another: there is no decay "
            'over steps, coverage is 1 unless the simulation gives up, and "solved" means that the next submission is '
            "right. Only step 1 of free rollouts compares with it."
        )
    if settings.get("mode") == "stages":
        lines.append(
            "By stages: a first, a middle and a last program from the assignment alone, beside the student's. Nobody's "
            "history was shown, so single programs cannot agree but by chance; read the population (error types by "
            "stage). Lines that ask for a stage were in no training."
        )
    if settings.get("source") == "course":
        lines.append(
            "All of these students are made up (the course that comes with simstudent): no figure is about real ones."
        )
    return lines


def explain(figures: Figures) -> str:
    """What the figures say and what they do not, in about ten lines for someone who sees them for the first time."""
    methods = [m for m in figures.methods if m.counts.used]
    lines = [_left_out(figures)] if any(m.counts.errors for m in figures.methods) else []
    if not methods:
        return "\n".join([*lines, "There is no rollout to judge, so there are no figures."])
    students = max(m.counts.students for m in methods)
    lines = [
        f"Each rollout continues a real student's history; what it hands in is set beside what the student really did "
        f"({_many(max(m.counts.used for m in methods), 'rollout')} of {_many(students, 'student')} per method).",
        "Cov: share of the students' steps that were simulated before the simulation solved the task or gave up. "
        "GP: 1 - the difference of the two grades. CB: likeness of the two programs (CodeBLEU).",
        *lines,
    ]
    if students < FEW_STUDENTS:
        lines.append(
            f"Only {_many(students, 'student')}: too few to trust these figures; "
            f"with fewer than {FEW_STUDENTS} the intervals are too narrow."
        )
    lines += [_constant(m) for m in methods if _is_constant(m)]
    if not any(m.method == figures.baseline for m in methods):
        lines.append(
            f"{figures.baseline} was not rolled out: nothing here tells whether a method beats copying. "
            f"Add it to the methods."
        )
    for method in methods:
        if method.method != figures.baseline and not _is_constant(method):
            lines += _about(method)
    lines += [_temperatures(c) for c in figures.calibration]
    return "\n".join(lines)


def _left_out(figures: Figures) -> str:
    failed = ", ".join(
        f"{m.method} {m.counts.errors} of {m.counts.rollouts}" for m in figures.methods if m.counts.errors
    )
    return f"Left out of every figure because the engine or the grader failed: {failed}."


def _is_constant(method: MethodFigures) -> bool:
    return 0 < method.counts.covered == method.counts.constant


def _constant(method: MethodFigures) -> str:
    return (
        f"{method.method} says one grade and writes no program; its GP is {shown(method.micro['grade_proximity'])}. "
        f"Measure any other GP against that."
    )


def _about(method: MethodFigures) -> list[str]:
    name, gp = method.method, method.micro["grade_proximity"]
    lines = []
    if "grade_proximity" in method.skill:
        skill = method.skill["grade_proximity"]
        lines.append(
            f"{name}: GP {shown(gp)}. A simulator that copies the last program scores {shown(skill.baseline)} on the "
            f"same pairs; the difference is {shown(skill.difference, True)}: {verdict(skill.difference)}."
        )
        others = (("CodeBLEU", "codebleu"), ("outcome per test", "test_agreement"))
        told = [
            f"{label} {shown(d, True)}, {verdict(d)}"
            for label, measure in others
            if (d := method.skill[measure].difference).value is not None
        ]
        if told:
            lines.append(f"{name}, further differences to copying: {'; '.join(told)}.")
    else:
        lines.append(f"{name}: GP {shown(gp)}, coverage {shown(method.paper['coverage'])}.")
    micro = method.micro
    lines.append(
        f"{name} hands in its last program again in {_percent(micro['repeats_previous'])} of its steps (the students "
        f"in {_percent(micro['student_repeats_previous'])}) and solves the task within the steps in "
        f"{_percent(micro['solved_within_steps'])} of rollouts (the students in "
        f"{_percent(micro['student_solved_within_steps'])})."
    )
    return [*lines, *population_words(name, method.realism)]


def population_words(name: str, realism: Mapping[str, Realism]) -> list[str]:
    """In what the simulated students as a population are told apart from real ones, the worst by the floor first."""
    judged = {label: r for label, r in realism.items() if r.told_apart is not None}
    if not judged:
        return []
    apart = [label for label, r in judged.items() if r.told_apart]
    alone = [
        f"{name} covers no more of the students' programs than a single program for each assignment would."
        for r in realism.values()
        if r.collapsed
    ]
    if not apart:
        return [f"{name}, as a population, is told apart from real students in none of {len(judged)} respects.", *alone]
    return [
        f"{name}, as a population, is farther from real students than real students are from one another in "
        f"{len(apart)} of {len(judged)} respects: {', '.join(apart)}.",
        *alone,
    ]


def _temperatures(calibration: Calibration) -> str:
    """The line that says which temperature to take."""
    tried = ", ".join(
        f"{s.temperature:g}: {100 * s.copies:+.0f} and {100 * s.solved:+.0f}" for s in calibration.settings
    )
    return (
        f"calibration: {calibration.method} is nearest to the students in copying and solving at temperature "
        f"{calibration.nearest:g} (points of copies and solved rollouts over the students', by temperature: {tried}). "
        "Choose it on validation students."
    )


def verdict(difference: Estimate) -> str:
    """Whether a method beats copying, in words; only an interval wholly on one side of 0 counts."""
    if difference.value is None:
        return "no pair to compare"
    if difference.interval is None:
        return "exactly as good as copying" if difference.value == 0 else "too few students to tell"
    if difference.interval.low > 0:
        return "better than copying"
    if difference.interval.high < 0:
        return "worse than copying"
    return "not shown to be better than copying"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _percent(figure: Estimate) -> str:
    return "an unknown share" if figure.value is None else f"{100 * figure.value:.0f} %"
