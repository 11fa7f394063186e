"""``simstudent sft | pairs | dpo | dapo | export``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from simstudent.errors import SimstudentError
from simstudent.terminal import say


def add_parsers(commands: Any) -> None:
    """Add the commands that train."""

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        sub.add_argument("recipe", metavar="RECIPE")
        return sub

    _training(command("sft", _sft, "Train a simulated student: supervised fine-tuning on the recipe's trajectories."))

    sub = command("pairs", _pairs, "Write the preference pairs that DPO learns from; show counts and examples.")
    sub.add_argument("--to", metavar="FILE", help="write them as JSONL: prompt, chosen, rejected as message lists")
    sub.add_argument("-n", "--count", type=int, default=1, help="examples to show for each mode (default 1)")

    for name, run, text in (
        ("dpo", _dpo, "Go on from the SFT adapter with preference pairs of students' submissions."),
        ("dapo", _dapo, "Go on from the SFT adapter by reinforcement: graded submissions of the model's own."),
    ):
        sub = command(name, run, text)
        sub.add_argument("--from", metavar="RUN", dest="start", help="the SFT run (default: the newest that fits)")
        _training(sub)

    add_export(commands)


def add_export(commands: Any) -> None:
    """Add ``export``."""
    text = "Merge a run's adapter into its base model; write the model, its chat template and a model card."
    sub = commands.add_parser("export", help=text, description=text)
    sub.set_defaults(run=_export)
    sub.add_argument("run_folder", metavar="RUN", help="a trained run of sft, dpo or dapo")
    sub.add_argument("--to", metavar="FOLDER", required=True, help="the new folder")
    sub.add_argument("--check", metavar="RECIPE", help="check the merge on this recipe's dialogues, not the run's own")
    sub.add_argument("--push-to-hub", metavar="NAME", dest="hub", help="upload it too, as a private model (owner/name)")
    sub.add_argument("--public", action="store_true", help="with --push-to-hub: for everyone to read")


def _training(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--dry-run", action="store_true", help="show the data and the plan; load no model, write nothing")
    sub.add_argument("--resume", action="store_true", help="go on with the newest unfinished run of this recipe")
    sub.add_argument("--max-minutes", type=float, metavar="N", help="stop with a checkpoint after so many minutes")
    sub.add_argument("--runs", default="runs", metavar="DIR", help="folder of run folders (default: ./runs)")


def _options(args: argparse.Namespace) -> dict[str, Any]:
    if args.max_minutes is not None and args.max_minutes <= 0:
        raise SimstudentError(f"--max-minutes must be above 0, not {args.max_minutes:g}")
    start = {"start": args.start and Path(args.start)} if "start" in args else {}
    return {
        "root": Path(args.runs),
        "say": say,
        "dry_run": args.dry_run,
        "resume": args.resume,
        "max_minutes": args.max_minutes,
        **start,
    }


def _sft(args: argparse.Namespace) -> None:
    from simstudent.recipe import load_recipe
    from simstudent.training.sft import run_sft

    _next(run_sft(load_recipe(args.recipe), **_options(args)))


def _dpo(args: argparse.Namespace) -> None:
    from simstudent.recipe import load_recipe
    from simstudent.training.dpo import run_dpo

    _next(run_dpo(load_recipe(args.recipe), **_options(args)))


def _dapo(args: argparse.Namespace) -> None:
    from simstudent.recipe import load_recipe
    from simstudent.training.dapo import run_dapo

    _next(run_dapo(load_recipe(args.recipe), **_options(args)))


def _next(run: Path | None) -> None:
    from simstudent.runs import read_recipe, trained
    from simstudent.training.ranks import is_main

    if run is not None and trained(run) and is_main():
        traces = read_recipe(run).dialogue.format == "trace"
        say(f"Next: simstudent behaviour {run}" if traces else "Next: simstudent rollout --steps 5")


def _export(args: argparse.Namespace) -> None:
    from simstudent.recipe import load_recipe
    from simstudent.training.export import export
    from simstudent.training.hub import check_hub, push

    if args.public and not args.hub:
        raise SimstudentError("--public says who may read the upload of --push-to-hub NAME, which is not there")
    if args.hub:
        check_hub(args.hub, public=args.public)
    export(Path(args.run_folder), Path(args.to), say=say, check=load_recipe(args.check) if args.check else None)
    if args.hub:
        push(Path(args.to), args.hub, public=args.public, say=say)


def _pairs(args: argparse.Namespace) -> None:
    from simstudent.recipe import load_recipe
    from simstudent.runs import write_lines
    from simstudent.training.dpo import pair_sets
    from simstudent.training.examples import examples
    from simstudent.training.pairs import pair_record

    recipe = load_recipe(args.recipe)
    if recipe.dialogue.format == "trace":
        raise SimstudentError("pairs are made of answers in dialogues (dialogue.format: chat)")
    if args.to and not Path(args.to).absolute().parent.is_dir():
        raise SimstudentError(f"--to {args.to}: there is no folder {Path(args.to).absolute().parent}; make it first")
    made = examples(recipe, say)
    sets = pair_sets(recipe, made, say)
    records = [
        pair_record(row.pair, made.sides[side].dialogues[row.pair.key]) | {"side": side}
        for side, found in sets.items()
        for row in found.rows
    ]
    for mode in recipe.dpo.pairs:
        for record in [r for r in records if r["mode"] == mode][: args.count]:
            say(f"\n--- {mode}: {record['key']} after {record['t']} submissions")
            for side in ("chosen", "rejected"):
                say(f"{side}:\n{record[side][0]['content']}")
    if args.to:
        write_lines(Path(args.to), records)
        say(f"\n{len(records)} pairs: {args.to}")
