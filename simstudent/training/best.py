"""The best checkpoint by skill: each is rolled out for validation students, and compared with copying.

Validation loss falls while a model learns to copy; skill (evaluation/metrics.py) does not.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from simstudent.runs import write_json
from simstudent.training.models import free_device

if TYPE_CHECKING:
    from simstudent.recipe import Recipe

STARTS = 200
"""Starts of validation students for each checkpoint, at most."""


def keep_most_skilful(recipe: Recipe, run: Path, say: Callable[[str], None]) -> Path:
    """Roll out every checkpoint of a run and return the one with the highest skill; figures go to ``checkpoints.json``.

    The measure is the agreement of test outcomes over ``repeat-last``, on pairs that both cover.
    """
    from simstudent.evaluation.metrics import evaluate
    from simstudent.rollout.folder import read_rollouts
    from simstudent.rollout.run import run_rollouts

    free_device()
    folders = sorted((run / "checkpoints").glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    rollout = recipe.rollout.model_copy(
        update={
            "split": "validation",
            "mode": "free",
            "methods": ("repeat-last",),
            "limit": STARTS,
            "temperature": 0.0,
            "samples": 1,
        }
    )
    asked = recipe.model_copy(update={"rollout": rollout})
    say(f"Rolling out {len(folders)} checkpoints for validation students")
    figures = evaluate(
        read_rollouts(run_rollouts(asked, run, root=run.parent, more={p.name: p for p in folders}, say=say)),
        codebleu=False,
        resamples=200,
    )
    skill = {p.name: figures.of(p.name).skill["test_agreement"].difference.value for p in folders}
    write_json(run / "checkpoints.json", {"skill in test outcomes": skill})
    best = max(folders, key=lambda p: -2.0 if (value := skill[p.name]) is None else value)
    say("  " + ", ".join(f"{name}: {value:+.3f}" for name, value in skill.items() if value is not None))
    for folder in folders:
        if folder not in (best, folders[-1]):
            shutil.rmtree(folder)
    return best
