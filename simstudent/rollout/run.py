"""All rollouts of a recipe: methods over starts, thousands at once, one JSONL line each, resumable."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from simstudent.rollout.chat import advice
from simstudent.rollout.engines.baselines import DRAWN, FROM_HISTORY, baseline
from simstudent.rollout.engines.openai import key_of
from simstudent.rollout.fewshot import Example, examples, room_for
from simstudent.rollout.folder import (
    actor_folder,
    add_facts,
    add_plan,
    made_together,
    open_starts,
    rollout_folder,
    write_assignments,
)
from simstudent.rollout.meter import Meter
from simstudent.rollout.methods import MODELS, STAGED, Played, played
from simstudent.rollout.opening import encoder_for, encoder_of, open_engines, player
from simstudent.rollout.schedule import Job, progress, run_jobs, shard_of, spread
from simstudent.rollout.sharing import metered, shared_grader
from simstudent.rollout.simulate import Grader, Start, starts
from simstudent.runs import create_run
from simstudent.training.stages import adapters
from simstudent.training.students import VECTORS


@dataclass(frozen=True, slots=True)
class Simulation:
    """Everything the methods share: where they start, what judges them, what decides the answer.

    ``training``: the training side, which some baselines answer from; ``shown``: what ``base-fewshot`` shows of it.
    """

    recipe: Recipe
    starts: tuple[Start, ...]
    training: tuple[Trajectory, ...]
    shown: tuple[Example, ...]
    settings: dict[str, Any]


def prepare_simulation(
    recipe: Recipe, pool: Pool, say: Callable[[str], None], only: frozenset[str] | None = None
) -> Simulation:
    """Read the recipe's split, grade it, and lay out the starts. Raises SimstudentError when there is none.

    ``only``: the keys of the trajectories to start from, instead of all.
    """
    check_dialogues(recipe)
    r = recipe.rollout
    data = prepare(recipe.data, recipe.seed, grader=recipe.grader)
    assignments = regrade.limited(data.assignments, recipe.grader)
    held = tuple(t for t in data.held(r.split) if only is None or t.key in only)
    untested = sorted({t.assignment for t in held if assignments[t.assignment].problem is None})
    if untested:
        raise SimstudentError(f"rollouts need tests; these assignments have none: {', '.join(untested[:5])}")
    grades = regrade.regrade(held, assignments, pool)
    everything = [t for side in data.sides.values() for t in side]
    earlier = earlier_work(held, everything, assignments, pool, recipe.dialogue)
    cells = {t.key: cell for cell, part in data.cells.items() for t in part}
    staged = r.mode == "stages"
    found = starts(
        held,
        assignments,
        grades,
        first=r.first_start,
        samples=r.samples,
        earlier=earlier,
        cells=cells,
        stages=staged,
    )
    if r.limit is not None:
        chosen = {s.key for s in sorted(found, key=lambda s: position(recipe.seed, "start", s.key))[: r.limit]}
        found = [s for s in found if s.key in chosen]
    if not found:
        raise SimstudentError(f"no start: no {r.split} trajectory has more than {r.first_start} submissions")
    students = len({s.trajectory.student for s in found})
    trajectories = len({s.trajectory.key for s in found})
    if staged and (idle := [m for m in r.methods if m in FROM_HISTORY]):
        say(f"Left out, since no history is shown: {', '.join(idle)}")
    say(f"{len(found)} starts from {trajectories} trajectories of {students} {r.split} students")
    settings = {
        "source": recipe.data.source.kind,
        "data_hash": data.hash,
        "model": recipe.model.model_dump(mode="json"),
        "seed": recipe.seed,
        "dialogue": recipe.dialogue.model_dump(mode="json"),
        "grader": recipe.grader.model_dump(mode="json", exclude={"workers"}),
        **r.model_dump(
            mode="json",
            exclude={"methods", "concurrency", "gpus", "gpu_memory", "eager", "batch_size", "resamples", "server"},
        ),
        "steps": r.horizon,
        **({"server": r.server.decides} if r.engine == "openai" else {}),
    }
    training, shown = data.sides["train"], []
    if "base-fewshot" in r.methods:
        shown = examples(training, assignments, {s.assignment.id for s in found}, pool, recipe.dialogue)
    return Simulation(recipe, tuple(found), training, tuple(shown), settings)


def run_rollouts(
    recipe: Recipe,
    run: Path | None,
    *,
    root: Path,
    more: Mapping[str, Path] | None = None,
    resume: bool = False,
    only: frozenset[str] | None = None,
    shard: tuple[int, int] | None = None,
    begun: str | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Roll out every method of the recipe into a folder under ``run`` and return that folder.

    Adapters are those of the run and of the runs it started from (SFT before DPO, say); ``more`` are further adapters
    by the name of a method. Without a ``run`` (methods that need no training) a run folder is made under ``root``.
    ``resume`` goes on with the newest rollouts if their settings are equal: finished rollouts are kept, failed ones
    redone. ``only``: the trajectories (by key) to start from, instead of all of the split. ``shard``: (3, 8) is the
    third of eight parts of the trajectories, by a hash of their keys. ``begun``: when actors began who make these
    rollouts together, one shard each (`actor_folder`): what others have finished is not done again.
    """
    if run is None and resume:
        raise SimstudentError("nothing to resume without a run folder: name it with --run")
    check_server(recipe, recipe.rollout.methods, more or {})
    trained = {**({} if run is None else adapters(run)), **(more or {})}
    methods = (*recipe.rollout.methods, *(more or {}))
    models = played(methods, trained, recipe.rollout.temperatures, f"{run or 'this recipe'}")
    used = {p.adapter: trained[p.adapter] for p in models if p.adapter is not None}
    with regrade.open_pool(recipe.grader) as pool:
        simulation = prepare_simulation(recipe, pool, say, only)
        if shard is not None:
            simulation = _part(simulation, shard, say)
        if run is None:
            run = create_run(root, recipe, {"trained": False})
        if used:
            simulation.settings["adapters"] = {name: folder_hash(path) for name, path in used.items()}
        if begun is None:
            folder, others = rollout_folder(run, simulation.settings, resume), []
        else:
            folder = actor_folder(run, simulation.settings, begun)
            others = [other for other in made_together(run, begun) if other != folder]
        write_assignments(folder, (s.assignment for s in simulation.starts))
        say(f"Rollouts: {folder}")
        asyncio.run(_all_methods(simulation, run, models, used, folder, others, pool, say))
    return folder


