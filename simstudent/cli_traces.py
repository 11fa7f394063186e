"""``simstudent behaviour``: what is asked of trace models."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from simstudent.errors import SimstudentError
from simstudent.terminal import positive, say


def add_parsers(commands: Any) -> None:
    """Add the commands for traces."""
    text = "Sample traces of held-out students and titles, and tell in what they behave as the students' own."
    sub: argparse.ArgumentParser = commands.add_parser("behaviour", help=text, description=text)
    sub.set_defaults(run=_behaviour)
    sub.add_argument(
        "runs", nargs="+", metavar="RUN", help="trained runs of trace models; or a folder of traces, again"
    )
    sub.add_argument("--split", help="over the recipe's: test, validation, train, or a cell")
    sub.add_argument("--samples", type=positive, metavar="N", help="traces for each student and title (the paper: 20)")
    sub.add_argument(
        "--limit", type=positive, metavar="N", help="only so many (student, title) pairs, drawn by a seeded hash"
    )
    sub.add_argument("--temperature", type=float, help="over the recipe's; above 0")
    sub.add_argument("--top-p", type=float, help="nucleus; over the recipe's (the paper: 0.9)")
    sub.add_argument("--engine", choices=["transformers", "vllm"], help="over the recipe's")
    sub.add_argument("--keywords", metavar="WORD,...", help="words counted in last programs, over the language's own")
    sub.add_argument("--execute", action="store_true", help="run last programs (Pencil Code), or compile them (Python)")
    sub.add_argument("--resamples", type=positive, default=2000, metavar="N", help="bootstrap resamples (default 2000)")
    sub.add_argument("--resume", action="store_true", help="go on with the newest traces of the same settings")


def _behaviour(args: argparse.Namespace) -> None:
    from simstudent.rollout.behaviour import STUDENTS, run_behaviour

    folders = [Path(run) for run in args.runs]
    if (folders[0] / f"{STUDENTS}.jsonl").is_file():
        if len(folders) > 1:
            raise SimstudentError("name one folder of traces, or runs to sample from")
        folder = folders[0]
    else:
        for name in ("samples", "limit"):
            if (value := getattr(args, name)) is not None and value < 1:
                raise SimstudentError(f"--{name} must be at least 1, not {value}")
        overrides: dict[str, Any] = {
            f"rollout.{name}": value
            for name in ("split", "samples", "limit", "temperature", "top_p", "engine")
            if (value := getattr(args, name)) is not None
        }
        folder = run_behaviour(folders, overrides, resume=args.resume, say=say)
    words = tuple(word.strip() for word in args.keywords.split(",") if word.strip()) if args.keywords else None
    _report(folder, args.resamples, words, args.execute)


def _report(folder: Path, resamples: int, keywords: tuple[str, ...] | None, execute: bool) -> None:
    """Figures of a folder of traces: behaviour.json, behaviour.csv, behaviour.md, two pictures, and the headline."""
    import importlib.util

    from simstudent.evaluation.behaviour import behaviour
    from simstudent.evaluation.behaviour_columns import generated, pairs_of
    from simstudent.evaluation.behaviour_runs import executed
    from simstudent.evaluation.behaviour_tables import headline, to_csv, to_json, to_markdown
    from simstudent.rollout.behaviour import ONE, SEVERAL, STUDENTS
    from simstudent.rollout.folder import read_settings
    from simstudent.rollout.traces import read_traces
    from simstudent.runs import write_json

    true = read_traces(folder / f"{STUDENTS}.jsonl")
    order = [*read_settings(folder).get("models", ()), ONE, SEVERAL]
    paths = [p for p in folder.glob("*.jsonl") if p.stem != STUDENTS]
    paths.sort(key=lambda p: (order.index(p.stem) if p.stem in order else -1, p.stem))
    if not true or not paths:
        raise SimstudentError(f"no traces in {folder} (expected {STUDENTS}.jsonl and one file for each method)")
    methods = {p.stem: read_traces(p) for p in paths}
    outcomes = executed([*true, *(s for samples in methods.values() for s in samples)]) if execute else None
    pairs = pairs_of(true, keywords, outcomes)
    columns = [generated(name, samples, pairs, keywords, outcomes) for name, samples in methods.items()]
    found = behaviour(pairs, columns, resamples=resamples)
    write_json(folder / "behaviour.json", to_json(found))
    (folder / "behaviour.csv").write_text(to_csv(found), encoding="utf-8")
    (folder / "behaviour.md").write_text(to_markdown(found), encoding="utf-8")
    say(headline(found))
    samples = read_settings(folder).get("samples")
    for name, held in methods.items():
        wanted = len(true) * (1 if name == ONE else samples or 1)
        if len(held) < wanted:
            say(f"{name}: {len(held):,} of {wanted:,} traces; the others failed or are still to come (--resume)")
    for column in columns:
        if (there := sum(map(bool, column.finals))) < len(pairs.keys):
            say(f"{column.method}: traces with a state for {there:,} of {len(pairs.keys):,} pairs only")
    for package, extra, what in (
        ("nltk", "traces", "BLEU"),
        ("scipy", "traces", "the paired t-tests"),
        ("matplotlib", "report", "the pictures"),
    ):
        if importlib.util.find_spec(package) is None:
            say(f'Left out, {package} is not installed: {what}. Fix: pip install "simstudent[{extra}]"')
    pictures: list[Path] = []
    if importlib.util.find_spec("matplotlib") is not None:
        from simstudent.evaluation.behaviour_figures import draw

        pictures = draw(found, folder)
    written = ["behaviour.csv", "behaviour.json", *(p.name for p in pictures)]
    say(f"Figures: {folder / 'behaviour.md'}, {', '.join(written)}")
