"""A synthetic class: artificial students who work through a course's assignments from their texts alone.

``<folder>/`` holds ``settings.json`` (all that decides), ``works.jsonl`` (a line for each student and assignment, as
they end), and, once all have, what `simstudent.rollout.class_files` makes of them.
"""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graders import Grade, Pool
from simstudent import __version__
from simstudent.data import regrade
from simstudent.data.load import prepare
from simstudent.data.records import Assignment, Trajectory
from simstudent.data.split import position
from simstudent.dialogue.earlier import as_earlier
from simstudent.dialogue.serialize import Earlier
from simstudent.errors import SimstudentError
from simstudent.recipe import Recipe
from simstudent.rollout.class_files import NO_MODEL, write_class
from simstudent.rollout.engines.baselines import baseline
from simstudent.rollout.fewshot import Example, examples
from simstudent.rollout.folder import finished_lines, read_settings
from simstudent.rollout.habits import Habits, habits
from simstudent.rollout.meter import Meter
from simstudent.rollout.methods import MODELS, Played, played
from simstudent.rollout.opening import encoder_of, open_engines, player
from simstudent.rollout.run import check_dialogues, check_server, folder_hash
from simstudent.rollout.schedule import spread
from simstudent.rollout.sharing import shared_grader
from simstudent.rollout.simulate import Grader, Start, Student
from simstudent.rollout.whole import Clock, Work, work_through
from simstudent.runs import append_line, create_run, differences, read_lines, write_json
from simstudent.training.stages import adapters

ROOTLESS = ("nearest", "random")
"""Methods without a model that can play a student without a history."""
TOLD = 10.0  # seconds between two lines about the progress


@dataclass(frozen=True, slots=True)
class Class:
    """What was made: works in the order of students and assignments, beside the training students' of those."""

    works: tuple[Work, ...]
    training: tuple[Trajectory, ...]
    grades: Mapping[str, tuple[Grade, ...]]


@dataclass(frozen=True, slots=True)
class Plan:
    """Who does what: each artificial student's assignments in order; and what the training students are like.

    ``most``: attempts, however patient a student is.
    """

    assignments: Mapping[str, Assignment]
    todo: Mapping[str, tuple[str, ...]]
    habits: Habits
    most: int
    training: tuple[Trajectory, ...]
    grades: Mapping[str, tuple[Grade, ...]]
    data_hash: str


def make_class(
    recipe: Recipe,
    run: Path | None,
    folder: Path,
    *,
    students: int,
    method: str,
    wanted: Sequence[str] = (),
    most: int | None = None,
    seed: int | None = None,
    resume: bool = False,
    root: Path,
    say: Callable[[str], None] = print,
) -> Class:
    """Simulate a class of so many students into ``folder``; ``wanted``: its assignments (default: as in training);
    ``most``: attempts at any of them, however patient a student is.

    Another ``seed`` than the recipe's makes another class of the same training students. Sampling is at
    ``rollout.temperature``: greedy students would all be the same one. Raises SimstudentError for a method that cannot
    begin without a history, an unknown assignment, or a folder that is already used.
    """
    check_dialogues(recipe)
    check_server(recipe, [method])
    if len(recipe.rollout.temperatures) > 1:
        raise SimstudentError("a class is sampled at one temperature, and the recipe names several; set --temperature")
    (temperature,) = recipe.rollout.temperatures
    playing = recipe if seed is None else recipe.model_copy(update={"seed": seed})
    trained = {} if run is None else adapters(run)
    if method not in (*MODELS, *ROOTLESS):
        raise SimstudentError(f"method '{method}' plays no whole trajectories; {', '.join((*MODELS, *ROOTLESS))} do")
    if method in MODELS and not temperature:
        raise SimstudentError("at temperature 0 all artificial students would be the same one; set --temperature")
    models = played([method], trained, [temperature], f"{run or 'this recipe'}")
    with regrade.open_pool(recipe.grader) as pool:
        plan = _plan(recipe, pool, students, wanted, playing.seed, most)
        say(
            f"{students} artificial students, {sum(map(len, plan.todo.values())):,} trajectories of "
            f"{len(set().union(*plan.todo.values()))} assignments, after {len(plan.training)} of training students"
        )
        settings = _settings(playing, run, plan, students, method, models, trained)
        done = _begin(folder, settings, resume)
        if run is None:
            run = create_run(root, recipe, {"trained": False})
        asyncio.run(_all_students(playing, run, plan, method, models, trained, folder, done, pool, say))
    works = [Work.from_dict(line) for line in read_lines(folder / "works.jsonl")]
    works.sort(key=lambda w: (w.student, plan.todo[w.student].index(w.assignment)))
    if all(w.error is not None for w in works):
        raise SimstudentError(
            f"all {len(works)} trajectories failed, there is no class to write; --resume tries again. {works[0].error}"
        )
    write_class(folder, works, plan.assignments, read_settings(folder)["generated"])
    failed = sum(w.error is not None for w in works)
    if failed:
        say(f"{failed} trajectories FAILED (engine or grader) and are missing from the class; --resume makes them")
    say(f"Class: {folder} (ProgSnap2 in progsnap2/, JSONL in submissions.jsonl)")
    done_here = set().union(*plan.todo.values())
    return Class(tuple(works), tuple(t for t in plan.training if t.assignment in done_here), plan.grades)


