"""``simstudent adapt``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from simstudent.errors import SimstudentError
from simstudent.terminal import positive, say


def add_parsers(commands: Any) -> None:
    """Add the command that looks into students' vectors."""
    text = "Test whether a run's student vectors carry anything; learn vectors for new students."
    sub: argparse.ArgumentParser = commands.add_parser("adapt", help=text, description=text)
    sub.set_defaults(run=_adapt)
    sub.add_argument("run_folder", metavar="RUN", help="a run with students' vectors; or a folder of adapt, again")
    sub.add_argument("--k", type=_numbers, default=tuple(range(1, 11)), help="first trajectories to learn from: 1..10")
    sub.add_argument("--students", nargs="+", metavar="ID", default=[], help="only these new students (pseudonyms)")
    sub.add_argument("--seeds", type=positive, default=3, help="how often each vector is learnt (default 3)")
    sub.add_argument("--shuffles", type=positive, default=5, help="exchanges of trained students (default 5)")
    sub.add_argument("--rollouts", type=int, default=0, metavar="N", help="roll each vector out from N starts")
    sub.add_argument("--history-tokens", type=positive, default=1024, help="room for history in the context")
    sub.add_argument("--learning-rate", type=float, default=0.01, help="of the new vectors (default 0.01)")
    sub.add_argument("--epochs", type=positive, default=40, help="at most (default 40)")
    sub.add_argument("--patience", type=positive, default=4, help="epochs without a lower tuning loss (default 4)")
    sub.add_argument("--resamples", type=positive, default=10_000, help="bootstrap resamples (default 10000)")


def _numbers(text: str) -> tuple[int, ...]:
    """``1..10`` or ``1,2,4`` as numbers, ascending."""
    try:
        if ".." in text:
            first, last = map(int, text.split(".."))
            found = set(range(first, last + 1))
        else:
            found = {int(part) for part in text.split(",")}
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is neither 1..10 nor 1,2,4") from None
    if not found or min(found) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' must name numbers from 1 on")
    return tuple(sorted(found))


def _adapt(args: argparse.Namespace) -> None:
    from simstudent.evaluation.adapting import Settings, figures_again, run_adapt
    from simstudent.evaluation.adapting_files import ANSWERS
    from simstudent.training.adapt import Learning

    if (Path(args.run_folder) / ANSWERS).is_file():
        figures_again(Path(args.run_folder), args.resamples, say)
        return
    if args.learning_rate <= 0:
        raise SimstudentError(f"--learning-rate must be above 0, not {args.learning_rate:g}")
    settings = Settings(
        args.k,
        tuple(args.students),
        args.seeds,
        args.shuffles,
        args.history_tokens,
        args.rollouts,
        args.resamples,
        Learning(args.learning_rate, args.epochs, args.patience),
    )
    run_adapt(Path(args.run_folder), settings, say)
