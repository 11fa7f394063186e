"""Students' vectors: what the model sees of them, what their optimiser does, and a whole training with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simstudent.dialogue.encode import Encoded, Row
from simstudent.errors import SimstudentError
from simstudent.recipe import load_recipe
from simstudent.training.packing import Collator, packed
from simstudent.training.sections import StudentsSection
from simstudent.training.sft import run_sft
from simstudent.training.students import (
    FIRST,
    NAMES,
    Roster,
    Students,
    attach,
    load_students,
    new_students,
    with_students,
)

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

ROSTER = Roster.of(["ana", "ben", "cleo"])
IDS = [17, 40, 33, 250, 99, 8]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    from simstudent.training.models import load_model

    return load_model(str(tiny_model), dtype="float32", device="cpu")


def vectors(kind: str = "table", seed: int = 5) -> Students:
    generator = torch.Generator().manual_seed(seed)
    dim = 128 if kind == "table" else 16
    weight = None if kind == "table" else torch.randn(16, 128, generator=generator)
    own = torch.randn(3, dim, generator=generator)
    return Students(ROSTER, own, torch.randn(128, generator=generator), weight)


def logits(model: Any, ids: list[int], **more: Any) -> Any:
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), **more).logits[0]


def test_the_token_is_the_vector_and_nothing_else_changes(model: Any) -> None:
    for kind in ("table", "bottleneck"):
        students = vectors(kind)
        plain = logits(model, IDS)
        off = attach(model, students.vectors)
        for name in ("ana", "cleo", "somebody else"):
            number = ROSTER.numbers.get(name, 0)
            own = students.own[number - 1]
            apart = own if students.weight is None else torch.relu(own) @ students.weight
            vector = students.shared + (apart if number else 0)
            words = model.get_input_embeddings().weight[torch.tensor(IDS)]
            with torch.no_grad():
                expected = model(inputs_embeds=torch.cat([vector[None], words])[None]).logits[0]
            assert torch.equal(logits(model, [ROSTER.token(name), *IDS]), expected)
        assert torch.equal(logits(model, IDS), plain)
        off()
    with pytest.raises(IndexError):
        logits(model, [FIRST, *IDS])


def test_a_zero_vector_that_is_masked_leaves_the_model_as_it_was(model: Any) -> None:
    """The parity of the student token: masked out, with the positions of the others, it is as if it were absent."""
    students = Students(ROSTER, torch.zeros(3, 128), torch.zeros(128))
    plain = logits(model, IDS)
    off = attach(model, students.vectors)
    seen = torch.tensor([[0] + [1] * len(IDS)])
    places = torch.tensor([[0, *range(len(IDS))]])
    masked = logits(model, [ROSTER.token("ana"), *IDS], attention_mask=seen, position_ids=places)[1:]
    unmasked = logits(model, [ROSTER.token("ana"), *IDS])[1:]
    off()
    torch.testing.assert_close(masked, plain, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(unmasked, plain, atol=1e-2)  # zero alone is a token like any other


def test_in_a_pack_each_sequence_has_its_own_student(model: Any) -> None:
    rows = (Row("a", (17, 40, 33), (17, 40, 33), (0,)), Row("b", (250, 99), (250, 99), (0,)))
    made = with_students(Encoded(rows, ()), ROSTER, {"a": "cleo", "b": "ana"})
    assert [r.ids[0] - FIRST for r in made.rows] == [3, 1]
    assert [r.labels[0] for r in made.rows] == [-100, -100]
    assert made.trained_tokens == 5
    batch = Collator(0)(packed(made.rows, 16))
    off = attach(model, vectors().vectors)
    with torch.no_grad():
        together = model(**{k: batch[k] for k in ("input_ids", "position_ids")}, use_cache=False).logits[0]
    alone = torch.cat([logits(model, list(r.ids)) for r in made.rows])
    off()
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["table", "bottleneck"])
def test_learning_moves_the_students_of_the_batch_and_no_other(model: Any, kind: str) -> None:
    from simstudent.training.learn_students import Learner

    students = vectors(kind)
    before = students.own.clone()
    learner = Learner(students, learning_rate=0.05, dropout=0.0)
    off = attach(model, learner.lookup)
    batch = torch.tensor([[ROSTER.token("ana"), *IDS], [ROSTER.token("cleo"), *IDS], [ROSTER.token("ana"), *IDS]])
    losses = []
    for _ in range(6):
        with torch.autocast("cpu", dtype=torch.bfloat16):  # as the trainer does
            out = model(input_ids=batch, labels=batch.masked_fill(batch >= FIRST, -100))
        losses.append(out.loss.item())
        out.loss.backward()
        assert learner.step() == 2
    off()
    model.zero_grad()
    assert losses[-1] < losses[0]
    moved = (students.own - before).abs().sum(1)
    assert (moved > 0).tolist() == [True, False, True]
    assert (learner.squares > 0).tolist() == [True, False, True]


def test_the_first_update_of_a_row_is_of_the_size_of_the_learning_rate() -> None:
    """Row-wise Adagrad (Duchi et al. 2011; one accumulator a row): step n of equal gradients is lr / sqrt(n)."""
    from simstudent.training.learn_students import Learner

    students = Students(ROSTER, torch.zeros(3, 4), torch.zeros(4))
    learner = Learner(students, learning_rate=0.1, dropout=0.0)
    sizes = []
    for _ in range(3):
        held = students.own.clone()
        found = learner.lookup(torch.tensor([2, 2]))
        (found * torch.tensor([1.0, -1.0, 1.0, 1.0])).sum().backward()
        learner.step()
        sizes.append(float((students.own - held)[1].abs().mean()))
    assert sizes == pytest.approx([0.1, 0.1 / 2**0.5, 0.1 / 3**0.5])
    assert students.own[1].sign().tolist() == [-1, 1, -1, -1]
    assert students.own[[0, 2]].abs().sum() == 0


def test_dropout_trains_nobody() -> None:
    from simstudent.training.learn_students import Learner

    students = vectors()
    learner = Learner(students, learning_rate=0.1, dropout=0.5)
    torch.manual_seed(0)
    found = learner.lookup(torch.full((1000,), 2))
    nobody = (found == students.shared).all(1)
    assert 400 < int(nobody.sum()) < 600
    with torch.no_grad():
        assert not (learner.lookup(torch.full((10,), 2)) == students.shared).all(1).any()


def test_they_come_back_as_they_were_saved(tmp_path: Path) -> None:
    for kind in ("table", "bottleneck"):
        students = vectors(kind)
        students.save(tmp_path)
        again = load_students(tmp_path)
        assert again.roster == ROSTER
        numbers = torch.tensor([0, 3, 1, 1])
        assert torch.equal(again.vectors(numbers), students.vectors(numbers))
        (tmp_path / "students.safetensors").unlink()
        with pytest.raises(SimstudentError, match="not readable"):
            load_students(tmp_path)
    students.save(tmp_path)
    (tmp_path / NAMES).write_text('["ana"]')
    with pytest.raises(SimstudentError, match="3 rows"):
        load_students(tmp_path)


def test_new_ones_begin_as_a_mean_token(model: Any) -> None:
    mean = model.get_input_embeddings().weight.mean(0)
    table = new_students(StudentsSection(kind="table"), ROSTER, model, 1)
    assert torch.allclose(table.vectors(torch.tensor([0, 2])), mean.expand(2, -1), atol=1e-6)
    narrow = new_students(StudentsSection(kind="bottleneck", dim=8), ROSTER, model, 1)
    assert narrow.own.shape == (3, 8)
    assert len(narrow.vectors(torch.tensor([1, 2, 3])).unique(dim=0)) == 3
    with pytest.raises(ValueError, match="never moves"):
        StudentsSection(kind="bottleneck", spread=0)


RECIPE = """\
name: tiny-students
seed: 3
model: {{id: {model}}}
data:
  source: {{kind: course}}
  select: [stop_at_full_grade, min_submissions: 2, max_submissions: 3]
  split: {{by: cells, test: 0.3, validation: 0.3, unseen_students: 0.2, unseen_assignments: 0.2}}
