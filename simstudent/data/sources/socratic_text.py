"""The text files of the Socratic debugging benchmark (Al-Hossami et al., BEA 2023, SIGCSE 2024), one dialogue a file.

``<problem>``, ``<bug_code>``, ``<unit_tests>`` and others, then ``<dialogue>``: turns that begin with ``User:`` (the
student) or
``Assistant:`` (the tutor), other ways to say them (``<alt>``), programs (``<code>``) with numbered lines.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graders.extract import normalise_newlines
from simstudent.data.rows import Broken, Place

_ROLES = {"User": "student", "Assistant": "tutor"}


def is_one(folder: Path) -> bool:
    """Whether a folder holds such files, itself or below."""
    return folder.is_dir() and next(folder.rglob("*.txt"), None) is not None


def rows(folder: Path) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """A row for every dialogue, its fields as `recipes/socratic.yaml` names them; a copy of a file is read once."""
    seen: dict[str, str] = {}
    for path in sorted(folder.rglob("*.txt"), key=lambda p: p.name):
        try:
            text = normalise_newlines(path.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError as error:
            yield path.name, Broken(f"not UTF-8 text (byte {error.start})")
            continue
        if path.stem not in seen:
            yield path.name, _row(path.stem, text)
        elif seen[path.stem] != text:
            yield path.name, Broken("another dialogue has the same name")
        seen.setdefault(path.stem, text)


def _row(name: str, text: str) -> Mapping[str, Any]:
    sections = {tag: _section(text, tag) for tag in ("problem", "bug_code", "unit_tests", "dialogue")}
    missing = [tag for tag in ("problem", "dialogue") if not (sections[tag] or "").strip()]
    if missing:
        return Broken(f"no <{missing[0]}> in the file")
    numbers = re.match(r"(\d+)_(\d+)_", name)
    return {
        "dialogue_id": name,
        "problem_id": numbers[1] if numbers else None,
        "bug_id": numbers[2] if numbers else None,
        "problem": (sections["problem"] or "").strip(),
        "buggy_code": without_numbers(sections["bug_code"] or ""),
        "unit_tests": (sections["unit_tests"] or "").strip(),
        "turns": _turns(sections["dialogue"] or ""),
    }


def _section(text: str, tag: str) -> str | None:
    match = re.search(rf"<{tag}>\n?(.*?)</{tag}>", text, re.DOTALL)
    return None if match is None else match[1]


def _turns(text: str) -> list[dict[str, Any]]:
    """The turns with their programs, without the other ways to say them."""
    turns: list[dict[str, Any]] = []
    for part in re.split(r"^(?=(?:User|Assistant):)", text, flags=re.MULTILINE):
        match = re.match(r"(User|Assistant):(.*)", part, re.DOTALL)
        if match is None:
            continue
        codes = [without_numbers(code) for code in re.findall(r"<code>\n?(.*?)</code>", match[2], re.DOTALL)]
        said = re.sub(r"<code>.*?</code>", "", match[2], flags=re.DOTALL)
        said = re.split(r"^\s*<alt>", said, maxsplit=1, flags=re.MULTILINE)[0].strip()
        turns.append({"role": _ROLES[match[1]], "text": said, "code_states": [code for code in codes if code.strip()]})
    return turns


def without_numbers(text: str) -> str:
    """A program less the numbers of its lines. Some files align the code behind numbers of one and two digits, others
    do not: of both readings the one that parses, else the latter."""
    lines = text.strip("\n").splitlines()
    numbered = [re.match(r"\s*(\d+)\.(.*)", line) for line in lines]
    if not any(numbered):
        return text.strip("\n")
    width = max(len(match[1]) for match in numbered if match)
    plain = [match[2] if match else line for match, line in zip(numbered, lines, strict=True)]
    aligned = [
        " " * (len(match[1]) - width + 2) + match[2] if match else line
        for match, line in zip(numbered, lines, strict=True)
    ]
    readings = ["\n".join(_dedented(found)) for found in (plain, aligned)]
    return next(filter(_parses, readings), readings[0])


def _dedented(lines: list[str]) -> list[str]:
    """Less the space before the first line, where all lines have it."""
    first = next((line for line in lines if line.strip()), "")
    space = len(first) - len(first.lstrip(" "))
    return [line[min(space, len(line) - len(line.lstrip(" "))) :].rstrip() for line in lines]


def _parses(code: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(code, "<dialogue>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return True
