"""Programs and problems as JSON: one problem a file, many problems, and streams of programs to grade."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from graders.pool import Pool, kind
from graders.problem import Problem, ProblemError

Problems = Mapping[str, Problem]

_KEYS = frozenset(("id", "problem", "problem_id", "code"))
_KEPT = 4096  # problems given inline that are remembered, so that each is checked once


class BadRowError(ValueError):
    """A row that cannot be graded as written; the message names the file and the line."""


def read_problem(path: str) -> Problem:
    """The problem in a JSON file. Raises ProblemError naming the file, OSError when it cannot be read."""
    return _problem(_parsed(_text(path), path), path)


def read_problems(path: str) -> dict[str, Problem]:
    """Problems by id, from a JSON list, one JSON object, or JSON Lines. Raises as `read_problem`, with the line."""
    text = _text(path)
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        lines = [(f"{path}:{number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        found = [(where, _parsed(line, where)) for where, line in lines]
    else:
        each = whole if isinstance(whole, list) else [whole]
        found = [(f"{path}, problem {number}", raw) for number, raw in enumerate(each, 1)]
    problems: dict[str, Problem] = {}
    for where, raw in found:
        problem = _problem(raw, where)
        if problem.id in problems:
            raise ProblemError(f"{where}: there is a problem {problem.id!r} already")
        problems[problem.id] = problem
    return problems


def grade_rows(
    lines: Iterable[bytes], pool: Pool, problems: Problems, *, name: str, skip: bool = False
) -> Iterator[dict[str, Any]]:
    """Grades of JSON rows, in their order, as they become known; ``lines`` is read only a little ahead.

    A row is an object with ``code`` (text, or null for no program), ``problem`` (an object) or ``problem_id`` (one
    of ``problems``), and perhaps ``id``. What comes out is the grade's ``to_dict`` after ``id`` and ``problem_id``.
    ``name`` is the file's in messages. A broken row raises BadRowError once the rows before it are out; with ``skip``
    it becomes a row of ``id`` (where there is one), ``line`` and ``error`` instead.
    """
    # What goes with each grade to come, in order; None in place of a problem's id: the row is an error.
    labels: deque[tuple[dict[str, Any], bool]] = deque()
    stopped: list[BadRowError] = []

    def items() -> Iterator[tuple[str | None, Problem]]:
        seen: dict[str, Problem] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            label: dict[str, Any] = {}
            try:
                code, problem = _row(line, label, problems, seen)
            except (ValueError, RecursionError) as error:
                text = f"{name}:{number}: {error if isinstance(error, ValueError) else 'nested too deep'}"
                if not skip:
                    stopped.append(BadRowError(text))
                    return
                labels.append((label | {"line": number, "error": text}, False))
                continue
            labels.append((label | {"problem_id": problem.id}, True))
            yield code, problem

    for grade in pool.grade_many(items()):
        while not labels[0][1]:
            yield labels.popleft()[0]
        yield labels.popleft()[0] | grade.to_dict()
    while labels:
        yield labels.popleft()[0]
    if stopped:
        raise stopped[0]


def _row(line: bytes, label: dict[str, Any], known: Problems, seen: dict[str, Problem]) -> tuple[str | None, Problem]:
    """One row's program and problem; ``label`` gets the row's id as soon as it is known."""
    raw = json.loads(line.decode("utf-8-sig"))
    if not isinstance(raw, dict):
        raise ValueError("not a JSON object")
    if "id" in raw:
        label["id"] = raw["id"]
    if unknown := sorted(set(raw) - _KEYS):
        raise ValueError(f"unknown keys {unknown}; a row has {', '.join(sorted(_KEYS))}")
    if "code" not in raw or not isinstance(raw["code"], str | None):
        raise ValueError("'code' must be a text, or null for no program")
    if ("problem" in raw) == ("problem_id" in raw):
        raise ValueError("give either 'problem' or 'problem_id'")
    if "problem_id" in raw:
        problem = known.get(raw["problem_id"]) if isinstance(raw["problem_id"], str) else None
        if problem is None:
            raise ValueError(
                f"no problem {raw['problem_id']!r} among the {len(known)} known; give them with --problems"
            )
        return raw["code"], problem
    key = json.dumps(raw["problem"], sort_keys=True)
    if key not in seen:
        if len(seen) >= _KEPT:
            seen.clear()
        seen[key] = _problem(raw["problem"], "")
    return raw["code"], seen[key]


def _problem(raw: object, where: str) -> Problem:
    """The problem, known to be gradable. Raises ProblemError that begins with ``where``."""
    try:
        if not isinstance(raw, Mapping):
            raise ProblemError("a problem is a JSON object")
        problem = Problem.from_dict(raw)
        kind(problem).prepare(problem)
    except ProblemError as error:
        raise ProblemError(f"{where}: {error}" if where else str(error)) from None
    return problem


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProblemError(f"{path}: not UTF-8 text ({error})") from None


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        why = error if isinstance(error, ValueError) else "nested too deep"
        raise ProblemError(f"{where}: not JSON ({why})") from None
