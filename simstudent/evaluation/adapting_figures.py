"""Figures of ``simstudent adapt`` over k: loss (``curve.svg``), and what is written (``points.svg``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simstudent.evaluation.adapting_points import NOBODY, number_of
from simstudent.evaluation.statistics import Estimate

if TYPE_CHECKING:
    from simstudent.evaluation.adapting_files import Answers

VECTOR, HISTORY, OTHERS = "#3b6ea5", "#b5651d", "#777"
_LABELS = {"vector": "a vector learnt from k", "history": "k in the context"}


def draw(a: Answers, folder: Path) -> None:
    """Write those pictures for which there are figures. Needs matplotlib."""
    if a.curve is not None:
        _draw_losses(a, folder / "curve.svg")
    panels = _panels(a)
    if panels:
        _draw_panels(panels, folder / "points.svg")


def _draw_losses(a: Answers, path: Path) -> None:
    """Loss over k: vector and history, with intervals of their differences to nobody."""
    from matplotlib.figure import Figure

    assert a.curve is not None
    figure: Any = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0, color=OTHERS, linewidth=1, label="nobody's vector")
    named = {c.name: c.difference for c in a.curve.conditions}
    for at, (kind, colour) in enumerate((("vector", VECTOR), ("history", HISTORY))):
        points = {k: d for k in a.k if (d := named.get(f"{kind} k={k}")) is not None}
        _curve(axes, points, _LABELS[kind], colour, shift=0.12 * at)
    axes.set_ylabel("loss per token, difference to nobody (nats)")
    _finish(axes)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def _panels(a: Answers) -> dict[str, dict[str, Estimate]]:
    """By what a panel shows, its figure of each condition."""
    found: dict[str, dict[str, Estimate]] = {}
    if a.points is not None:
        for title, name in (("BLEU of last programs", "bleu"), ("mean r of properties", "correlation")):
            found[title] = {p.condition: e for p in a.points.points if (e := getattr(p, name)) is not None}
    for condition, skill in a.skill.items():
        for measure, figure in skill.items():
            found.setdefault(f"skill: {measure.replace('_', ' ')}", {})[condition] = figure
    return {title: of for title, of in found.items() if any(e.value is not None for e in of.values())}


def _draw_panels(panels: Mapping[str, Mapping[str, Estimate]], path: Path) -> None:
    """A panel a figure, over k; nobody's and the baselines' are lines, nobody's interval a band."""
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(3.2 * len(panels), 3.3), layout="constrained")
    handles: dict[str, Any] = {}
    for axes, (title, of) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        points = {k: e for name, e in of.items() if (k := number_of(name))}
        _curve(axes, points, _LABELS["vector"], VECTOR)
        nobody = of.get(NOBODY)
        if nobody is not None and nobody.value is not None:
            axes.axhline(nobody.value, color=OTHERS, linewidth=1, label="nobody's vector")
            if nobody.interval is not None:
                axes.axhspan(nobody.interval.low, nobody.interval.high, color=OTHERS, alpha=0.15, linewidth=0)
        for name, e in of.items():
            if number_of(name) is None and e.value is not None:
                axes.axhline(e.value, color=HISTORY, linewidth=1, linestyle=":", label=name)
        axes.set_title(title, fontsize=9)
        _finish(axes)
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def _curve(axes: Any, points: Mapping[int, Estimate], label: str, colour: str, shift: float = 0.0) -> None:
    """Values over k with their intervals; nothing where there are none."""
    known: Sequence[tuple[float, Estimate]] = [(k + shift, e) for k, e in points.items() if e.value is not None]
    if not known:
        return
    places = [at for at, _ in known]
    axes.plot(places, [e.value for _, e in known], marker="o", markersize=4, color=colour, label=label)
    for at, e in known:
        if e.interval is not None:
            axes.plot([at, at], [e.interval.low, e.interval.high], color=colour, linewidth=1)


def _finish(axes: Any) -> None:
    axes.set_xlabel("k, trajectories of the new student")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)
