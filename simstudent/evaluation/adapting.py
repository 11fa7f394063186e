"""``simstudent adapt``: whether a run's vectors carry anything, and what one learns from a new student's first work."""

from __future__ import annotations

import datetime
import importlib.util
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from simstudent.data.load import Data, prepare
from simstudent.data.records import Trajectory
from simstudent.errors import SimstudentError
from simstudent.evaluation.adapting_files import Answers, read_answers, write_all
from simstudent.evaluation.adapting_points import IN_A_WINDOW, of_rollouts, of_traces, points
from simstudent.evaluation.bench import Bench
from simstudent.evaluation.carried import carried, exchangeable, known
from simstudent.evaluation.metrics import evaluate
from simstudent.evaluation.newcomers import Adapted, adapted, newcomers
from simstudent.rollout.folder import read_assignments, read_rollouts
from simstudent.rollout.newcomers import check_newcomers, roll_out, sample_traces
from simstudent.runs import read_json, read_recipe, write_json
from simstudent.training.adapt import Learning
from simstudent.training.models import free_device
from simstudent.training.scoring import load_trained

ROLLOUTS, TRACES = "rollouts.json", "traces"
"""In a folder of adapt: where its rollouts are, or the traces themselves."""


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
    if settings.rollouts:
        check_newcomers(read_recipe(run), run)
    answers, found, rest, data = _answered(run, settings, say)
    free_device()
    folder = run / "adapt" / datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    folder.mkdir(parents=True)
    write_json(folder / "settings.json", asdict(settings))
    for k, vectors in {} if found is None else found.vectors.items():
        (folder / f"k{k}").mkdir()
        vectors.save(folder / f"k{k}")
    write_all(folder, answers, say)
    if settings.rollouts and found is not None:
        if read_recipe(run).dialogue.format == "trace":
            sample_traces(run, data, rest, found.vectors, settings.rollouts, folder / TRACES, say)
        else:
            keys = frozenset(t.key for t in rest)
            rollouts = roll_out(run, keys, found.vectors, settings.rollouts, folder, say)
            write_json(folder / ROLLOUTS, {"folder": f"{rollouts}"})
        figures_again(folder, settings.resamples, say)
    return folder


def figures_again(folder: Path, resamples: int, say: Callable[[str], None] = print) -> None:
    """The figures of what was written with the vectors, from the files of a folder of `run_adapt` alone.

    Losses stay as they were computed: they need the model.
    """
    answers = read_answers(folder)
    if (folder / TRACES).is_dir():
        answers = replace(answers, points=points(of_traces(folder / TRACES), resamples=resamples))
    elif (folder / ROLLOUTS).is_file():
        held = _rollouts_of(folder)
        rollouts = read_rollouts(held)
        figures = evaluate(rollouts, codebleu=False, resamples=resamples)
        answers = replace(
            answers,
            skill={m.method: {n: s.difference for n, s in m.skill.items()} for m in figures.methods if m.skill},
            points=points(of_rollouts(rollouts, read_assignments(held)), without=IN_A_WINDOW, resamples=resamples),
        )
    write_all(folder, answers, say)
    if answers.points is not None and importlib.util.find_spec("nltk") is None:
        say('Left out, nltk is not installed: BLEU. Fix: pip install "simstudent[traces]", then name the folder again')


def _rollouts_of(folder: Path) -> Path:
    """The rollouts made for a folder of adapt; beside it in the same run, should the run have been moved."""
    written = Path(read_json(folder / ROLLOUTS)["folder"])
    beside = folder.resolve().parents[1] / written.parent.name / written.name
    found = next((p for p in (beside, written) if p.is_dir()), None)
    if found is None:
        raise SimstudentError(f"the rollouts of {folder} are not there: {beside}. Copy the whole run folder")
    return found


def _answered(
    run: Path, settings: Settings, say: Callable[[str], None]
) -> tuple[Answers, Adapted | None, list[Trajectory], Data]:
    """The figures, the vectors learnt, the trajectories that judge them, and the run's data."""
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
    return answers, second, [t for n in new for t in n.rest], bench.data
