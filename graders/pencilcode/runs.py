"""Running Pencil Code programs: compile, run in the stub of a page, and the record of what came of it."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from graders import pool as pools
from graders.pencilcode.install import require
from graders.pool import Pool
from graders.python import ATTEMPTS, death, run_again
from graders.sandbox import ScriptRequest, Worker, WorkerLostError

Status = Literal["ok", "compile_error", "runtime_error", "timeout", "memory", "grader_error"]
"""``ok``: no error within the time, also when the program still moves or waits for input. ``compile_error``: neither
IcedCoffeeScript nor JavaScript. ``runtime_error``: an error that nothing caught, in the program's body or in what it
had called later. ``timeout``: it kept a browser from answering. ``memory``: it used too much. ``grader_error``: *we*
failed; the run says nothing about the program."""

Mark = tuple[str | float, ...]
"""One thing drawn: its kind, then numbers in Pencil Code's coordinates and its colour.

``line x0 y0 x1 y1 colour width``, ``dot|box|arrow x y size colour``, ``fill points x y x y ... colour``,
``label x y text``, ``rect x y w h colour``, ``canvas colour``."""

_AHEAD = 32
_BETTER = {"ok": 0, "timeout": 1, "memory": 2, "runtime_error": 3, "compile_error": 4}  # the lower, the better


@dataclass(frozen=True, slots=True)
class Pose:
    """The main turtle in the end: place in pixels from the middle of the page, y up; heading in degrees clockwise from
    north, in (-180, 180]; the pen's colour ("none" without one); whether the turtle is shown."""

    x: float
    y: float
    heading: float
    pen: str
    visible: bool


@dataclass(frozen=True, slots=True)
class Drawing:
    """What was drawn and written: the first 2,000 marks and 200 texts of 500 characters, and how many there were."""

    marks: tuple[Mark, ...]
    texts: tuple[str, ...]
    total_marks: int
    total_texts: int
    turtles: int
    sounds: int

    def count(self, kind: str) -> int:
        """How many of the marks kept are of a kind: "line", "dot", "box", "fill", "label", ..."""
        return sum(mark[0] == kind for mark in self.marks)

    @property
    def colours(self) -> tuple[str, ...]:
        """The colours of the marks kept, as the program wrote them, sorted."""
        at = {"line": -2}
        kept = (mark for mark in self.marks if mark[0] != "label" and len(mark) > 1)
        return tuple(sorted({str(mark[at.get(str(mark[0]), -1)]) for mark in kept}))

    @property
    def length(self) -> float:
        """The length of all lines kept, in pixels, to three places."""
        lines = (mark[1:5] for mark in self.marks if mark[0] == "line")
        return round(math.fsum(math.hypot(x1 - x0, y1 - y0) for x0, y0, x1, y1 in lines), 3)  # type: ignore[operator]

    @property
    def bounds(self) -> tuple[float, float, float, float] | None:
        """Least x and y, greatest x and y of lines and of the middles of dots and boxes; None when there are none."""
        points: list[tuple[float, float]] = []
        for mark in self.marks:
            if mark[0] == "line":
                points += [(mark[1], mark[2]), (mark[3], mark[4])]  # type: ignore[list-item]
            elif mark[0] in ("dot", "box"):
                points.append((mark[1], mark[2]))  # type: ignore[arg-type]
        if not points:
            return None
        xs, ys = zip(*points, strict=True)
        return min(xs), min(ys), max(xs), max(ys)


