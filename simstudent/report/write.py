"""A report into a folder: ``report.html``, ``trajectories.html``, ``report.md``, ``figures.csv`` and ``figures/``."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from simstudent.errors import SimstudentError
from simstudent.evaluation.files import to_csv
from simstudent.evaluation.metrics import Figures, evaluate
from simstudent.evaluation.numbers import Section
from simstudent.evaluation.words import conditions, explain
from simstudent.report import charts as chart
from simstudent.report.fragments import fill
from simstudent.report.gather import Part, gather
from simstudent.report.page import page
from simstudent.report.sections import sections
from simstudent.report.viewer import viewer

Made = tuple[Part, Figures, Sequence[Section], chart.Charts]
NO_CODEBLEU = 'CodeBLEU was left out, it is not installed: pip install "simstudent[codebleu]"'


def write_report(
    given: Sequence[str],
    to: Path | None,
    *,
    results: Path | None = None,
    title: str = "Simulated students",
    resamples: int = 10_000,
    keep_ids: bool = False,
    trajectories: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Make a report of run or rollout folders in ``to`` and, with ``results``, the tables in that Markdown file.

    Raises SimstudentError when a folder holds no rollouts, and when markers in ``results`` name what is not there.
    """
    if results is not None and not results.is_file():
        raise SimstudentError(f"{results}: there is no such file to write tables into")
    codebleu, lint = (importlib.util.find_spec(name) is not None for name in ("codebleu", "pycodestyle"))
    made: list[Made] = []
    for part in gather(given, keep_ids=keep_ids):
        say(f"{part.title}: {len(part.rollouts):,} rollouts")
        for line in (line for source in part.sources for line in source.notes):
            say(line)
        figures = evaluate(part.rollouts, resamples=resamples, codebleu=codebleu, lint=lint)
        drawn = chart.charts(figures) if to is not None and chart.available() else {}
        made.append((part, figures, sections(figures, part), drawn))
    if to is not None:
        _write(made, to, title, [] if codebleu else [NO_CODEBLEU], trajectories)
        say(f"Report: {to / 'report.html'}")
    if results is not None:
        filled, left = fill(results, _by_label(made))
        say(f"{results}: {filled} tables written" + (f", {left} left as they were (label not given)" if left else ""))


def _by_label(made: Sequence[Made]) -> dict[str, Sequence[Section]]:
    return {source.label: tables for part, _, tables, _ in made for source in part.sources}


def _write(made: Sequence[Made], to: Path, title: str, notes: list[str], trajectories: bool) -> None:
    (to / "figures").mkdir(parents=True, exist_ok=True)
    sources = [source for part, *_ in made for source in part.sources]
    said = [line for source in sources for line in (*conditions(source.settings), *source.notes)]
    notes = [*dict.fromkeys(said), *notes]
    pages = []
    for number, (part, figures, tables, drawn) in enumerate(made, 1):
        tail = "" if len(made) == 1 else f"-{number}"
        (to / f"figures{tail}.csv").write_text(to_csv(figures), encoding="utf-8")
        (to / f"table2{tail}.csv").write_text(_csv(next(t for t in tables if t.key == "table2")), encoding="utf-8")
        for name, (_, _, figure) in drawn.items():
            for form in ("svg", "png"):
                (to / "figures" / f"{name}{tail}.{form}").write_bytes(chart.to_bytes(figure, form))
        if trajectories:
            pages.append(f"trajectories{tail}.html")
            (to / pages[-1]).write_text(viewer(f"{title}: trajectories", part), encoding="utf-8")
    (to / "report.md").write_text(_markdown(title, made, notes), encoding="utf-8")
    html = page(title, made, notes=notes, viewer=pages, drawn=chart.available())
    (to / "report.html").write_text(html, encoding="utf-8")


def _csv(table: Section) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([table.headings, *table.rows])
    return out.getvalue()


def _markdown(title: str, made: Sequence[Made], notes: Sequence[str]) -> str:
    lines = [f"# {title}", *notes]
    for number, (part, figures, tables, drawn) in enumerate(made, 1):
        tail = "" if len(made) == 1 else f"-{number}"
        lines += [f"## {part.title}", "\n".join(f"* {line}" for line in explain(figures).splitlines())]
        lines += [f"![{words}](figures/{name}{tail}.png)\n\n{reading}" for name, (words, reading, _) in drawn.items()]
        lines += [t.markdown for t in tables if t.key != "facts"]
        lines += [_facts(t) for t in tables if t.key == "facts"]
    return "\n\n".join(lines) + "\n"


def _facts(table: Section) -> str:
    """The facts as a list: texts of several lines do not fit a Markdown table."""
    found = [f"### {table.title}"]
    for at, label in enumerate(table.headings[1:], 1):
        found.append(f"**{label}**\n")
        found += [f"* {row[0]}: {' '.join(row[at].split())}" for row in table.rows if row[at]]
    return "\n".join(found)