def _part(simulation: Simulation, shard: tuple[int, int], say: Callable[[str], None]) -> Simulation:
    """The starts of one shard. The settings name it, so that no shard is taken for the whole."""
    number, count = shard
    starts = tuple(s for s in simulation.starts if shard_of(s.trajectory.key, count) == number - 1)
    say(f"Shard {number}/{count}: {len(starts)} of the starts")
    return replace(simulation, starts=starts, settings={**simulation.settings, "shard": f"{number}/{count}"})


def check_dialogues(recipe: Recipe) -> None:
    """Raises SimstudentError for a model of traces, which answers nobody."""
    if recipe.dialogue.format == "trace":
        raise SimstudentError("a trace model is not asked step by step: simstudent behaviour RUN samples its traces")


def check_server(recipe: Recipe, methods: Sequence[str], more: Iterable[str] = ()) -> None:
    """Raises SimstudentError where a server is asked to play what only an engine here can, or there is no key.

    ``more``: the names of further adapters.
    """
    wrong = [*(m for m in methods if m in STAGED), *more]
    if recipe.rollout.engine == "openai" and wrong:
        raise SimstudentError(
            f"rollout.engine openai asks a server for its own model; adapters such as {', '.join(wrong)} are not sent "
            "there. Choose --methods base,base-fewshot,repeat-last,..., or another engine"
        )
    if recipe.rollout.engine == "openai":
        key_of(recipe.rollout.server)


