"""The figures, drawn by matplotlib: as SVG and PNG for papers, and as SVG that takes on a page's colours."""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from simstudent.evaluation.curves import GRADES, UNSOLVED, Curve
from simstudent.evaluation.metrics import Figures, MethodFigures
from simstudent.evaluation.statistics import Estimate
from simstudent.html import text

COLOURS = ("#1f77b4", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#8c564b", "#7b61ff")
"""Apart for colour-blind people too, and on white as on black (after Okabe and Ito, 2008)."""
MARKERS = "osD^vPX"

Charts = dict[str, tuple[str, str, Any]]
"""By file name: title, how to read it, and matplotlib's figure."""


def available() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def charts(figures: Figures) -> Charts:
    """All figures for which there are values."""
    drawn = {
        "skill": (
            "Does it beat copying?",
            f"Difference to {figures.baseline} on the same pairs, with 95 % intervals. Right of the line: better.",
            _skill(figures),
        ),
        "figure1": (
            "Figure 1: coverage, grade proximity and CodeBLEU over the steps",
            "Means of each step; bands: 95 % intervals, bootstrap over students.",
            _steps(figures),
        ),
        "figure2": (
            "Figure 2: mean grade over the position in the trajectory",
            "Tenths of the trajectory, by (t + k) / T; students dashed. Who has solved the task keeps full marks.",
            _curves(figures, GRADES, "position in the trajectory", "mean grade"),
        ),
        "survival": (
            "Attempts to success",
            "Share not yet solved after each step (Kaplan-Meier), students dashed. Bands: 95 % intervals.",
            _curves(figures, UNSOLVED, "step", "share not solved"),
        ),
        "realism": (
            "Distance of the population from real students",
            "Half to half, in units of what 95 % of real halves stay under: right of the line, told apart.",
            _realism(figures),
        ),
    }
    return {name: (title, reading, figure) for name, (title, reading, figure) in drawn.items() if figure is not None}


def svg(figure: Any, label: str, prefix: str) -> str:
    """An SVG element in the colours of the page around it; ``prefix`` keeps its ids apart from other figures'."""
    raw = to_bytes(figure, "svg").decode()
    raw = raw[raw.index("<svg") :].replace("#000000", "currentColor")
    raw = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", raw)
    raw = re.sub(r"<metadata>.*?</metadata>", "", raw, flags=re.DOTALL)
    return re.sub(r"<svg ", f'<svg role="img" aria-label="{text(label)}" ', raw, count=1)


def to_bytes(figure: Any, form: str) -> bytes:
    """``form``: svg or png. The same figure gives the same bytes."""
    import matplotlib

    out = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "simstudent", "font.family": "sans-serif"}):
        more: dict[str, Any] = {"transparent": True, "metadata": {"Date": None}} if form == "svg" else {"dpi": 200}
        figure.savefig(out, format=form, **more)
    return out.getvalue()


def _axes(width: float, height: float, columns: int = 1) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    found = figure.subplots(1, columns, squeeze=False)[0]
    for axes in found:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25, linewidth=0.6)
    return figure, list(found)


def _styles(methods: Sequence[MethodFigures]) -> Iterator[tuple[MethodFigures, dict[str, Any]]]:
    for at, method in enumerate(methods):
        yield (
            method,
            {"color": COLOURS[at % len(COLOURS)], "marker": MARKERS[at % len(MARKERS)], "label": method.method},
        )


def _band(axes: Any, at: Sequence[float], points: Sequence[Estimate], opacity: float, **style: Any) -> None:
    """A line through the points that have a value, with the intervals as a band."""
    known = [(x, p.value, p.interval) for x, p in zip(at, points, strict=True) if p.value is not None]
    if not known:
        return
    axes.plot([x for x, _, _ in known], [v for _, v, _ in known], markersize=4, linewidth=1.6, **style)
    sure = [(x, i.low, i.high) for x, _, i in known if i is not None]
    if len(sure) > 1:
        axes.fill_between(*zip(*sure, strict=True), color=style["color"], alpha=opacity, linewidth=0)