@dataclass(frozen=True, slots=True)
class Run:
    """What one program did, the same every time. ``pose`` and ``drawing``: None where it was killed or did not compile.

    ``message`` explains every status but ``ok``. ``language`` is what it was taken for; ``waiting`` tells that it asked
    for input that never came, or for something from the network. ``seconds`` is virtual time: when the last thing
    happened.
    """

    status: Status
    message: str = ""
    language: Literal["coffeescript", "javascript"] = "coffeescript"
    pose: Pose | None = None
    drawing: Drawing | None = None
    waiting: bool = False
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON would keep it."""
        from dataclasses import asdict

        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Compiled:
    """JavaScript, or why there is none: ``compile_error``, ``timeout``, ``memory`` or ``grader_error``, and a line."""

    javascript: str | None
    status: Status = "ok"
    message: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """``seconds`` of virtual time, ``cpu_seconds`` of real computing for the compiler and for each way of running the
    program, ``memory_mb`` for all that it keeps."""

    seconds: float = 5.0
    cpu_seconds: float = 2.0
    memory_mb: int = 512


DEFAULT = Limits()


def run(
    program: str, *, answers: Sequence[str] = (), seed: int = 0, limits: Limits = DEFAULT, pool: Pool | None = None
) -> Run:
    """Run a program as IcedCoffeeScript and, if that does not work, as JavaScript; the better outcome counts.

    ``answers`` are typed in one after another, a virtual second each, when the program asks; ``seed`` is its chance.
    Raises NotInstalledError, naming the step, when the engine or the compiler is missing, and IsolationError as
    `graders.grade` does. A failure of ours is tried once more and then has the status ``grader_error``.
    """
    require()
    found: Run = (pool or pools.shared()).submit(partial(_run, program, tuple(answers), seed, limits)).result()
    return found


def run_many(
    programs: Iterable[str],
    *,
    seed: int = 0,
    limits: Limits = DEFAULT,
    workers: int | None = None,
    pool: Pool | None = None,
) -> Iterator[Run]:
    """Runs in the order of ``programs``, as they become known, on worker processes, by default one a core.

    ``programs`` is read a little ahead only. Raises as `run`.
    """
    require()
    own = Pool(workers) if pool is None else None
    used = own or pool
    assert used is not None
    waiting: deque[Future[Run]] = deque()
    try:
        for program in programs:
            waiting.append(used.submit(partial(_run, program, (), seed, limits)))
            while len(waiting) > _AHEAD * used.workers or (waiting and waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        if own is not None:
            own.close()


def compile(program: str, *, limits: Limits = DEFAULT, pool: Pool | None = None) -> Compiled:
    """The JavaScript that a program in IcedCoffeeScript becomes. Raises as `run`."""
    require()
    found: Compiled = (
        (pool or pools.shared()).submit(partial(_again, partial(compile_with, program=program, limits=limits))).result()
    )
    return found


def _run(program: str, answers: tuple[str, ...], seed: int, limits: Limits, worker: Worker) -> Run:
    def attempt(worker: Worker) -> Run:
        return run_with(worker, program, answers, seed, limits)

    done = _again(attempt, worker)
    return done if isinstance(done, Run) else Run(done.status, done.message)


def _again(attempt: Any, worker: Worker) -> Any:
    """A lost worker is our failure: try again once, in a fresh one."""
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            return attempt(worker)
        except WorkerLostError as lost:
            reason = str(lost)
    return Compiled(None, "grader_error", reason)


def run_with(worker: Worker, program: str, answers: tuple[str, ...], seed: int, limits: Limits) -> Run:
    """As `run`, on one worker. Raises WorkerLostError and IsolationError."""
    compiled = compile_with(worker, program=program, limits=limits)
    if compiled.javascript is None:
        found = Run(compiled.status, compiled.message)
    else:
        found = _execute(worker, compiled.javascript, answers, seed, limits)
    if found.status not in ("compile_error", "runtime_error"):
        return found
    other = _execute(worker, program, answers, seed, limits)
    if _BETTER[other.status] < _BETTER[found.status]:
        return _javascript(other)
    return found


def _javascript(run: Run) -> Run:
    from dataclasses import replace

    return replace(run, language="javascript")


def compile_with(worker: Worker, program: str, limits: Limits) -> Compiled:
    """As `compile`, on one worker. Raises WorkerLostError and IsolationError."""
    request = ScriptRequest(program, True, "{}", limits.cpu_seconds, limits.memory_mb << 20)
    done = run_again(worker, request)
    tag, payload = done.claims[0] if done.claims else (b"", b"")
    text = payload.decode("utf-8", "replace")
    if tag == b"C":
        return Compiled(text)
    if tag == b"S":
        return Compiled(None, "compile_error", _compiler_words(text))
    status = "memory" if tag == b"Z" else _end(done)
    return Compiled(None, status, f"the compiler {_WORDS[status]}")


def _compiler_words(text: str) -> str:
    """``unexpected ) (line 3, column 13)`` from all that the compiler says."""
    import re

    match = re.search(r"\[stdin\]:(\d+):(\d+): error: ([^\n]*)", text)
    if match is None:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[0].partition(": ")[2][:200] if lines else "it does not compile"
    return f"{match[3][:200]} (line {match[1]}, column {match[2]})"


_WORDS = {"timeout": "took too long", "memory": "used too much memory"}


def _end(done: Any) -> Literal["timeout", "memory"]:
    """What the end of a child without a claim means. V8 ends itself, in one of several ways, when memory is out."""
    return "timeout" if death(done).status == "timeout" else "memory"


def _execute(worker: Worker, javascript: str, answers: tuple[str, ...], seed: int, limits: Limits) -> Run:
    settings = json.dumps({"seed": seed, "seconds": limits.seconds, "answers": list(answers)})
    request = ScriptRequest(javascript, False, settings, limits.cpu_seconds, limits.memory_mb << 20)
    done = run_again(worker, request)
    if done.stages < 2:
        raise WorkerLostError(f"a child could not be set up (exit code {done.exit_code})")
    tag, payload = done.claims[0] if done.claims else (b"", b"")
    if tag == b"V":
        return _read(payload)
    if tag == b"E":
        return Run("runtime_error", "the program broke the page")
    status = "memory" if tag == b"Z" else _end(done)
    return Run(status, f"the program {_WORDS[status]}")


def _read(payload: bytes) -> Run:
    """The record in a claim. What makes no sense is the program's own doing: an honest stub writes nothing such."""
    try:
        raw = json.loads(payload)
        x, y, heading = (float(number) for number in raw["pose"])
        pose = Pose(x, y, heading, str(raw["pen"])[:500], raw["visible"] is True)
        marks = tuple(
            tuple(part if isinstance(part, str) else float(part or 0) for part in mark) for mark in raw["marks"][:2000]
        )
        texts = tuple(str(text)[:500] for text in raw["texts"][:200])
        total_marks, total_texts, turtles, sounds = (int(number) for number in raw["totals"])
        drawing = Drawing(marks, texts, total_marks, total_texts, turtles, sounds)
        kind, error, stopped = (" ".join(str(raw[name])[:500].split()) for name in ("kind", "error", "stopped"))
        waiting, seconds = raw["waiting"] is True, float(raw["time"]) / 1000
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return Run("runtime_error", "the program broke the page")
    if kind == "compile":
        return Run("compile_error", error)
    status: Status = "runtime_error" if kind else "timeout" if stopped else "ok"
    return Run(status, f"{kind}: {error}" if kind else stopped, "coffeescript", pose, drawing, waiting, seconds)