dialogue: {{feedback: summary, window: 2048, answer_tokens: 256}}
students: {{kind: table}}
sft: {{limit: 8, batch_size: 2, micro_batch_size: 2, evaluations: 2, learning_rate: 1e-3, packing: true, epochs: 2}}
rollout: {{limit: 3, methods: [base, sft, repeat-last]}}
"""


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("students")
    (folder / "tiny.yaml").write_text(RECIPE.format(model=tiny_model), encoding="utf-8")
    run = run_sft(load_recipe(folder / "tiny.yaml"), root=folder / "runs", say=lambda text: None)
    assert run is not None
    return run


def test_a_run_keeps_the_vectors_of_the_best_checkpoint(trained: Path) -> None:
    import json

    best = json.loads((trained / "adapter" / "training.json").read_text())["best_checkpoint"]
    kept, theirs = load_students(trained / "adapter"), load_students(trained / "checkpoints" / best)
    assert torch.equal(kept.own, theirs.own)
    assert torch.equal(kept.shared, theirs.shared)
    moved = (kept.own != 0).any(1)
    assert 2 <= int(moved.sum()) < len(kept.roster.names)  # eight trajectories are not of all students


@pytest.mark.slow
def test_resuming_goes_on_with_vectors_and_their_state(trained: Path, tmp_path: Path) -> None:
    import shutil

    from simstudent.runs import read_lines, read_recipe

    run = tmp_path / trained.name
    shutil.copytree(trained, run)
    shutil.rmtree(run / "adapter")
    last = max((run / "checkpoints").glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    (last / "students_state.pt").unlink()  # half written
    assert run_sft(read_recipe(run), root=tmp_path, say=lambda text: None, resume=True) == run
    losses = [[x.get("loss") for x in read_lines(f / "metrics.jsonl")] for f in (run, trained)]
    assert losses[0] == losses[1]
    assert torch.equal(load_students(run / "adapter").own, load_students(trained / "adapter").own)