def _opacity(lines: int) -> float:
    """Of bands that lie over one another: the more, the fainter."""
    return min(0.16, 0.5 / lines)


def _legend(figure: Any, axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)


def _skill(figures: Figures) -> Any:
    wanted = (("grade_proximity", "grade proximity"), ("codebleu", "CodeBLEU"), ("test_agreement", "outcome per test"))
    methods = [m for m in figures.methods if m.skill]
    kept = [w for w in wanted if any(m.skill[w[0]].difference.value is not None for m in methods)]
    if not kept:
        return None
    figure, found = _axes(9, 0.9 + 0.32 * len(methods), len(kept))
    for axes, (measure, title) in zip(found, kept, strict=True):
        for row, (method, style) in enumerate(_styles(methods)):
            difference = method.skill[measure].difference
            if difference.value is not None:
                if difference.interval is not None:
                    axes.plot([difference.interval.low, difference.interval.high], [row, row], color=style["color"])
                axes.plot([difference.value], [row], color=style["color"], marker="o", markersize=5)
        axes.axvline(0, color="#000000", linewidth=0.8)
        axes.set_yticks(range(len(methods)), [m.method for m in methods] if axes is found[0] else [""] * len(methods))
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.set_title(title, fontsize=10)
    return figure


def _steps(figures: Figures) -> Any:
    wanted = (("coverage", "coverage"), ("grade_proximity", "grade proximity"), ("codebleu", "CodeBLEU"))
    kept = [w for w in wanted if any(p.value is not None for m in figures.methods for p in m.by_step[w[0]])]
    if not kept:
        return None
    figure, found = _axes(10, 3.6, len(kept))
    for axes, (measure, title) in zip(found, kept, strict=True):
        for method, style in _styles(figures.methods):
            _band(
                axes,
                range(1, len(method.by_step[measure]) + 1),
                method.by_step[measure],
                _opacity(len(figures.methods)),
                **style,
            )
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("step")
        axes.xaxis.get_major_locator().set_params(integer=True)
    _legend(figure, found[0])
    return figure


def _curves(figures: Figures, name: str, x: str, y: str) -> Any:
    methods = [(m, s) for m, s in _styles(figures.methods) if name in m.curves and not m.method.startswith("constant")]
    if not methods:
        return None
    figure, (axes,) = _axes(7.2, 4)
    most = max((m.curves[name] for m, _ in methods), key=_known)
    at = _places(name, most)
    for method, style in methods:
        curve = method.curves[name]
        _band(axes, _places(name, curve), curve.simulated, _opacity(len(methods)), **style)
    _band(axes, at, most.real, 0.1, color="#000000", linestyle="--", label="the students")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(-0.02, 1.02)
    if name == UNSOLVED:
        axes.xaxis.get_major_locator().set_params(integer=True)
    _legend(figure, axes)
    return figure


def _places(name: str, curve: Curve) -> list[float]:
    points = len(curve.real)
    return [(at + 0.5) / points if name == GRADES else at + 1 for at in range(points)]


def _known(curve: Curve) -> int:
    return sum(p.pairs for p in curve.real if p.value is not None)


def _realism(figures: Figures) -> Any:
    methods = [(m, s) for m, s in _styles(figures.methods) if any(map(_ratio, m.realism.values()))]
    if not methods:
        return None
    names = list(dict.fromkeys(name for m, _ in methods for name in m.realism))
    figure, (axes,) = _axes(7.6, 1.2 + 0.3 * len(names))
    for method, style in methods:
        rows = [(names.index(n), _ratio(r)) for n, r in method.realism.items() if _ratio(r)]
        axes.plot([r for _, r in rows], [n for n, _ in rows], linestyle="", alpha=0.85, **style)
    axes.axvline(1, color="#000000", linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("distance / 95 % of the noise floor")
    _legend(figure, axes)
    return figure


_ratio: Callable[[Any], float | None] = lambda r: r.halves / r.floor_high if r.halves and r.floor_high else None  # noqa: E731
