"""The documents keep up with the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from simstudent.data.select import STEPS
from simstudent.recipe import recipe_from_dict

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")


def test_the_documented_recipe_has_every_key_with_its_default() -> None:
    match = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert match is not None
    raw = yaml.safe_load(match[1].replace("{kind: table, ...}", "{kind: course}"))
    recipe = recipe_from_dict(raw)
    plain = recipe_from_dict(
        {"name": raw["name"], "model": {"id": raw["model"]["id"]}, "data": {"source": {"kind": "course"}}}
    )
    assert recipe == plain
    assert sorted(keys(raw)) == sorted(keys(plain.to_dict()))


def keys(raw: Any, prefix: str = "") -> list[str]:
    if not isinstance(raw, dict) or prefix in ("data.source.", "sft.trainer.", "dpo.trainer.", "dapo.trainer."):
        return [prefix]
    return [found for key, value in raw.items() for found in keys(value, f"{prefix}{key}.")]


def test_every_selection_step_is_documented() -> None:
    assert all(f"`{name}" in TEXT for name in STEPS)


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
