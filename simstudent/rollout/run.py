"""All rollouts of a recipe: methods over starts, thousands at once, one JSONL line each, resumable.

``<run>/rollouts/<label>-<time>/`` holds ``settings.json``, one ``<method>.jsonl`` per method, and the figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from graders import Grade, Pool
from simstudent.data import regrade
from simstudent.data.load import prepare
from simstudent.data.records import Assignment
from simstudent.data.split import position
from simstudent.dialogue.earlier import earlier_work
from simstudent.dialogue.encode import Encoder, make_encoder
from simstudent.dialogue.template import ChatTemplate
from simstudent.errors import SimstudentError
from simstudent.recipe import Method, Recipe
from simstudent.rollout.engine import Engine, Sampling
from simstudent.rollout.engines.baselines import baseline
from simstudent.rollout.methods import STAGED, Played, played
from simstudent.rollout.records import Rollout
from simstudent.rollout.simulate import Start, Student, language_model, simulate, starts
from simstudent.runs import append_line, create_run, differences, read_lines, write_json, write_lines
from simstudent.training.stages import adapters

MODELS = ("base", *STAGED)
"""Methods that a language model plays."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """Everything the methods share: where they start, what judges them, what decides the answer."""

    recipe: Recipe
    starts: tuple[Start, ...]
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
    return Simulation(recipe, tuple(found), settings)


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
        folder = _folder(run, simulation.settings, resume)
        say(f"Rollouts: {folder}")
        asyncio.run(_all_methods(simulation, run, models, used, folder, pool, say))
    return folder


def read_rollouts(folder: Path) -> list[Rollout]:
    """All rollouts in a folder, methods in the recipes' order.

    Raises SimstudentError when there is none, or naming the line that is no rollout.
    """
    order = {name: number for number, name in enumerate(get_args(Method))}
    paths = sorted(folder.glob("*.jsonl"), key=lambda p: (order.get(p.stem, len(order)), p.stem))
    found = [_rollout(line, f"{path}, line {n}") for path in paths for n, line in enumerate(read_lines(path), 1)]
    if not found:
        raise SimstudentError(f"no rollouts in {folder} (expected <method>.jsonl files)")
    return found


def _rollout(line: dict[str, Any], place: str) -> Rollout:
    try:
        return Rollout.from_dict(line)
    except (KeyError, TypeError) as error:
        raise SimstudentError(f"{place}: not a rollout as simstudent writes it ({error})") from None


def read_settings(folder: Path) -> dict[str, Any]:
    """What decided the rollouts in a folder; empty where the folder came without (JSONL files alone)."""
    path = folder / "settings.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _folder_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("adapter_*")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _folder(run: Path, settings: dict[str, Any], resume: bool) -> Path:
    t = settings["temperature"]
    temperatures = "_".join(f"{value:g}" for value in t) if isinstance(t, list) else f"{t:g}"
    sampled = f"t{temperatures}-p{settings['top_p']:g}-n{settings['samples']}"
    label = f"{settings['split']}-k{settings['steps']}-{sampled if t else 'greedy'}"
    root = run / "rollouts"
    if resume:
        olds = sorted(root.glob("*/settings.json"), key=lambda p: p.stat().st_mtime)
        if not olds:
            raise SimstudentError(f"nothing to resume: no rollouts in {root}")
        changed = differences(read_settings(olds[-1].parent), settings)
        if changed:
            raise SimstudentError(
                f"{olds[-1].parent} cannot be resumed, its settings differ (start anew without --resume):\n  "
                + "\n  ".join(changed)
            )
        return olds[-1].parent
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = root / f"{label}-{stamp}"
    folder.mkdir(parents=True)
    write_json(folder / "settings.json", settings)
    return folder


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
            todo = _open_starts(folder / f"{method}.jsonl", _distinct(simulation.starts))
            await _method(method, baseline(method), todo, simulation, folder, pool, say)
    waiting = []
    for p in models:
        starts = simulation.starts if p.temperature else _distinct(simulation.starts)
        waiting.append((p, _open_starts(folder / f"{p.label}.jsonl", starts)))
    if not any(todo for _, todo in waiting):
        return
    encoder = _encoder(recipe, run)
    async with _engine(recipe, adapters, say) as engine:
        for p, todo in waiting:
            student = language_model(
                engine,
                encoder,
                Sampling(encoder.stop_ids, recipe.dialogue.answer_tokens, p.temperature, r.top_p),
                adapter=p.adapter,
                seed=recipe.seed,
                look=recipe.dialogue,
            )
            await _method(p.label, student, todo, simulation, folder, pool, say)


def _distinct(starts: Sequence[Start]) -> list[Start]:
    """One sample of each start: what always answers the same is asked once."""
    return [s for s in starts if s.sample == 0]


def _encoder(recipe: Recipe, run: Path) -> Encoder:
    """The encoder with the template that the run was trained with, whatever the tokenizer would say today."""
    from simstudent.training.models import load_tokenizer

    tokenizer = load_tokenizer(recipe.model.id, recipe.model.revision)
    path = run / "template.json"
    if not path.exists():  # nothing was trained: the first rollouts of this run settle the template
        write_json(path, make_encoder(recipe, tokenizer).template.to_dict())
    template = ChatTemplate.from_dict(json.loads(path.read_text(encoding="utf-8")))
    return make_encoder(recipe, tokenizer, template)


def _rank(adapter: Path) -> int:
    return int(json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"])


@contextlib.asynccontextmanager
async def _engine(recipe: Recipe, adapters: Mapping[str, Path], say: Callable[[str], None]) -> AsyncIterator[Engine]:
    r = recipe.rollout
    say(f"Starting the {r.engine} engine with {recipe.model.id}")
    if r.engine == "vllm":
        from simstudent.rollout.engines.vllm import VllmEngine

        opened: Any = VllmEngine(
            recipe.model.id,
            adapters,
            revision=recipe.model.revision,
            max_model_len=recipe.dialogue.window,
            seed=recipe.seed,
            max_lora_rank=max(map(_rank, adapters.values()), default=8),
        )
    else:
        from simstudent.rollout.engines.transformers import TransformersEngine

        opened = TransformersEngine(recipe.model.id, adapters, revision=recipe.model.revision, batch_size=r.batch_size)
    async with opened as engine:
        yield engine


def _open_starts(path: Path, wanted: Sequence[Start]) -> list[Start]:
    """The starts not yet rolled out. Lines of failed rollouts are taken out of the file: they run again."""
    lines = list(read_lines(path))
    kept = [line for line in lines if line["error"] is None]
    if len(kept) < len(lines):
        write_lines(path, kept)
    done = {line["key"] for line in kept}
    return [s for s in wanted if s.key not in done]


async def _method(
    method: str,
    student: Student,
    todo: Sequence[Start],
    simulation: Simulation,
    folder: Path,
    pool: Pool,
    say: Callable[[str], None],
) -> None:
    """Run the starts of one method, at most ``rollout.concurrency`` at once, writing each as it ends."""
    r, look = simulation.recipe.rollout, simulation.recipe.dialogue
    room, path = asyncio.Semaphore(r.concurrency), folder / f"{method}.jsonl"
    path.touch()
    began, told, tokens, failed = time.monotonic(), time.monotonic(), 0, 0

    async def grade(code: str | None, assignment: Assignment) -> Grade:
        assert assignment.problem is not None
        return await pool.grade_async(code, assignment.problem)

    async def one(start: Start) -> Rollout:
        async with room:
            return await simulate(start, method, student, grade, steps=r.steps, look=look)

    tasks = [asyncio.create_task(one(s)) for s in todo]
    try:
        for number, task in enumerate(asyncio.as_completed(tasks), 1):
            rollout = await task
            append_line(path, rollout.to_dict())
            tokens += sum(s.reply_tokens for s in rollout.steps)
            failed += rollout.error is not None
            if time.monotonic() - told > 10:
                told = time.monotonic()
                left = (told - began) / number * (len(tasks) - number)
                speed = f"{tokens / (told - began):.0f} tokens/s, " if tokens else ""
                say(f"  {method}: {number}/{len(tasks)} rollouts, {speed}{left:.0f} s left")
    finally:
        for task in tasks:
            task.cancel()
    seconds = time.monotonic() - began
    line = f"  {method}: {len(tasks)} rollouts in {seconds:.1f} s"
    if tokens:
        line += f" ({tokens:,} tokens written, {tokens / seconds:.0f} tokens/s)"
    if failed:
        line += f"; {failed} FAILED (engine or grader, see 'error' in {path.name}; --resume runs them again)"
    say(line)
