"""``simstudent recover``: from a program that fails, under which conditions does a simulated student get out?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from simstudent.errors import SimstudentError
from simstudent.terminal import positive, say


def add_parsers(commands: Any) -> None:
    """Add the command."""
    text = (
        "Let a run's model go on from programs that fail: as the true student, a strong one, nobody; after some time."
    )
    sub: argparse.ArgumentParser = commands.add_parser("recover", help=text, description=text)
    sub.set_defaults(run=_recover)
    sub.add_argument("trained", metavar="RUN", help="a trained run; or a folder of recoveries, for its figures again")
    sub.add_argument("--after", default="1,60", metavar="SECONDS,...", help="until the next submission (default 1,60)")
    sub.add_argument("--attempts", type=positive, default=10, metavar="N", help="programs that count (default 10)")
    sub.add_argument("--split", help="over the recipe's: a side or a cell")
    sub.add_argument("--samples", type=positive, metavar="N", help="recoveries from each start, over the recipe's")
    sub.add_argument("--limit", type=positive, metavar="N", help="only so many starts, drawn by a seeded hash")
    sub.add_argument("--temperature", type=float, help="over the recipe's; 0 is greedy")
    sub.add_argument("--engine", choices=["transformers", "vllm"], help="over the recipe's")
    sub.add_argument("--resamples", type=positive, default=2000, metavar="N", help="bootstrap resamples (default 2000)")
    sub.add_argument("--resume", action="store_true", help="go on with the newest recoveries of the same settings")


def _recover(args: argparse.Namespace) -> None:
    from simstudent.rollout.recover import STARTS, run_recovery

    folder = Path(args.trained)
    if not (folder / f"{STARTS}.jsonl").is_file():
        for name in ("attempts", "samples", "limit"):
            if (value := getattr(args, name)) is not None and value < 1:
                raise SimstudentError(f"--{name} must be at least 1, not {value}")
        overrides: dict[str, Any] = {
            f"rollout.{name}": value
            for name in ("split", "samples", "limit", "temperature", "engine")
            if (value := getattr(args, name)) is not None
        }
        after = _seconds(args.after)
        folder = run_recovery(folder, overrides, after=after, attempts=args.attempts, resume=args.resume, say=say)
    _report(folder, args.resamples)


def _seconds(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        raise SimstudentError(f"--after '{text}' is no number of seconds, nor several as 1,60") from None
    if min(found) <= 0:
        raise SimstudentError(f"--after {text}: seconds must be above 0")
    return found


def _report(folder: Path, resamples: int) -> None:
    """Figures of a folder: recovery.md and recovery.json beside the JSONL files, and on the terminal."""
    from dataclasses import asdict

    from simstudent.evaluation.recovery import recovered, to_markdown
    from simstudent.rollout.folder import read_settings
    from simstudent.rollout.recover import read_recovery
    from simstudent.runs import write_json

    starts, made = read_recovery(folder)
    settings = read_settings(folder)
    if not settings:
        raise SimstudentError(f"{folder} has no settings.json: copy it from where the recoveries were made")
    order = {name: n for n, name in enumerate(settings["conditions"])}
    conditions = {
        name: {r.key: (r.programs, r.grades) for r in made[name]}
        for name in sorted(made, key=lambda n: order.get(n, 99))
    }
    attempts = settings["attempts"]
    found = recovered(starts, conditions, attempts=attempts, resamples=resamples, seed=settings["seed"])
    text = to_markdown(found, starts=len(starts), attempts=attempts, split=settings["split"], strong=settings["strong"])
    write_json(folder / "recovery.json", {"settings": settings, "conditions": [asdict(r) for r in found]})
    (folder / "recovery.md").write_text(text, encoding="utf-8")
    say(text)
    say(f"Figures: {folder / 'recovery.md'}, recovery.json")
