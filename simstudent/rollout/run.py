"""All rollouts of a recipe: methods over starts, thousands at once, one JSONL line each, resumable."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graders import Pool
from simstudent.data import regrade
from simstudent.data.load import prepare
from simstudent.data.records import Trajectory
from simstudent.data.split import position
from simstudent.dialogue.earlier import earlier_work
from simstudent.errors import SimstudentError
from simstudent.recipe import Recipe
from simstudent.rollout.engine import Sampling
from simstudent.rollout.engines.baselines import DRAWN, baseline
from simstudent.rollout.folder import open_starts, rollout_folder, write_assignments
from simstudent.rollout.methods import STAGED, Played, played
from simstudent.rollout.opening import encoder_of, open_engine
from simstudent.rollout.schedule import Job, run_job
from simstudent.rollout.simulate import Start, language_model, starts
from simstudent.runs import create_run
from simstudent.training.stages import adapters

MODELS = ("base", *STAGED)
"""Methods that a language model plays."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """Everything the methods share: where they start, what judges them, what decides the answer.

    ``training``: the training side, which some baselines answer from.
    """

    recipe: Recipe
    starts: tuple[Start, ...]
    training: tuple[Trajectory, ...]
    settings: dict[str, Any]


def prepare_simulation(recipe: Recipe, pool: Pool, say: Callable[[str], None]) -> Simulation:
    """Read the recipe's split, grade it, and lay out the starts. Raises SimstudentError when there is none."""
    r = recipe.rollout
    data = prepare(recipe.data, recipe.seed, grader=recipe.grader)
    assignments = regrade.limited(data.assignments, recipe.grader)
    held = data.held(r.split)
    untested = sorted({t.assignment for t in held if assignments[t.assignment].problem is None})
    if untested:
        raise SimstudentError(f"rollouts need tests; these assignments have none: {', '.join(untested[:5])}")
    grades = regrade.regrade(held, assignments, pool)
    everything = [t for side in data.sides.values() for t in side]
    earlier = earlier_work(held, everything, assignments, pool, recipe.dialogue)
    cells = {t.key: cell for cell, part in data.cells.items() for t in part}
    found = starts(held, assignments, grades, first=r.first_start, samples=r.samples, earlier=earlier, cells=cells)
    if r.limit is not None:
        chosen = {s.key for s in sorted(found, key=lambda s: position(recipe.seed, "start", s.key))[: r.limit]}
        found = [s for s in found if s.key in chosen]
    if not found:
        raise SimstudentError(f"no start: no {r.split} trajectory has more than {r.first_start} submissions")
    students = len({s.trajectory.student for s in found})
    trajectories = len({s.trajectory.key for s in found})
    say(f"{len(found)} starts from {trajectories} trajectories of {students} {r.split} students")
    settings = {
        "source": recipe.data.source.kind,
        "data_hash": data.hash,
        "model": recipe.model.model_dump(mode="json"),
        "seed": recipe.seed,
        "dialogue": recipe.dialogue.model_dump(mode="json"),
        "grader": recipe.grader.model_dump(mode="json", exclude={"workers"}),
        **r.model_dump(mode="json", exclude={"methods", "concurrency", "batch_size", "resamples"}),
    }
    return Simulation(recipe, tuple(found), data.sides["train"], settings)


def run_rollouts(
    recipe: Recipe,
    run: Path | None,
    *,
    root: Path,
    more: Mapping[str, Path] | None = None,
    resume: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """Roll out every method of the recipe into a folder under ``run`` and return that folder.

    Adapters are those of the run and of the runs it started from (SFT before DPO, say); ``more`` are further adapters
    by the name of a method. Without a ``run`` (methods that need no training) a run folder is made under ``root``.
    ``resume`` goes on with the newest rollouts if their settings are equal: finished rollouts are kept, failed ones
    redone.
    """
    trained = {**({} if run is None else adapters(run)), **(more or {})}
    methods = (*recipe.rollout.methods, *(more or {}))
    models = played(methods, trained, recipe.rollout.temperatures, f"{run or 'this recipe'}")
    used = {p.adapter: trained[p.adapter] for p in models if p.adapter is not None}
    with regrade.open_pool(recipe.grader) as pool:
        simulation = prepare_simulation(recipe, pool, say)
        if run is None:
            run = create_run(root, recipe, {"trained": False})
        if used:
            simulation.settings["adapters"] = {name: _folder_hash(path) for name, path in used.items()}
        folder = rollout_folder(run, simulation.settings, resume)
        write_assignments(folder, (s.assignment for s in simulation.starts))
        say(f"Rollouts: {folder}")
        asyncio.run(_all_methods(simulation, run, models, used, folder, pool, say))
    return folder


def _folder_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("adapter_*")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


async def _all_methods(
    simulation: Simulation,
    run: Path,
    models: Sequence[Played],
    adapters: Mapping[str, Path],
    folder: Path,
    pool: Pool,
    say: Callable[[str], None],
) -> None:
    recipe = simulation.recipe
    r = recipe.rollout
    for method in r.methods:
        if method not in MODELS:
            wanted = simulation.starts if method in DRAWN else _distinct(simulation.starts)
            todo = open_starts(folder / f"{method}.jsonl", wanted)
            student = baseline(method, simulation.training, recipe.seed)
            await run_job(Job(method, student, todo), recipe, folder, pool, say)
    waiting = []
    for p in models:
        starts = simulation.starts if p.temperature else _distinct(simulation.starts)
        waiting.append((p, open_starts(folder / f"{p.label}.jsonl", starts)))
    if not any(todo for _, todo in waiting):
        return
    encoder = encoder_of(recipe, run)
    async with open_engine(recipe, adapters, say) as engine:
        for p, todo in waiting:
            student = language_model(
                engine,
                encoder,
                Sampling(encoder.stop_ids, recipe.dialogue.answer_tokens, p.temperature, r.top_p),
                adapter=p.adapter,
                seed=recipe.seed,
                look=recipe.dialogue,
            )
            await run_job(Job(p.label, student, todo), recipe, folder, pool, say)


def _distinct(starts: Sequence[Start]) -> list[Start]:
    """One sample of each start: what always answers the same is asked once."""
    return [s for s in starts if s.sample == 0]
