"""A folder of rollouts: ``<run>/rollouts/<label>-<time>/``.

It holds ``settings.json`` (all that decides about the rollouts), ``assignments.json`` (what people read of the tasks),
``plan.json`` (how many rollouts of each method there should be), one ``<method>.jsonl`` per method, ``facts.json``
(seconds, tokens, shares of the time), and the figures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_args

from graders.feedback import names_of_tests
from simstudent.data.records import Assignment
from simstudent.errors import SimstudentError
from simstudent.recipe import Method
from simstudent.rollout.records import Rollout
from simstudent.rollout.simulate import Start
from simstudent.runs import (
    cut_half_line,
    differences,
    now,
    read_json,
    read_lines,
    read_records,
    uncollected,
    write_json,
    write_lines,
)

PLAN = "plan.json"
_BEGUN = re.compile(r"-\d{8}-\d{6}$")


def read_rollouts(folder: Path) -> list[Rollout]:
    """All rollouts in a folder, methods in the recipes' order, each by key: the order in which they ended is chance.

    Raises SimstudentError when there is none, or naming the line that is no rollout.
    """
    order = {name: number for number, name in enumerate(get_args(Method))}
    paths = sorted(folder.glob("*.jsonl"), key=lambda p: (order.get(p.stem, len(order)), p.stem))
    with uncollected():
        found = [rollout for path in paths for rollout in read_records(path, Rollout.from_dict, "rollout")]
        numbers = {path.stem: number for number, path in enumerate(paths)}
        found.sort(key=lambda r: (numbers.get(r.method, len(numbers)), r.key))
    if not found:
        raise SimstudentError(f"no rollouts in {folder} (expected <method>.jsonl files)")
    return found


def read_settings(folder: Path) -> dict[str, Any]:
    """What decided the rollouts in a folder; empty where the folder came without (JSONL files alone)."""
    path = folder / "settings.json"
    return read_json(path) if path.is_file() else {}


def write_assignments(folder: Path, assignments: Iterable[Assignment]) -> None:
    """Write down the statement and the names of the tests of each assignment, for people to read beside rollouts."""
    found = {
        a.id: {
            "statement": a.statement,
            "language": a.language,
            "tests": [] if a.problem is None else names_of_tests(a.problem),
        }
        for a in assignments
    }
    write_json(folder / "assignments.json", found)


def read_assignments(folder: Path) -> dict[str, dict[str, Any]]:
    """``statement``, ``language`` and ``tests`` by assignment; empty where the folder came without."""
    path = folder / "assignments.json"
    return read_json(path) if path.is_file() else {}


def add_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Put the facts of one session (a run, a resumed run) after those of the sessions before it in ``facts.json``."""
    write_json(folder / "facts.json", {"sessions": [*read_facts(folder), dict(facts)]})


def read_facts(folder: Path) -> list[dict[str, Any]]:
    """The facts of each session that came to its end."""
    path = folder / "facts.json"
    return list(read_json(path)["sessions"]) if path.is_file() else []


def add_plan(folder: Path, wanted: Mapping[str, int]) -> None:
    """Write down how many rollouts of each method there will be, beside those of methods before."""
    write_json(folder / PLAN, read_plan(folder) | dict(wanted))


def read_plan(folder: Path) -> dict[str, int]:
    """How many rollouts of each method there should be; empty where nobody wrote it down."""
    path = folder / PLAN
    return read_json(path) if path.is_file() else {}


def rollout_folder(run: Path, settings: dict[str, Any], resume: bool) -> Path:
    """A new folder under ``run``, or with ``resume`` the newest; raises SimstudentError if its settings are others."""
    label = _label(settings)
    if "shard" in settings:
        label += f"-shard{settings['shard'].replace('/', 'of')}"
    return fresh_or_newest(run / "rollouts", label, settings, resume)


def _label(settings: Mapping[str, Any]) -> str:
    t = settings["temperature"]
    temperatures = "_".join(f"{value:g}" for value in t) if isinstance(t, list) else f"{t:g}"
    sampled = f"t{temperatures}-p{settings['top_p']:g}-n{settings['samples']}"
    steps = f"k{settings['steps']}" if settings.get("mode", "free") == "free" else settings["mode"]
    return f"{settings['split']}-{steps}-{sampled if t else 'greedy'}"


