"""The report as one HTML page: the answer first, then figures and tables, then what was run. No programs are in it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from simstudent.evaluation.metrics import Figures
from simstudent.evaluation.numbers import Section
from simstudent.evaluation.words import explain
from simstudent.html import document, text
from simstudent.report.charts import Charts, svg
from simstudent.report.gather import Part

CHAPTERS = (
    ("The answer", ("skill",), ("answer", "headline")),
    ("As in the paper", ("figure1", "figure2"), ("table2", "codebleu")),
    ("As a population", ("realism", "survival"), ("realism", "populations", "temperatures")),
    ("Methods compared", (), ("comparisons",)),
    ("Behaviour", (), ("behaviour", "agreement", "edits", "sizes")),
    ("By kind of start", (), ("by-student-outcome", "by-position", "by-length", "by-program-lines", "by-assignment")),
    ("What was run", (), ("facts", "counts", "tokens")),
)
"""Title, charts, tables."""
_FOLDED = {"populations", "by-assignment", "sizes", "codebleu"}
_NO_CHARTS = 'The figures are not drawn: matplotlib is not installed (pip install "simstudent[report]").'


def asset(name: str) -> str:
    """A style sheet or script of the pages."""
    return files("simstudent.report").joinpath("assets", name).read_text(encoding="utf-8")


def page(
    title: str,
    parts: Sequence[tuple[Part, Figures, Sequence[Section], Charts]],
    *,
    notes: Sequence[str],
    viewer: Sequence[str] = (),
    drawn: bool = True,
) -> str:
    """The page. ``viewer``: of each part the file with its trajectories, beside this one."""
    body = [f"<header><h1>{text(title)}</h1></header>"]
    body += [f"<p class=note>{text(n)}</p>" for n in [*notes, *([] if drawn else [_NO_CHARTS])]]
    links = "".join(
        f"<li><a href='#part{at}-{number}'>{text(chapter)}{'' if len(parts) == 1 else ', ' + text(part.title)}</a></li>"
        for at, (part, *_) in enumerate(parts)
        for number, (chapter, _, _) in enumerate(CHAPTERS)
    )
    body.append(f"<nav aria-label=Contents><ul>{links}</ul></nav><main>")
    for at, (part, figures, tables, charts) in enumerate(parts):
        if len(parts) > 1:
            body.append(
                f"<h2 class=part>{text(part.title)}</h2><p>Other data, split or steps than the other parts.</p>"
            )
        link = (
            f"<p><a class=open href='{text(viewer[at])}'>Read the trajectories: students and simulations side by side"
            "</a></p>"
            if viewer
            else ""
        )
        for number, chapter in enumerate(CHAPTERS):
            body.append(_chapter(f"part{at}-{number}", chapter, tables, charts, figures if number == 0 else None))
            body.append(link if number == 0 else "")
    body.append(
        "</main><footer><p>No program of a student is on this page. How each figure is defined: docs/metrics.md; "
        "this page: docs/report.md.</p></footer>"
    )
    return document(title, "".join(body), style=asset("report.css"))


def _chapter(
    name: str,
    chapter: tuple[str, tuple[str, ...], tuple[str, ...]],
    tables: Sequence[Section],
    charts: Charts,
    explained: Figures | None,
) -> str:
    title, chart_names, keys = chapter
    parts = [f"<section id='{name}'><h2>{text(title)}</h2>"]
    for key in chart_names:
        if key in charts:
            heading, reading, figure = charts[key]
            end = "" if heading.endswith("?") else "."
            drawn = svg(figure, f"{heading}. {reading}", f"{name}-{key}")
            parts.append(
                f"<figure><div class=scroll tabindex=0 role=group aria-label='{text(heading)}'>{drawn}</div>"
                f"<figcaption><b>{text(heading)}{end}</b> {text(reading)}</figcaption></figure>"
            )
    parts += [_table(t, key in _FOLDED) for key in keys for t in tables if t.key == key]
    if explained is not None:
        lines = "".join(f"<li>{text(line)}</li>" for line in explain(explained).splitlines())
        state = " open" if len(explained.methods) <= 4 else ""  # many methods: many lines
        parts.append(f"<details{state}><summary>In plain words</summary><ul class=words>{lines}</ul></details>")
    return "".join(parts) + "</section>"


def _table(table: Section, folded: bool) -> str:
    head = "".join(_heading(h, at) for at, h in enumerate(table.headings))
    words = table.key == "facts"
    rows = "".join(
        f"<tr><th scope=row>{text(first)}</th>{''.join(_cell(c, words) for c in rest)}</tr>"
        for first, *rest in table.rows
    )
    reading = f"<p class=reading>{text(table.reading)}</p>" if table.reading else ""
    drawn = (
        f"<div class=scroll tabindex=0 role=group aria-label='{text(table.title)}'>"
        f"<table class='{table.key}'><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{reading}"
    )
    if folded:
        return f"<details class=more><summary>{text(table.title)} ({len(table.rows)} rows)</summary>{drawn}</details>"
    return f"<h3>{text(table.title)}</h3>{drawn}"


def _heading(words: str, at: int) -> str:
    kind = "" if at == 0 or words == "in words" else " class=n"
    return f"<th scope=col{kind}>{text(words)}</th>" if words else f"<td{kind}></td>"


_VERDICTS = {"better than copying": "word good", "worse than copying": "word bad"}


def _cell(words: str, prose: bool) -> str:
    value, bracket, interval = words.partition(" [")
    if prose or not bracket or not interval.endswith("]"):
        kind = "" if prose else f" class='n {_VERDICTS.get(words, 'word' if words[:1].isalpha() else '')}'"
        return f"<td{kind}>{text(words)}</td>"
    return f"<td class=n>{text(value)} <small>[{text(interval)}</small></td>"
