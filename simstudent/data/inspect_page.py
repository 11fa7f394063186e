"""The figures of ``simstudent data inspect`` on the terminal, and as one HTML page that needs no network."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from simstudent.data.inspect import BINS, Summary, busiest, examples, facts
from simstudent.data.records import Assignment, Trajectory
from simstudent.dialogue.printable import printable
from simstudent.errors import missing_extra
from simstudent.html import document, text

_STYLE = """
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(18rem,1fr));gap:1rem}
figure{margin:0;background:#fff;border-radius:.4rem;padding:.4rem}figure svg{width:100%;height:auto}
"""


def terminal(summary: Summary, assignments: Mapping[str, Assignment], notes: Sequence[str], name: str) -> Any:
    """What `rich` prints: the figures, the busiest assignments, an example."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    figures = Table(title=Text(name), title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    for label, value in facts(summary, assignments):
        figures.add_row(Text(label, style="bold"), Text(printable(value)))
    tasks = Table(title="assignments with most events", title_justify="left", box=None, padding=(0, 2, 0, 0))
    tasks.add_column("assignment")
    for column in ("trajectories", "events", "solved"):
        tasks.add_column(column, justify="right")
    for task, held, events, solved in busiest(summary, 10):
        tasks.add_row(Text(printable(task)), f"{held:,}", f"{events:,}", f"{solved:,}")
    shown = [Text(printable(line)) for line in notes]
    for t in examples(summary)[:1]:
        shown += [Text(f"\nAn example, {t.key}:", style="bold"), *(Text(printable(text)) for text in _states(t))]
    return Group(figures, Text(), tasks, *shown)


def _states(t: Trajectory) -> list[str]:
    """Each state of a trajectory with what the log says of it."""
    found = []
    for number, s in enumerate(t.submissions, 1):
        grade = "not graded" if s.grade is None else f"grade {s.grade:.2f}"
        kind = "" if s.kind == "submission" else f", {s.kind}"
        found.append(f"-- {number}: {s.time or 'no time'}, {grade}{kind}\n{s.code.rstrip()}")
        found += [f"   ({talk.role}) {talk.text}" for talk in s.talk]
    return found


def page(summary: Summary, assignments: Mapping[str, Assignment], notes: Sequence[str], name: str) -> str:
    """The page. Raises SimstudentError when matplotlib, which draws the plots, is not installed."""
    rows = "".join(
        f"<tr><th>{text(label)}</th><td>{text(value)}</td></tr>" for label, value in facts(summary, assignments)
    )
    tasks = "".join(
        f"<tr><td>{text(task)}</td>" + "".join(f"<td class=n>{n:,}</td>" for n in figures) + "</tr>"
        for task, *figures in busiest(summary)
    )
    warned = "".join(f"<p class=note>{text(line.strip())}</p>" for line in notes)
    plots = "".join(f"<figure>{svg}</figure>" for svg in _plots(summary))
    shown = "".join(_example(t) for t in examples(summary))
    body = (
        f"<main><h1>{text(name)}</h1>{warned}"
        f"<div class=scroll><table>{rows}</table></div><h2>Distributions</h2><div class=plots>{plots}</div>"
        "<h2>Assignments with most events</h2><div class=scroll><table><thead><tr><th>assignment</th>"
        "<th class=n>trajectories</th><th class=n>events</th><th class=n>solved</th></tr></thead>"
        f"<tbody>{tasks}</tbody></table></div><h2>Examples</h2>{shown}"
        "<p>This page holds students' programs. Treat it as you treat your logs.</p></main>"
    )
    return document(name, body, style=_STYLE)


def _example(t: Trajectory) -> str:
    states = "".join(f"<pre>{text(state)}</pre>" for state in _states(t))
    return f"<details><summary>{text(t.key)}: {len(t.submissions)} events, {t.outcome}</summary>{states}</details>"


def _plots(summary: Summary) -> list[str]:
    """Inline SVG: events per trajectory, lines per program, grades, events over time."""
    try:
        import matplotlib
    except ImportError:
        raise missing_extra("matplotlib", "report") from None
    matplotlib.use("svg")
    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text: small, searchable, read aloud
    drawn = [
        _bars(_clipped(summary.lengths), "events of a trajectory", "trajectories"),
        _bars(_clipped(summary.lines), "lines of a program", "events"),
    ]
    if summary.grades:
        shares = [(n / BINS, summary.grades[n]) for n in range(BINS + 1)]
        drawn.append(_bars(shares, "logged grade (last bar: full marks)", "events", width=0.9 / BINS))
    if len(summary.days) > 1:
        drawn.append(_days(summary))
    return drawn


def _clipped(counts: Mapping[int, int], most: int = 60) -> list[tuple[float, int]]:
    """The counts up to ``most``; the last bar is all beyond it."""
    found = dict.fromkeys(range(min(min(counts), most), min(max(counts), most) + 1), 0)
    for value, count in counts.items():
        found[min(value, most)] += count
    return [(float(value), count) for value, count in found.items()]


def _bars(points: Sequence[tuple[float, int]], x: str, y: str, width: float = 0.9) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 2.6), layout="constrained")
    axes = figure.add_subplot()
    axes.bar([at for at, _ in points], [count for _, count in points], width=width, color="#3b6ea5")
    axes.set_xlabel(x + (" (last bar: 60 or more)" if points and points[-1][0] == 60 else ""))
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    return _svg(figure, f"{y} by {x}")


def _days(summary: Summary) -> str:
    import datetime

    from matplotlib.figure import Figure

    days = {datetime.date.fromisoformat(day): count for day, count in sorted(summary.days.items())}
    figure = Figure(figsize=(4.2, 2.6), layout="constrained")
    axes: Any = figure.add_subplot()  # dates are fine on an axis, whatever matplotlib's types say
    axes.bar(list(days), list(days.values()), width=max(1.0, len(days) / 400), color="#3b6ea5")
    axes.set_ylabel("events")
    axes.set_xlabel("day")
    axes.tick_params(axis="x", rotation=30)
    axes.spines[["top", "right"]].set_visible(False)
    return _svg(figure, "events by day")


def _svg(figure: Any, label: str) -> str:
    """A figure as an SVG element that says what it shows."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    return re.sub(r"<svg ", f'<svg role="img" aria-label="{escape(label)}" ', svg, count=1)
