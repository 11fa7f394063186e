"""What is written with the vectors of new students (``simstudent adapt --rollouts``): dialogues from starts, or traces.

The same starts for nobody's vector and for those learnt from 1, 2, ... trajectories; beside them stands what needs no
vector: handing in the last program again, or training traces of the same title.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from simstudent.data.load import Data
from simstudent.data.records import Trajectory
from simstudent.data.split import position
from simstudent.errors import SimstudentError
from simstudent.recipe import Recipe
from simstudent.rollout.behaviour import STUDENTS, true_trace, write_baselines
from simstudent.rollout.opening import encoder_of, engines_here
from simstudent.rollout.run import run_rollouts
from simstudent.rollout.traces import TraceStart, sample_all
from simstudent.runs import read_recipe, weights_of, whole_model, with_own_model, write_lines
from simstudent.training.students import FIRST, NAMES, VECTORS, Roster, Students

NOBODY = "nobody"


def check_newcomers(recipe: Recipe, run: Path) -> None:
    """Raises SimstudentError, before anything is learnt, where nothing could be written with the vectors."""
    if recipe.rollout.engine == "openai":
        raise SimstudentError("a chat server takes no vectors: set rollout.engine: vllm or transformers")
    if recipe.dialogue.format == "trace":
        if len(recipe.rollout.temperatures) != 1:
            raise SimstudentError("traces are sampled at one temperature: give one (rollout.temperature)")
    elif whole_model(run) is not None:
        raise SimstudentError(
            f"{run} trained all weights: rollouts with new vectors need an adapter; leave --rollouts out"
        )


def roll_out(
    run: Path,
    keys: frozenset[str],
    vectors: Mapping[int, Students],
    limit: int,
    folder: Path,
    say: Callable[[str], None],
) -> Path:
    """Greedy rollouts from ``limit`` starts of the trajectories ``keys``; returns their folder.

    Methods are ``nobody``, ``vector-k<k>`` and ``repeat-last``. Players lie under ``folder`` meanwhile.
    """
    some = next(iter(vectors.values()))
    named = {NOBODY: replace(some, roster=Roster.of([]), own=some.own[:0])}
    named |= {_condition(k): of for k, of in vectors.items()}
    recipe = read_recipe(run)
    asked = recipe.rollout.model_copy(
        update={"split": "test", "methods": ("repeat-last",), "limit": limit, "temperature": 0.0, "samples": 1}
    )
    players = {name: folder / "players" / name for name in named}
    try:
        for name, of in named.items():
            players[name].mkdir(parents=True)
            for path in (run / "adapter").glob("adapter_*"):
                shutil.copyfile(path, players[name] / path.name)
            of.save(players[name])
        return run_rollouts(
            recipe.model_copy(update={"rollout": asked}), run, root=run.parent, more=players, only=keys, say=say
        )
    finally:
        shutil.rmtree(folder / "players")


def sample_traces(
    run: Path,
    data: Data,
    held: Sequence[Trajectory],
    vectors: Mapping[int, Students],
    limit: int,
    folder: Path,
    say: Callable[[str], None],
) -> None:
    """Traces of ``limit`` of the trajectories ``held``, sampled from their titles as the run's recipe says, into
    ``folder``: ``nobody.jsonl``, ``vector-k<k>.jsonl``, ``students.jsonl`` and the baselines of `behaviour`.

    All vectors go into one roster, under k and student: one engine, of an adapter or of a whole model, takes them all.
    """
    recipe = with_own_model(read_recipe(run), run)
    r = recipe.rollout
    held = sorted(held, key=lambda t: position(recipe.seed, "newcomer", t.key))[:limit]
    cells = {t.key: cell for cell, part in data.cells.items() for t in part}
    samples = r.samples if r.temperatures[0] else 1  # greedy ones are all the same
    starts = [
        TraceStart(t.student, data.assignments[t.assignment], sample=n, cell=cells.get(t.key))
        for t in held
        for n in range(samples)
    ]
    say(f"{len(held)} traces of {len({t.student for t in held})} new students, {samples} samples each")
    folder.mkdir()
    write_lines(folder / f"{STUDENTS}.jsonl", (true_trace(t, data, cells).to_dict() for t in held))
    write_baselines(folder, held, data, cells, recipe.seed, samples)
    roster = Roster.of([_name(k, student) for k, of in vectors.items() for student in of.roster.names])
    tokens: dict[str, Callable[[str], int]] = {NOBODY: lambda student: FIRST}
    for k in vectors:
        tokens[_condition(k)] = lambda student, k=k: roster.token(_name(k, student))  # type: ignore[misc]
    player = folder / "player"
    try:
        recipe, adapters = _with_vectors(recipe, run, _joined(roster, vectors), player)
        asyncio.run(_sample(recipe, run, adapters, starts, tokens, folder, say))
    finally:
        shutil.rmtree(player)


async def _sample(
    recipe: Recipe,
    run: Path,
    adapters: Mapping[str, Path],
    starts: Sequence[TraceStart],
    tokens: Mapping[str, Callable[[str], int]],
    folder: Path,
    say: Callable[[str], None],
) -> None:
    r, encoder = recipe.rollout, encoder_of(recipe, run)
    async with engines_here(recipe, adapters, say) as engines:
        for name, token in tokens.items():
            await sample_all(
                folder / f"{name}.jsonl",
                starts,
                engines,
                encoder,
                say,
                concurrency=r.concurrency * len(engines),
                adapter=next(iter(adapters), None),
                seed=recipe.seed,
                temperature=r.temperatures[0],
                top_p=r.top_p,
                token=token,
            )


def _with_vectors(recipe: Recipe, run: Path, vectors: Students, folder: Path) -> tuple[Recipe, dict[str, Path]]:
    """What an engine is opened with: the run's adapter, or its whole model, with other vectors beside it."""
    folder.mkdir()
    whole = whole_model(run) is not None
    for path in weights_of(run).iterdir():
        if path.name not in (VECTORS, NAMES) and (whole or path.name.startswith("adapter_")):
            (folder / path.name).symlink_to(path.resolve())
    vectors.save(folder)
    if not whole:
        return recipe, {"player": folder}
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"id": str(folder)})}), {}


def _joined(roster: Roster, vectors: Mapping[int, Students]) -> Students:
    import torch

    parts = list(vectors.values())
    return replace(parts[0], roster=roster, own=torch.cat([of.own for of in parts]))


def _name(k: int, student: str) -> str:
    return f"{k}/{student}"


def _condition(k: int) -> str:
    return f"vector-k{k}"
