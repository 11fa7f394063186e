"""Vectors of new students, and whether vectors carry anything: worked figures, and a run from end to end."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simstudent.evaluation.adapting_files import verdict
from simstudent.evaluation.conditions import conditions

torch = pytest.importorskip("torch")
pytest.importorskip("peft")


def test_conditions_are_means_per_token_with_students_as_the_unit() -> None:
    tokens = np.array([10.0, 30.0, 20.0, 40.0] * 3)
    students = [s for n in range(3) for s in (f"a{n}", f"a{n}", f"b{n}", f"b{n}")]
    true = tokens * 1.0
    found = conditions({"true": true, "other": true + 0.5 * tokens, "same": true}, tokens, students, reference="true")
    by = {c.name: c for c in found}
    assert by["true"].loss.value == pytest.approx(1.0)
    assert by["true"].perplexity == pytest.approx(math.e)
    assert by["true"].difference is None
    other = by["other"]
    assert other.difference is not None
    assert (other.difference.value, other.difference.students) == (pytest.approx(0.5), 6)
    assert other.better == (6, 6)
    assert other.p == pytest.approx(2 / 2**6)  # all six students on one side
    assert by["same"].p is None


def test_the_verdict_needs_both_interval_and_test() -> None:
    rng = np.random.default_rng(0)
    tokens, students = np.full(40, 100.0), [f"s{n}" for n in range(40)]
    true = rng.normal(200, 20, 40)

    def said(difference: Any) -> str:
        return verdict(conditions({"true": true, "shuffled": true + difference}, tokens, students, reference="true")[1])

    assert said(rng.normal(10, 5, 40)).startswith("They do")
    assert said(rng.normal(-10, 5, 40)).startswith("They mislead")
    assert said(rng.normal(0, 5, 40)).startswith("No evidence")


@pytest.fixture(scope="module")
def bench(tiny_model: Path) -> Any:
    """A tiny model with three trained students, as ``load_trained`` gives it."""
    from simstudent.recipe import recipe_from_dict
    from simstudent.training.models import load_model, load_tokenizer
    from simstudent.training.scoring import TrainedModel
    from simstudent.training.students import Roster, Students

    raw = {"name": "t", "model": {"id": str(tiny_model)}, "data": {"source": {"kind": "course"}}}
    recipe = recipe_from_dict({**raw, "students": {"kind": "table"}})
    model = load_model(str(tiny_model), dtype="float32", device="cpu").requires_grad_(False)
    draw = torch.Generator().manual_seed(1)
    students = Students(Roster.of(["a", "b", "c"]), 0.1 * torch.randn(3, 128, generator=draw), torch.zeros(128))
    return TrainedModel(recipe, tiny_model, model, load_tokenizer(str(tiny_model)), students)  # type: ignore[arg-type]


def habit(seed: int, count: int) -> Any:
    """Rows of a student who writes one sequence of tokens over and over, after varied beginnings."""
    from simstudent.dialogue.encode import Row
    from simstudent.training.students import FIRST

    rng = np.random.default_rng(seed)
    said = rng.integers(3, 384, 12).tolist()
    rows = []
    for n in range(count):
        asked = np.random.default_rng(1000 + n).integers(3, 384, 5 + n).tolist()
        rows.append(Row(f"{seed}/{n}", (FIRST, *asked, *said), (*[-100] * (len(asked) + 1), *said), (0,)))
    return tuple(rows)


def test_a_vector_learns_its_students_habit_and_no_others(bench: Any) -> None:
    from simstudent.training.adapt import Learning, Task, fit
    from simstudent.training.scoring import as_student, score, trained_tokens

    tasks = [Task(habit(s, 4)[:3], habit(s, 4)[3:]) for s in (1, 2)]
    learning = Learning(learning_rate=0.05, epochs=12, patience=12)
    weights = [p.clone() for p in bench.model.parameters()]
    both = fit(bench, tasks, learning, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(weights, bench.model.parameters(), strict=True))

    rows = [as_student(r, n) for n in (1, 2) for r in habit(n, 8)[4:]]
    swapped = [as_student(r, 3 - n) for n in (1, 2) for r in habit(n, 8)[4:]]
    nobody = [as_student(r, 0) for r in rows]
    own, other, none = (score(bench, asked, both.students).sum() for asked in (rows, swapped, nobody))
    assert own < 0.95 * none
    assert own < 0.95 * other
    assert trained_tokens(rows).sum() == 96

    # Each alone gives the same as side by side: no vector knows of another. Seeds draw by place, so the first is alone.
    alone = fit(bench, tasks[:1], learning, seed=1)
    torch.testing.assert_close(alone.students.own[0], both.students.own[0], atol=1e-4, rtol=1e-3)
    assert alone.epochs[0] == both.epochs[0]


@pytest.mark.slow
def test_the_epoch_with_the_lowest_tuning_loss_counts(bench: Any) -> None:
    """Tuning on another student's habit, with steps that are far too large: the loss goes up and down."""
    from simstudent.training.adapt import Learning, Task, fit
    from simstudent.training.scoring import as_student, score

    task = Task(habit(1, 3), habit(2, 2))
    tuning = [as_student(r, 1) for r in task.tuning]
    by_epoch = [fit(bench, [task], Learning(1.0, epochs, 99), seed=1) for epochs in range(6)]
    lowest = [score(bench, tuning, f.students).sum() for f in by_epoch]
    assert lowest == sorted(lowest, reverse=True)
    last = by_epoch[-1]
    assert torch.equal(last.students.own, by_epoch[last.epochs[0]].students.own)


