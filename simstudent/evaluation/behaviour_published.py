"""What the published code measures of a trace, value for value: for comparison with the paper's figures only.

Ross, Srivastava, Blanchard and Andreas, "Modeling Student Learning with 3.8 Million Program Traces" (2025); written
anew from their text and from values of their code. `simstudent.evaluation.behaviour_properties` has definitions that
say more: there a trace of one state has no share of backtracking (here 0), and a pair of lines is changed, not all
lines after a deleted one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import Differ, SequenceMatcher
from itertools import pairwise
from statistics import fmean

from simstudent.data.trace_text import Trace
from simstudent.evaluation.behaviour_colours import masked_anywhere, substrings
from simstudent.evaluation.behaviour_times import instants

LARGE = 5
"""Lines added or deleted from which on an edit is a large one."""
CATEGORIES = ("large_add", "large_del", "small_add", "small_del", "modify_existing")
WORDS = ("box", "await", "turtle")
_FUNCTION = re.compile(r"\bfunction\s*\w*\s*\(")


@dataclass(frozen=True, slots=True)
class Edits:
    """The edits between consecutive states, added up."""

    lines_added: int = 0
    lines_deleted: int = 0
    lines_modified: int = 0
    color_changes: int = 0
    number_changes: int = 0
    comment_additions: int = 0
    function_additions: int = 0
    num_large_add: int = 0
    num_large_del: int = 0
    num_small_add: int = 0
    num_small_del: int = 0
    num_modify_existing: int = 0

    def __add__(self, other: Edits) -> Edits:
        return Edits(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


def with_newlines(programs: Sequence[str]) -> tuple[str, ...]:
    """Programs as the published parser leaves them: every one but the last ends in a newline of its block."""
    return (*(f"{code}\n" for code in programs[:-1]), *programs[-1:])


def distance(a: str, b: str) -> int:
    """The published distance of two programs: the longer one's length times what difflib finds unlike, cut to an int.

    Not symmetric, no metric, and with difflib's rule of thumb that takes frequent characters of long texts for noise.
    """
    return int(max(len(a), len(b)) * (1 - SequenceMatcher(None, a, b).ratio()))


def to_the_end(programs: Sequence[str]) -> list[int]:
    """The distance of each state to the last."""
    return [distance(code, programs[-1]) for code in programs]


def backtracking(distances: Sequence[int]) -> float:
    """The share of edits after which the last state is farther away; 0 without any edit."""
    moved = [after > before for before, after in pairwise(distances)]
    return fmean(moved) if moved else 0.0


def edit(before: str, after: str) -> Edits:
    """What one edit did, by the lines of difflib's Differ.

    Over the whole difference, each removed line is paired with the next added one below it, and each added line with
    the last removed one above it; a text counts once on its side. All of these pairs are modified lines, and no text
    in one is added or deleted. (How it pairs is inferred from the published values, all of which it gives.)
    """
    marked = [(line[0], line[2:]) for line in Differ().compare(before.splitlines(), after.splitlines())]
    marked = [(sign, text) for sign, text in marked if sign in "-+"]
    pairs, removed, added = list[tuple[str, str]](), set[str](), set[str]()
    above: str | None = None
    for at, (sign, text) in enumerate(marked):
        if sign == "-":
            above = text
            below = next((other for mark, other in marked[at + 1 :] if mark == "+"), None)
            pair = None if below is None or text in removed else (text, below)
        else:
            pair = None if above is None or text in added else (above, text)
        if pair is not None:
            pairs.append(pair)
            removed.add(pair[0])
            added.add(pair[1])
    more = [text for sign, text in marked if sign == "+" and text not in added]
    less = sum(sign == "-" and text not in removed for sign, text in marked)
    colours = [masked_anywhere(a) == masked_anywhere(b) for a, b in pairs]
    numbers = [
        re.sub(r"\d+", "", a) == re.sub(r"\d+", "", b) and not colour
        for (a, b), colour in zip(pairs, colours, strict=True)
    ]
    return Edits(
        lines_added=len(more),
        lines_deleted=less,
        lines_modified=len(pairs),
        color_changes=sum(colours),
        number_changes=sum(numbers),
        comment_additions=sum(line.strip().startswith("#") for line in more),
        function_additions=sum("->" in line for line in more),
        **{f"num_{category(len(more), less)}": 1},
    )


def category(added: int, deleted: int) -> str:
    """The kind of an edit that adds and deletes so many lines: the first that fits."""
    if added >= LARGE:
        return "large_add"
    if deleted >= LARGE:
        return "large_del"
    if added:
        return "small_add"
    return "small_del" if deleted else "modify_existing"


def comments(code: str) -> int:
    return sum(line.strip().startswith("#") for line in code.split("\n"))


def functions(code: str) -> int:
    """Functions of JavaScript. The text does not define this one; every published value that we know is 0."""
    return len(_FUNCTION.findall(code))


def occurrences(word: str) -> Callable[[str], int]:
    """Counts a word, whole words only."""
    found = re.compile(rf"\b{re.escape(word)}\b").findall
    return lambda code: len(found(code))


def properties(trace: Trace) -> dict[str, float]:
    """The published metrics of a trace, by their published names. Programs as they are: see ``with_newlines``.

    NaN where a time is no time.
    """
    programs, last = trace.programs, trace.programs[-1]
    times = instants(trace.timestamps)
    ends = to_the_end(programs)
    steps = [distance(a, b) for a, b in pairwise(programs)]
    seconds = [b - a for a, b in pairwise(times)]
    found: dict[str, float] = {
        "trace_year_last": math.nan if math.isnan(times[-1]) else int(trace.timestamps[-1][:4]),
        "program_number_last": trace.numbers[-1],
        **{f"num_occurrences_{word}_last": occurrences(word)(last) for word in WORDS},
        "num_functions_last": functions(last),
        "num_comments_last": comments(last),
        "trace_length_all": len(programs),
        "backtracking_ratio_all": backtracking(ends),
        "mean_edit_distance_from_end_all": _mean(ends[:-1]),
        "first_to_last_edit_distance_all": ends[0],
        "mean_sequential_edit_distance_all": _mean(steps),
        "mean_time_diff_all": _mean(seconds),
        "total_time_all": times[-1] - times[0],
    }
    counters = {f"num_occurrences_{word}": occurrences(word) for word in ("box", "turtle")} | {
        "num_functions": functions
    }
    sums = {name: sum(map(count, programs)) for name, count in counters.items()}
    found |= {f"sum_{name}_all": value for name, value in sums.items()}
    found |= {f"mean_{name}_all": value / len(programs) for name, value in sums.items()}
    total = sum((edit(a, b) for a, b in pairwise(programs)), Edits())
    done = {name: getattr(total, name) for name in Edits.__slots__}
    found |= {f"edit_sum_{name}_all": value for name, value in done.items()}
    # By the number of states, not of edits.
    return found | {f"edit_mean_{name}_all": value / len(programs) for name, value in done.items()}


def colours(trace: Trace) -> dict[str, int]:
    """The colours of the last state."""
    return substrings(trace.programs[-1])


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else 0.0
