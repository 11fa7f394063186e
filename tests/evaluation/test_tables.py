"""What a reader sees: tables, JSON, and plain words that do not flatter."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from simstudent.evaluation import files, numbers, tables, words
from simstudent.evaluation.metrics import Figures, evaluate
from simstudent.evaluation.statistics import Estimate, Interval
from tests.evaluation.test_metrics import class_of, rollout, step


@pytest.fixture(scope="module")
def figures() -> Figures:
    return evaluate(class_of(25), resamples=300, codebleu=False)


def with_difference(figures: Figures, low: float, high: float) -> Figures:
    """The figures with sft's difference in GP set to an interval."""
    sft = figures.of("sft")
    skill = sft.skill["grade_proximity"]
    estimate = Estimate((low + high) / 2, 100, 25, Interval(low, high, "bca"))
    changed = replace(sft, skill={**sft.skill, "grade_proximity": replace(skill, difference=estimate)})
    return replace(figures, methods=tuple(changed if m.method == "sft" else m for m in figures.methods))


def test_numbers_are_short_and_keep_their_side_of_zero() -> None:
    shown = [numbers.number(v, True) for v in (0.8014, -0.005, 0.0, -0.0, 1.0, -0.9996, 0.0004, -0.0004, 0.00001)]
    assert shown == ["+.801", "-.005", ".000", ".000", "+1.000", "-1.000", "+.0004", "-.0004", ".000"]
    assert [numbers.number(v, False) for v in (0.5, 1.0, 0.9999)] == [".500", "1.000", "1.000"]


def test_the_terminal_table_fits_eighty_columns(figures: Figures) -> None:
    from rich.console import Console

    printed = io.StringIO()
    Console(width=80, file=printed).print(*tables.render(figures))
    for word in ("repeat-last", "constant-0", "solved", "skill"):
        assert word in printed.getvalue()
    assert "…" not in printed.getvalue()  # rich's mark of something cut off


def test_markdown_has_a_row_a_method_in_every_table(figures: Figures) -> None:
    text = tables.to_markdown(figures)
    for name in ("sft", "repeat-last", "constant-0"):
        for section in ("Headline", "Behaviour", "Edits", "Sizes of programs", "What the figures rest on"):
            assert text.partition(f"### {section}\n")[2].partition("###")[0].count(f"\n| {name} |") == 1
    assert "\n| the students |" in text
    assert "nan" not in text.lower()
    headings = [line for line in text.splitlines() if line.startswith("| method")]
    for heading in headings:
        assert heading.count("|") == text.splitlines()[text.splitlines().index(heading) + 1].count("|")


def test_a_dash_where_there_is_no_codebleu(figures: Figures) -> None:
    (line,) = [line for line in tables.to_markdown(figures).splitlines() if line.startswith("| constant-0 |")][:1]
    assert line.split(" | ")[2] == "-"


def test_json_holds_everything_and_survives_writing(figures: Figures) -> None:
    raw = files.to_json(figures)
    assert json.loads(json.dumps(raw, allow_nan=False)) == raw
    assert raw["settings"] == {
        "baseline": "repeat-last",
        "resamples": 300,
        "seed": 0,
        "level": 0.95,
        "codebleu": False,
        "lint": False,
        "language": "python",
    }
    sft = raw["methods"][0]
    assert sft["method"] == "sft"
    assert sft["counts"]["students"] == 25
    assert sft["micro"]["grade_proximity"]["value"] == figures.of("sft").micro["grade_proximity"].value
    assert set(sft["micro"]["grade_proximity"]["interval"]) == {"low", "high", "kind"}
    assert len(sft["by_step"]["coverage"]) == 5
    assert set(sft["skill"]["grade_proximity"]) == {"difference", "difference_paper", "own", "baseline"}


def test_the_explanation_is_short_and_names_the_baselines(figures: Figures) -> None:
    text = words.explain(figures)
    assert len(text.splitlines()) <= 10
    assert "constant-0 says one grade" in text
    gp = numbers.shown(figures.of("constant-0").micro["grade_proximity"])
    assert gp in text
    assert "hands in its last program again in" in text


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.02, 0.01, "-.005 [-.020, +.010]: not shown to be better than copying."),
        (0.01, 0.03, "+.020 [+.010, +.030]: better than copying."),
        (-0.03, -0.01, "-.020 [-.030, -.010]: worse than copying."),
    ],
)
def test_the_explanation_says_whether_copying_is_beaten(
    figures: Figures, low: float, high: float, verdict: str
) -> None:
    assert verdict in words.explain(with_difference(figures, low, high))


def test_the_explanation_of_little_data() -> None:
    few = evaluate(class_of(3), resamples=50, codebleu=False)
    assert "Only 3 students: too few to trust these figures" in words.explain(few)
    one = evaluate([rollout(step())], resamples=50, codebleu=False)
    assert "Only 1 student:" in words.explain(one)
    assert "repeat-last was not rolled out" in words.explain(one)


def test_the_explanation_of_failures() -> None:
    failed = rollout(stop="error", error="out of memory")
    alone = words.explain(evaluate([failed], resamples=50, codebleu=False))
    assert "sft 1 of 1" in alone
    assert "no figures" in alone
    mixed = evaluate([failed, rollout(step(), student="ben")], resamples=50, codebleu=False)
    assert "Left out of every figure because the engine or the grader failed: sft 1 of 2." in words.explain(mixed)


def test_an_exact_copier_is_called_one() -> None:
    copied = [replace(r, method="sft") for r in class_of(25, ("repeat-last",))] + class_of(25, ("repeat-last",))
    text = words.explain(evaluate(copied, resamples=50, codebleu=False))
    assert "exactly as good as copying" in text
    assert "in 100 % of its steps" in text
