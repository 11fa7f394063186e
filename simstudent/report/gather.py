"""What a report is about: rollout folders by label, put together where they simulate the same starts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from simstudent.errors import SimstudentError
from simstudent.evaluation.metrics import REPEAT_LAST
from simstudent.rollout.folder import read_assignments, read_facts, read_rollouts, read_settings
from simstudent.rollout.records import Rollout
from simstudent.runs import half_written, read_json, read_lines

SAME = ("source", "data_hash", "split", "steps", "first_start", "mode")
"""Settings that decide what is simulated; folders that agree in them stand side by side in one part."""
_PSEUDONYM = re.compile(r"s[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Source:
    """A rollout folder and what stands beside it. Everything but the rollouts may be empty."""

    label: str
    folder: Path
    rollouts: tuple[Rollout, ...]
    settings: Mapping[str, Any]
    manifest: Mapping[str, Any]
    facts: Sequence[Mapping[str, Any]]
    training: Mapping[str, Any]
    attrition: str
    assignments: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...]
    """What could be read in part only."""


@dataclass(frozen=True, slots=True)
class Part:
    """Sources of the same starts. ``rollouts``: of all of them, each method under a name of its own."""

    sources: tuple[Source, ...]
    rollouts: tuple[Rollout, ...]

    @property
    def title(self) -> str:
        return ", ".join(s.label for s in self.sources)

    @property
    def assignments(self) -> dict[str, Mapping[str, Any]]:
        return {name: task for s in self.sources for name, task in s.assignments.items()}


def gather(given: Sequence[str], *, keep_ids: bool = False) -> list[Part]:
    """The parts of a report. ``given``: run or rollout folders, each also as ``LABEL=FOLDER``.

    Students whose ids are no pseudonyms of ours get numbers, unless ``keep_ids``. Raises SimstudentError for a folder
    without rollouts, and for labels that are there twice.
    """
    named = [place for text in given for place in _folders(text)]
    labels = [label for label, _ in named]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise SimstudentError(f"two folders are called {twice[0]}: name them apart, as in first={named[0][1]}")
    sources = [_source(label, folder) for label, folder in named]
    if not keep_ids:
        sources = _pseudonymous(sources)
    groups: dict[str, list[Source]] = {}
    for source in sources:
        settings = {"mode": "free", **source.settings}  # older folders do not tell
        alike = json.dumps([settings.get(name) for name in SAME])
        groups.setdefault(alike, []).append(source)
    return [Part(tuple(group), tuple(_together(group))) for group in groups.values()]


def _folders(text: str) -> list[tuple[str, Path]]:
    """The rollout folders that an argument names, with their labels."""
    label, equals, rest = text.partition("=")
    given = bool(equals) and not Path(text).exists()
    path = Path(rest if given else text)
    if not path.is_dir():
        raise SimstudentError(f"{path}: there is no such folder (give a run or rollout folder, or LABEL=FOLDER)")
    inside = sorted(p for p in (path / "rollouts").glob("*") if any(p.glob("*.jsonl")))
    if (path / "rollouts").is_dir() and not inside:
        raise SimstudentError(f"{path}: nothing was rolled out in this run (simstudent rollout --run {path})")
    if not inside:
        return [(label if given else path.resolve().name, path)]
    if len(inside) == 1:
        return [(label if given else path.resolve().name, inside[0])]
    return [(f"{label} {p.name}" if given else p.name, p) for p in inside]


def _source(label: str, folder: Path) -> Source:
    run = folder.resolve().parent.parent
    metrics = run / "metrics.jsonl"
    notes = [
        f"{path}: the last line is only half written, by a run under way or interrupted; read up to the line before it"
        for path in [metrics, *sorted(folder.glob("*.jsonl"))]
        if half_written(path)
    ]
    trained = [line for line in read_lines(metrics) if "seconds" in line]
    return Source(
        label,
        folder,
        tuple(read_rollouts(folder)),
        read_settings(folder),
        _optional(run / "manifest.json"),
        read_facts(folder),
        trained[-1] if trained else {},
        (run / "data.md").read_text(encoding="utf-8") if (run / "data.md").is_file() else "",
        read_assignments(folder),
        tuple(notes),
    )


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _pseudonymous(sources: Sequence[Source]) -> list[Source]:
    """Students with numbers, the same in all sources, in an order that tells nothing of their ids."""
    made_up = {r.student for s in sources if s.settings.get("source") == "course" for r in s.rollouts}
    students = {r.student for s in sources for r in s.rollouts} - made_up
    raw = sorted(
        (s for s in students if not _PSEUDONYM.fullmatch(s)), key=lambda s: hashlib.sha256(s.encode()).digest()
    )
    width = len(str(len(raw)))
    names = {student: f"student {number:0{width}}" for number, student in enumerate(raw, 1)}
    return [
        replace(s, rollouts=tuple(replace(r, student=names.get(r.student, r.student)) for r in s.rollouts))
        for s in sources
    ]


def _together(sources: Iterable[Source]) -> list[Rollout]:
    """All rollouts, equal ones once. A method that two sources have with other outcomes is called after its source."""
    sources = list(sources)
    held: dict[str, dict[str, dict[tuple[Any, ...], Rollout]]] = {}
    for source in sources:
        for r in source.rollouts:
            held.setdefault(r.method, {}).setdefault(source.label, {})[_start(r)] = r
    found = []
    for method, by_source in held.items():
        distinct: dict[str, dict[tuple[Any, ...], Rollout]] = {}
        for label, rollouts in by_source.items():
            if not any(_agree(rollouts, other, method) for other in distinct.values()):
                distinct[label] = rollouts
            elif method == REPEAT_LAST:  # the baseline of all: from whichever starts it was rolled out
                first = next(iter(distinct.values()))
                first.update({start: r for start, r in rollouts.items() if start not in first})
        for label, rollouts in distinct.items():
            name = method if len(distinct) == 1 else f"{label}/{method}"
            found += [replace(r, method=name) for r in rollouts.values()]
    return found


def _agree(one: Mapping[Any, Rollout], other: Mapping[Any, Rollout], method: str) -> bool:
    """Whether two sources hold the same rollouts; of the baseline, whether they agree where both have one."""
    if method != REPEAT_LAST and one.keys() != other.keys():
        return False
    common = one.keys() & other.keys()
    return all(_told(one[start]) == _told(other[start]) for start in common)


def _start(r: Rollout) -> tuple[str, str, int, int]:
    return r.student, r.assignment, r.start, r.sample


def _told(r: Rollout) -> tuple[Any, ...]:
    return r.stop, [(s.code, s.grade, s.tests, s.student_grade) for s in r.steps]