def test_losses_do_not_depend_on_the_batch(bench: Any) -> None:
    from simstudent.training.scoring import as_student, score

    rows = [as_student(r, n) for n in (1, 2, 3) for r in habit(n, 3)]
    together = score(bench, rows)
    alone = np.concatenate([score(bench, [r]) for r in rows])
    np.testing.assert_allclose(together, alone, rtol=1e-4)


def test_a_trajectory_is_graded_once_however_often_it_is_shown(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from simstudent.data import regrade
    from simstudent.data.load import prepare
    from simstudent.evaluation.bench import Bench

    graded: list[str] = []
    whole = regrade.regrade
    monkeypatch.setattr(
        regrade, "regrade", lambda held, *rest: graded.extend(t.key for t in held) or whole(held, *rest)
    )
    held = Bench(bench, prepare(bench.recipe.data, 1), 100, lambda text: None)
    first = held.data.sides["test"][:3]
    shown = [held.history(first[:k]) for k in (1, 2, 3, 2)]
    assert graded == [t.key for t in first]
    assert [list(of) for of in shown] == [[t.key for t in first[:k]] for k in (1, 2, 3, 2)]
    assert shown[3] == shown[1]


@pytest.mark.slow
def test_a_run_answers_both_questions(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from simstudent.cli import main
    from simstudent.recipe import load_recipe
    from simstudent.training.sft import run_sft
    from simstudent.training.students import load_students

    (tmp_path / "tiny.yaml").write_text(
        f"""\
name: tiny
model: {{id: {tiny_model}}}
data:
  source: {{kind: course}}
  select: [stop_at_full_grade, max_submissions: 2]
  split: {{by: cells, test: 0.04, validation: 0.04, unseen_students: 0.05, unseen_assignments: 0.05}}
dialogue: {{feedback: summary, window: 2048, answer_tokens: 256}}
students: {{kind: bottleneck, dim: 8}}
sft: {{limit: 16, batch_size: 8, micro_batch_size: 4, evaluations: 1}}
""",
        encoding="utf-8",
    )
    recipe = load_recipe(tmp_path / "tiny.yaml")
    run = run_sft(recipe, root=tmp_path / "runs", say=lambda text: None)
    assert run is not None
    asked = ["--k", "1,2", "--seeds", "1", "--epochs", "1", "--shuffles", "2", "--rollouts", "2", "--resamples", "200"]
    assert main(["adapt", str(run), *asked]) == 0
    (folder,) = (run / "adapt").iterdir()
    raw = json.loads((folder / "adapt.json").read_text())
    assert [c["name"] for c in raw["carried"]["conditions"]] == ["true", "shuffled", "nobody"]
    assert raw["carried"]["trajectories"] > 0
    names = [c["name"] for c in raw["curve"]["conditions"]]
    assert names[0] == "nobody"
    assert {"vector k=1", "vector k=2", "another's k=2", "history k=1"} <= set(names)
    assert set(raw["skill"]) == {"nobody", "vector-k1", "vector-k2"}
    assert raw["points"]["of"] == 2
    # Moved to another machine, the figures come again from the files alone.
    moved = tmp_path / "elsewhere" / run.name
    run.rename(moved.parent.mkdir() or moved)
    run, folder = moved, moved / "adapt" / folder.name
    (folder / "table.md").unlink()
    assert main(["adapt", str(folder), "--resamples", "200"]) == 0
    assert json.loads((folder / "adapt.json").read_text()) == raw
    assert load_students(folder / "k2").own.shape[1] == 8
    text = (folder / "table.md").read_text()
    assert "Do the vectors carry anything?" in text
    assert "nats per token, p" in text
    assert main(["adapt", str(run), "--students", "nobody-of-that-name"]) == 2
    assert "no student without a vector called" in capsys.readouterr().err
    assert main(["adapt", str(run), "--k", "999"]) == 0  # the first question alone
    (run / "adapter" / "students.json").unlink()
    assert main(["adapt", str(run)]) == 2
    assert "has no vectors of students" in capsys.readouterr().err
