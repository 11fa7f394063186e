"""What ``simstudent adapt`` found, for people and for programs: ``adapt.json``, ``table.md`` and ``curve.svg``."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from simstudent.evaluation.bench import Compared
from simstudent.evaluation.conditions import Condition
from simstudent.evaluation.numbers import number, shown, table
from simstudent.evaluation.statistics import Estimate
from simstudent.runs import write_json

HEADINGS = ("condition", "loss per token", "perplexity", "difference", "p", "p (Holm)", "students worse")
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Answers:
    """``carried``: trained students, the true vector against others; ``curve``: new ones, k by k. None: no data for it.

    ``few``: new students with too few trajectories. ``nobody_trained``: whether training had sequences without a
    student; ``history_trained``: with earlier work in the context. ``skill``: by condition and measure, of rollouts.
    """

    run: str
    carried: Compared | None
    curve: Compared | None
    epochs: Mapping[int, float]
    k: tuple[int, ...]
    seeds: int
    few: int
    nobody_trained: bool
    history_trained: bool
    skill: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)


def write_all(folder: Path, answers: Answers, say: Callable[[str], None]) -> None:
    """Write the files, and say what they hold."""
    write_json(folder / "adapt.json", {**asdict(answers), "epochs": {str(k): e for k, e in answers.epochs.items()}})
    text = markdown(answers)
    (folder / "table.md").write_text(text, encoding="utf-8")
    say(text)
    if answers.curve is not None:
        if importlib.util.find_spec("matplotlib") is not None:
            draw(answers, folder / "curve.svg")
        else:
            say('No curve was drawn, matplotlib is not installed: pip install "simstudent[report]"')
    say(f"Figures: {folder}")


def markdown(a: Answers) -> str:
    """Tables with what they show in words."""
    parts = [f"# Students' vectors of {a.run}"]
    if a.carried is not None:
        parts += ["## Do the vectors carry anything?", _over(a.carried, "trained students"), _table(a.carried)]
        parts.append(verdict(a.carried.of("shuffled")))
        if not a.nobody_trained:
            parts.append("Training had no sequence without a student (students.dropout: 0): nobody is unknown to it.")
    if a.curve is not None:
        parts += ["## What k trajectories of a new student teach", _over(a.curve, "new students"), _table(a.curve)]
        parts.append(_notes(a))
    if a.skill:
        measures = list(next(iter(a.skill.values())))
        rows = [[name, *(shown(own[m], signed=True) for m in measures)] for name, own in a.skill.items()]
        parts += ["## Rollouts of the new students", "Skill: the difference to handing in the last program again."]
        parts.append(table(("condition", *(m.replace("_", " ") for m in measures)), rows))
    return "\n\n".join(parts) + "\n"


def verdict(shuffled: Condition) -> str:
    """Whether the true student's vector is better than another's, in words."""
    d = shuffled.difference
    assert d is not None
    if d.value is None or d.interval is None or shuffled.p is None:
        return "Too few students to tell whether the vectors carry anything."
    sure = shuffled.p < SIGNIFICANT and d.interval.low > 0
    gap = f"{shown(d, signed=True)} nats per token, p = {number(shuffled.p, False)}"
    if sure:
        return f"They do: with another student's vector the loss is higher ({gap})."
    if shuffled.p < SIGNIFICANT and d.interval.high < 0:
        return f"They mislead: with another student's vector the loss is lower ({gap})."
    return f"No evidence that they do: another student's vector serves as well ({gap})."


def _over(c: Compared, of: str) -> str:
    text = (
        f"{c.trajectories:,} held-out trajectories ({c.tokens:,} tokens) of {c.students} {of}. Loss in nats per token;"
    )
    text += f" difference to *{c.reference}*, above 0 where the condition is worse; 95 % intervals and p over students."
    if c.unfit:
        text += f" {c.unfit} trajectories are left out: under some condition not all of them fits the window."
    return text


def _table(c: Compared) -> str:
    return table(HEADINGS, [_row(one) for one in c.conditions])


def _row(c: Condition) -> list[str]:
    perplexity = "-" if c.perplexity is None else number(c.perplexity, False)
    if c.difference is None:
        return [c.name, shown(c.loss), perplexity, "", "", "", ""]
    p, holm = ("-" if p is None else number(p, False) for p in (c.p, c.p_holm))
    worse = "-" if c.better is None else f"{c.better[0]} of {c.better[1]}"
    return [c.name, shown(c.loss), perplexity, shown(c.difference, signed=True), p, holm, worse]


def _notes(a: Answers) -> str:
    epochs = ", ".join(f"{k}: {e:.1f}" for k, e in a.epochs.items())
    text = f"Vectors: mean over {a.seeds} seeds; stopped by 5 % of the later trajectories (best epoch by k: {epochs})."
    if a.few:
        text += f" {a.few} new students have fewer than {max(a.k) + 2} trajectories and are left out."
    assert a.curve is not None
    if not any(c.name.startswith("history") for c in a.curve.conditions):
        text += " A model of traces sees no history, so none is set beside the vectors."
    elif not a.history_trained:
        text += " History in the context is new to this model: its recipe trains without (dialogue.history)."
    return text


def draw(a: Answers, path: Path) -> None:
    """Loss over k: vector and history, with intervals of their differences to nobody."""
    from matplotlib.figure import Figure

    assert a.curve is not None
    figure: Any = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0, color="#777", linewidth=1, label="nobody's vector")
    for at, (kind, colour) in enumerate((("vector", "#3b6ea5"), ("history", "#b5651d"))):
        named = {c.name: c.difference for c in a.curve.conditions}
        points = [(k, d) for k in a.k if (d := named.get(f"{kind} k={k}")) is not None and d.value is not None]
        if not points:
            continue
        place = [k + 0.12 * at for k, _ in points]
        axes.plot(place, [d.value for _, d in points], marker="o", markersize=4, color=colour, label=_LABELS[kind])
        for where, (_, d) in zip(place, points, strict=True):
            if d.interval is not None:
                axes.plot([where, where], [d.interval.low, d.interval.high], color=colour, linewidth=1)
    axes.set_xlabel("k, trajectories of the new student")
    axes.set_ylabel("loss per token, difference to nobody (nats)")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


_LABELS = {"vector": "a vector learnt from k", "history": "k in the context"}
