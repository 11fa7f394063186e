"""What a valid recipe still needs before it can run here: data, packages, loaders to come."""

from __future__ import annotations

import importlib.util
import os

from simstudent.recipe import Recipe
from simstudent.training import unsloth
from simstudent.training.checks import STAGES, refused


def notes(recipe: Recipe) -> list[str]:
    """Remarks for a person; none of them makes the recipe wrong."""
    found = []
    source = recipe.data.source
    if source.kind == "table":
        for path in (source.submissions, source.assignments):
            if path is not None and not path.exists():
                found.append(f"data file {path} is not here")
        if source.assignments is None:
            found.append("no data.source.assignments: without tests there is no feedback from graders and no rollout")
    for key in ("files", "release", "rollouts"):
        place = getattr(source, key, None)
        if place is not None and not place.exists() and not set("*?[") & set(place.name):
            found.append(f"data.source.{key}: {place} is not here")
    if getattr(source, "hub", None) and importlib.util.find_spec("datasets") is None:
        found.append("data.source.hub needs the package datasets (extra 'train')")
    if importlib.util.find_spec("trl") is None:
        found.append("TRL is not installed, so sft.trainer was not checked; training needs the extra 'train'")
    if "unsloth" in (recipe.sft.backend, recipe.dpo.backend) and (reason := unsloth.missing()) is not None:
        found.append(f"backend: unsloth cannot be used here: {reason}; it needs {unsloth.INSTALL}")
    if recipe.rollout.engine == "vllm" and importlib.util.find_spec("vllm") is None:
        found.append("rollout.engine is vllm, which is not installed; it needs the extra 'vllm'")
    if recipe.rollout.engine == "openai":
        if importlib.util.find_spec("httpx2") is None:
            found.append("rollout.engine is openai, which needs the package httpx2 (extra 'openai')")
        variable = recipe.rollout.server.key_variable
        if variable is not None and not os.environ.get(variable):
            found.append(f"rollout.server.key_variable: {variable} is not set")
    if recipe.model.id.startswith("package:"):
        package = recipe.model.id.removeprefix("package:")
        if importlib.util.find_spec(package) is None:
            found.append(f"model.id: the Python package '{package}' is not installed")
    for stage in STAGES:
        if stage == "sft" or stage in recipe.model_fields_set:  # every recipe has the other sections, by default
            found += [f"simstudent {stage} is refused: {reason}" for reason in refused(recipe, stage)]
    return found
