"""The figures as tables: for the terminal, and all of them as Markdown. The headline comes first, details after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from simstudent.evaluation.details import calibration, comparisons, realism, strata
from simstudent.evaluation.metrics import Figures, MethodFigures
from simstudent.evaluation.numbers import Section, number, parts, section, shown
from simstudent.evaluation.realism import Realism
from simstudent.evaluation.statistics import Estimate

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

Column = tuple[str, Callable[[MethodFigures], Estimate | None], bool]
"""Heading, the figure, and whether it is a difference (shown with its sign)."""

STUDENTS = "the students"


def _skill(measure: str) -> Callable[[MethodFigures], Estimate | None]:
    return lambda m: m.skill[measure].difference if measure in m.skill else None


def _micro(heading: str, measure: str, signed: bool = False) -> Column:
    return heading, lambda m: m.micro[measure], signed


HEADLINE: Sequence[Column] = (
    ("skill GP", _skill("grade_proximity"), True),
    ("skill CB", _skill("codebleu"), True),
    ("skill tests", _skill("test_agreement"), True),
    _micro("copies", "repeats_previous"),
    _micro("solved", "solved_within_steps"),
    ("Cov", lambda m: m.paper["coverage"], False),
    _micro("GP", "grade_proximity"),
    _micro("CB", "codebleu"),
)
REAL = {"copies": "student_repeats_previous", "solved": "student_solved_within_steps"}
"""Columns of the headline in which the students have a figure of their own."""
SHORT = ("unchanged", "edit size", "attempts to success", "grade progression", "error types by stage")
"""Populations that the terminal shows; the Markdown has all."""
PAPER: Sequence[Column] = (
    ("Cov", lambda m: m.paper["coverage"], False),
    ("GP", lambda m: m.paper["grade_proximity"], False),
    ("CB", lambda m: m.paper["codebleu"], False),
    ("ΔCov", lambda m: m.degradation["coverage"], True),
    ("ΔGP", lambda m: m.degradation["grade_proximity"], True),
    ("ΔCB", lambda m: m.degradation["codebleu"], True),
)
BEHAVIOUR: Sequence[Column] = (
    _micro("copies", "repeats_previous"),
    _micro("students copy", "student_repeats_previous"),
    _micro("compiles", "compiles"),
    _micro("students' compile", "student_compiles"),
    _micro("no program", "no_program"),
    _micro("solved", "solved_within_steps"),
    _micro("students solve", "student_solved_within_steps"),
    _micro("gave up", "gave_up"),
    _micro("students gave up", "student_gave_up"),
    _micro("grade too high by", "grade_difference", True),
)
AGREEMENT: Sequence[Column] = (
    _micro("same outcome per test", "test_agreement"),
    _micro("failing tests (Jaccard)", "failing_tests_jaccard"),
    _micro("same kind of error", "error_category_agreement"),
    _micro("same exception", "exception_agreement"),
    _micro("exact match", "exact_match"),
    _micro("same program", "same_program"),
)
PARTS: Sequence[Column] = (
    _micro("CodeBLEU", "codebleu"),
    _micro("n-grams", "codebleu_ngram"),
    _micro("weighted n-grams", "codebleu_weighted_ngram"),
    _micro("syntax", "codebleu_syntax"),
    _micro("data flow", "codebleu_dataflow"),
)
EDITS: Sequence[Column] = (
    _micro("changes its program by", "edit"),
    _micro("differs from the student's last by", "edit_from_student"),
    _micro("students change theirs by", "student_edit"),
    _micro("too much by", "edit_difference", True),
)
STYLE: Sequence[Column] = tuple(
    _micro(f"{name}, {kind}", f"{style}_{column}", signed)
    for style, name in (
        ("lines", "lines"),
        ("characters", "characters"),
        ("ast_depth", "tree depth"),
        ("ast_width", "width"),
        ("ast_nodes", "nodes"),
        ("lint", "lint findings a line"),
    )
    for kind, column, signed in (("signed", "difference", True), ("absolute", "distance", False))
)
_READING = (
    "Brackets: 95 % intervals, bootstrap over students ({resamples:,} resamples). Skill: difference to {baseline} on "
    "the same pairs (GP, CodeBLEU, outcome per test). Copies: the last program again. Solved: within the steps. "
    "GP and CB: means over covered pairs. "
    "A dash: no value, or no interval (fewer than two students, or all alike)."
)
_HALVES = (
    "Distance of the simulations of one half of the students to the other half's real submissions; in brackets what "
    "95 % of such halves of real students stay under (the noise floor). Starred: told apart from real students."
)
_SIZES = "Simulated minus the student's, mean: signed and absolute."
_CURVES = "GP and CB: mean over steps of the per-step means; Δ: mean over later steps of the difference to step 1."


def render(figures: Figures) -> list[Table]:
    """The headline, and what tells the population from real students, as rich tables for 80 columns."""
    tables = [_headline(figures)]
    if any(name in method.realism for method in figures.methods for name in SHORT):
        tables.append(_populations(figures))
    return tables


def _headline(figures: Figures) -> Table:
    """A row a method, an interval below its figure; the students in the last row."""
    from rich.text import Text

    caption = "n: rollouts, students. " + _READING.format(resamples=figures.resamples, baseline=figures.baseline)
    drawn = _empty("Simulated students beside the real ones", caption, ("n", *(heading for heading, _, _ in HEADLINE)))
    for method in figures.methods:
        cells = [Text(method.method), Text(f"{method.counts.used}\n{method.counts.students}")]
        for _, figure, signed in HEADLINE:
            value, interval = parts(figure(method), signed)
            cells.append(Text.assemble(value, "\n", (interval, "dim")))
        drawn.add_row(*cells)
    real = students_row(figures)
    drawn.add_row(*(Text(cell.replace(" [", "\n[", 1), "bold") for cell in (STUDENTS, "", *real)))
    return drawn


def _populations(figures: Figures) -> Table:
    from rich.text import Text

    caption = _HALVES.replace("in brackets", "below it")
    drawn = _empty("How far the simulated population is from real students", caption, SHORT)
    for method in figures.methods:
        if method.realism:
            drawn.add_row(Text(method.method), *(_distance(method.realism.get(name)) for name in SHORT))
    return drawn


def _distance(found: Realism | None) -> Text:
    from rich.text import Text

    if found is None or found.halves is None or found.floor_high is None:
        return Text("-")
    style = "red" if found.told_apart else "green"
    mark = " *" if found.told_apart else ""
    return Text.assemble(
        (f"{number(found.halves, False)}{mark}", style), "\n", (number(found.floor_high, False), "dim")
    )


def _short(figures: Figures) -> Section:
    """The terminal's second table."""

    def cell(found: Text) -> str:
        return " [".join(found.plain.split("\n")) + ("]" if "\n" in found.plain else "")

    rows = [[m.method, *(cell(_distance(m.realism.get(n))) for n in SHORT)] for m in figures.methods if m.realism]
    title = "How far the simulated population is from real students"
    return section("realism", title, ["method", *SHORT], rows, _HALVES)


