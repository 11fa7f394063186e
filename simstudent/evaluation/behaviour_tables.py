"""The figures of behaviour as tables: for the terminal and Markdown, as CSV with one figure a line, and as JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from simstudent.evaluation.behaviour import ALL, Behaviour, Comparison, MethodFigures, PropertyFigures
from simstudent.evaluation.behaviour_columns import PUBLISHED
from simstudent.evaluation.files import plain
from simstudent.evaluation.numbers import number, shown, table
from simstudent.evaluation.statistics import Estimate

LEVEL = 0.05
HEADINGS = ("method", "pairs", "property", "figure", "value", "low", "high", "n", "students")
_READING = (
    "r: the mean, over properties, of Pearson's correlation over (student, title) pairs between generated and true "
    "values. BLEU of the last programs against the student's own. Self-BLEU: how alike the last programs of one title "
    "are, one a student (students: of the real ones). Brackets: 95 % intervals, bootstrap over students and titles "
    "crossed ({resamples:,} resamples). A dash: no value, or no interval."
)


def headline(found: Behaviour) -> str:
    """A row for each method and group, as Markdown."""
    headings = ("method", "pairs of", "n", "r", "BLEU", "Self-BLEU", "students", "of one pair's", "no end", "no state")
    return table(headings, [_row(found, m) for m in found.methods])


def _row(found: Behaviour, m: MethodFigures) -> list[str]:
    counts = found.counts[m.method]
    lost = [f"{counts[name] / max(1, counts['samples']):.1%}" for name in ("censored", "empty")]
    return [
        m.method,
        _group(m.group),
        f"{m.pairs:,}",
        shown(m.correlation),
        shown(m.bleu),
        *(_value(v) for v in (m.self_bleu, m.true_self_bleu, m.samples_bleu)),
        *(lost if m.group == ALL else ("", "")),
    ]


def _group(name: str) -> str:
    return name.replace("_student", " students,").replace("_assignment", " titles").replace("_", " ")


def _value(value: float | None) -> str:
    return "-" if value is None else number(value, False)


def to_markdown(found: Behaviour) -> str:
    """Everything: headline, correlations, means, comparisons, and the published definitions."""
    parts = [
        ("Behaviour", headline(found), _READING.format(resamples=found.resamples)),
        *(_correlations(found, group) for group in dict.fromkeys(m.group for m in found.methods)),
        ("Means, generated and true", _means(found), _MEANS),
        ("Methods compared", _comparisons(found.comparisons), _COMPARED),
        ("The published definitions", _published(found), "Pearson's correlations, of all pairs. Not for other uses."),
    ]
    return "\n\n".join("\n\n".join(filter(None, (f"### {title}", *body))) for title, *body in parts if body[0]) + "\n"


_MEANS = (
    "Over the pairs where both are known, standard errors in brackets; generated minus true with its interval. "
    "t: paired t-test, p times the number of properties (Bonferroni, as the paper has it). flip: sign flips of whole "
    "students, p after Holm. A star: below .05."
)
_COMPARED = (
    "Distance to the true value, mean over pairs: first minus second method, so below 0 the first is nearer. Only what "
    "either test calls different is shown; p-values are corrected over all comparisons."
)


def _ours(m: MethodFigures) -> dict[str, PropertyFigures]:
    return {name: f for name, f in m.properties.items() if not name.startswith(PUBLISHED)}


def _correlations(found: Behaviour, group: str) -> tuple[str, str, str]:
    methods = [m for m in found.methods if m.group == group]
    rows = [[name, *(shown(m.properties[name].correlation) for m in methods)] for name in _ours(methods[0])]
    return f"Correlations: {_group(group)}", table(["property", *(m.method for m in methods)], rows), ""


def _means(found: Behaviour) -> str:
    rows = []
    for m in (m for m in found.methods if m.group == ALL):
        for name, f in _ours(m).items():
            sides = [_with_se(f.mean, f.mean_se), _with_se(f.true, f.true_se)]
            rows.append([m.method, name, *sides, shown(f.difference, True), _p(f.t), _p(f.flip)])
    return table(["method", "property", "generated", "true", "difference", "t", "flip"], rows)


def _with_se(value: float | None, error: float | None) -> str:
    if value is None:
        return "-"
    return number(value, False) + ("" if error is None else f" ({number(error, False)})")


def _p(p: float | None) -> str:
    if p is None:
        return "-"
    return ("<.001" if p < 0.001 else f"{p:.3f}".lstrip("0")) + (" *" if p < LEVEL else "")


def _comparisons(found: Sequence[Comparison]) -> str:
    told = [c for c in found if any(p is not None and p < LEVEL for p in (c.t, c.flip))]
    rows = [[f"{c.one} - {c.other}", c.name, shown(c.difference, True), _p(c.t), _p(c.flip)] for c in told]
    return table(["methods", "property", "difference", "t", "flip"], rows) if rows else ""


def _published(found: Behaviour) -> str:
    methods = [m for m in found.methods if m.group == ALL]
    names = [name for name in methods[0].properties if name.startswith(PUBLISHED)] if methods else []
    rows = [[n.removeprefix(PUBLISHED), *(shown(m.properties[n].correlation) for m in methods)] for n in names]
    return table(["property", *(m.method for m in methods)], rows) if rows else ""


def to_csv(found: Behaviour) -> str:
    """All figures, one a line, unrounded; an empty cell is no value."""
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(HEADINGS)
    for m in found.methods:
        for name, figure, value in _figures(m):
            rows.writerow([m.method, m.group, name, figure, *_cells(value)])
    for c in found.comparisons:
        for figure, value in (("distance", c.difference), ("p t", c.t), ("p flip", c.flip)):
            rows.writerow([f"{c.one} - {c.other}", ALL, c.name, figure, *_cells(value)])
    return written.getvalue()


def _figures(m: MethodFigures) -> Iterator[tuple[str, str, Estimate | float | None]]:
    for figure in ("correlation", "bleu", "self_bleu", "true_self_bleu", "samples_bleu"):
        yield "", figure, getattr(m, figure)
    for name, f in m.properties.items():
        for figure in ("correlation", "mean", "mean_se", "true", "true_se", "difference"):
            yield name, figure, getattr(f, figure)
        yield name, "p t", f.t
        yield name, "p flip", f.flip


def _cells(value: Estimate | float | None) -> list[Any]:
    if not isinstance(value, Estimate):
        return ["" if value is None else value, "", "", "", ""]
    bounds = ("", "") if value.interval is None else (value.interval.low, value.interval.high)
    return ["" if value.value is None else value.value, *bounds, value.pairs, value.students]


def to_json(found: Behaviour) -> dict[str, Any]:
    """All figures, unrounded: dicts with string keys, lists, strings, numbers and None."""
    raw: dict[str, Any] = plain(asdict(found))
    return raw
