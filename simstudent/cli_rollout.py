"""``simstudent rollout | merge | simulate | evaluate``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simstudent.errors import SimstudentError
from simstudent.terminal import positive, say

if TYPE_CHECKING:
    from simstudent.recipe import Recipe
    from simstudent.rollout.synthetic import Class


def add_parsers(commands: Any) -> None:
    """Add the commands that simulate, and those that look at what was simulated."""

    def command(name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    sub = command("rollout", _rollout, "Simulate students step by step, grade every step, report the figures.")
    sub.add_argument("recipe", metavar="RECIPE", nargs="?", help="default: the newest trained run's own recipe")
    sub.add_argument("--steps", type=positive, help="simulated submissions per start (the recipe's: rollout.steps)")
    sub.add_argument("--methods", help="comma-separated, over the recipe's: base,sft,dpo,repeat-last,constant-0,...")
    sub.add_argument("--engine", choices=["transformers", "vllm", "openai"], help="over the recipe's")
    sub.add_argument("--mode", choices=["free", "teacher-forced", "stages"], help="over the recipe's")
    sub.add_argument("--limit", type=positive, help="only this many starts, drawn by a seeded hash")
    sub.add_argument("--temperature", type=_numbers, help="0 is greedy; several, as 0,0.5,0.8, side by side")
    sub.add_argument("--split", help="over the recipe's: test, validation, train, or a cell")
    sub.add_argument(
        "--adapters", nargs="+", metavar="NAME=RUN", help="further trained runs beside the others, under these names"
    )
    sub.add_argument("--samples", type=positive, help="simulations per start (with a temperature)")
    sub.add_argument("--run", metavar="DIR", dest="run_folder", help="this run folder, not the newest")
    sub.add_argument("--resume", action="store_true", help="go on with the newest rollouts of the same settings")
    sub.add_argument("--ray", nargs="?", const="", metavar="ADDRESS", help="over a Ray cluster; alone, the one at hand")
    sub.add_argument("--actors", type=positive, help="of --ray (default: one for every rollout.gpus GPUs)")
    sub.add_argument("--shard", metavar="I/N", help="only the I-th of N parts of the trajectories; join with merge")
    sub.add_argument("--runs", default="runs", metavar="DIR", help="folder of run folders (default: ./runs)")

    sub = command("simulate", _simulate, "Make a synthetic class: artificial students work from the assignments alone.")
    sub.add_argument("recipe", metavar="RECIPE", nargs="?", help="default: the newest trained run's own recipe")
    sub.add_argument("--to", metavar="FOLDER", required=True, help="where ProgSnap2 and JSONL are written")
    sub.add_argument("--students", type=positive, default=200, help="how many (default 200)")
    sub.add_argument("--assignments", nargs="+", metavar="ID", help="all do these; default: those of training students")
    sub.add_argument("--most", type=positive, help="attempts at an assignment (default: as many as anybody made)")
    sub.add_argument("--method", help="who plays: sft, base, base-fewshot, nearest, ... (default: what was trained)")
    sub.add_argument("--temperature", type=float, help="default: the recipe's rollout.temperature, else 1")
    sub.add_argument("--engine", choices=["transformers", "vllm", "openai"], help="over the recipe's")
    sub.add_argument("--seed", type=int, help="over the recipe's: another class")
    sub.add_argument("--run", metavar="DIR", dest="run_folder", help="this run folder, not the newest")
    sub.add_argument("--resume", action="store_true", help="go on with an interrupted class in the same folder")
    sub.add_argument("--runs", default="runs", metavar="DIR", help="folder of run folders (default: ./runs)")

    sub = command("merge", _merge, "Join shards of rollouts (--shard) into one folder, and report its figures.")
    sub.add_argument("folders", nargs="+", metavar="FOLDER", help="folders of rollouts, of equal settings")
    sub.add_argument("--to", required=True, metavar="FOLDER", help="a new folder")
    sub.add_argument("--partial", action="store_true", help="take what is there, though shards or rollouts are missing")
    sub.add_argument("--resamples", type=positive, default=10_000, help="bootstrap resamples (default 10000)")

    sub = command("evaluate", _evaluate, "Recompute the figures of a rollout folder from its JSONL files alone.")
    sub.add_argument("folder", metavar="FOLDER")
    sub.add_argument("--resamples", type=positive, default=10_000, help="bootstrap resamples (default 10000)")
    sub.add_argument("--cell", metavar="NAME", help="of a split by cells: the figures of this part of the test side")


def _numbers(text: str) -> float | list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no number, nor several as 0,0.5,0.8") from None
    if min(values) < 0:
        raise argparse.ArgumentTypeError("must be at least 0")
    return values[0] if len(values) == 1 else values


def _rollout(args: argparse.Namespace) -> None:
    from simstudent.rollout.merge import parse_shard
    from simstudent.rollout.run import run_rollouts

    overrides: dict[str, Any] = {
        f"rollout.{name}": value
        for name in ("steps", "engine", "mode", "limit", "temperature", "samples", "split")
        if (value := getattr(args, name)) is not None
    }
    if args.methods:
        overrides["rollout.methods"] = [m.strip() for m in args.methods.split(",") if m.strip()]
    recipe, run = _recipe_and_run(args, overrides)
    more = _named_adapters(args.adapters or [], recipe)
    shard = parse_shard(args.shard) if args.shard else None
    if args.ray is not None:
        from simstudent.rollout.cluster import run_on_ray

        if shard is not None:
            raise SimstudentError("--ray makes the shards itself; leave --shard out")
        where = {"root": Path(args.runs), "actors": args.actors, "address": args.ray or None}
        folder = run_on_ray(recipe, run, more=more, resume=args.resume, say=say, **where)
        _report(folder, recipe.rollout.resamples)
        return
    folder = run_rollouts(recipe, run, root=Path(args.runs), more=more, resume=args.resume, shard=shard, say=say)
    if shard is None:
        _report(folder, recipe.rollout.resamples)
    else:
        say("A part has no figures of its own. When all are there: simstudent merge FOLDER... --to FOLDER")


def _merge(args: argparse.Namespace) -> None:
    from simstudent.rollout.merge import merge

    merge([Path(f) for f in args.folders], Path(args.to), partial=args.partial, say=say)
    _report(Path(args.to), args.resamples)


def _simulate(args: argparse.Namespace) -> None:
    from simstudent.rollout.synthetic import make_class
    from simstudent.runs import stage_of, trained

    overrides: dict[str, Any] = {} if args.engine is None else {"rollout.engine": args.engine}
    if args.temperature is not None:
        overrides["rollout.temperature"] = args.temperature
    if args.method is not None:
        overrides["rollout.methods"] = [args.method]
    recipe, run = _recipe_and_run(args, overrides)
    if args.temperature is None and recipe.rollout.temperature == 0:
        recipe = recipe.model_copy(update={"rollout": recipe.rollout.model_copy(update={"temperature": 1.0})})
        say("Sampling at temperature 1 (the recipe's rollouts are greedy)")
    hosted = recipe.rollout.engine == "openai"  # a server plays its own model
    method = args.method or (stage_of(run) if run is not None and trained(run) and not hosted else "base")
    made = make_class(
        recipe,
        run,
        Path(args.to),
        students=args.students,
        method=method,
        wanted=tuple(args.assignments or ()),
        most=args.most,
        seed=args.seed,
        resume=args.resume,
        root=Path(args.runs),
        say=say,
    )
    _compare(made, Path(args.to), recipe.seed)


def _compare(made: Class, folder: Path, seed: int) -> None:
    """Set a synthetic class beside the training students, in ``likeness.md`` and in words."""
    from simstudent.evaluation.classes import Way, compare_class, to_markdown
    from simstudent.evaluation.words import population_words

    simulated = [
        Way(w.student, w.assignment, *_columns([(a.code, a.grade, a.status) for a in w.attempts]))
        for w in made.works
        if w.error is None
    ]
    real = [
        Way(
            t.student,
            t.assignment,
            *_columns([(s.code, g.score, g.status) for s, g in zip(t.submissions, made.grades[t.key], strict=True)]),
        )
        for t in made.training
    ]
    if not any(way.codes for way in simulated) or not real:
        return
    compared = compare_class(simulated, real, seed)
    (folder / "likeness.md").write_text(to_markdown(compared, simulated, real), encoding="utf-8")
    for line in population_words("the class", compared):
        say(line)
    say(f"Beside the training students: {folder / 'likeness.md'}")


def _columns(rows: Sequence[tuple[str, float, str]]) -> tuple[tuple[str, ...], tuple[float, ...], tuple[str, ...]]:
    return tuple(r[0] for r in rows), tuple(r[1] for r in rows), tuple(r[2] for r in rows)


def _named_adapters(given: Sequence[str], recipe: Recipe) -> dict[str, Path]:
    """``NAME=RUN`` arguments as adapter folders by name. Raises SimstudentError for another model's or dialogue's."""
    from simstudent.runs import differences, has_adapter, read_recipe

    found: dict[str, Path] = {}
    for text in given:
        name, _, run = text.partition("=")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or not has_adapter(Path(run)):
            raise SimstudentError(f"--adapters {text}: write NAME=RUN, RUN being the folder of a trained run")
        theirs, ours = read_recipe(Path(run)).to_dict(), recipe.to_dict()
        unlike = [line for part in ("model", "dialogue") for line in differences(theirs[part], ours[part], f"{part}.")]
        if unlike:
            raise SimstudentError(f"--adapters {text}: it cannot share these rollouts:\n  " + "\n  ".join(unlike))
        found[name] = Path(run) / "adapter"
    return found


def _recipe_and_run(args: argparse.Namespace, overrides: dict[str, Any]) -> tuple[Recipe, Path | None]:
    """The recipe under the command line's overrides, and the run to simulate with (None: nothing trained is needed)."""
    from simstudent.recipe import load_recipe
    from simstudent.runs import newest_run

    root = Path(args.runs)
    if args.recipe is None:
        run = Path(args.run_folder) if args.run_folder else newest_run(root)
        if run is None:
            raise SimstudentError(
                f"no trained run in {root.absolute()}. Train one (simstudent sft recipes/demo.yaml), or name a recipe"
            )
        say(f"Run: {run}")
        return _with_stage(load_recipe(run / "recipe.yaml", overrides), run, overrides), run
    recipe = load_recipe(args.recipe, overrides)
    run = Path(args.run_folder) if args.run_folder else newest_run(root, name=recipe.name)
    if run is None and "sft" in recipe.rollout.methods:
        raise SimstudentError(
            f"recipe '{recipe.name}' has no trained run in {root.absolute()}. Train it (simstudent sft {args.recipe}), "
            "or leave the trained student out: --methods base,repeat-last,constant-0"
        )
    if run is not None:
        say(f"Run: {run}")
        for line in unlike_training(recipe, run):
            say(f"Unlike in training: {line}")
        recipe = _with_stage(recipe, run, overrides)
    return recipe, run


