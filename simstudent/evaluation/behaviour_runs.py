"""Whether last programs run: Pencil Code's in the stub of a page, Python's as far as compiling goes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from graders.compare import compiles
from simstudent.data.sources.pencilcode import CUT_FROM
from simstudent.errors import SimstudentError
from simstudent.evaluation.behaviour_properties import Properties
from simstudent.rollout.traces import Traced

PENCILCODE = ("coffeescript", "javascript")
Outcomes = Mapping[tuple[str, str], float]
"""By language and program: 1 if it runs without an error, 0 if not, NaN if that is not known."""


def executed(samples: Iterable[Traced]) -> dict[tuple[str, str], float]:
    """The outcome of every distinct last program. Python programs are compiled, not run; HTML and CSS are not known.

    A failure of the grader is not known either. Raises SimstudentError where Pencil Code programs cannot be run.
    """
    from graders.pencilcode import NotInstalledError, run_many

    ends = ((s.language, s.trace.programs) for s in samples)
    programs = sorted({(language, held[-1]) for language, held in ends if held})
    found = {(language, code): float(compiles(code)) for language, code in programs if language == "python"}
    drawn = [(language, code) for language, code in programs if language in PENCILCODE]
    if drawn:
        try:
            runs = list(run_many(code for _, code in drawn))
        except NotInstalledError as error:
            raise SimstudentError(f"--execute: {error}") from None
        known = (math.nan if run.status == "grader_error" else float(run.status == "ok") for run in runs)
        found |= dict(zip(drawn, known, strict=True))
    return found


def with_outcome(values: Properties, sample: Traced, outcomes: Outcomes) -> Properties:
    """The properties of a trace, and whether its last program runs; apart, of those that the log cannot have cut."""
    trace = sample.trace
    known = outcomes.get((sample.language, trace.programs[-1]), math.nan) if trace.complete else math.nan
    name = "last_compiles" if sample.language == "python" else "last_runs"
    whole = math.nan if len(trace.programs[-1]) >= CUT_FROM else known
    return {**values, name: known, f"{name}_not_cut": whole}
