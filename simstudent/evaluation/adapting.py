"""``simstudent adapt``: whether a run's vectors carry anything, and what one learns from a new student's first work."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from simstudent.data.load import prepare
from simstudent.errors import SimstudentError
from simstudent.evaluation.adapting_files import Answers, write_all
from simstudent.evaluation.bench import Bench
from simstudent.evaluation.carried import carried, exchangeable, known
from simstudent.evaluation.newcomers import Adapted, adapted, newcomers
from simstudent.evaluation.statistics import Estimate
from simstudent.runs import whole_model, write_json
from simstudent.training.adapt import Learning
from simstudent.training.best import free_device
from simstudent.training.scoring import load_trained
from simstudent.training.students import Roster, Students

NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Settings:
    """``k``: numbers of trajectories to learn from; ``students``: only these new ones; ``seeds``: how often each vector
    is learnt; ``shuffles``: exchanges of trained students; ``history_tokens``: room for history in the context;
    ``rollouts``: starts that each vector is rolled out from, 0 for none.
    """

    k: tuple[int, ...] = tuple(range(1, 11))
    students: tuple[str, ...] = ()
    seeds: int = 3
    shuffles: int = 5
    history_tokens: int = 1024
    rollouts: int = 0
    resamples: int = 10_000
    learning: Learning = field(default_factory=Learning)


def run_adapt(run: Path, settings: Settings, say: Callable[[str], None] = print) -> Path:
    """Answer both questions for a run, into the new folder ``<run>/adapt/<time>``, which is returned.

    ``k<k>/`` in it holds the vectors learnt from k trajectories with the first seed. Raises SimstudentError when the
    run has no vectors, or its data can answer neither question.
    """
    if settings.rollouts and whole_model(run) is not None:
        raise SimstudentError(
            f"{run} trained all weights: rollouts with new vectors need an adapter; leave --rollouts out"
        )
    answers, found, folders = _answered(run, settings, say)
    free_device()
    folder = run / "adapt" / datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    folder.mkdir(parents=True)
    write_json(folder / "settings.json", asdict(settings))
    for k, vectors in {} if found is None else found.vectors.items():
        (folder / f"k{k}").mkdir()
        vectors.save(folder / f"k{k}")
    write_all(folder, answers, say)
    if settings.rollouts and found is not None:
        skill = _rolled_out(run, folders, found, folder, settings, say)
        write_all(folder, replace(answers, skill=skill), say)
    return folder


def _answered(
    run: Path, settings: Settings, say: Callable[[str], None]
) -> tuple[Answers, Adapted | None, frozenset[str]]:
    """The figures, the vectors learnt, and the trajectories (by key) that judge them."""
    trained = load_trained(run)
    recipe = trained.recipe
    bench = Bench(trained, prepare(recipe.data, recipe.seed, grader=recipe.grader), settings.resamples, say)
    old = known(bench)
    new, few = newcomers(bench, max(settings.k), settings.students)
    if not old and not new:
        raise SimstudentError(
            f"{run}: the test side has no trajectory of a trained student, and no other student with "
            f"{max(settings.k) + 2} trajectories. Split by cells (data.split.by), or give smaller --k"
        )
    if old and not exchangeable(old) and new:
        say(f"One trained student on the test side, {old[0].student}, has no other to be exchanged with: left out")
        old = []
    first = carried(bench, old, shuffles=settings.shuffles) if old else None
    second = None
    if new:
        second = adapted(
            bench,
            new,
            settings.k,
            learning=settings.learning,
            seeds=settings.seeds,
            history_tokens=settings.history_tokens,
        )
    trained_with_history = recipe.dialogue.history.assignments > 0
    answers = Answers(
        run.name,
        first,
        None if second is None else second.compared,
        {} if second is None else second.epochs,
        settings.k,
        settings.seeds,
        len(few),
        recipe.students.dropout > 0,
        trained_with_history,
    )
    return answers, second, frozenset(t.key for n in new for t in n.rest)


def _rolled_out(
    run: Path, keys: frozenset[str], found: Adapted, folder: Path, settings: Settings, say: Callable[[str], None]
) -> dict[str, Mapping[str, Estimate]]:
    """By condition, the skill of greedy rollouts from the newcomers' later trajectories, in each measure."""
    from simstudent.evaluation.metrics import evaluate
    from simstudent.rollout.folder import read_rollouts
    from simstudent.rollout.run import run_rollouts
    from simstudent.runs import read_recipe

    some = next(iter(found.vectors.values()))
    named = {NOBODY: replace(some, roster=Roster.of([]), own=some.own[:0])}
    named |= {f"vector-k{k}": vectors for k, vectors in found.vectors.items()}
    recipe = read_recipe(run)
    asked = recipe.rollout.model_copy(
        update={
            "split": "test",
            "methods": ("repeat-last",),
            "limit": settings.rollouts,
            "temperature": 0.0,
            "samples": 1,
        }
    )
    players = {name: _player(run / "adapter", vectors, folder / "players" / name) for name, vectors in named.items()}
    try:
        rollouts = run_rollouts(
            recipe.model_copy(update={"rollout": asked}), run, root=run.parent, more=players, only=keys, say=say
        )
    finally:
        shutil.rmtree(folder / "players")
    write_json(folder / "rollouts.json", {"folder": f"{rollouts}"})
    figures = evaluate(read_rollouts(rollouts), codebleu=False, resamples=settings.resamples)
    return {name: {m: s.difference for m, s in figures.of(name).skill.items()} for name in named}


def _player(adapter: Path, vectors: Students, folder: Path) -> Path:
    """The run's adapter with other vectors beside it."""
    folder.mkdir(parents=True)
    for path in adapter.glob("adapter_*"):
        shutil.copyfile(path, folder / path.name)
    vectors.save(folder)
    return folder
