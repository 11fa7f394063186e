"""The figures for other programs: ``metrics.json`` with everything, ``figures.csv`` with one figure a line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from simstudent.evaluation.metrics import Figures, MethodFigures
from simstudent.evaluation.statistics import Estimate

HEADINGS = ("method", "table", "measure", "part", "value", "low", "high", "interval", "n", "students")


def to_json(figures: Figures) -> dict[str, Any]:
    """What ``metrics.json`` holds: every figure unrounded, with counts, curves, skill, realism, strata and settings.

    Only dicts with string keys, lists, strings, numbers, booleans and None.
    """
    raw: dict[str, Any] = plain(asdict(figures))
    parts = {name: raw.pop(name) for name in ("methods", "comparisons", "calibration")}
    return {"settings": raw, **parts}


def plain(value: Any) -> Any:
    """Mappings, lists and tuples as dicts and lists, all the way down."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def to_csv(figures: Figures) -> str:
    """All figures with their intervals and n, one a line, unrounded; an empty cell is no value."""
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(HEADINGS)
    for method in figures.methods:
        for name, measure, part, figure in _of_method(method):
            rows.writerow([method.method, name, measure, part, *cells(figure)])
    for c in figures.comparisons:
        both = f"{c.one} - {c.other}"
        rows.writerow([both, "comparison", c.measure, "difference", *cells(c.difference)])
        for part, p in (("p", c.p), ("p_holm", c.p_holm)):
            rows.writerow([both, "comparison", c.measure, part, *_bare(p, c.difference)])
    return written.getvalue()


def _of_method(m: MethodFigures) -> Iterator[tuple[str, str, str, Estimate]]:
    for name, means in (("micro", m.micro), ("paper", m.paper), ("degradation", m.degradation)):
        yield from ((name, measure, "", figure) for measure, figure in means.items())
    for measure, skill in m.skill.items():
        for part in ("difference", "difference_paper", "own", "baseline"):
            yield "skill", measure, part, getattr(skill, part)
    for measure, curve in m.by_step.items():
        yield from (("step", measure, str(k), figure) for k, figure in enumerate(curve, 1))
    for name, found in m.realism.items():
        yield "realism", name, f"distance ({found.kind})", found.distance
        for part in ("simulated", "real", "halves", "floor", "floor_high", "single"):
            n = found.distance
            yield "realism", name, part, Estimate(getattr(found, part), n.pairs, n.students, None)
    for name, both in m.curves.items():
        for side, points in (("simulated", both.simulated), ("real", both.real)):
            yield from (("curve", name, f"{side} {at}", figure) for at, figure in enumerate(points, 1))
    for s in m.strata:
        named = {**s.means, "skill grade_proximity": s.skill, "solved_within_steps": s.solved}
        named["student_solved_within_steps"] = s.student_solved
        yield from ((f"by {s.by}", measure, s.value, figure) for measure, figure in named.items())


def cells(figure: Estimate) -> list[Any]:
    """Value, interval and numbers of a figure, in the order of HEADINGS from ``value`` on."""
    interval = figure.interval
    bounds = ("", "", "") if interval is None else (interval.low, interval.high, interval.kind)
    return ["" if figure.value is None else figure.value, *bounds, figure.pairs, figure.students]


def _bare(value: float | None, of: Estimate) -> list[Any]:
    return cells(Estimate(value, of.pairs, of.students, None))
