"""Programs as text in a dialogue: whole in a fence, or a small edit as a unified diff, and back.

A diff is one hunk without file names, as ``diff -u`` and git write it: three lines of context, ``\\ No newline at
end of file`` where it applies. Lines end at ``\\n`` and nowhere else, so that a program comes back exactly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from graders.extract import extract_block, normalise_newlines

CodeFormat = Literal["whole", "diff"]

CONTEXT = 3
LONGEST = 1000  # lines: beyond it no diff is looked for, since matching takes quadratic time
NO_NEWLINE = "\\ No newline at end of file"
_HEADER = re.compile(r"@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")


class DiffError(ValueError):
    """A diff that does not fit the program it should change; the message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The program in an answer, or None. ``reason``: why an answer that holds a diff holds no program."""

    code: str | None
    reason: str | None = None


def fence(code: str, language: str = "python") -> str:
    """A text in a Markdown code block; ``extract_code`` gives it back exactly, its line ends as ``\\n``."""
    code = normalise_newlines(code)
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{code}\n{ticks}"


def program_text(code: str, previous: str | None, language: str, form: CodeFormat) -> str:
    """How a student hands in ``code`` after ``previous``: in a fence, a small edit as a diff where the form is that."""
    edit = small_diff(previous, code) if form == "diff" and previous is not None else None
    return fence(code, language) if edit is None else fence(edit, "diff")


def read_answer(text: str, previous: str | None, form: CodeFormat) -> Answer:
    """The program that an answer hands in after ``previous``: the inverse of ``program_text``."""
    block = extract_block(text)
    if block is None:
        return Answer(None)
    info, body = block
    if form == "whole" or info != "diff":
        return Answer(body)
    if previous is None:
        return Answer(None, "a diff, but there is no program yet that it could change")
    try:
        return Answer(apply_diff(previous, body))
    except DiffError as error:
        return Answer(None, str(error))


def small_diff(old: str, new: str) -> str | None:
    """The diff from ``old`` to ``new`` if it is small: one hunk that changes less than half of the lines.

    The changed lines are those removed or those added, whichever are more; half is of the longer program. None for
    a larger edit, for none at all, and for programs with ``\\r``, which no code block would give back.
    """
    a, b = _lines(old), _lines(new)
    if max(len(a), len(b)) > LONGEST or "\r" in old or "\r" in new:
        return None
    groups = list(SequenceMatcher(None, a, b, autojunk=False).get_grouped_opcodes(CONTEXT))
    if len(groups) != 1:
        return None
    (group,) = groups
    removed = sum(i2 - i1 for tag, i1, i2, _, _ in group if tag != "equal")
    added = sum(j2 - j1 for tag, _, _, j1, j2 in group if tag != "equal")
    if 2 * max(removed, added) >= max(len(a), len(b)):
        return None
    first, last = group[0], group[-1]
    body = [f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@"]
    for tag, i1, i2, j1, j2 in group:
        if tag == "equal":
            body += [text for line in a[i1:i2] for text in _written(" ", line)]
        else:
            body += [text for line in a[i1:i2] for text in _written("-", line)]
            body += [text for line in b[j1:j2] for text in _written("+", line)]
    return "\n".join(body)


def apply_diff(old: str, diff: str) -> str:
    """``old`` after a diff of one hunk. Raises DiffError when it does not fit.

    What the hunk removes and keeps must stand in ``old`` where its header says, or else in exactly one place. The
    counts in the header are not looked at: the end of the diff ends the hunk.
    """
    lines = diff.split("\n")
    while lines and lines[0].startswith(("--- ", "+++ ")):
        lines.pop(0)
    header = _HEADER.match(lines[0]) if lines else None
    if header is None:
        raise DiffError("the diff does not begin with a hunk header such as @@ -1,3 +1,4 @@")
    before, after = _sides(lines[1:])
    a = _lines(old)
    at = _place(a, before, int(header[1]) - (1 if before else 0))
    return "".join(a[:at] + after + a[at + len(before) :])


def _lines(code: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", code)


def _range(start: int, stop: int) -> str:
    """A hunk's range as ``diff -u`` writes it: lines count from 1; an empty one names the line before it."""
    count = stop - start
    return f"{start + 1}" if count == 1 else f"{start + (1 if count else 0)},{count}"


def _written(mark: str, line: str) -> list[str]:
    return [mark + line[:-1]] if line.endswith("\n") else [mark + line, NO_NEWLINE]


def _sides(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """A hunk's lines before and after the edit."""
    before: list[str] = []
    after: list[str] = []
    last = ""
    for number, line in enumerate(lines, 1):
        mark, text = line[:1], line[1:] + "\n"
        if mark == "\\" and last:
            for side in [before] * (last in " -") + [after] * (last in " +"):
                side[-1] = side[-1].removesuffix("\n")
            continue
        if mark == "@":
            raise DiffError("the diff has more than one hunk")
        if mark not in ("", " ", "-", "+"):
            raise DiffError(f"line {number} of the hunk begins with {mark!r}, not with a space, - or +")
        mark = mark or " "  # an empty line of context that lost its space
        if mark in " -":
            before.append(text)
        if mark in " +":
            after.append(text)
        last = mark
    return before, after


def _place(lines: list[str], wanted: list[str], said: int) -> int:
    count = len(wanted)
    if 0 <= said <= len(lines) - count and lines[said : said + count] == wanted:
        return said
    found = [at for at in range(len(lines) - count + 1) if lines[at : at + count] == wanted] if wanted else []
    if len(found) == 1:
        return found[0]
    what = "stand in several places of" if found else "are not in"
    raise DiffError(f"the lines that the diff changes {what} the last program")
