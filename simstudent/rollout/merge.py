"""Shards of rollouts joined into one folder, as if they had been one run."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from simstudent.errors import SimstudentError
from simstudent.rollout.folder import PLAN, read_assignments, read_facts, read_plan, read_settings
from simstudent.runs import differences, read_lines, write_json, write_lines


def parse_shard(text: str) -> tuple[int, int]:
    """``3/8`` as (3, 8). Raises SimstudentError for anything else."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise SimstudentError(f"'{text}' is no shard; write 3/8 for the third of eight (they count from 1)")
    return int(match[1]), int(match[2])


def merge(folders: Sequence[Path], to: Path, *, partial: bool = False, say: Callable[[str], None] = print) -> None:
    """Join folders of rollouts whose settings are equal but for the shard into the new folder ``to``.

    A rollout that is in several folders has to be the same in all; one that failed gives way to one that did not.
    Raises SimstudentError naming settings that differ, shards that are missing or unfinished (``partial`` takes what
    is there), and rollouts that contradict each other. ``to`` appears when all of it is written.
    """
    if to.exists() and any(to.iterdir()):
        raise SimstudentError(f"{to} exists and is not empty; name a new folder")
    settings = _common_settings(folders)
    lacking = [*_missing(folders), *_unfinished(folders)]
    if lacking and not partial:
        raise SimstudentError(
            "not all rollouts are there (finish them with --resume, name the missing folders too, or take what there "
            "is with --partial):\n  " + "\n  ".join(lacking)
        )
    for line in lacking:
        say(f"Missing: {line}")
    methods = list(dict.fromkeys(path.stem for folder in folders for path in sorted(folder.glob("*.jsonl"))))
    if not methods:
        raise SimstudentError(f"no rollouts in {', '.join(map(str, folders))} (expected <method>.jsonl files)")
    made = to.with_name(to.name + ".partial")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    for method in methods:
        found = _joined(method, folders)
        say(f"  {method}: {len(found):,} rollouts from {len(folders)} folders")
        write_lines(made / f"{method}.jsonl", (found[key] for key in sorted(found)))
    write_json(made / "settings.json", settings)
    write_json(made / "assignments.json", {k: v for folder in folders for k, v in read_assignments(folder).items()})
    plans = [read_plan(folder) for folder in folders]
    write_json(made / PLAN, {m: sum(plan.get(m, 0) for plan in plans) for m in methods})
    write_json(made / "facts.json", {"sessions": [s for folder in folders for s in _sessions(folder)]})
    if to.exists():
        to.rmdir()
    made.rename(to)


def _common_settings(folders: Sequence[Path]) -> dict[str, Any]:
    first: dict[str, Any] | None = None
    for folder in folders:
        settings = read_settings(folder)
        if not settings:
            raise SimstudentError(f"{folder} is no folder of rollouts: it has no settings.json")
        settings.pop("shard", None)
        first = settings if first is None else first
        if changed := differences(first, settings):
            raise SimstudentError(
                f"{folder} cannot be merged with {folders[0]}, their settings differ:\n  " + "\n  ".join(changed)
            )
    assert first is not None
    return first


def _missing(folders: Sequence[Path]) -> list[str]:
    """Shards that nobody named, of folders that are shards."""
    shards = {folder: text for folder in folders if (text := read_settings(folder).get("shard"))}
    counts = {parse_shard(text)[1] for text in shards.values()}
    if len(counts) > 1:
        raise SimstudentError(
            "shards of different divisions do not fit together: "
            + ", ".join(f"{folder} is {text}" for folder, text in shards.items())
        )
    named = [f"{n}/{count}" for count in counts for n in range(1, count + 1)]
    return [f"shard {text}" for text in named if text not in shards.values()]


def _unfinished(folders: Sequence[Path]) -> list[str]:
    """Methods of which a folder holds fewer rollouts than were planned, or that another folder has and it has not."""
    plans = {folder: read_plan(folder) for folder in folders}
    everywhere = dict.fromkeys(method for plan in plans.values() for method in plan)
    sharded = {folder for folder in folders if "shard" in read_settings(folder)}
    found = []
    for folder, plan in plans.items():
        for method in everywhere if folder in sharded else plan:
            if method not in plan:
                found.append(f"{folder}: {method}, which other shards have")
                continue
            done = len({line["key"] for line in read_lines(folder / f"{method}.jsonl") if line["error"] is None})
            if done < plan[method]:
                found.append(f"{folder}: {plan[method] - done} of {plan[method]} rollouts of {method}")
    return found


def _joined(method: str, folders: Sequence[Path]) -> dict[str, Mapping[str, Any]]:
    """The rollouts of one method by key."""
    found: dict[str, Mapping[str, Any]] = {}
    origin: dict[str, Path] = {}
    for folder in folders:
        for line in read_lines(folder / f"{method}.jsonl"):
            key, known = line["key"], found.get(line["key"])
            if known is None or known["error"] is not None:
                found[key], origin[key] = line, folder
            elif line["error"] is None and line != known:
                raise SimstudentError(
                    f"{method}: the rollout {key} is in {origin[key]} and in {folder}, and they differ; leave one out"
                )
    return found


def _sessions(folder: Path) -> list[dict[str, Any]]:
    shard = read_settings(folder).get("shard")
    return [session | ({} if shard is None else {"shard": shard}) for session in read_facts(folder)]
