"""The tables of a report: those of a rollout folder, the paper's table with tests beside it, the facts of the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simstudent.evaluation.details import strata
from simstudent.evaluation.metrics import Figures, MethodFigures
from simstudent.evaluation.numbers import Section, number, section, shown
from simstudent.evaluation.tables import sections as all_sections
from simstudent.evaluation.words import verdict
from simstudent.report.gather import Part, Source
from simstudent.rollout.records import Rollout

_TABLE2 = ("Cov", "GP", "CB", "ΔCov", "ΔGP", "ΔCB", "GP micro", "CB micro", "skill GP", "p (Holm)")
_MEASURES = ("coverage", "grade_proximity", "codebleu")


def sections(figures: Figures, part: Part) -> list[Section]:
    """All tables: the answer first, then the paper's table, then everything else, and what was run."""
    known = [s for s in all_sections(figures) if s.key != "paper"]
    by_assignment = strata(figures, {"assignment": "By assignment"})[0]
    found = [_answer(figures), table2(figures), *known, by_assignment, facts(part.sources), tokens(part.rollouts)]
    return [s for s in found if s.rows]


def _answer(figures: Figures) -> Section:
    """Whether each method beats copying, in each of the measures."""
    rows = [
        [
            m.method,
            shown(m.skill["grade_proximity"].difference, True),
            verdict(m.skill["grade_proximity"].difference),
            shown(m.skill["codebleu"].difference, True),
            shown(m.skill["test_agreement"].difference, True),
        ]
        for m in figures.methods
        if m.skill
    ]
    reading = (
        f"Differences to {figures.baseline}, which hands in the last program again, on the same pairs. Only an "
        "interval wholly on one side of 0 counts; it is for each method by itself, the tests in Table 2 for all."
    )
    headings = ("method", "grade proximity", "in words", "CodeBLEU", "outcome per test")
    return section("answer", "Does it beat copying?", headings, rows, reading)


def table2(figures: Figures) -> Section:
    """Table 2 of Koutcheme, Leinonen and Hellas (EDM 2026), with micro means, skill and tests against the baseline."""
    rows = []
    for m in figures.methods:
        gp = m.skill.get("grade_proximity")
        rows.append(
            [
                m.method,
                *(shown(m.paper[measure]) for measure in _MEASURES),
                *(shown(m.degradation[measure], True) for measure in _MEASURES),
                *(shown(m.micro[measure]) for measure in _MEASURES[1:]),
                shown(gp.difference if gp else None, True),
                _p(figures, m),
            ]
        )
    reading = (
        "Cov: one ratio over all steps. GP, CB: mean over steps of the per-step means; Δ: mean over later steps of the "
        "difference to step 1; micro: means over covered pairs. Brackets: 95 % intervals, bootstrap over students "
        f"({figures.resamples:,} resamples). Skill: difference to {figures.baseline} on the same pairs; p: signs of "
        "whole students flipped, Holm over all pairs of methods. A dash: no value or no interval."
    )
    return section("table2", "Table 2: as Koutcheme, Leinonen and Hellas report", ("method", *_TABLE2), rows, reading)


def _p(figures: Figures, method: MethodFigures) -> str:
    for c in figures.comparisons:
        if c.measure == "grade_proximity" and {c.one, c.other} == {method.method, figures.baseline}:
            return "-" if c.p_holm is None else "< .001" if c.p_holm < 0.001 else number(c.p_holm, False)
    return "-"


def facts(sources: Sequence[Source]) -> Section:
    """What was run, a column a source."""
    columns = [_facts(s) for s in sources]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [[name, *(column.get(name, "") for column in columns)] for name in names]
    return section("facts", "Settings, versions, time", ("", *(s.label for s in sources)), rows)


def _facts(source: Source) -> dict[str, str]:
    s, m, found = source.settings, source.manifest, {}
    model = s.get("model", {})
    found["folder"] = source.folder.name
    found["model"] = " ".join(str(v) for k in ("id", "revision") if (v := model.get(k)))
    found["quantization"] = str(model.get("quantization", ""))
    for name in ("engine", "source", "data_hash", "split", "steps", "first_start", "limit", "samples", "seed"):
        found[name.replace("_", " ")] = _plain(s.get(name))
    found["temperature, top p"] = f"{_plain(s['temperature'])}, {_plain(s.get('top_p'))}" if "temperature" in s else ""
    found["feedback"] = _plain(s.get("dialogue", {}).get("feedback"))
    found["adapters"] = _plain(s.get("adapters"))
    found["run started"] = _plain(m.get("started"))
    found["versions at the start"] = _plain(m.get("versions"))
    found["code"] = _plain(m.get("git"))
    found["trained on"] = _plain(m.get("train"))
    found["training"] = _plain(source.training)
    found["selection and split"] = source.attrition.strip()
    for number_of, session in enumerate(source.facts, 1):
        more = f" ({number_of})" if len(source.facts) > 1 else ""
        for name, value in session.items():
            for key, words in _flat(name.replace("_", " "), value):
                found[f"{key}{more}"] = words
    return {name: words for name, words in found.items() if words}


def _flat(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and any(isinstance(v, Mapping) for v in value.values()):
        return [pair for key, v in value.items() for pair in _flat(f"{name}, {key}", v)]
    return [(name, _plain(value))]


def _plain(value: Any) -> str:
    if value is None or value in ("", {}, []):
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{str(k).replace('_', ' ')} {_plain(v)}" for k, v in value.items() if _plain(v))
    if isinstance(value, list | tuple):
        return ", ".join(_plain(v) for v in value)
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)


def tokens(rollouts: Sequence[Rollout]) -> Section:
    """What each method read and wrote, from the rollouts alone."""
    rows = []
    for method in dict.fromkeys(r.method for r in rollouts):
        own = [r for r in rollouts if r.method == method]
        steps = [s for r in own for s in r.steps]
        read, wrote = sum(s.prompt_tokens for s in steps), sum(s.reply_tokens for s in steps)
        stops = [
            sum(r.stop == stop for r in own) for stop in ("student_done", "step_limit", "solved", "give_up", "error")
        ]
        rows.append([method, *(f"{n:,}" for n in (len(own), len(steps), read, wrote, *stops))])
    headings = ("method", "rollouts", "steps", "tokens read", "tokens written")
    ends = ("student done", "step limit", "solved", "gave up", "failed")
    return section("tokens", "Tokens, and how rollouts ended", (*headings, *ends), rows)
