"""Export: the merged model is base with adapter, its chat template is the training's, its card names no student."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from simstudent.cli import main
from simstudent.dialogue.template import chat_template, jinja
from simstudent.errors import SimstudentError
from simstudent.recipe import load_recipe
from simstudent.training.sft import run_sft
from tests.dialogue.templates import FAMILIES
from tests.dialogue.test_encode import encoder, made_up, tokenizer  # noqa: F401

pytest.importorskip("trl")

RECIPE = """\
name: tiny
seed: 3
model: {{id: {model}}}
data:
  source: {{kind: course}}
  select: [stop_at_full_grade, min_submissions: 2, max_submissions: 3]
dialogue: {{feedback: summary, window: 2048, answer_tokens: 256}}
sft: {{limit: 4, batch_size: 2, evaluations: 1, learning_rate: 3e-2}}
"""


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("system", ["You are a student.", ""])
def test_the_exported_template_gives_the_ids_of_training(tokenizer: Any, family: str, system: str) -> None:  # noqa: F811
    from dataclasses import replace

    e = encoder(tokenizer, family, with_system=system != "")
    dialogue = replace(made_up(3), system=system)
    (row,) = e.rows(dialogue).rows
    messages = dialogue.messages()
    if system:
        tokenizer.chat_template = jinja(e.template, "Another one.")
        assert tuple(tokenizer.apply_chat_template(messages, return_dict=False)) == row.ids
    tokenizer.chat_template = jinja(e.template, system)
    messages = [m for m in messages if m["role"] != "system"]  # then the training's own stands there
    assert tuple(tokenizer.apply_chat_template(messages, return_dict=False)) == row.ids
    asked = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False)
    assert tuple(asked) == e.prompt_before(dialogue, 2)


def test_roles_that_do_not_take_turns_are_refused(tokenizer: Any) -> None:  # noqa: F811
    from jinja2 import TemplateError

    e = encoder(tokenizer, "headers")
    tokenizer.chat_template = jinja(e.template, "")
    with pytest.raises(TemplateError, match="take turns"):
        tokenizer.apply_chat_template([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(RECIPE.format(model=tiny_model), encoding="utf-8")
    made = run_sft(load_recipe(path), root=tmp_path_factory.mktemp("runs"), say=lambda text: None)
    assert made is not None
    return made


@pytest.mark.slow
def test_what_is_exported(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    from transformers import AutoTokenizer

    from simstudent.data.load import prepare
    from simstudent.runs import read_recipe
    from simstudent.training import export

    to = tmp_path / "student"
    monkeypatch.setattr(export, "LEAST_AGREEMENT", 1.01)
    assert main(["export", str(run), "--to", str(to)]) == 2
    assert "not exported" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    # The weights of the random model are no multiples of what bfloat16 holds, and most of its answers are near ties.
    monkeypatch.setattr(export, "LEAST_AGREEMENT", 0.9)
    assert main(["export", str(run), "--to", str(to)]) == 0
    assert "same most likely token" in capsys.readouterr().out
    facts = json.loads((to / "simstudent.json").read_text())
    assert facts["merge"]["effect"] > 10 * facts["merge"]["divergence"] > 0  # the adapter is in the weights
    assert facts["merge"]["same_ids"] == facts["merge"]["dialogues"] > 0
    assert list(facts["stages"]) == ["sft"]

    saved = json.loads((run / "template.json").read_text()) | {"origin": ""}
    exported = chat_template(AutoTokenizer.from_pretrained(to)).to_dict() | {"origin": ""}
    assert exported == saved

    recipe = read_recipe(run)
    text = "".join(p.read_text(encoding="utf-8") for p in (to / "README.md", to / "simstudent.json"))
    students = {t.student for side in prepare(recipe.data, recipe.seed).sides.values() for t in side}
    assert students
    assert not [s for s in students if s in text]
    assert str(Path(recipe.model.id).parent) not in text  # no path of this machine
    for heading in ("Privacy", "Intended use", "Licence", "Data", "Training", "Merge", "Figures", "Versions"):
        assert f"## {heading}" in text
    assert "can reproduce it" in text
    assert "stop_at_full_grade" in text

    assert main(["export", str(run), "--to", str(to)]) == 2
    assert "there already" in capsys.readouterr().err


def test_nothing_trained_nothing_exported(tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), "--to", str(tmp_path / "x")]) == 2
    assert "not a run folder" in capsys.readouterr().err
    assert main(["export", str(run), "--to", str(tmp_path / "x"), "--public"]) == 2
    assert "--push-to-hub" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


class Hub:
    """A hub that holds one repository; what was asked of it is kept."""

    def __init__(self, private: bool | None) -> None:
        self.private, self.asked = private, list[Any]()

    def whoami(self) -> dict[str, str]:
        return {"name": "me"}

    def model_info(self, name: str) -> Any:
        import types

        from huggingface_hub.errors import RepositoryNotFoundError

        if self.private is None:
            raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)
        return types.SimpleNamespace(private=self.private)

    def create_repo(self, name: str, **options: Any) -> None:
        self.asked.append((name, options))

    def upload_folder(self, **options: Any) -> None:
        self.asked.append(options)


def test_uploads_are_private_unless_asked(monkeypatch: Any, tmp_path: Path) -> None:
    import huggingface_hub

    from simstudent.errors import SimstudentError
    from simstudent.training.hub import check_hub, push

    def use(private: bool | None) -> Hub:
        hub = Hub(private)
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
        return hub

    hub, said = use(None), list[str]()
    check_hub("me/student", public=False)
    push(tmp_path, "me/student", public=False, say=said.append)
    assert hub.asked[0] == ("me/student", {"private": True, "exist_ok": True})
    assert hub.asked[1]["folder_path"] == tmp_path
    assert said[0].startswith("WARNING")
    use(True)
    check_hub("me/student", public=False)
    use(False)
    check_hub("me/student", public=True)
    with pytest.raises(SimstudentError, match="public"):
        check_hub("me/student", public=False)
    with pytest.raises(SimstudentError, match="a/b/c"):
        check_hub("a/b/c", public=False)


def test_without_a_network_the_hub_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    from simstudent.training.hub import check_hub

    class Unreachable:
        def whoami(self) -> None:
            raise next(k for k in HfHubHTTPError.__mro__ if k.__name__ == "HTTPError")("connection refused")

    monkeypatch.setattr(huggingface_hub, "HfApi", Unreachable)
    with pytest.raises(SimstudentError, match="the hub cannot be used \\(connection refused\\)"):
        check_hub("me/student", public=False)


def test_the_card_has_figures_also_below_what_must_be_known_first(tmp_path: Path) -> None:
    from simstudent.training.card import _figures

    folder = tmp_path / "rollouts" / "test-k5"
    folder.mkdir(parents=True)
    (folder / "table.md").write_text(
        "> All made up.\n\n### Headline\n\n| sft | .5 |\n\n### Paper\n\nmore\n", encoding="utf-8"
    )
    text = _figures(tmp_path)
    assert "> All made up." in text
    assert "| sft | .5 |" in text
    assert "more" not in text
    (folder / "table.md").write_text("half a file", encoding="utf-8")
    with pytest.raises(SimstudentError, match="has no headline"):
        _figures(tmp_path)
