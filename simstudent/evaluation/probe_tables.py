"""What probes found: as Markdown, as CSV, as JSON, and drawn."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from simstudent.evaluation.files import cells
from simstudent.evaluation.numbers import number, shown, table
from simstudent.evaluation.probes import TARGETS, By, Probe
from simstudent.evaluation.vector_probes import VectorProbe

CHANCE = {"AUC": 0.5, "R2": 0.0}


def to_markdown(states: Sequence[Probe], vectors: Sequence[VectorProbe], *, by: By, split: str) -> str:
    """Two tables, the second only where students have vectors; what the figures mean above each."""
    names = list(dict.fromkeys(p.representation for p in states))
    text = [f"## What can be read off the states ({split}, folds by {by})\n"]
    rows = []
    for target, measure in TARGETS.items():
        of = {p.representation: p for p in states if p.target == target}
        if of:
            controls = [p.control for p in of.values() if p.control is not None]
            chance = number(sum(controls) / len(controls), False) if controls else "-"
            rows.append([f"{target} ({measure})", *(shown(of[n].value) if n in of else "-" for n in names), chance])
    text += [table(["target", *names, "shuffled target"], rows), ""]
    differences = [
        [f"{p.target} ({p.measure})", f"{names[0]} - {p.representation}", shown(p.behind, signed=True)]
        for p in states
        if p.behind is not None
    ]
    if differences:
        text += ["Differences on the same prefixes:\n", table(["target", "between", "difference"], differences), ""]
    if vectors:
        text += ["## What the students' vectors say of them (Pearson's r over students)\n"]
        rows = [[v.property, v.kind, shown(v.value), shown(v.control), str(v.value.pairs)] for v in vectors]
        text += [table(["property", "probe", "r", "shuffled vectors", "students"], rows), ""]
        text.append("Without information r tends below 0, as each fold is predicted from the others' mean: compare")
        text.append("with the shuffled vectors. So many figures hold some that stand out by chance.\n")
    text.append("Brackets: 95 % intervals by bootstrap over students.")
    return "\n".join(text) + "\n"


def to_json(states: Sequence[Probe], vectors: Sequence[VectorProbe], settings: dict[str, Any]) -> dict[str, Any]:
    """Everything unrounded, with what it was made from."""
    return {"settings": settings, "states": [asdict(p) for p in states], "vectors": [asdict(v) for v in vectors]}


def to_csv(states: Sequence[Probe], vectors: Sequence[VectorProbe]) -> str:
    """One figure a line."""
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(["probe", "target", "measure", "figure", "value", "low", "high", "interval", "n", "students"])
    for p in states:
        rows.writerow([p.representation, p.target, p.measure, "value", *cells(p.value)])
        if p.behind is not None:
            rows.writerow([p.representation, p.target, p.measure, "first minus this", *cells(p.behind)])
        rows.writerow(
            [p.representation, p.target, p.measure, "shuffled target", "" if p.control is None else p.control]
        )
    for v in vectors:
        for name, figure in (("value", v.value), ("shuffled vectors", v.control)):
            rows.writerow([f"vectors, {v.kind}", v.property, "r", name, *cells(figure)])
    return written.getvalue()


def draw(states: Sequence[Probe], path: Path) -> None:
    """Bars of every target and representation, intervals as lines; dashed where chance is. Needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    targets = list(dict.fromkeys(p.target for p in states))
    names = list(dict.fromkeys(p.representation for p in states))
    figure, axes = plt.subplots(1, len(targets), figsize=(2.4 * len(targets), 3.2), squeeze=False, layout="constrained")
    for axis, target in zip(axes[0], targets, strict=True):
        for place, name in enumerate(names):
            for p in (
                p for p in states if (p.target, p.representation) == (target, name) and p.value.value is not None
            ):
                axis.bar(place, p.value.value, color=f"C{place}", label=name)
                if p.value.interval is not None:
                    axis.plot([place, place], [p.value.interval.low, p.value.interval.high], color="0.2", linewidth=1.2)
                if p.measure in CHANCE:
                    axis.axhline(CHANCE[p.measure], color="0.5", linestyle="--", linewidth=0.8)
                axis.set_title(f"{target}\n{p.measure}", fontsize=9)
        axis.set_xticks([])
    handles = [plt.Rectangle((0, 0), 1, 1, color=f"C{k}") for k in range(len(names))]
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)
    plt.close(figure)