def _plan(recipe: Recipe, pool: Pool, students: int, wanted: Sequence[str], seed: int, most: int | None) -> Plan:
    data = prepare(recipe.data, recipe.seed, grader=recipe.grader)
    assignments, training = regrade.limited(data.assignments, recipe.grader), data.sides["train"]
    if unknown := [name for name in wanted if name not in assignments]:
        raise SimstudentError(f"--assignments: the data has no {', '.join(unknown)}; it has {', '.join(assignments)}")
    if not training:
        raise SimstudentError("the training side is empty: nothing tells what the class is like")
    grades = regrade.regrade(training, assignments, pool)
    known = habits(training, grades)
    everybody = tuple(dict.fromkeys(wanted)) or tuple(known.shares)
    untested = [name for name in everybody if assignments[name].problem is None]
    if untested:
        raise SimstudentError(f"simulated programs need tests; these assignments have none: {', '.join(untested[:5])}")
    width = max(4, len(str(students)))
    names = [f"sim-{number:0{width}d}" for number in range(1, students + 1)]
    todo = {name: everybody if wanted else attended(known, seed, name) for name in names}
    return Plan(assignments, todo, known, most or known.longest, training, grades, data.hash)


def attended(known: Habits, seed: int, student: str) -> tuple[str, ...]:
    """The assignments that a student does: each with the share of training students who did it; at least one."""
    draws = {name: position(seed, "attends", student, name) for name in known.shares}
    chosen = tuple(name for name, share in known.shares.items() if draws[name] < share)
    return chosen or (min(draws, key=lambda name: draws[name] / known.shares[name]),)


def _settings(
    recipe: Recipe,
    run: Path | None,
    plan: Plan,
    students: int,
    method: str,
    models: Sequence[Played],
    trained: Mapping[str, Path],
) -> dict[str, Any]:
    used = [trained[p.adapter] for p in models if p.adapter is not None]
    r = recipe.rollout
    return {
        "students": students,
        "most": plan.most,
        "method": method,
        "assignments": sorted(set().union(*plan.todo.values())),
        "run": None if run is None else run.name,
        "model": recipe.model.model_dump(mode="json") if models else None,
        "adapter": [folder_hash(path) for path in used],
        "seed": recipe.seed,
        "engine": r.engine if models else None,
        "server": r.server.decides if models and r.engine == "openai" else None,
        "few_shot": r.few_shot.model_dump() if method == "base-fewshot" else None,
        "temperature": r.temperatures[0] if models else None,
        "top_p": r.top_p if models else None,
        "dialogue": recipe.dialogue.model_dump(mode="json"),
        "grader": recipe.grader.model_dump(mode="json", exclude={"workers"}),
        "data_hash": plan.data_hash,
        "source": recipe.data.source.kind,
        "generated": {
            "by": f"simstudent {__version__}",
            "model": _model(recipe) if models else NO_MODEL,
            "method": method,
            "run": "none" if run is None else run.name,
            "seed": recipe.seed,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        },
    }


def _model(recipe: Recipe) -> str:
    """The name of the model that writes: a server's, if it has one of its own, or the recipe's."""
    hosted = recipe.rollout.server.model if recipe.rollout.engine == "openai" else None
    return hosted or recipe.model.id


