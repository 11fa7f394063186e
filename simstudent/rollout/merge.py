"""Shards of rollouts joined into one folder, as if they had been one run."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from simstudent.errors import SimstudentError
from simstudent.rollout.chat import USAGE, joined_usage
from simstudent.rollout.folder import PLAN, read_assignments, read_facts, read_plan, read_settings
from simstudent.runs import differences, read_json, read_lines, write_json, write_lines


def parse_shard(text: str) -> tuple[int, int]:
    """``3/8`` as (3, 8). Raises SimstudentError for anything else."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise SimstudentError(f"'{text}' is no shard; write 3/8 for the third of eight (they count from 1)")
    return int(match[1]), int(match[2])


def merge(folders: Sequence[Path], to: Path, *, partial: bool = False, say: Callable[[str], None] = print) -> None:
    """Join folders of rollouts whose settings are equal but for the shard into the new folder ``to``.

    A rollout that is in several folders has to be the same in all; one that failed gives way to one that did not.
    Shards of several divisions (3/8 beside 1/2) go together. ``to`` may be one of the folders, and is replaced then.
    Raises SimstudentError naming settings that differ, shards that are missing or unfinished (``partial`` takes what
    is there), and rollouts that contradict each other. ``to`` appears when all of it is written.
    """
    folders = list({folder.resolve(): folder for folder in folders}.values())
    if to.exists() and any(to.iterdir()) and to.resolve() not in {folder.resolve() for folder in folders}:
        raise SimstudentError(f"{to} exists and is not empty; name a new folder")
    settings = _common_settings(folders)
    methods = list(dict.fromkeys(path.stem for folder in folders for path in sorted(folder.glob("*.jsonl"))))
    if not methods:
        raise SimstudentError(f"no rollouts in {', '.join(map(str, folders))} (expected <method>.jsonl files)")
    made = to.with_name(to.name + ".partial")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        _write(folders, methods, settings, made, partial, say)
    except SimstudentError:
        shutil.rmtree(made)
        raise
    before = to.with_name(to.name + ".replaced")
    if to.exists():
        to.rename(before)
    made.rename(to)
    shutil.rmtree(before, ignore_errors=True)


def _write(
    folders: Sequence[Path],
    methods: Sequence[str],
    settings: Mapping[str, Any],
    made: Path,
    partial: bool,
    say: Callable[[str], None],
) -> None:
    """Write all files of the joined folder into ``made``."""
    divisions, plans = _divisions(folders), {folder: read_plan(folder) for folder in folders}
    lacking = [line for d in divisions for line in _missing(d)] if all(map(_missing, divisions)) else []
    planned = dict.fromkeys(method for plan in plans.values() for method in plan)
    for method in dict.fromkeys([*methods, *planned]):
        found, done = _joined(method, folders)
        lacking += _unfinished(method, divisions, plans, done, sum(line["error"] is None for line in found.values()))
        if method in methods:
            say(f"  {method}: {len(found):,} rollouts from {len(folders)} folders")
            write_lines(made / f"{method}.jsonl", (found[key] for key in sorted(found)))
    if lacking and not partial:
        raise SimstudentError(
            "not all rollouts are there (finish them with --resume, name the missing folders too, or take what there "
            "is with --partial):\n  " + "\n  ".join(lacking)
        )
    for line in lacking:
        say(f"Missing: {line}")
    write_json(made / "settings.json", settings)
    write_json(made / "assignments.json", {k: v for folder in folders for k, v in read_assignments(folder).items()})
    write_json(made / PLAN, {m: max(sum(_planned(m, d, plans).values()) for d in divisions) for m in planned})
    sessions: list[dict[str, Any]] = []
    for session in (s for folder in folders for s in _sessions(folder)):
        if session not in sessions:  # of a folder that was merged before
            sessions.append(session)
    write_json(made / "facts.json", {"sessions": sessions})
    if usage := joined_usage([read_json(path) for folder in folders if (path := folder / USAGE).is_file()]):
        write_json(made / USAGE, usage)


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


def _divisions(folders: Sequence[Path]) -> list[dict[str, list[Path]]]:
    """The ways in which the whole is divided, each as folders by shard. What is no shard is a whole by itself."""
    found: dict[Path | int, dict[str, list[Path]]] = {}
    for folder in folders:
        shard = read_settings(folder).get("shard")
        division = found.setdefault(folder if shard is None else parse_shard(shard)[1], {})
        division.setdefault(shard or "1/1", []).append(folder)
    return list(found.values())


def _missing(division: Mapping[str, Sequence[Path]]) -> list[str]:
    """Shards that nobody named."""
    count = parse_shard(next(iter(division)))[1]
    return [f"shard {n}/{count}" for n in range(1, count + 1) if f"{n}/{count}" not in division]


def _planned(
    method: str, division: Mapping[str, Sequence[Path]], plans: Mapping[Path, Mapping[str, int]]
) -> dict[str, int]:
    """How many rollouts of a method each shard should hold; without those that did not plan it."""
    found = {
        shard: [plans[folder][method] for folder in folders if method in plans[folder]]
        for shard, folders in division.items()
    }
    return {shard: max(counts) for shard, counts in found.items() if counts}


def _unfinished(
    method: str,
    divisions: Sequence[Mapping[str, Sequence[Path]]],
    plans: Mapping[Path, Mapping[str, int]],
    done: Mapping[Path, int],
    total: int,
) -> list[str]:
    """What is too little of a method: nothing, when the folders together hold all that was planned for the whole."""
    planned = [_planned(method, division, plans) for division in divisions]
    most = max(sum(counts.values()) for counts in planned)
    all_there = [not _missing(d) and len(counts) == len(d) for d, counts in zip(divisions, planned, strict=True)]
    if any(all_there) and total >= most:
        return []
    found = []
    for division, counts in zip(divisions, planned, strict=True):
        without = [folder for shard, same in division.items() if shard not in counts for folder in same]
        found += [f"{folder}: {method}, which other shards have" for folder in without if counts]
    if len(divisions) > 1:
        return [*found, *([f"{most - total} of {most} rollouts of {method}"] if total < most else [])]
    for folder, plan in plans.items():
        if (wanted := plan.get(method, 0)) > done[folder]:
            found.append(f"{folder}: {wanted - done[folder]} of {wanted} rollouts of {method}")
    return found


def _joined(method: str, folders: Sequence[Path]) -> tuple[dict[str, Mapping[str, Any]], dict[Path, int]]:
    """The rollouts of one method by key, and how many each folder has that did not fail."""
    found: dict[str, Mapping[str, Any]] = {}
    origin: dict[str, Path] = {}
    done: dict[Path, int] = {}
    for folder in folders:
        keys = set()
        for line in read_lines(folder / f"{method}.jsonl"):
            key, known = line["key"], found.get(line["key"])
            if line["error"] is None:
                keys.add(key)
            if known is None or known["error"] is not None:
                found[key], origin[key] = line, folder
            elif line["error"] is None and line != known:
                raise SimstudentError(
                    f"{method}: the rollout {key} is in {origin[key]} and in {folder}, and they differ; leave one out"
                )
        done[folder] = len(keys)
    return found, done


def _sessions(folder: Path) -> list[dict[str, Any]]:
    shard = read_settings(folder).get("shard")
    return [session | ({} if shard is None else {"shard": shard}) for session in read_facts(folder)]
