"""What ``simstudent adapt`` found: ``adapt.json`` and ``points.csv`` for programs, ``table.md`` and pictures."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from simstudent.errors import SimstudentError
from simstudent.evaluation.adapting_figures import draw
from simstudent.evaluation.adapting_points import Points
from simstudent.evaluation.bench import Compared
from simstudent.evaluation.conditions import Condition
from simstudent.evaluation.files import cells
from simstudent.evaluation.metrics import REPEAT_LAST
from simstudent.evaluation.numbers import number, shown, table
from simstudent.evaluation.statistics import Estimate
from simstudent.runs import write_json

HEADINGS = ("condition", "loss per token", "perplexity", "difference", "p", "p (Holm)", "students worse")
SIGNIFICANT = 0.05
ANSWERS = "adapt.json"


@dataclass(frozen=True, slots=True)
class Answers:
    """``carried``: trained students, the true vector against others; ``curve``: new ones, k by k. None: no data for it.

    ``few``: new students with too few trajectories. ``nobody_trained``: whether training had sequences without a
    student; ``history_trained``: with earlier work in the context. ``skill``: by condition and measure, of rollouts.
    ``points``: how alike what is written with the vectors is to the students' own work.
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
    points: Points | None = None


def read_answers(folder: Path) -> Answers:
    """What ``write_all`` wrote. Raises SimstudentError, naming the file, where it is no such thing."""
    path = folder / ANSWERS
    try:
        return TypeAdapter(Answers).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise SimstudentError(f"{path}: not what simstudent adapt writes ({error})") from None


def write_all(folder: Path, answers: Answers, say: Callable[[str], None]) -> None:
    """Write the files, and say what they hold."""
    write_json(folder / ANSWERS, {**asdict(answers), "epochs": {str(k): e for k, e in answers.epochs.items()}})
    text = markdown(answers)
    (folder / "table.md").write_text(text, encoding="utf-8")
    say(text)
    if answers.points is not None:
        (folder / "points.csv").write_text(to_csv(answers.points), encoding="utf-8")
    if importlib.util.find_spec("matplotlib") is not None:
        draw(answers, folder)
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
    if a.skill or a.points is not None:
        parts.append("## What is written with the vectors")
    if a.skill:
        measures = [
            m for m in next(iter(a.skill.values())) if any(own[m].value is not None for own in a.skill.values())
        ]
        rows = [[name, *(shown(own[m], signed=True) for m in measures)] for name, own in a.skill.items()]
        parts += ["Skill of rollouts: the difference to handing in the last program again."]
        parts.append(table(("condition", *(m.replace("_", " ") for m in measures)), rows))
    if a.points is not None:
        parts += _alike(a.points)
    return "\n\n".join(parts) + "\n"


def _alike(p: Points) -> list[str]:
    """BLEU and correlations of all conditions, and each property's correlations without their intervals."""
    if not p.points:
        return [f"On none of {p.of:,} starts did every condition of the model write a program: nothing to compare."]
    rows = [
        [
            q.condition,
            *(shown(q.bleu), shown(q.bleu_apart, True), shown(q.correlation), shown(q.correlation_apart, True)),
        ]
        for q in p.points
    ]
    names = [n for n in p.points[0].properties if any(q.properties[n].value is not None for q in p.points)]
    each = [[name, *(_value(q.properties[name]) for q in p.points)] for name in names]
    text = (
        f"{p.starts:,} of {p.of:,} starts, on which every condition of the model wrote a program: {p.students:,} "
        f"students, {p.titles:,} titles. BLEU of the last programs against the student's own; r: Pearson's correlation "
        f"with the student's own values, mean over {len(p.averaged)} properties; differences to *nobody* on the same "
        "starts. 95 % intervals: bootstrap over students and titles, crossed."
    )
    if empty := ", ".join(f"{q.condition} {q.empty} of {q.samples}" for q in p.points if q.empty):
        text += f" Without any program: {empty}."
    single = "Correlations of the single properties (intervals: points.csv). A dash: one side does not vary."
    if any(q.condition == REPEAT_LAST for q in p.points):
        single += f" What a rollout ends with is mostly what it started from: see how far {REPEAT_LAST} comes."
    return [
        text,
        table(("condition", "BLEU", "difference", "r", "difference"), rows),
        single,
        table(("property", *(q.condition for q in p.points)), each),
    ]


def _value(figure: Estimate) -> str:
    return "-" if figure.value is None else number(figure.value, False)


def to_csv(p: Points) -> str:
    """All figures of `Points`, one a line, unrounded; an empty cell is no value."""
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(["condition", "k", "figure", "property", "value", "low", "high", "interval", "n", "students"])
    for q in p.points:
        own = [q.condition, "" if q.k is None else q.k]
        for figure in ("bleu", "bleu_apart", "correlation", "correlation_apart"):
            if (found := getattr(q, figure)) is not None:
                rows.writerow([*own, figure, "", *cells(found)])
        for name, found in q.properties.items():
            rows.writerow([*own, "correlation", name, *cells(found)])
    return written.getvalue()


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
