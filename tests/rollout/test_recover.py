"""Where recoveries begin, under which conditions, and that a trace goes on from what the model was trained on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from graders import Pool
from simstudent.cli import main
from simstudent.data import regrade
from simstudent.data.load import prepare
from simstudent.dialogue.encode import Encoder
from simstudent.dialogue.traces import trace_template
from simstudent.errors import SimstudentError
from simstudent.recipe import load_recipe
from simstudent.rollout.engine import Completion, Sampling
from simstudent.rollout.failing import Condition, Failing, conditions, failing_starts, strongest
from simstudent.rollout.recover import _Player, _trace, later
from simstudent.training.models import load_tokenizer
from simstudent.training.students import FIRST, NOBODY, Roster

TIMES = [1_000_000_000, 1_000_000_060, 1_000_000_120]
RECIPES = Path(__file__).parents[2] / "recipes"


def quiet(text: str) -> None:
    pass


def test_a_start_is_a_failing_submission_that_is_not_the_last() -> None:
    recipe = load_recipe(RECIPES / "demo.yaml", {"model.id": "nowhere"})
    data = prepare(recipe.data, recipe.seed)
    with Pool(1) as pool:
        starts = failing_starts(recipe, data, pool, None, quiet)
    assert len(starts) > 5
    for s in starts:
        assert s.grades[s.t - 1].score < 1
        assert s.t < len(s.trajectory.submissions)
        assert s.to_dict()["programs"] == [c.code for c in s.trajectory.submissions[s.t :]]


def test_students_without_vectors_are_named_when_nobody_is_left() -> None:
    recipe = load_recipe(RECIPES / "demo.yaml", {"model.id": "nowhere"})
    data = prepare(recipe.data, recipe.seed)
    with Pool(1) as pool, pytest.raises(SimstudentError, match="of students without a vector"):
        failing_starts(recipe, data, pool, Roster.of(["somebody else"]), quiet)


def test_assignments_without_tests_are_left_out_and_counted() -> None:
    recipe = load_recipe(RECIPES / "demo.yaml", {"model.id": "nowhere"})
    data = prepare(recipe.data, recipe.seed)
    untested = data.held(recipe.rollout.split)[0].assignment
    fewer = {name: replace(a, problem=None) if name == untested else a for name, a in data.assignments.items()}
    said: list[str] = []
    with Pool(1) as pool:
        starts = failing_starts(recipe, replace(data, assignments=fewer), pool, None, said.append)
    assert starts
    assert untested not in {s.assignment.id for s in starts}
    count = sum(t.assignment == untested and len(t.submissions) > 1 for t in data.held(recipe.rollout.split))
    assert count > 0
    assert f"{count} at assignments without tests" in said[0]


def test_conditions_and_their_tokens() -> None:
    recipe = load_recipe(RECIPES / "demo.yaml", {"model.id": "nowhere"})
    assert [c.name for c in conditions(recipe, False, [1, 60])] == ["model"]
    timed = load_recipe(RECIPES / "demo.yaml", {"model.id": "nowhere", "dialogue.time_header": "elapsed"})
    names = [c.name for c in conditions(timed, True, [1, 60])]
    assert names == ["true@1s", "true@60s", "strong@1s", "strong@60s", "nobody@1s", "nobody@60s"]
    roster = Roster.of(["a", "b"])
    assert [Condition(who, None).token(roster, "b")("a") - FIRST for who in ("true", "strong", "nobody")] == [
        1,
        2,
        NOBODY,
    ]


def test_the_strong_student_is_busy_and_goes_back_least() -> None:
    recipe = load_recipe(RECIPES / "demo.yaml", {"model.id": "nowhere"})
    training = prepare(recipe.data, recipe.seed).sides["train"]
    names = sorted({t.student for t in training})
    found = strongest(training, Roster.of(names))
    counts = sorted((sum(t.student == n and len(t.submissions) > 1 for t in training) for n in names), reverse=True)
    own = sum(t.student == found and len(t.submissions) > 1 for t in training)
    assert own >= counts[max(1, len(names) // 10) - 1]


def test_later() -> None:
    assert later("2020-11-18T04:07:48", 72) == "2020-11-18T04:09:00"
    assert later(None, 5) is None


class Echo:
    """An engine that repeats the failing program, then writes a right one; it keeps what it was asked."""

    def __init__(self, encoder: Encoder, text: str) -> None:
        self.encoder, self.text, self.asked = encoder, text, ""

    async def generate(self, ids: Sequence[int], sampling: Sampling, *, seed: int, adapter: str | None) -> Completion:
        self.asked = self.encoder.decode(tuple(ids))
        return Completion(tuple(self.encoder.tokenizer(self.text)["input_ids"]), False)


def test_a_trace_goes_on_after_the_title_that_training_had(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("py_mini_racer")
    from graders.pencilcode import missing

    if missing():
        pytest.skip("the compiler of Pencil Code programs is not installed")
    states = {"title": "star", "programs": ["pen red", "fd (", "fd 10"], "timestamps": TIMES}
    rows = [json.dumps({"username": f"s{n}", **states}) for n in range(20)]
    (tmp_path / "log.jsonl").write_text("\n".join(rows), encoding="utf-8")
    changed = {
        "model.id": str(tiny_model),
        "dialogue.format": "trace",
        "rollout.split": "train",
        "data.source.files": str(tmp_path / "log.jsonl"),
        "data.split": {"by": "student"},
    }
    recipe = load_recipe(RECIPES / "pencilcode-sample.yaml", changed)
    data = prepare(recipe.data, recipe.seed)
    tokenizer = load_tokenizer(str(tiny_model))
    encoder = Encoder(tokenizer, window=4000, answer_tokens=64, template=trace_template(tokenizer))
    with regrade.open_pool(recipe.grader) as pool:
        starts = failing_starts(recipe, data, pool, None, quiet)
        assert starts
        start: Failing = starts[0]
        failing = start.trajectory.submissions[start.t - 1].code
        assert failing == "fd ("
        echo = Echo(encoder, f"{failing}\nCODE {start.t + 2} (2020-01-01 00:00:00):\nfd 10\n")
        player = _Player(recipe, Condition(None, 5.0), [echo], encoder, None, None, 9, pool)
        made = asyncio.run(_trace(start, player))
    assert made.error is None
    assert echo.asked.startswith(f"{start.trajectory.assignment}\nCODE 1 (")
    assert made.programs == ("fd 10",), "the failing program again is no attempt, as in the students' own traces"
    assert made.grades == (1.0,)


@pytest.mark.parametrize("after", ["x", "0", "1,,2"])
def test_times_that_are_none(after: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recover", str(tmp_path), "--after", after]) == 2
    assert "--after" in capsys.readouterr().err


def test_a_folder_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recover", str(tmp_path)]) == 2
    assert "no finished training there" in capsys.readouterr().err
    (tmp_path / "starts.jsonl").write_text("")
    assert main(["recover", str(tmp_path)]) == 2
    assert "no recoveries" in capsys.readouterr().err


def test_lines_that_are_no_recoveries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = {"student": "s", "failing": "x", "programs": ["y"], "grades": [1.0], "reference": None}
    (tmp_path / "starts.jsonl").write_text(json.dumps({"key": "a", **start}) + "\n")
    (tmp_path / "model.jsonl").write_text('{"key": "a"}\n')
    assert main(["recover", str(tmp_path)]) == 2
    assert "model.jsonl, line 1: not a recovery" in capsys.readouterr().err
    (tmp_path / "starts.jsonl").write_text('{"key": "a"}\n')
    assert main(["recover", str(tmp_path)]) == 2
    assert "starts.jsonl, line 1: not a start" in capsys.readouterr().err
