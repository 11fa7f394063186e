"""What a trace shows of how its student works: one number each, NaN where it does not apply.

Most follow Ross et al. (2025), section 3, with other definitions under other names: Levenshtein distance instead of
difflib's, colours as whole words, lines paired within a hunk, an average over edits instead of states, and nothing that
needs the end of a trace where the trace was cut (censored). `simstudent.evaluation.behaviour_published` has theirs.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rapidfuzz.distance import Levenshtein

from simstudent.data.records import Trajectory
from simstudent.data.sources.pencilcode import CUT_FROM
from simstudent.data.trace_text import Trace
from simstudent.evaluation import behaviour_colours
from simstudent.evaluation.behaviour_lines import LineEdit, line_edit
from simstudent.evaluation.behaviour_published import CATEGORIES, category
from simstudent.evaluation.behaviour_times import instants

PAUSE = 600.0
"""Seconds from which on a gap between two states is a pause, in which nobody worked: no more of it counts."""

Properties = dict[str, float]


@dataclass(frozen=True, slots=True)
class Syntax:
    """How a language is read: what begins a comment, what makes a function, and the words that are counted."""

    comment: str
    function: str
    keywords: tuple[str, ...]


SYNTAX: Mapping[str, Syntax] = {
    "coffeescript": Syntax(r"^\s*#", r"[-=]>", ("box", "turtle", "await")),
    "javascript": Syntax(r"^\s*//", r"=>|\bfunction\b", ("box", "turtle", "await")),
    "html": Syntax(r"<!--", r"=>|\bfunction\b", ("div", "script", "style")),
    "css": Syntax(r"/\*", r"(?!)", ("color", "width", "margin")),
    "python": Syntax(r"^\s*#", r"\bdef\s+\w+|\blambda\b", ("for", "while", "if", "return", "print")),
}
"""By the name of a language; one that is not here is read as Python is."""

OF_THE_END = frozenset(
    {"states", "seconds", "active_seconds", "backtracking", "distance_to_end", "first_to_last", "year"}
    | {"last_lines", "last_characters", "last_comments", "last_functions", "last_colours"}
)
"""Properties that say something only of a trace whose end is known; ``last_word_...`` are too."""


def trace_of(t: Trajectory) -> Trace:
    """A student's trajectory as a trace. States without a time have an empty one."""
    states = t.submissions
    return Trace(
        t.assignment,
        tuple(s.code for s in states),
        tuple(s.time or "" for s in states),
        tuple(range(1, len(states) + 1)),
        "censored" not in states[-1].more,
    )


def properties(trace: Trace, language: str, keywords: Sequence[str] | None = None) -> Properties:
    """All properties of a trace, those of `OF_THE_END` NaN where it was cut. ``keywords``: over the language's own."""
    syntax = SYNTAX.get(language, SYNTAX["python"])
    words = syntax.keywords if keywords is None else tuple(keywords)
    last = trace.programs[-1]
    found: Properties = {
        **_way(trace),
        **_edits([line_edit(a, b) for a, b in pairwise(trace.programs)], syntax),
        "last_lines": len([line for line in last.splitlines() if line.strip()]),
        "last_characters": len(last),
        "last_comments": _comments(last.splitlines(), syntax),
        "last_functions": len(re.findall(syntax.function, last)),
        "last_colours": len(behaviour_colours.words(last)),
        **{f"last_word_{word}": len(re.findall(rf"\b{re.escape(word)}\b", last)) for word in words},
    }
    if not trace.complete:
        found |= {name: math.nan for name in found if name in OF_THE_END or name.startswith("last_word_")}
    cut = any(len(code) >= CUT_FROM for code in trace.programs)
    return {**found, "complete": float(trace.complete), "possibly_cut": float(cut)}


def _way(trace: Trace) -> Properties:
    """How the student came to the last state: distances are Levenshtein's, in characters, times in seconds."""
    programs, times = trace.programs, instants(trace.timestamps)
    last = programs[-1]
    ends = [float(Levenshtein.distance(code, last)) for code in programs]
    steps = [float(Levenshtein.distance(a, b)) for a, b in pairwise(programs)]
    gaps = [b - a for a, b in pairwise(times)]
    return {
        "states": len(programs),
        "seconds": times[-1] - times[0],
        "active_seconds": sum(math.nan if math.isnan(gap) else min(max(gap, 0.0), PAUSE) for gap in gaps),
        "seconds_per_edit": _median(gaps),
        "year": float(trace.timestamps[-1][:4]) if not math.isnan(times[-1]) else math.nan,
        "backtracking": _mean([after > before for before, after in pairwise(ends)]),
        "distance_to_end": _mean(ends[:-1]),
        "first_to_last": ends[0],
        "edit_size": _mean(steps),
    }


def _edits(edits: Sequence[LineEdit], syntax: Syntax) -> Properties:
    """Means over a trace's edits, and the shares of each kind of edit among them."""
    kinds = [category(len(e.added), len(e.deleted)) for e in edits]
    return {
        "lines_added": _mean([len(e.added) for e in edits]),
        "lines_deleted": _mean([len(e.deleted) for e in edits]),
        "lines_changed": _mean([len(e.changed) for e in edits]),
        "colour_changes": _mean([e.colours for e in edits]),
        "number_changes": _mean([e.numbers for e in edits]),
        "comments_added": _mean([_comments(e.added, syntax) for e in edits]),
        "functions_added": _mean([sum(bool(re.search(syntax.function, line)) for line in e.added) for e in edits]),
        **{f"edits_{kind}": _mean([found == kind for found in kinds]) for kind in CATEGORIES},
    }


def _comments(lines: Sequence[str], syntax: Syntax) -> int:
    return sum(bool(re.search(syntax.comment, line)) for line in lines)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _median(values: Sequence[float]) -> float:
    """The median, since a few pauses over night are most of a mean; NaN when a value is."""
    return statistics.median(values) if values and not any(map(math.isnan, values)) else math.nan
