"""Traces from trace models: whole ones from a title, or the rest of one from a student's first states.

Nothing is graded or fed back in between: the model writes states, their times and the end by itself, and what it wrote
is read back (`simstudent.data.trace_text`). One JSONL line each, resumable, in ``<run>/behaviour/<label>-<time>/``:
``<method>.jsonl`` for every model, ``students.jsonl`` with the true traces, and baselines from training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from simstudent.data.records import Assignment, Submission
from simstudent.data.trace_text import END, Trace, parse
from simstudent.dialogue.encode import Encoder
from simstudent.dialogue.traces import block, title_line
from simstudent.rollout.engine import Engine, EngineError, Sampling
from simstudent.rollout.schedule import shard_of, side_by_side
from simstudent.rollout.simulate import request_seed
from simstudent.runs import append_line, read_records


@dataclass(frozen=True, slots=True)
class TraceStart:
    """Where a trace begins: its student and title, the ``states`` already there, and the ``header`` of the next.

    ``cell``: of the test side, in a split by cells.
    """

    student: str
    assignment: Assignment
    states: tuple[Submission, ...] = ()
    header: str = ""
    sample: int = 0
    cell: str | None = None

    @property
    def key(self) -> str:
        """``student/assignment/states/sample``: the same for every model."""
        return f"{self.student}/{self.assignment.id}/{len(self.states)}/{self.sample}"

    @property
    def given(self) -> str:
        """The text that the model goes on from, uncut."""
        turns = [block(number, state) for number, state in enumerate(self.states, 1)]
        blocks = "".join(f"{turn.header}{turn.answer}\n" for turn in turns)
        return f"{title_line(self.assignment)}{blocks}{self.header}"


@dataclass(frozen=True, slots=True)
class Traced:
    """What somebody made of an assignment, state by state, ``given`` ones included. ``cell``: as in `TraceStart`."""

    student: str
    assignment: str
    language: str
    trace: Trace
    given: int = 0
    sample: int = 0
    cell: str | None = None


@dataclass(frozen=True, slots=True)
class TraceSample:
    """A trace as text, given part included. ``complete``: it came to its end token; else it is censored.

    ``error``: the engine failed, and nothing is known of it. ``tokens`` were written by the model.
    """

    key: str
    student: str
    assignment: str
    language: str
    cell: str | None
    sample: int
    states: int
    text: str
    complete: bool
    tokens: int = 0
    error: str | None = None

    def read(self) -> Traced:
        """It read back. A state that equals the one before is left out, as it is in the students' own traces."""
        trace = without_repeats(parse(self.text + END * self.complete))
        trace = replace(trace, complete=trace.complete or self.complete)  # also where no state came before the end
        return Traced(self.student, self.assignment, self.language, trace, self.states, self.sample, self.cell)

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> TraceSample:
        return cls(**raw)


def without_repeats(found: Trace, before: str | None = None) -> Trace:
    """The trace without states that equal the one before; ``before`` stands before the first."""
    states = [before, *found.programs]
    kept = [n for n, code in enumerate(found.programs) if code != states[n]]
    return replace(
        found,
        programs=tuple(found.programs[n] for n in kept),
        timestamps=tuple(found.timestamps[n] for n in kept),
        numbers=tuple(found.numbers[n] for n in kept),
    )


def written(start: TraceStart, text: str, complete: bool, tokens: int = 0, error: str | None = None) -> TraceSample:
    """The record of a trace that goes on from ``start`` with ``text``."""
    return TraceSample(
        start.key,
        start.student,
        start.assignment.id,
        start.assignment.language,
        start.cell,
        start.sample,
        len(start.states),
        start.given + text,
        complete,
        tokens,
        error,
    )


async def sample_trace(
    start: TraceStart,
    engine: Engine,
    encoder: Encoder,
    *,
    adapter: str | None,
    seed: int,
    temperature: float,
    top_p: float,
    token: Callable[[str], int] | None = None,
) -> TraceSample:
    """Let the model go on from ``start`` to its end token, or to the end of the window.

    Of states given, the window keeps the title and the latest that leave ``dialogue.answer_tokens`` of room. ``token``:
    by student, what the model was trained with before everything else (training/students.py). An engine that fails is
    the sample's ``error``.
    """
    turns = [block(number, state) for number, state in enumerate(start.states, 1)]
    ids = encoder.prompt("", title_line(start.assignment), turns, header=start.header)
    if ids is None:
        return written(start, "", False, error=f"the title does not fit the window of {encoder.window} tokens")
    sampling = Sampling(encoder.stop_ids, encoder.window - len(ids), temperature, top_p)
    if token is not None:
        ids = (token(start.student), *ids)
    try:
        done = await engine.generate(ids, sampling, seed=request_seed(seed, start.key, 0), adapter=adapter)
    except EngineError as error:
        return written(start, "", False, error=f"engine: {error}")
    return written(start, encoder.decode(done.ids), not done.truncated, len(done.ids))


async def sample_all(
    path: Path,
    todo: Sequence[TraceStart],
    engines: Sequence[Engine],
    encoder: Encoder,
    say: Callable[[str], None],
    *,
    concurrency: int,
    **options: Any,
) -> None:
    """Sample every start, at most ``concurrency`` at once, and append each to ``path`` as it ends.

    ``options`` are those of `sample_trace`.
    """
    path.touch()
    queue, tally = iter(todo), {"ended": 0, "tokens": 0, "failed": 0, "censored": 0}

    async def work() -> None:
        for start in queue:
            engine = engines[shard_of(f"{start.student}/{start.assignment.id}", len(engines))]
            found = await sample_trace(start, engine, encoder, **options)
            append_line(path, found.to_dict())
            tally["ended"] += 1
            tally["tokens"] += found.tokens
            tally["failed"] += found.error is not None
            tally["censored"] += not found.complete
            if tally["ended"] % max(1, len(todo) // 10) == 0:
                say(f"  {path.stem}: {tally['ended']:,}/{len(todo):,} traces, {tally['tokens']:,} tokens")

    await side_by_side(work, min(concurrency, len(todo)))
    if todo:
        line = f"  {path.stem}: {len(todo):,} traces, {tally['tokens']:,} tokens; {tally['censored']:,} have no end"
        if tally["failed"]:
            line += f"; {tally['failed']} FAILED (see 'error' in {path.name}; --resume runs them again)"
        say(line)


def read_traces(path: Path) -> list[Traced]:
    """The samples in a file that did not fail, read back."""
    return [s.read() for s in read_records(path, TraceSample.from_dict, "trace") if s.error is None]