def _begin(folder: Path, settings: dict[str, Any], resume: bool) -> dict[str, Work]:
    """Make the folder, or with ``resume`` go on in it: the works that need not be done again, by key."""
    path = folder / "works.jsonl"
    if not resume:
        if folder.exists() and any(folder.iterdir()):
            raise SimstudentError(f"{folder} is not empty; choose another --to, or go on there with --resume")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "settings.json", settings)
        return {}
    before = read_settings(folder)
    if not before:
        raise SimstudentError(f"nothing to resume in {folder}: it has no settings.json")
    # The day on which it was begun, and the version it was begun with, stay.
    changed = differences({**before, "generated": None}, {**settings, "generated": None})
    if changed:
        raise SimstudentError(f"{folder} cannot be resumed, its settings differ:\n  " + "\n  ".join(changed))
    return {line["key"]: Work.from_dict(line) for line in finished_lines(path)[0]}


async def _all_students(
    recipe: Recipe,
    run: Path,
    plan: Plan,
    method: str,
    models: Sequence[Played],
    trained: Mapping[str, Path],
    folder: Path,
    done: Mapping[str, Work],
    pool: Pool,
    say: Callable[[str], None],
) -> None:
    grade, _ = shared_grader(pool)
    if not models:
        student = baseline(method, plan.training, recipe.seed)
        await _class(recipe, plan, student, folder, done, grade, recipe.rollout.concurrency, say)
        return
    (p,) = models
    shown: list[Example] = []
    if method == "base-fewshot":
        names = set().union(*plan.todo.values())
        shown = examples(plan.training, plan.assignments, names, pool, recipe.dialogue)
    used = {p.adapter: trained[p.adapter]} if p.adapter is not None else {}
    encoder = encoder_of(recipe, run)
    async with open_engines(recipe, used, folder, Meter(0), say) as engines:
        copies = [player(p, engine, encoder, recipe, used, shown) for engine in engines]
        room = recipe.rollout.concurrency * len(engines)
        await _class(recipe, plan, spread(copies), folder, done, grade, room, say)


async def _class(
    recipe: Recipe,
    plan: Plan,
    student: Student,
    folder: Path,
    done: Mapping[str, Work],
    grade: Grader,
    concurrency: int,
    say: Callable[[str], None],
) -> None:
    """Every student's assignments one after another, many students at once; each work is written as it ends."""
    room = asyncio.Semaphore(concurrency)
    path, total, ended, told_at = folder / "works.jsonl", sum(map(len, plan.todo.values())), len(done), time.monotonic()

    async def through(name: str, wanted: Sequence[str]) -> None:
        nonlocal ended, told_at
        worked: list[Earlier] = []
        for assignment in wanted:
            key = f"{name}/{assignment}"
            work = done.get(key)
            if work is None:
                start = Start(Trajectory(name, assignment, ()), plan.assignments[assignment], (), 0, 0, tuple(worked))
                most = plan.most
                if not recipe.dialogue.give_up:  # else the model itself says when it leaves
                    most = min(most, plan.habits.most(recipe.seed, name, assignment))
                clock = _clock(recipe, plan, name, assignment)
                work = await work_through(start, student, grade, most=most, clock=clock, look=recipe.dialogue)
                append_line(path, work.to_dict())
                ended += 1
                if time.monotonic() - told_at > TOLD:
                    told_at = time.monotonic()
                    say(f"  {ended:,} of {total:,} trajectories")
            if recipe.dialogue.history.assignments and work.error is None and work.attempts:
                worked.append(_as_earlier(work, plan.assignments[assignment], recipe))
                worked = worked[-recipe.dialogue.history.assignments :]

    async def held(name: str, wanted: Sequence[str]) -> None:
        async with room:
            await through(name, wanted)

    tasks = [asyncio.create_task(held(name, wanted)) for name, wanted in plan.todo.items()]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _clock(recipe: Recipe, plan: Plan, student: str, assignment: str) -> Clock:
    """Times only where the model was trained to see them: made-up ones say nothing otherwise."""
    if recipe.dialogue.time_header == "none":
        return lambda k: None
    return plan.habits.clock(recipe.seed, student, assignment)


def _as_earlier(work: Work, assignment: Assignment, recipe: Recipe) -> Earlier:
    """An artificial student's own work, as it looks back on it in the next assignment."""
    programs = [(a.code, a.feedback or "") for a in work.attempts]
    return as_earlier(programs, assignment, recipe.dialogue)
