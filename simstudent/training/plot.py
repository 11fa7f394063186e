"""The losses of a run as a picture, from its ``metrics.jsonl``."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from simstudent.runs import read_lines


def draw_losses(run: Path, say: Callable[[str], None]) -> None:
    """Write ``loss.svg`` into the run folder: training and validation loss over the steps.

    Without matplotlib (extra ``report``) it says so and draws nothing: the numbers are in ``metrics.jsonl``.
    """
    if importlib.util.find_spec("matplotlib") is None:
        say('No loss.svg, matplotlib is not installed: pip install "simstudent[report]"')
        return
    from matplotlib.figure import Figure

    lines = list(read_lines(run / "metrics.jsonl"))
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, label, style in (("loss", "training", "-"), ("validation_loss", "validation", "o--")):
        held = [(line["step"], line[name]) for line in lines if name in line]
        if held:
            axes.plot(*zip(*held, strict=True), style, label=label, markersize=4)
    axes.set(xlabel="optimiser steps", ylabel="loss", title=run.name)
    axes.legend()
    figure.savefig(run / "loss.svg")
