"""Recipes: all mistakes at once, with lines and suggestions; the shipped ones are valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from simstudent.cli import main
from simstudent.errors import SimstudentError
from simstudent.recipe import dump_yaml, load_recipe, recipe_from_dict
from simstudent.runs import read_recipe

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.yaml"))

GOOD = """\
name: good
model: {id: x/y}
data:
  source: {kind: course}
  select: [drop_unchanged, min_submissions: 2]
"""

FIVE = """\
name: bad
model:
  id: x/y
  quantisation: nf4
data:
  source:
    kind: tabel
  select: [drop_unchangd]
dialogue:
  feedback: ful
sft:
  epochs: -1
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.name)
def test_shipped_recipes_are_valid(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(path)]) == 0
    assert "ok" in capsys.readouterr().out


def test_five_mistakes_are_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(SimstudentError) as caught:
        load_recipe(written(tmp_path, FIVE))
    lines = str(caught.value).splitlines()
    assert "5 mistakes" in lines[0]
    assert [line.strip().split(":")[0] for line in lines[1:]] == ["line 4", "line 7", "line 8", "line 10", "line 12"]
    for meant in ("'quantization'", "'table'", "'drop_unchanged'", "'full'", "greater than 0"):
        assert meant in str(caught.value)


def test_trainer_keys_are_checked_against_trl(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    text = GOOD + "sft:\n  trainer:\n    weight_dekay: 0.1\n    learning_rate: 1e-3\n    optim: adamw_torch\n"
    with pytest.raises(SimstudentError) as caught:
        load_recipe(written(tmp_path, text))
    assert "did you mean 'weight_decay'" in str(caught.value)
    assert "set sft.learning_rate" in str(caught.value)
    assert "optim" not in str(caught.value).replace("adamw_torch", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "not valid YAML"),
        ("- a\n- b\n", "mapping of sections"),
        (GOOD + "name: again\n", "'name' is given twice (first at line 1)"),
        (GOOD.replace("kind: course", "path: x"), "data.source.kind: missing"),
        (GOOD.replace("model: {id: x/y}\n", ""), "model: missing"),
        (GOOD.replace("name: good", "name: ../up"), "name"),
        (GOOD + "sft: {batch_size: 4, micro_batch_size: 3}\n", "not a multiple"),
        (GOOD + "rollout: {samples: 4}\n", "temperature 0"),
        (GOOD + "rollout: {methods: [bas]}\n", "did you mean 'base'"),
    ],
)
def test_wrong_recipes_are_explained(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SimstudentError) as caught:
        load_recipe(written(tmp_path, text))
    assert message in str(caught.value)


LORA = "give a mapping of r, alpha, dropout, target, or null"
GPUS = "give a whole number of at least 1, or auto"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sft.lora", "5", f"sft.lora: 5 is not allowed; {LORA}"),
        ("sft.lora", "yes", f"sft.lora: true is not allowed; {LORA}"),
        ("sft.lora", "{rank: 8}", "sft.lora.rank: unknown key; known: r, alpha, dropout, target"),
        ("sft.lora", "{alpha: big}", "sft.lora.alpha: 'big' is not allowed; give a whole number of at least 1"),
        ("data.split", "random", "data.split: 'random' is not allowed; give a mapping of by, test, validation, seed, "),
        ("data.split", "{test: 1.5}", "split.test: 1.5 is not allowed; give a number greater than 0 and less than 1"),
        ("data.source", "course", "data.source: 'course' is not allowed; give a mapping with kind (table, "),
        ("rollout.gpus", "all", f"rollout.gpus: 'all' is not allowed; {GPUS}"),
        ("rollout.gpus", "0", f"rollout.gpus: 0 is not allowed; {GPUS}"),
        ("rollout.gpus", "auot", "rollout.gpus: 'auot' is not one of the choices; did you mean 'auto'?"),
        ("rollout.split", "tset", "rollout.split: 'tset' is not one of the choices; did you mean 'test'?"),
        ("rollout.temperature", "hot", "temperature: 'hot' is not allowed; give a number of at least 0, or a list of"),
        ("rollout.temperature", "[0, hot]", "temperature.1: 'hot' is not allowed; give a number of at least 0"),
        ("rollout.temperature", "[]", "rollout.temperature: [] is not allowed; give a number of at least 0, or"),
        (
            "rollout.methods",
            "base",
            "methods: 'base' is not allowed; give a list (each entry: one of base, base-f",
        ),
        ("grader.workers", "0", "grader.workers: 0 is not allowed; give a whole number of at least 1, or null"),
        ("model.revision", "3", 'model.revision: 3 is not allowed; give a text, or null (as a text: "3")'),
        ("dialogue.give_up", "maybe", "dialogue.give_up: 'maybe' is not allowed; give true or false"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_with_what_is_allowed(
    key: str, value: str, message: str, tmp_path: Path
) -> None:
    """One mistake with its line, in words of the recipe: nothing of pydantic's."""
    raw = yaml.safe_load(GOOD)
    *sections, name = key.split(".")
    here = raw
    for section in sections:
        here = here.setdefault(section, {})
    here[name] = yaml.safe_load(value)
    path = written(tmp_path, yaml.safe_dump(raw))
    with pytest.raises(SimstudentError) as caught:
        load_recipe(path)
    title, *told = str(caught.value).splitlines()
    assert title == f"{path}: 1 mistake"
    assert len(told) == 1
    assert re.match(r"  line \d+: ", told[0])
    assert message in told[0]
    for word in ("valid", "instance", "Section", "tuple", "dict", "constrained", "literal", "Input", "input"):
        assert word not in told[0].replace("validation", "")


def test_a_damaged_recipe_of_a_run_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD + "sft: {lora: 5}\n")
    with pytest.raises(
        SimstudentError, match=re.escape(str(path)) + r": 1 mistake\n  line 6: sft.lora: 5 is not allowed"
    ):
        read_recipe(tmp_path)


def test_a_missing_recipe_is_an_error_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sft", "none.yaml"]) == 2
    assert "no recipe at none.yaml" in capsys.readouterr().err


def test_paths_are_relative_to_the_recipe_and_take_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = GOOD.replace("{kind: course}", "{kind: table, submissions: '${LOGS:-../logs}/x.csv'}")
    assert load_recipe(written(tmp_path, text)).data.source.submissions == tmp_path.parent / "logs/x.csv"  # type: ignore[union-attr]
    monkeypatch.setenv("LOGS", "/data")
    assert load_recipe(written(tmp_path, text)).data.source.submissions == Path("/data/x.csv")  # type: ignore[union-attr]
    with pytest.raises(SimstudentError, match="NOWHERE is not set"):
        load_recipe(written(tmp_path, text.replace("LOGS:-../logs", "NOWHERE")))


def test_a_resolved_recipe_reads_back_equal(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, GOOD))
    assert recipe_from_dict(recipe.to_dict()) == recipe
    assert load_recipe(written(tmp_path, dump_yaml(recipe))) == recipe


def test_command_line_values_are_checked_like_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    assert load_recipe(path, {"rollout.steps": 3}).rollout.steps == 3
    with pytest.raises(SimstudentError, match=r"rollout.steps"):
        load_recipe(path, {"rollout.steps": 0})
