"""Made-up traces for the tests of behaviour; nobody wrote these programs."""

from __future__ import annotations

from simstudent.data.trace_text import Trace


def trace(*programs: str, complete: bool = True, times: tuple[str, ...] = ()) -> Trace:
    """A trace of these states, 30 seconds apart."""
    made = tuple(f"2021-03-04 10:{n // 2:02d}:{n % 2 * 30:02d}" for n in range(len(programs)))
    return Trace("flower", programs, times or made, tuple(range(1, len(programs) + 1)), complete)
