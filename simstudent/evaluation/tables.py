"""The figures as a table for the terminal, as Markdown, as JSON, and in plain words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from simstudent.evaluation.metrics import Figures, MethodFigures
from simstudent.evaluation.statistics import Estimate

if TYPE_CHECKING:
    from rich.table import Table

FEW_STUDENTS = 20

Column = tuple[str, Callable[[MethodFigures], Estimate | None], bool]
"""Heading, the figure, and whether it is a difference (shown with its sign)."""


def _skill(measure: str) -> Callable[[MethodFigures], Estimate | None]:
    return lambda m: m.skill[measure].difference if measure in m.skill else None


HEADLINE: Sequence[Column] = (
    ("Cov", lambda m: m.paper["coverage"], False),
    ("GP", lambda m: m.micro["grade_proximity"], False),
    ("CB", lambda m: m.micro["codebleu"], False),
    ("skill GP", _skill("grade_proximity"), True),
    ("skill CB", _skill("codebleu"), True),
    ("skill tests", _skill("test_agreement"), True),
    ("copies", lambda m: m.micro["repeats_previous"], False),
    ("solved", lambda m: m.micro["solved_within_steps"], False),
)
PAPER: Sequence[Column] = (
    ("Cov", lambda m: m.paper["coverage"], False),
    ("GP", lambda m: m.paper["grade_proximity"], False),
    ("CB", lambda m: m.paper["codebleu"], False),
    ("ΔCov", lambda m: m.degradation["coverage"], True),
    ("ΔGP", lambda m: m.degradation["grade_proximity"], True),
    ("ΔCB", lambda m: m.degradation["codebleu"], True),
)
BEHAVIOUR: Sequence[Column] = (
    ("same outcome per test", lambda m: m.micro["test_agreement"], False),
    ("exact match", lambda m: m.micro["exact_match"], False),
    ("same program", lambda m: m.micro["same_program"], False),
    ("copies", lambda m: m.micro["repeats_previous"], False),
    ("students copy", lambda m: m.micro["student_repeats_previous"], False),
    ("compiles", lambda m: m.micro["compiles"], False),
    ("students' compile", lambda m: m.micro["student_compiles"], False),
    ("solved", lambda m: m.micro["solved_within_steps"], False),
    ("students solve", lambda m: m.micro["student_solved_within_steps"], False),
)
_READING = (
    "Brackets: 95 % intervals, bootstrap over students ({resamples:,} resamples). GP and CB: means over covered pairs. "
    "Skill: difference to {baseline} on the same pairs. Copies: the last program again. Solved: within the steps. "
    "A dash: no value, or no interval (fewer than two students, or all alike)."
)


def render(figures: Figures) -> Table:
    """The headline figures as a rich table, a row a method; an interval stands below its figure."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    caption = "n: rollouts, students. " + _READING.format(resamples=figures.resamples, baseline=figures.baseline)
    table = Table(
        title="Simulated students beside the real ones",
        caption=caption,
        box=box.SIMPLE_HEAD,
        show_lines=True,
        padding=0,
    )
    table.add_column("method", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    for heading, _, signed in HEADLINE:
        table.add_column(heading, justify="right", min_width=7 if signed else 6)
    for method in figures.methods:
        cells = [Text(method.method), Text(f"{_used(method)}\n{method.counts.students}")]
        for _, figure, signed in HEADLINE:
            value, interval = _parts(figure(method), signed)
            cells.append(Text.assemble(value, "\n", (interval, "dim")))
        table.add_row(*cells)
    return table


def to_markdown(figures: Figures) -> str:
    """All figures of all methods as Markdown tables: headline, the paper's, behaviour, counts."""
    reading = _READING.format(resamples=figures.resamples, baseline=figures.baseline)
    paper = "GP and CB: mean over steps of the per-step means; Δ: mean over later steps of the difference to step 1."
    behaviour = "Means over covered pairs (solved: over rollouts), the students' own shares beside them."
    parts = [
        f"### Headline\n\n{_markdown(figures, HEADLINE)}\n\n{reading}",
        f"### As Koutcheme, Leinonen and Hellas (EDM 2026) aggregate\n\n{_markdown(figures, PAPER)}\n\n{paper}",
        f"### Behaviour\n\n{_markdown(figures, BEHAVIOUR)}\n\n{behaviour}",
        f"### What the figures rest on\n\n{_counts(figures)}",
    ]
    return "\n\n".join(parts) + "\n"


def to_json(figures: Figures) -> dict[str, Any]:
    """What ``metrics.json`` holds: every figure unrounded, with counts, curves, skill and settings.

    Only dicts with string keys, lists, strings, numbers, booleans and None.
    """
    raw = asdict(figures)
    methods = [
        method | {"by_step": {name: list(curve) for name, curve in method["by_step"].items()}}
        for method in raw.pop("methods")
    ]
    return {"settings": raw, "methods": methods}


def explain(figures: Figures) -> str:
    """What the figures say and what they do not, in about ten lines for someone who sees them for the first time."""
    methods = [m for m in figures.methods if _used(m)]
    lines = [_left_out(figures)] if any(m.counts.errors for m in figures.methods) else []
    if not methods:
        return "\n".join([*lines, "There is no rollout to judge, so there are no figures."])
    students = max(m.counts.students for m in methods)
    lines = [
        f"Each rollout continues a real student's history; what it hands in is set beside what the student really did "
        f"({_many(max(map(_used, methods)), 'rollout')} of {_many(students, 'student')} per method).",
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
        f"{method.method} says one grade and writes no program; its GP is {_shown(method.micro['grade_proximity'])}. "
        f"Measure any other GP against that."
    )


def _about(method: MethodFigures) -> list[str]:
    name, gp = method.method, method.micro["grade_proximity"]
    lines = []
    if "grade_proximity" in method.skill:
        skill = method.skill["grade_proximity"]
        lines.append(
            f"{name}: GP {_shown(gp)}. A simulator that copies the last program scores {_shown(skill.baseline)} on the "
            f"same pairs; the difference is {_shown(skill.difference, True)}: {_verdict(skill.difference)}."
        )
        others = (("CodeBLEU", "codebleu"), ("outcome per test", "test_agreement"))
        told = [
            f"{label} {_shown(d, True)}, {_verdict(d)}"
            for label, measure in others
            if (d := method.skill[measure].difference).value is not None
        ]
        if told:
            lines.append(f"{name}, further differences to copying: {'; '.join(told)}.")
    else:
        lines.append(f"{name}: GP {_shown(gp)}, coverage {_shown(method.paper['coverage'])}.")
    micro = method.micro
    lines.append(
        f"{name} hands in its last program again in {_percent(micro['repeats_previous'])} of its steps (the students "
        f"in {_percent(micro['student_repeats_previous'])}) and solves the task within the steps in "
        f"{_percent(micro['solved_within_steps'])} of rollouts (the students in "
        f"{_percent(micro['student_solved_within_steps'])})."
    )
    return lines


def _verdict(difference: Estimate) -> str:
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


def _used(method: MethodFigures) -> int:
    return method.counts.rollouts - method.counts.errors


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _percent(figure: Estimate) -> str:
    return "an unknown share" if figure.value is None else f"{100 * figure.value:.0f} %"


def _number(value: float, signed: bool) -> str:
    # A fourth digit where three would hide on which side of zero a value lies.
    digits = 4 if 0.00005 <= abs(value) < 0.0005 else 3
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if not text.strip("+-.0"):
        return ".000"
    return text.replace("0.", ".", 1) if abs(value) < 0.9995 else text


def _parts(figure: Estimate | None, signed: bool) -> tuple[str, str]:
    if figure is None or figure.value is None:
        return "-", ""
    if figure.interval is None:
        return _number(figure.value, signed), "-"
    interval = f"[{_number(figure.interval.low, signed)}, {_number(figure.interval.high, signed)}]"
    return _number(figure.value, signed), interval


def _shown(figure: Estimate | None, signed: bool = False) -> str:
    value, interval = _parts(figure, signed)
    return value if interval in ("", "-") else f"{value} {interval}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = "|---|" + "---:|" * (len(headings) - 1)
    return "\n".join([_row(headings), rule, *(_row(row) for row in rows)])


def _markdown(figures: Figures, columns: Sequence[Column]) -> str:
    rows = [
        [method.method, *(_shown(figure(method), signed) for _, figure, signed in columns)]
        for method in figures.methods
    ]
    return _table(["method", *(heading for heading, _, _ in columns)], rows)


def _counts(figures: Figures) -> str:
    names = ("rollouts", "errors", "students", "assignments", "steps", "covered", "no_code", "truncated")
    rows = []
    for method in figures.methods:
        gp = method.skill.get("grade_proximity")
        pairs = (method.micro["codebleu"].pairs, gp.difference.pairs if gp else 0)
        rows.append([method.method, *(f"{n:,}" for n in (*(getattr(method.counts, name) for name in names), *pairs))])
    headings = (
        "rollouts",
        "left out (errors)",
        "students",
        "assignments",
        "steps",
        "covered (GP)",
        "no program",
        "cut off",
    )
    return _table(["method", *headings, "pairs for CB", "pairs for skill GP"], rows)
