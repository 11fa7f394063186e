"""``simstudent data import | inspect | validate | regrade | split``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simstudent.errors import SimstudentError
from simstudent.terminal import positive, say

if TYPE_CHECKING:
    from simstudent.data.load import Chosen, Log
    from simstudent.data.regrade import Disagreement
    from simstudent.data.rewrite import Agreement
    from simstudent.recipe import GraderSection

Say = Callable[[str], None]


def add_parser(commands: Any) -> None:
    """Add ``data`` and its commands."""
    text = "From a log to a dataset: import, look at it, check it, regrade it, split it."
    data = commands.add_parser("data", help=text, description=text)
    kinds = data.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = kinds.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    sub = command("import", _import, "Read the recipe's log, of any size, into a dataset: students as pseudonyms.")
    sub.add_argument("recipe", metavar="RECIPE")
    sub.add_argument("--to", required=True, metavar="FOLDER", help="the dataset to make")
    sub.add_argument("--workers", type=positive, help="processes that read (default: one per core)")

    sub = command("inspect", _inspect, "Counts, lengths, grades, languages, time span and examples.")
    sub.add_argument("data", metavar="RECIPE|DATASET")
    sub.add_argument("--html", metavar="FILE", help="also write a page with plots")

    sub = command("validate", _validate, "Read every row and list those that are broken; write nothing.")
    sub.add_argument("data", metavar="RECIPE|DATASET")

    sub = command("regrade", _regrade, "Run every logged submission through the graders; tell where the log disagrees.")
    sub.add_argument("data", metavar="RECIPE|DATASET")
    sub.add_argument("--to", metavar="FOLDER", help="write the dataset with the graders' grades and feedback")
    sub.add_argument("--show", type=int, default=10, help="disagreements to show (default 10)")

    sub = command("split", _split, "Select and split as the recipes say; show counts and leaks.")
    sub.add_argument("recipe", metavar="RECIPE", nargs="+")
    sub.add_argument("--attrition", metavar="FILE", help="write the attrition tables (.csv; .md, with the sides too)")
    sub.add_argument("--csv", metavar="FILE", help="write student, assignment and side of every trajectory")


def _opened(name: str, *, skip: bool = False) -> tuple[Log, GraderSection]:
    """The log of a recipe, or a dataset, with the grader settings. ``skip``: go on after broken rows."""
    from simstudent.data.dataset import DatasetSource
    from simstudent.data.load import open_log
    from simstudent.data.privacy import PrivacySection
    from simstudent.recipe import GraderSection, load_recipe

    if Path(name).is_dir():
        source = DatasetSource(kind="dataset", folder=Path(name))
        return open_log(source, PrivacySection(ids="keep")), GraderSection()
    recipe = load_recipe(name)
    log = open_log(recipe.data.source, recipe.data.privacy, say)
    if skip:
        log.skips.stop = False
    return log, recipe.grader


def _import(args: argparse.Namespace) -> None:
    from simstudent.data import importing
    from simstudent.recipe import load_recipe

    recipe = load_recipe(args.recipe)
    if args.workers is not None and args.workers < 1:
        raise SimstudentError(f"--workers must be at least 1, not {args.workers}")
    data = recipe.data
    made = importing.run(data.source, data.privacy, Path(args.to), workers=args.workers, say=say)
    facts = made.facts
    say(f"{facts['trajectories']:,} trajectories, {facts['submissions']:,} submissions")
    for what, count in facts["scrubbed"].items():
        say(f"  {count:,} {what} removed")
    say(f"Dataset: {made.folder}\nUse it: data.source: {{kind: dataset, folder: {made.folder}}}")


def _inspect(args: argparse.Namespace) -> None:
    from rich.console import Console

    from simstudent.data import inspect, inspect_page

    log, _ = _opened(args.data)
    summary = inspect.summarise(log.trajectories)
    notes = [*log.skips.text(), *(f"  {count:,} {what} removed" for what, count in log.scrubbed.items())]
    name = Path(args.data).name
    Console().print(inspect_page.terminal(summary, log.assignments, notes, name))
    if args.html:
        Path(args.html).write_text(inspect_page.page(summary, log.assignments, notes, name), encoding="utf-8")
        say(f"Page: {args.html}")


def _validate(args: argparse.Namespace) -> int:
    log, _ = _opened(args.data, skip=True)
    trajectories = submissions = 0
    for t in log.trajectories:
        trajectories += 1
        submissions += len(t.submissions)
    say(f"{args.data}: {trajectories:,} trajectories, {submissions:,} submissions")
    for line in [*log.skips.text(), *(f"  {line}" for line in log.skips.examples[1:])]:
        say(line)
    return 2 if len(log.skips) else 0


def _regrade(args: argparse.Namespace) -> int:
    from simstudent.data import regrade, rewrite
    from simstudent.runs import read_lines

    log, section = _opened(args.data)
    stream = chain(list(islice(log.trajectories, 1)), log.trajectories)  # with the first one all assignments are known
    assignments = regrade.limited(log.assignments, section)
    with regrade.open_pool(section) as pool:
        if args.to is None:
            agreement, found = rewrite.Agreement(), rewrite.Shown(args.show)
            for _ in rewrite.compare(stream, assignments, pool, agreement, found.add, _progress()):
                pass
            shown = found.verdicts if agreement.verdicts else found.grades
        else:
            folder = Path(args.to)
            agreement = rewrite.write(stream, assignments, pool, folder, _source(args.data), _progress())
            lines = islice(read_lines(folder / rewrite.LISTED), args.show)
            shown = [regrade.Disagreement.from_dict(line) for line in lines]
    for line in log.skips.text():
        say(line)
    _report(agreement, shown, args.show)
    if args.to is not None:
        say(f"Dataset: {args.to} ({rewrite.LISTED} lists where the log says something else)")
    return 1 if agreement.failed else 0


def _source(name: str) -> dict[str, Any]:
    """Where data comes from, for a manifest."""
    from simstudent.data.dataset import manifest
    from simstudent.recipe import load_recipe

    if Path(name).is_dir():
        return dict(manifest(Path(name)).get("source", {}))
    return load_recipe(name).data.source.model_dump(mode="json")


def _progress(every: float = 5.0) -> Callable[[int], None]:
    """A line every few seconds while submissions are graded."""
    started = last = time.monotonic()
    done = 0

    def tell(more: int) -> None:
        nonlocal last, done
        done += more
        if (now := time.monotonic()) - last >= every:
            last = now
            say(f"  {done:,} submissions graded, {done / (now - started):,.0f} a second")

    return tell


def _report(agreement: Agreement, shown: Sequence[Disagreement], show: int) -> None:
    say(f"{agreement.graded:,} submissions graded")
    differ = agreement.compared - agreement.agreed
    if not agreement.compared:
        say("The log has no grades to compare with.")
    else:
        share = 100 * agreement.agreed / agreement.compared
        say(f"Agreement with the log: {share:.2f} % ({differ:,} of {agreement.compared:,} differ)")
        if agreement.verdicts:
            say("  (the log says only right or wrong: full marks or not is compared)")
        for name, row in sorted(agreement.rows.items(), key=lambda pair: agreement.same(pair[1]) - pair[1][0]):
            if (same := agreement.same(row)) < (compared := row[0]):
                say(f"  {name}: {same:,} of {compared:,} agree ({100 * same / compared:.1f} %)")
        for d in shown:
            why = d.grade.message or next((t.detail for t in d.grade.tests if t.status != "pass"), "all tests passed")
            say(f"  {d.key}, submission {d.number}: logged {d.logged:.3f}, graded {d.grade.score:.3f} ({why:.100})")
        if differ > len(shown):
            say(f"  ... and {differ - len(shown):,} more")
    for line in agreement.failures[:show]:
        say(f"  the graders failed: {line}")
    if agreement.failed:
        say(f"The graders failed on {agreement.failed:,} submissions, which have no grade now.")


def _split(args: argparse.Namespace) -> None:
    from simstudent import __version__
    from simstudent.data import report
    from simstudent.data.load import choose
    from simstudent.recipe import load_recipe

    recipes = {path: load_recipe(path) for path in args.recipe}
    if args.csv and len(recipes) > 1:
        raise SimstudentError("--csv writes the sides of one recipe; name only one")
    if args.attrition:
        report.check_name(Path(args.attrition))
    tables: dict[str, tuple[Any, Any]] = {}
    for path, recipe in recipes.items():
        if len(recipes) > 1:
            say(f"{path}:")
        chosen = choose(recipe.data, recipe.seed, say, recipe.grader)
        tables[path if recipe.name in tables else recipe.name] = (chosen.attrition, chosen.division)
        for line in chosen.log.skips.text():
            say(line)
        say(report.terminal(chosen.attrition, chosen.division))
        if args.csv:
            _write_sides(Path(args.csv), chosen)
    if args.attrition:
        made_by = f"simstudent data split {' '.join(args.recipe)} --attrition {args.attrition}"
        head = f"# What selection and split leave\n\nMade by simstudent {__version__} with `{made_by}`.\n\n"
        report.write(Path(args.attrition), tables, head)
        say(f"Attrition table: {args.attrition}")


def _write_sides(path: Path, chosen: Chosen) -> None:
    import csv

    from simstudent.data.split import CELLS, SIDES

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["student", "assignment", "side"])
        sides = (*SIDES, *CELLS)
        writer.writerows((t.student, t.assignment, place) for place, t in chosen.placed() if place in sides)
    say(f"Sides: {path}")
