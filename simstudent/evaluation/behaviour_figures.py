"""Figures 2 and 3 of Ross et al. (2025) for one's own models: correlations, and means beside the students'."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simstudent.errors import missing_extra
from simstudent.evaluation.behaviour import ALL, FLAGS, Behaviour, MethodFigures
from simstudent.evaluation.behaviour_columns import PUBLISHED


def draw(found: Behaviour, folder: Path) -> list[Path]:
    """Write ``correlations.png`` and ``means.png``. Raises SimstudentError without matplotlib."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        raise missing_extra("matplotlib", "report") from None
    methods = [m for m in found.methods if m.group == ALL]
    names = _shown(methods)
    written = []
    for name, paint in (("correlations", _correlations), ("means", _means)):
        height = 1.2 + len(names) * (0.12 + 0.14 * len(methods))
        figure, axes = pyplot.subplots(figsize=(8, height), layout="constrained")
        paint(axes, methods, names)
        axes.set_yticks(range(len(names)), [n.replace("_", " ") for n in names])
        axes.margins(y=0.01)
        axes.invert_yaxis()
        axes.axvline(0, color="black", linewidth=0.8)
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
        pairs = f"{found.pairs:,} pairs of {found.students:,} students and {found.titles:,} titles"
        figure.legend(
            *axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, title=pairs
        )
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=150)
        pyplot.close(figure)
        written.append(path)
    return written


def _shown(methods: Sequence[MethodFigures]) -> list[str]:
    """Our properties of which some method has a correlation."""
    names = [name for name in methods[0].properties if not name.startswith(PUBLISHED) and name not in FLAGS]
    return [name for name in names if any(m.properties[name].correlation.value is not None for m in methods)]


def _place(at: int, number: int, count: int) -> float:
    """Where bar ``number`` of ``count`` stands for the property in row ``at``."""
    return at + (number - (count - 1) / 2) * 0.8 / count


def _correlations(axes: Any, methods: Sequence[MethodFigures], names: Sequence[str]) -> None:
    for number, m in enumerate(methods):
        found = [(at, e) for at, name in enumerate(names) if (e := m.properties[name].correlation).value is not None]
        places = [_place(at, number, len(methods)) for at, _ in found]
        values = [e.value or 0.0 for _, e in found]
        bounds = [
            (v, v) if e.interval is None else (e.interval.low, e.interval.high)
            for v, (_, e) in zip(values, found, strict=True)
        ]
        error = [
            [max(0.0, v - low) for v, (low, _) in zip(values, bounds, strict=True)],
            [max(0.0, high - v) for v, (_, high) in zip(values, bounds, strict=True)],
        ]
        axes.barh(places, values, 0.8 / len(methods), xerr=error, label=m.method, error_kw={"linewidth": 0.8})
    axes.set_xlabel("Pearson's r with the student's own trace (95 % interval over students and titles)")


def _means(axes: Any, methods: Sequence[MethodFigures], names: Sequence[str]) -> None:
    """Generated minus true, in standard errors of the true mean's pairs: comparable across units."""
    for number, m in enumerate(methods):
        found = [(at, f) for at, name in enumerate(names) if (f := m.properties[name]).true_se and f.mean is not None]
        places = [_place(at, number, len(methods)) for at, _ in found]
        values = [((f.mean or 0) - (f.true or 0)) / (f.true_se or 1) for _, f in found]
        error = [(f.mean_se or 0) / (f.true_se or 1) for _, f in found]
        axes.barh(places, values, 0.8 / len(methods), xerr=error, label=m.method, error_kw={"linewidth": 0.8})
    axes.set_xscale("symlog", linthresh=5)
    low, high = axes.get_xlim()
    ticks = [t for t in (-100, -30, -10, -5, -2, 0, 2, 5, 10, 30, 100) if low <= t <= high]
    axes.set_xticks(ticks, [f"{t:+d}" if t else "0" for t in ticks])
    axes.set_xlabel("generated minus true mean, in standard errors of the true mean\n(whiskers: one of the generated)")