def actor_folder(run: Path, settings: dict[str, Any], begun: str) -> Path:
    """The folder of one shard of rollouts that several actors make together, ``<label>-actor1of2-<begun>``.

    Beside it are those of the other actors, of actors before them (maybe more or fewer), and ``<label>-<begun>``, in
    which all are joined (`made_together`). Raises SimstudentError if any of these has other settings.
    """
    whole = {name: value for name, value in settings.items() if name != "shard"}
    for other in made_together(run, begun):
        _must_equal(other, {name: value for name, value in read_settings(other).items() if name != "shard"}, whole)
    shard = settings["shard"].replace("/", "of")
    folder = run / "rollouts" / f"{_label(settings)}-actor{shard}-{begun}"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "settings.json", settings)
    return folder


def made_together(run: Path, begun: str) -> list[Path]:
    """The folders of the rollouts that began then: the joined one, then those of actors, the latest last."""
    there = [path for path in run.glob(f"rollouts/*-{begun}/settings.json") if _of_actors(path.parent)]
    there.sort(key=lambda path: ("shard" in read_settings(path.parent), path.stat().st_mtime_ns))
    return [path.parent for path in there]


def newest_begun(run: Path) -> str:
    """When the rollouts began that changed last, as their folder's name tells. Raises SimstudentError for none."""
    there = [p for p in run.glob("rollouts/*/settings.json") if _BEGUN.search(p.parent.name) and _of_actors(p.parent)]
    if not there:
        raise SimstudentError(f"nothing to resume: no rollouts in {run / 'rollouts'}")
    return "-".join(max(there, key=lambda p: p.stat().st_mtime_ns).parent.name.split("-")[-2:])


def _of_actors(folder: Path) -> bool:
    """Whether actors made a folder or may go on in it: not one of the shards that somebody divides himself."""
    return "shard" not in read_settings(folder) or re.search(r"-actor\d+of\d+-", folder.name) is not None


def fresh_or_newest(root: Path, label: str, settings: Mapping[str, Any], resume: bool) -> Path:
    """A new folder ``<label>-<time>`` under ``root``, or with ``resume`` the newest there (of the same shard).

    Raises SimstudentError if there is none to resume, or its settings are others.
    """
    if resume:
        olds = sorted(root.glob("*/settings.json"), key=lambda p: p.stat().st_mtime)
        olds = [p for p in olds if read_settings(p.parent).get("shard") == settings.get("shard")]
        if not olds:
            shard = f" of shard {settings['shard']}" if "shard" in settings else ""
            raise SimstudentError(f"nothing to resume: no {root.name}{shard} in {root}")
        _must_equal(olds[-1].parent, read_settings(olds[-1].parent), settings)
        return olds[-1].parent
    folder = root / f"{label}-{now()}"
    folder.mkdir(parents=True)
    write_json(folder / "settings.json", settings)
    return folder


def _must_equal(folder: Path, settings: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    if changed := differences(settings, wanted):
        raise SimstudentError(
            f"{folder} cannot be resumed, its settings differ (start anew without --resume):\n  " + "\n  ".join(changed)
        )


def open_starts(
    path: Path, wanted: Sequence[Start], say: Callable[[str], None], elsewhere: Iterable[Path] = ()
) -> list[Start]:
    """The starts not yet rolled out, neither here nor in the folders ``elsewhere``.

    Failed and half-written rollouts are taken out of the file: they run again.
    """
    half = cut_half_line(path)
    kept, failed = finished_lines(path)
    others = (line for folder in elsewhere for line in read_lines(folder / path.name) if line["error"] is None)
    done = {line["key"] for line in (*kept, *others)} & {s.key for s in wanted}
    if done:
        say(f"  {path.stem}: {len(done):,} rollouts are there already")
    if half:
        say(f"  {path.stem}: the last line was only half written when the run was interrupted; that rollout runs again")
    if failed:
        say(f"  {path.stem}: {failed} rollouts had failed; they run again")
    return [s for s in wanted if s.key not in done]


class Keyed(Protocol):
    """What a line of a file stands for."""

    @property
    def key(self) -> str: ...


K = TypeVar("K", bound=Keyed)


def unfinished(path: Path, wanted: Sequence[K]) -> list[K]:
    """Those of ``wanted`` that have no line in a file yet; failed ones are taken out of it and run again."""
    done = {line["key"] for line in finished_lines(path)[0]}
    return [w for w in wanted if w.key not in done]


def finished_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The lines of a file whose ``error`` is None, and how many others there were: those are taken out of it.

    So is a half-written last line. What is appended then stands in lines of its own.
    """
    cut_half_line(path)
    lines = list(read_lines(path))
    kept = [line for line in lines if line["error"] is None]
    if len(kept) < len(lines):
        write_lines(path, kept)
    return kept, len(lines) - len(kept)