def unlike_training(recipe: Recipe, run: Path) -> list[str]:
    """In what a dialogue of the recipe is not as the run's model knows it: another feedback level, say."""
    from simstudent.runs import differences, read_recipe, trained

    if not trained(run):
        return []
    before, now = (r.dialogue.model_dump(mode="json") for r in (read_recipe(run), recipe))
    return differences(before, now, "dialogue.")


def _with_stage(recipe: Recipe, run: Path, overrides: dict[str, Any]) -> Recipe:
    """The recipe with what the run trained among its methods, unless the command line names them."""
    from simstudent.runs import stage_of, trained

    methods: tuple[str, ...] = recipe.rollout.methods
    hosted = recipe.rollout.engine == "openai"
    if "rollout.methods" in overrides or hosted or not trained(run) or stage_of(run) in methods:
        return recipe
    after = methods.index("sft") + 1 if "sft" in methods else 0
    methods = (*methods[:after], stage_of(run), *methods[after:])
    return recipe.model_copy(update={"rollout": recipe.rollout.model_copy(update={"methods": methods})})


def _evaluate(args: argparse.Namespace) -> None:
    _report(Path(args.folder), args.resamples, args.cell)


def _report(folder: Path, resamples: int, cell: str | None = None) -> None:
    """Figures of a rollout folder: metrics.json, figures.csv and table.md beside the JSONL files, and on the terminal.

    ``cell``: of this part of the test side only, into files of its own.
    """
    import importlib.util

    from rich.console import Console

    from simstudent.evaluation.files import to_csv, to_json
    from simstudent.evaluation.metrics import evaluate
    from simstudent.evaluation.tables import render, to_markdown
    from simstudent.evaluation.words import conditions, explain
    from simstudent.rollout.folder import read_rollouts, read_settings
    from simstudent.runs import write_json

    codebleu, lint = (importlib.util.find_spec(name) is not None for name in ("codebleu", "pycodestyle"))
    rollouts = read_rollouts(folder)
    if cell is not None:
        cells = sorted({str(r.cell) for r in rollouts if r.cell})
        rollouts = [r for r in rollouts if r.cell == cell]
        if not rollouts:
            raise SimstudentError(f"no rollout in {folder} is of the cell {cell}; cells: {', '.join(cells) or 'none'}")
    figures = evaluate(rollouts, resamples=resamples, codebleu=codebleu, lint=lint)
    suffix = "" if cell is None else f"-{cell}"
    write_json(folder / f"metrics{suffix}.json", to_json(figures))
    said = conditions(read_settings(folder))
    page = "".join(f"> {line}\n\n" for line in said) + to_markdown(figures)
    (folder / f"table{suffix}.md").write_text(page, encoding="utf-8")
    (folder / f"figures{suffix}.csv").write_text(to_csv(figures), encoding="utf-8")
    for table in render(figures):
        Console().print(table)
    say(explain(figures))
    for line in said:
        say(line)
    if not codebleu:
        say('CodeBLEU was left out, it is not installed: pip install "simstudent[codebleu]"')
    say(f"Figures: {folder / f'table{suffix}.md'}, figures{suffix}.csv and metrics{suffix}.json")
