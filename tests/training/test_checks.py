"""What a recipe or a launcher asks for that training cannot do is said before any data is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simstudent.cli import main
from simstudent.errors import SimstudentError
from simstudent.recipe import Recipe, recipe_from_dict
from simstudent.training import sharded
from simstudent.training.checks import STAGES, Stage, check, refused
from simstudent.training.dapo import run_dapo
from simstudent.training.dpo import run_dpo
from simstudent.training.policy import quantization_of
from simstudent.training.sft import run_sft


def made(**sections: Any) -> Recipe:
    source = {"kind": "table", "submissions": "/nonexistent.jsonl"}  # whoever reads the data fails
    return recipe_from_dict({"name": "r", "model": {"id": "m"}, "data": {"source": source}, **sections})


TRACE = {"format": "trace", "feedback": "none"}
MISTAKES: list[tuple[Stage, dict[str, Any], str]] = [
    ("sft", {"sft": {"best": "skill"}, "dialogue": TRACE}, r"best: skill rolls dialogues out"),
    ("sft", {"sft": {"best": "skill"}, "rollout": {"engine": "openai"}}, r"rollout\.engine: openai does not run them"),
    ("sft", {"sft": {"copied_lines": 0.5}, "dialogue": TRACE}, r"copied_lines: 1"),
    ("sft", {"sft": {"lora": None}, "model": {"id": "m", "quantization": "nf4"}}, r"quantization: none"),
    ("dpo", {"dialogue": TRACE}, r"dialogue\.format: chat"),
    ("dapo", {"dialogue": TRACE}, r"dialogue\.format: chat"),
    ("dpo", {"students": {"kind": "table"}}, r"students\.kind"),
    ("dpo", {"sft": {"lora": None}}, r"sft\.lora: null"),
    ("sft", {"sft": {"trainer": {"report_to": "tensorbord"}}}, r"sft\.trainer\.report_to: tensorbord is not installed"),
    ("dpo", {"dpo": {"trainer": {"report_to": ["none", "no_tracker"]}}}, r"no_tracker is not installed"),
    ("dapo", {"dapo": {"rewards": {"no_such_module:reward": 1.0}}}, r"cannot be imported"),
]


@pytest.mark.parametrize(("stage", "sections", "message"), MISTAKES)
def test_a_mistake_is_told_before_any_data_is_read(
    stage: Stage, sections: dict[str, Any], message: str, tmp_path: Path
) -> None:
    run = {"sft": run_sft, "dpo": run_dpo, "dapo": run_dapo}[stage]
    with pytest.raises(SimstudentError, match=message):
        run(made(**sections), root=tmp_path, say=lambda text: None)
    assert not list(tmp_path.iterdir())


def test_a_plain_recipe_is_not_refused() -> None:
    assert [refused(made(), stage) for stage in STAGES] == [[], [], []]
    check(made(sft={"best": "skill", "trainer": {"report_to": None}}, rollout={"engine": "vllm"}), "sft")


def test_validate_tells_of_stages_that_the_recipe_speaks_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.yaml"
    text = "name: r\nmodel: {id: m}\ndata: {source: {kind: course}}\ndialogue: {format: trace, feedback: none}\n"
    path.write_text(text, encoding="utf-8")
    assert main(["validate", str(path)]) == 0
    assert "refused" not in capsys.readouterr().out
    path.write_text(text + "dpo: {beta: 0.1}\nsft: {best: skill}\n", encoding="utf-8")
    assert main(["validate", str(path)]) == 0
    out = capsys.readouterr().out
    assert "simstudent sft is refused: sft.best: skill" in out
    assert "simstudent dpo is refused" in out
    assert "simstudent dapo" not in out


def test_several_processes_share_out_a_batch_and_train_no_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    (batch,) = refused(made(sft={"batch_size": 8}), "sft")
    assert batch.startswith("sft: batch_size (8) is not a multiple of micro_batch_size x processes (1 x 3): set")
    assert refused(made(sft={"batch_size": 6, "micro_batch_size": 2}), "sft") == []
    assert refused(made(dapo={"batch_size": 3, "micro_batch_size": 4, "generations": 4}), "dapo") == []
    (vectors,) = refused(made(sft={"batch_size": 3}, students={"kind": "table"}), "sft")
    assert "one process" in vectors


def test_what_cannot_be_taken_to_pieces_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    nf4 = made(model={"id": "m", "quantization": "nf4"})
    assert quantization_of(made(), "cuda") == "nf4"
    monkeypatch.setattr(sharded, "can_shard", lambda: True)
    for name, value in (
        ("ACCELERATE_USE_FSDP", "true"),
        ("FSDP_VERSION", "2"),
        ("FSDP_STATE_DICT_TYPE", "FULL_STATE_DICT"),
    ):
        monkeypatch.setenv(name, value)
    assert refused(made(), "sft") == refused(made(), "dpo") == []
    assert quantization_of(made(), "cuda") == "none"
    (weights,) = refused(nf4, "sft")
    assert "model.quantization: none" in weights
    assert any("ddp.yaml" in reason for reason in refused(made(), "dapo"))
    monkeypatch.setenv("FSDP_STATE_DICT_TYPE", "SHARDED_STATE_DICT")
    monkeypatch.setenv("FSDP_VERSION", "1")
    monkeypatch.setattr(sharded, "can_shard", lambda: False)
    version, state, device = refused(made(), "sft")
    assert "fsdp_version: 2" in version
    assert "FULL_STATE_DICT" in state
    assert "GPUs only" in device
