"""The model card of an exported student: where it comes from, what it is good for, and what it may give away.

Counts only: no student's id, no text or program of a student, no path of this machine.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from simstudent.errors import SimstudentError
from simstudent.runs import read_lines, read_manifest, read_recipe, stage_of
from simstudent.training.stages import adapters

if TYPE_CHECKING:
    from simstudent.recipe import Recipe

PRIVACY = """\
**This model was fine-tuned on what students wrote, and it can reproduce it**: whole programs, comments, and names or
other personal data that stood in them. Pseudonyms in the training data do not prevent that. Treat the weights as you
treat the logs: under the same data agreement, consent and access rules, until somebody entitled to it has decided
otherwise."""

USE = """\
Research on simulated students: trying out feedback, tutors, graders and analyses before real students meet them. Not
for judging real students, not a stand-in for them in a study, and no source of correct programs: it was trained to make
learners' mistakes. How near it comes to real students is what the figures say, and only for students like those
it was trained on."""

UNKNOWN_LICENCE = "not known here: look it up at the base model; it holds for this model too"


def chain(run: Path) -> dict[str, Path]:
    """The runs that led to this one, by stage, itself last."""
    return {stage: folder.parent for stage, folder in adapters(run).items()}


def provenance(run: Path) -> dict[str, Any]:
    """Where a model comes from, for programs: what `card` tells people."""
    recipe = read_recipe(run)
    stages = {}
    for stage, folder in chain(run).items():
        section = read_recipe(folder).to_dict()[stage]
        outcome = json.loads((folder / "adapter" / "training.json").read_text(encoding="utf-8"))
        manifest = read_manifest(folder)
        stages[stage] = {"run": folder.name, "settings": section, "outcome": outcome} | {
            name: manifest[name]
            for name in ("started", "seed", "git", "versions", "data_hash", "template_hash", "train", "pairs")
            if name in manifest
        }
    return {
        "base_model": base_name(recipe),
        "revision": recipe.model.revision,
        "data": recipe.data.source.kind,
        "dialogue": recipe.dialogue.model_dump(mode="json"),
        "stages": stages,
    }


def base_name(recipe: Recipe) -> str:
    """The base as others may know it: of a folder on this machine only the last part."""
    return Path(recipe.model.id).name if Path(recipe.model.id).expanduser().is_dir() else recipe.model.id


def base_licence(recipe: Recipe) -> str | None:
    """The base model's licence: its model card's, in its folder or at the hub; the package's that it came in."""
    from huggingface_hub import ModelCard

    from simstudent.training.models import PACKAGE_PREFIX

    id = recipe.model.id
    if id.startswith(PACKAGE_PREFIX):
        found = importlib.metadata.metadata(id.removeprefix(PACKAGE_PREFIX)).json
        licence = found.get("license_expression") or found.get("license")
        return None if licence is None else str(licence)
    place = Path(id).expanduser()
    if place.is_dir() and not (place / "README.md").is_file():
        return None
    try:
        held = ModelCard.load(place / "README.md" if place.is_dir() else id, ignore_metadata_errors=True).data
    except (OSError, ValueError):  # no network, no card: the card then says that the licence is not known
        return None
    return str(held.license_name or held.license) if held.license else None


def card(run: Path, check: str) -> str:
    """The README.md of the exported folder. ``check``: what the comparison with base and adapter gave."""
    recipe, facts = read_recipe(run), provenance(run)
    licence = base_licence(recipe)
    name = f"{recipe.name} ({stage_of(run)})"
    made_with = facts["stages"][stage_of(run)]["versions"]["simstudent"]
    parts = [
        _front(recipe, licence),
        f"# Simulated student: {name}\n",
        f"A language model that hands in programs as the students of its training data did, made with "
        f"simstudent {made_with}: "
        f"{facts['base_model']}, then {', then '.join(s.upper() for s in facts['stages'])}.\n",
        f"## Privacy\n\n{PRIVACY}\n",
        f"## Intended use\n\n{USE}\n",
        "## Licence\n\n"
        f"* base model {facts['base_model']}: {licence or UNKNOWN_LICENCE}\n"
        "* training data: under the terms of its owners, which may forbid passing this model on\n",
        *_made_up(recipe),
        f"## Data\n\nSource: {recipe.data.source.kind}. What selection and split left, in counts:\n\n{_data(run)}\n",
        f"## Dialogue\n\n{_dialogue(recipe)}\n",
        "## Training\n\n" + "\n".join(_training(facts)),
        f"## Merge\n\n{check}.\n",
        f"## Figures\n\n{_figures(run)}\n",
        f"## Versions\n\n{_versions(facts)}\n",
    ]
    return "\n".join(parts)


def _front(recipe: Recipe, licence: str | None) -> str:
    head: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-generation"}
    head["tags"] = ["simstudent", "simulated-students", "computing-education"]
    if "/" in recipe.model.id and base_name(recipe) == recipe.model.id:
        head["base_model"] = recipe.model.id
    if licence is not None:
        head["license"] = licence.lower()
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n"


def _made_up(recipe: Recipe) -> Iterator[str]:
    if recipe.data.source.kind == "course":
        yield "The students of this training are made up (the course that comes with simstudent).\n"


def _data(run: Path) -> str:
    """The tables of selection and split, as the run keeps them, below a heading of ours."""
    lines = (run / "data.md").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("## ")).strip()


def _dialogue(recipe: Recipe) -> str:
    d = recipe.dialogue
    return (
        "System prompt and assignment, then in turns a program (assistant) and the autograder's feedback (user, level "
        f"`{d.feedback}`). Programs are written `{d.code}`; at most {d.window} tokens, {d.answer_tokens} of them "
        "for an answer. The chat template is the training's and adds its system prompt where none is given. All "
        "options are in `simstudent.json`."
    )


def _training(facts: dict[str, Any]) -> Iterator[str]:
    for stage, held in facts["stages"].items():
        outcome = held["outcome"]
        yield f"### {stage.upper()}\n"
        told = {
            "seed": held.get("seed"),
            **held.get("train", {}),
            "made": held.get("pairs"),
            **held["settings"],
            **outcome,
        }
        yield "| setting | value |\n|---|---|"
        for name, value in told.items():
            if value is not None and value != {}:
                yield f"| {name} | {_plain(value)} |"
        yield ""


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _figures(run: Path) -> str:
    """The headline of the newest rollouts' table, or that there is none; and the validation losses."""
    losses = [line["validation_loss"] for line in read_lines(run / "metrics.jsonl") if "validation_loss" in line]
    found = [f"Validation losses: {', '.join(f'{loss:.4f}' for loss in losses)}."] if losses else []
    tables = sorted((run / "rollouts").glob("*/table.md"), key=lambda p: p.stat().st_mtime)
    if not tables:
        return "\n\n".join([*found, "No rollouts of this run were evaluated, so nothing is known of its realism."])
    # What has to be known before the figures are read stands above the headline.
    conditions, heading, rest = tables[-1].read_text(encoding="utf-8").partition("### Headline")
    if not heading:
        raise SimstudentError(f"{tables[-1]} has no headline; make it again: simstudent evaluate {tables[-1].parent}")
    told = [conditions.strip(), rest.split("\n### ")[0].strip()]
    return "\n\n".join([*found, f"Graded rollouts (`{tables[-1].parent.name}`):", *filter(None, told)])


def _versions(facts: dict[str, Any]) -> str:
    return "\n".join(
        f"* {stage}: " + ", ".join(f"{name} {version}" for name, version in held["versions"].items())
        for stage, held in facts["stages"].items()
    )
