"""The command line: ``simstudent doctor | validate | data | preview | sft | pairs | dpo | dapo | rollout ...``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from simstudent import __version__
from simstudent.cli_data import add_parser
from simstudent.cli_probe import add_parsers as add_probes
from simstudent.cli_recover import add_parsers as add_recovery
from simstudent.cli_report import add_parsers as add_report
from simstudent.cli_rollout import add_parsers as add_rollouts
from simstudent.cli_students import add_parsers as add_students
from simstudent.cli_traces import add_parsers as add_traces
from simstudent.cli_train import add_parsers as add_training
from simstudent.errors import SimstudentError
from simstudent.terminal import positive, say


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Exit status: 0 done, 2 a mistake the user can mend, 130 interrupted."""
    args = _parser().parse_args(argv)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        return int(args.run(args) or 0)
    except SimstudentError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what was done is kept: run the same command with --resume", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - the reader has gone; nothing more to say
        return 0
    except OSError as error:  # a full disk, a folder that may not be written: the user's to mend
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="simstudent", description="Artificial students, trained from real submissions."
    )
    parser.add_argument("--version", action="version", version=f"simstudent {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    sub = command("doctor", _doctor, "Tell what this machine has, what is missing, and which recipes that stops.")
    sub.add_argument("recipes", nargs="*", metavar="RECIPE", help="default: those in the folder recipes")

    sub = command("validate", _validate, "Check recipes: every mistake with its line; what a run would still need.")
    sub.add_argument("recipes", nargs="+", metavar="RECIPE")

    add_parser(commands)

    sub = command("preview", _preview, "Show training dialogues as the model sees them: turns, and what is trained.")
    sub.add_argument("recipe", metavar="RECIPE")
    sub.add_argument("-n", "--count", type=positive, help="how many dialogues (default 2, on a page 50)")
    sub.add_argument("--student", help="only this student's")
    sub.add_argument("--html", metavar="FILE", help="write a page to read in a browser, instead of printing")

    add_training(commands)
    add_rollouts(commands)
    add_report(commands)
    add_probes(commands)
    add_recovery(commands)
    add_traces(commands)
    add_students(commands)
    return parser


def _doctor(args: argparse.Namespace) -> None:
    from simstudent.doctor import report

    for line in report([Path(p) for p in args.recipes] or Path("recipes").glob("*.yaml")):
        say(line)


def _validate(args: argparse.Namespace) -> int:
    from simstudent.recipe import load_recipe
    from simstudent.validate import notes

    wrong = 0
    for path in args.recipes:
        try:
            recipe = load_recipe(path)
        except SimstudentError as error:
            wrong += 1
            print(f"error: {error}", file=sys.stderr)
            continue
        say(f"{path}: ok")
        for note in notes(recipe):
            say(f"  note: {note}")
    return 2 if wrong else 0


def _preview(args: argparse.Namespace) -> None:
    from simstudent.dialogue.preview import dialogues_of, write_page, write_terminal
    from simstudent.recipe import load_recipe

    recipe = load_recipe(args.recipe)
    count = args.count or (50 if args.html else 2)
    shown, encoder = dialogues_of(recipe, count, args.student)
    if args.html:
        write_page(Path(args.html), f"{recipe.name}: {len(shown)} dialogues", shown, encoder)
        say(f"Page: {args.html}")
    else:
        write_terminal(shown, encoder)
