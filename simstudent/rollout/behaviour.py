"""Which traces are sampled for the behavioural evaluation, from which runs, and what they are set beside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simstudent.data.load import Data, prepare
from simstudent.data.records import Trajectory
from simstudent.data.split import position
from simstudent.dialogue.traces import block
from simstudent.errors import SimstudentError
from simstudent.recipe import Recipe, load_recipe
from simstudent.rollout.folder import fresh_or_newest, unfinished
from simstudent.rollout.opening import encoder_of, engines_here
from simstudent.rollout.traces import TraceSample, TraceStart, sample_all, written
from simstudent.runs import trained, weights_of, whole_model, with_own_model, write_lines
from simstudent.training.stages import check_data
from simstudent.training.students import has_students, load_roster

STUDENTS, ONE, SEVERAL = "students", "training-trace", "training-mean"
"""Methods that no model plays: the true traces; a training trace of the same title; as many of them as samples."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A run whose model is sampled. ``name`` is the method; ``weights`` hold an adapter, or the model itself."""

    name: str
    folder: Path
    recipe: Recipe
    weights: Path

    @property
    def token(self) -> Callable[[str], int] | None:
        """By student, the token that the model was trained with before everything else; None: with none."""
        return load_roster(self.weights).token if has_students(self.weights) else None

    @property
    def adapters(self) -> dict[str, Path]:
        return {} if whole_model(self.folder) else {self.name: self.weights}


def run_behaviour(
    runs: Sequence[Path],
    overrides: Mapping[str, Any],
    *,
    resume: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """Sample traces of every run's model for the held-out (student, title) pairs, and return the folder of them.

    ``rollout`` of the first run's recipe, under the ``overrides``, decides split, number, sampling and engine for all.
    The folder is under the first run. ``resume`` goes on with its newest if the settings are equal. Raises
    SimstudentError for runs that cannot be compared.
    """
    models = _opened(runs, overrides)
    recipe = models[0].recipe
    r = recipe.rollout
    if len(r.temperatures) != 1 or not r.temperatures[0]:
        raise SimstudentError("traces are sampled at one temperature above 0: set rollout.temperature: 1.0, top_p: 0.9")
    if r.engine == "openai":
        raise SimstudentError("a chat server writes no traces: set rollout.engine: vllm or transformers")
    data = prepare(recipe.data, recipe.seed, say, recipe.grader)
    for m in models:
        check_data(m.folder, data)
    held = data.held(r.split)
    if r.limit is not None:
        held = tuple(sorted(held, key=lambda t: position(recipe.seed, "behaviour", t.key))[: r.limit])
    cells = {t.key: cell for cell, part in data.cells.items() for t in part}
    starts = [
        TraceStart(t.student, data.assignments[t.assignment], sample=n, cell=cells.get(t.key))
        for t in held
        for n in range(r.samples)
    ]
    say(f"{len(held):,} traces of {len({t.student for t in held}):,} {r.split} students, {r.samples} samples each")
    settings = _settings(models, data)
    label = f"{settings['split']}-n{settings['samples']}"
    folder = fresh_or_newest(models[0].folder / "behaviour", label, settings, resume)
    say(f"Traces: {folder}")
    write_lines(folder / f"{STUDENTS}.jsonl", (true_trace(t, data, cells).to_dict() for t in held))
    write_baselines(folder, held, data, cells, recipe.seed, r.samples)
    asyncio.run(_sample(models, starts, folder, say))
    return folder


def _opened(runs: Sequence[Path], overrides: Mapping[str, Any]) -> list[Trained]:
    found: list[Trained] = []
    for run in runs:
        if not trained(run):
            raise SimstudentError(f"{run}: no finished training there (simstudent sft RECIPE)")
        recipe = load_recipe(run / "recipe.yaml", dict(overrides))
        if recipe.dialogue.format != "trace":
            raise SimstudentError(
                f"{run} was trained on dialogues; traces are sampled from models of dialogue.format: trace"
            )
        found.append(Trained(recipe.name, run, with_own_model(recipe, run), weights_of(run)))
    names = [m.name for m in found]
    if len(set(names)) < len(names) or {STUDENTS, ONE, SEVERAL} & set(names):
        found = [Trained(m.folder.name, m.folder, m.recipe, m.weights) for m in found]
        names = [m.name for m in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SimstudentError(f"two of the runs would both be called {', '.join(twice)}: name each run once, or rename")
    return found


def _settings(models: Sequence[Trained], data: Data) -> dict[str, Any]:
    recipe = models[0].recipe
    r = recipe.rollout
    decide = ("split", "limit", "temperature", "top_p", "samples")
    return {
        "source": recipe.data.source.kind,
        "data_hash": data.hash,
        "seed": recipe.seed,
        **{name: r.model_dump(mode="json")[name] for name in decide},
        "models": {m.name: {"run": m.folder.name, "variant": m.recipe.data.variant} for m in models},
    }


def true_trace(t: Trajectory, data: Data, cells: Mapping[str, Any], start: TraceStart | None = None) -> TraceSample:
    """A real trace as a record; with ``start`` as if it were a sample from there."""
    start = start or TraceStart(t.student, data.assignments[t.assignment], cell=cells.get(t.key))
    turns = [block(number, state) for number, state in enumerate(t.submissions, 1)]
    text = "".join(f"{turn.header}{turn.answer}\n" for turn in turns)
    return written(start, text, "censored" not in t.submissions[-1].more)


def write_baselines(
    folder: Path, held: Sequence[Trajectory], data: Data, cells: Mapping[str, Any], seed: int, samples: int
) -> None:
    """For each pair, training traces of the same title, drawn by a seeded hash; of an unseen title, of any."""
    training = data.sides["train"]
    by_title: dict[str, list[Trajectory]] = {}
    for t in training:
        by_title.setdefault(t.assignment, []).append(t)
    found: list[TraceSample] = []
    for t in held:
        candidates = by_title.get(t.assignment, training)
        for n in range(samples):
            at = int(position(seed, "training trace", t.key, str(n)) * len(candidates))
            start = TraceStart(t.student, data.assignments[t.assignment], sample=n, cell=cells.get(t.key))
            found.append(true_trace(candidates[at], data, cells, start))
    write_lines(folder / f"{ONE}.jsonl", (s.to_dict() for s in found if s.sample == 0))
    write_lines(folder / f"{SEVERAL}.jsonl", (s.to_dict() for s in found))


async def _sample(
    models: Sequence[Trained], starts: Sequence[TraceStart], folder: Path, say: Callable[[str], None]
) -> None:
    """Models that share a base share an engine."""
    r = models[0].recipe.rollout
    groups: dict[tuple[str, str | None], list[Trained]] = {}
    for m in models:
        groups.setdefault((m.recipe.model.id, m.recipe.model.revision), []).append(m)
    for group in groups.values():
        waiting = [(m, todo) for m in group if (todo := unfinished(folder / f"{m.name}.jsonl", starts))]
        if not waiting:
            continue
        adapters = {name: path for m, _ in waiting for name, path in m.adapters.items()}
        widest = max((m.recipe for m, _ in waiting), key=lambda recipe: recipe.dialogue.window)
        async with engines_here(widest, adapters, say) as engines:
            for m, todo in waiting:
                await sample_all(
                    folder / f"{m.name}.jsonl",
                    todo,
                    engines,
                    encoder_of(m.recipe, m.folder),
                    say,
                    concurrency=r.concurrency * len(engines),
                    adapter=m.name if m.adapters else None,
                    seed=m.recipe.seed,
                    temperature=r.temperatures[0],
                    top_p=r.top_p,
                    token=m.token,
                )
