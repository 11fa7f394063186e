"""``simstudent probe``: what can be read off a trained model and its students' vectors."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simstudent.errors import SimstudentError
from simstudent.terminal import positive, say

if TYPE_CHECKING:
    from simstudent.data.load import Data
    from simstudent.evaluation.vector_probes import VectorProbe


def add_parsers(commands: Any) -> None:
    """Add the command."""
    text = "Tell what can be read off a run's model: where a student is, what comes next; and off students' vectors."
    sub: argparse.ArgumentParser = commands.add_parser("probe", help=text, description=text)
    sub.set_defaults(run=_probe)
    sub.add_argument("trained", metavar="RUN", help="a trained run")
    sub.add_argument("--split", help="whose trajectories: a side or a cell (default: the recipe's rollout.split)")
    sub.add_argument("--by", choices=["trajectory", "student"], default="student", help="what folds keep together")
    sub.add_argument("--folds", type=int, default=5, metavar="N", help="default 5")
    sub.add_argument(
        "--limit", type=positive, metavar="N", help="only so many trajectories, drawn with the recipe's seed"
    )
    sub.add_argument(
        "--fewest",
        type=int,
        default=2,
        metavar="N",
        help="training trajectories that a student's vector needs (the paper: 20)",
    )
    sub.add_argument("--resamples", type=positive, default=1000, metavar="N", help="bootstrap resamples (default 1000)")


def _probe(args: argparse.Namespace) -> None:
    import importlib.util

    from simstudent.errors import missing_extra
    from simstudent.evaluation.probe_tables import draw, to_csv, to_json, to_markdown
    from simstudent.evaluation.probes import probes
    from simstudent.evaluation.representations import prefixes_of
    from simstudent.runs import read_recipe, trained, write_json

    for name, least in (("folds", 2), ("limit", 1), ("fewest", 1), ("resamples", 100)):
        if (value := getattr(args, name)) is not None and value < least:
            raise SimstudentError(f"--{name} must be at least {least}, not {value}")
    if importlib.util.find_spec("sklearn") is None:
        raise missing_extra("scikit-learn", "traces")
    run = Path(args.trained)
    if not trained(run):
        raise SimstudentError(f"{run} is not the folder of a trained run")
    recipe = read_recipe(run)
    split = args.split or recipe.rollout.split
    found, data = prefixes_of(recipe, run, split, say, args.limit)
    states = probes(found, by=args.by, folds=args.folds, resamples=args.resamples, seed=recipe.seed)
    if not states:
        raise SimstudentError(
            f"too few trajectories in {split} to probe: {args.folds} folds by {args.by} need at least {2 * args.folds}"
        )
    vectors = _vectors(run, data, recipe.seed, args.fewest, args.resamples)
    folder = run / "probes"
    folder.mkdir(exist_ok=True)
    settings = {
        "split": split,
        "by": args.by,
        "folds": args.folds,
        "limit": args.limit,
        "resamples": args.resamples,
        "seed": recipe.seed,
        "prefixes": len(found.students),
    }
    text = to_markdown(states, vectors, by=args.by, split=split)
    write_json(folder / f"{split}.json", to_json(states, vectors, settings))
    (folder / f"{split}.csv").write_text(to_csv(states, vectors), encoding="utf-8")
    (folder / f"{split}.md").write_text(text, encoding="utf-8")
    say(text)
    if importlib.util.find_spec("matplotlib") is None:
        say('The picture was left out, matplotlib is not installed: pip install "simstudent[report]"')
    else:
        draw(states, folder / f"{split}.png")
    say(f"Figures: {folder / split}.md, .csv, .json")


def _vectors(run: Path, data: Data, seed: int, fewest: int, resamples: int) -> list[VectorProbe]:
    """Probes of the students' vectors, where the run has any."""
    import numpy as np

    from simstudent.evaluation.behaviour_properties import properties, trace_of
    from simstudent.evaluation.vector_probes import FEWEST, vector_probes
    from simstudent.runs import weights_of
    from simstudent.training.students import has_students, load_students

    folder = weights_of(run)
    if not has_students(folder):
        return []
    students = load_students(folder)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in students.roster.names}
    for t in data.sides["train"]:
        rows[t.student].append(properties(trace_of(t), data.assignments[t.assignment].language))
    kept = [name for name, of in rows.items() if len(of) >= fewest]
    if len(kept) < FEWEST:
        say(
            f"{len(kept)} students have {fewest} trajectories and a vector; a probe of vectors needs {FEWEST}: left out"
        )
        return []

    def mean(name: str, key: str) -> float:
        values = [row[key] for row in rows[name] if not math.isnan(row.get(key, math.nan))]
        return sum(values) / len(values) if values else math.nan

    keys = list(dict.fromkeys(key for name in kept for row in rows[name] for key in row))
    vectors = students.own.detach().float().numpy()[[students.roster.numbers[name] - 1 for name in kept]]
    truth = {key: np.array([mean(name, key) for name in kept]) for key in keys}
    return vector_probes(vectors, truth, resamples=resamples, seed=seed)