def _empty(title: str, caption: str, headings: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table

    drawn = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, show_lines=True, padding=0)
    drawn.add_column("method", no_wrap=True)
    for heading in headings:
        drawn.add_column(heading, justify="right", min_width=7 if heading.startswith("skill") else 3)
    return drawn


def students_row(figures: Figures) -> list[str]:
    """The students' own figures in the headline's columns: over the method whose rollouts show most of them."""
    cells = []
    for heading, _, _ in HEADLINE:
        known = [m.micro[REAL[heading]] for m in figures.methods] if heading in REAL else []
        most = max(known, key=lambda e: e.pairs, default=None)
        cells.append("" if most is None else shown(most))
    return cells


def sections(figures: Figures) -> list[Section]:
    """All figures of all methods as tables: the headline, realism, comparisons, and the details; none without rows."""
    reading = _READING.format(resamples=figures.resamples, baseline=figures.baseline)
    curves = "As Koutcheme, Leinonen and Hellas (EDM 2026) aggregate"
    pairs = "Means over covered pairs."
    headline = _by_method(figures, "headline", "Headline", HEADLINE, reading)
    found = [
        replace(headline, rows=(*headline.rows, (STUDENTS, *students_row(figures)))),
        _short(figures),
        calibration(figures),
        realism(figures),
        comparisons(figures),
        _by_method(figures, "paper", curves, PAPER, _CURVES),
        _by_method(figures, "behaviour", "Behaviour", BEHAVIOUR, f"{pairs[:-1]}; solved and gave up: over rollouts."),
        _by_method(figures, "agreement", "Agreement with the student's next submission", AGREEMENT, pairs),
        *([_by_method(figures, "codebleu", "CodeBLEU and its parts", PARTS)] if figures.codebleu else []),
        _by_method(
            figures, "edits", "Edits", EDITS, "Characters deleted and inserted since the previous program, mean."
        ),
        _by_method(
            figures,
            "sizes",
            "Sizes of programs",
            _style(figures),
            "Simulated minus the student's, mean: signed and absolute.",
        ),
        *strata(figures),
        _counts(figures),
    ]
    return [s for s in found if s.rows]


def _style(figures: Figures) -> Sequence[Column]:
    """The columns of sizes; lint, the last of them, where it was counted."""
    return STYLE if figures.lint else STYLE[:-2]


def to_markdown(figures: Figures) -> str:
    """All of ``sections`` as Markdown."""
    return "\n\n".join(s.markdown for s in sections(figures)) + "\n"


def _by_method(figures: Figures, key: str, title: str, columns: Sequence[Column], reading: str = "") -> Section:
    rows = [
        [method.method, *(shown(figure(method), signed) for _, figure, signed in columns)] for method in figures.methods
    ]
    return section(key, title, ["method", *(heading for heading, _, _ in columns)], rows, reading)


def _counts(figures: Figures) -> Section:
    names = ("rollouts", "errors", "students", "assignments", "steps", "covered", "no_code", "truncated")
    rows = []
    for method in figures.methods:
        gp = method.skill.get("grade_proximity")
        pairs = (method.micro["codebleu"].pairs, gp.difference.pairs if gp else 0)
        rows.append([method.method, *(f"{n:,}" for n in (*(getattr(method.counts, name) for name in names), *pairs))])
    headings = (
        *("rollouts", "left out (errors)", "students", "assignments", "steps", "covered (GP)"),
        *("no program", "cut off", "pairs for CB", "pairs for skill GP"),
    )
    return section("counts", "What the figures rest on", ["method", *headings], rows)