def folder_hash(folder: Path) -> str:
    """Sixteen hex digits that change with an adapter."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("adapter_*"), *folder.glob(VECTORS)]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


async def _all_methods(
    simulation: Simulation,
    run: Path,
    models: Sequence[Played],
    adapters: Mapping[str, Path],
    folder: Path,
    others: Sequence[Path],
    pool: Pool,
    say: Callable[[str], None],
) -> None:
    """Every method at once: those that answer from the data are rolled out while the engine of the others starts."""
    r = simulation.recipe.rollout
    began = time.monotonic()
    grade, grades = shared_grader(pool)
    wanted = _wanted(simulation, models)
    add_plan(folder, {label: len(starts) for label, starts in wanted.items()})
    todo = {label: open_starts(folder / f"{label}.jsonl", starts, say, others) for label, starts in wanted.items()}
    labels = {p.label for p in models}
    known = [
        Job(method, baseline(method, simulation.training, simulation.recipe.seed), starts)
        for method, starts in todo.items()
        if method not in labels
    ]
    played = [(p, todo[p.label]) for p in models]
    aside = Meter(sum(len(job.starts) for job in known))
    work = [run_jobs(known, simulation.recipe, folder, grade, say, aside, r.concurrency)]
    facts: dict[str, Any] = {}
    if any(todo for _, todo in played):
        work.append(_played_by_models(played, simulation, run, adapters, folder, grade, say, facts))
    tasks = [asyncio.create_task(w) for w in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    whole = {"seconds": round(time.monotonic() - began, 3), "rollouts_without_model": aside.ended}
    add_facts(folder, {**whole, "gradings_joined": grades.joined, "models": facts or None})


async def _played_by_models(
    played: Sequence[tuple[Played, Sequence[Start]]],
    simulation: Simulation,
    run: Path,
    adapters: Mapping[str, Path],
    folder: Path,
    grade: Grader,
    say: Callable[[str], None],
    facts: dict[str, Any],
) -> None:
    """The methods of language models over one engine; what there is to know of the run goes into ``facts``."""
    recipe = simulation.recipe
    encoder, began = encoder_of(recipe, run), time.monotonic()
    meter = Meter(sum(len(todo) for _, todo in played))
    if recipe.rollout.engine == "openai":
        examples_take = {"base-fewshot": room_for(recipe.rollout.few_shot, encoder)}
        asked = [(encoder_for(p, encoder, recipe), todo, examples_take.get(p.method, 0)) for p, todo in played]
        for line in advice(recipe, asked):
            say(line)
    async with open_engines(recipe, adapters, folder, meter, say) as engines:
        jobs = [
            Job(
                p.label,
                spread([player(p, engine, encoder, recipe, adapters, simulation.shown) for engine in engines]),
                todo,
                prefixes=p.adapter or p.method,
            )
            for p, todo in played
        ]
        start_seconds = round(time.monotonic() - began, 3)
        facts |= {"engine": recipe.rollout.engine, "gpus": len(engines), "start_seconds": start_seconds}
        meter.start()
        async with progress(meter, say):
            await run_jobs(
                jobs, recipe, folder, metered(grade, meter), say, meter, recipe.rollout.concurrency * len(engines)
            )
        counters = engines[0].counters
        facts |= meter.facts() | {
            "requests": counters.requests,
            "requests_joined": engines[0].joined,
            "prefix_cache_hit_rate": _share(counters.cached_tokens, counters.prompt_tokens),
        }
    say(summary(facts))


def summary(facts: Mapping[str, Any]) -> str:
    """What a run of models did, in one line."""
    hidden, reused = facts["grading_hidden_share"], facts["prefix_cache_hit_rate"]
    parts = [
        f"  {facts['rollouts']:,} rollouts of models in {facts['seconds']:.1f} s",
        f"{facts['reply_tokens']:,} tokens written ({facts['reply_tokens_per_second'] or 0:,.0f} tokens/s)",
        f"the engine waited {facts['engine_wait_share']:.1%} of the time",
        *([] if hidden is None else [f"grading hidden {hidden:.1%}"]),
        *([] if reused is None else [f"{reused:.0%} of the prompts' tokens from the prefix cache"]),
        f"{facts['requests_joined']:,} requests equal to others",
    ]
    return ", ".join(parts)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _wanted(simulation: Simulation, models: Sequence[Played]) -> dict[str, Sequence[Start]]:
    """By label, what is to be rolled out. What always answers the same is asked for one sample of each start only."""
    r, distinct = simulation.recipe.rollout, [s for s in simulation.starts if s.sample == 0]
    found: dict[str, Sequence[Start]] = {
        method: simulation.starts if method in DRAWN else distinct
        for method in r.methods
        if method not in MODELS and not (r.mode == "stages" and method in FROM_HISTORY)
    }
    return found | {p.label: simulation.starts if p.temperature else distinct for p in models}
