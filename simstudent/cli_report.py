"""``simstudent report``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from simstudent.errors import SimstudentError
from simstudent.terminal import positive, say


def add_parsers(commands: Any) -> None:
    """Add the command that makes pages, tables and figures of rollout folders."""
    text = "Make a page, a viewer of trajectories, tables and figures of run or rollout folders."
    sub: argparse.ArgumentParser = commands.add_parser("report", help=text, description=text)
    sub.set_defaults(run=_report)
    sub.add_argument("folders", nargs="+", metavar="FOLDER", help="a run or rollout folder, or LABEL=FOLDER")
    sub.add_argument("--to", metavar="FOLDER", help="write the report here")
    sub.add_argument("--results", metavar="FILE", help="write the tables between the markers of this Markdown file")
    sub.add_argument("--title", default="Simulated students")
    sub.add_argument("--resamples", type=positive, default=10_000, help="bootstrap resamples (default 10000)")
    sub.add_argument("--keep-ids", action="store_true", help="students' ids as the rollouts have them, not numbers")
    sub.add_argument("--no-trajectories", action="store_true", help="no page with the students' programs")


def _report(args: argparse.Namespace) -> None:
    from simstudent.report.write import write_report

    if not args.to and not args.results:
        raise SimstudentError("say where to: --to FOLDER for a report, --results FILE for tables in a Markdown file")
    write_report(
        args.folders,
        Path(args.to) if args.to else None,
        results=Path(args.results) if args.results else None,
        title=args.title,
        resamples=args.resamples,
        keep_ids=args.keep_ids,
        trajectories=not args.no_trajectories,
        say=say,
    )
