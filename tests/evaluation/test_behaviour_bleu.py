"""BLEU and Self-BLEU: by hand, and the published values where they are at hand."""

from __future__ import annotations

import random

import pytest

from simstudent.evaluation.behaviour_bleu import bleu, self_bleu
from tests.evaluation.test_behaviour_published import expected, rows

pytest.importorskip("nltk")


def test_worked_examples() -> None:
    assert self_bleu(["fd 100", "fd 100"]) == 0.5  # no 3-gram, no 4-gram
    assert self_bleu(["fd 100 rt 90", "fd 100 rt 90", "pen red"]) == pytest.approx(0.6599670487211708, abs=1e-15)
    assert bleu(["a b c d e"], [["a b c d e", "x"]]) == 1
    assert bleu(["x"], [["a"]]) == pytest.approx(0, abs=1e-9)


def test_self_bleu_is_the_bleu_of_each_text_against_all_the_others() -> None:
    draw = random.Random(1)
    for _ in range(40):
        texts = [" ".join(draw.choices("abcd", k=draw.randint(0, 12))) for _ in range(draw.randint(2, 7))]
        others = [[*texts[:n], *texts[n + 1 :]] for n in range(len(texts))]
        assert self_bleu(texts) == pytest.approx(bleu(texts, others), abs=1e-15)


def test_nothing_to_compare() -> None:
    assert self_bleu(["only one"]) is None
    assert bleu([], []) is None
    with pytest.raises(ValueError, match="reference"):
        bleu(["a"], [[]])


def test_every_published_value() -> None:
    held = expected()
    traces = {name: rows(name.removesuffix("-model").replace("trace", "traces")) for name in MODELS}
    for title, models in held["titles"].items():
        finals = {
            name: [traces[name][title, row]["programs"][-1] for row in models[name]["origin_rows"]] for name in MODELS
        }
        for name in MODELS:
            assert self_bleu(finals[name]) == pytest.approx(models[name]["self_bleu"], abs=1e-9)
        other = [finals["last-model"]] * len(finals["trace-model"])
        score = bleu(finals["trace-model"], other)
        assert score == pytest.approx(models["corpus_bleu_trace_finals_vs_last_finals"], abs=1e-9)


MODELS = ("trace-model", "synthetic-model", "last-model")
