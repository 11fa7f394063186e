"""Grading Python programs: from a problem's tests to requests for a worker, from its claims to a grade."""

from __future__ import annotations

import functools
import marshal
import re
import signal
from dataclasses import dataclass

from graders.claims import Expected, expect, same, shorten, show
from graders.literal import literal
from graders.printed import SHOWN, printed
from graders.problem import FunctionTest, Grade, Problem, ProblemError, ProgramTest, Status, TestOutcome
from graders.sandbox import Request, Run, ScriptRequest, Worker, WorkerLostError

ATTEMPTS = 2  # a lost worker is our failure: try again once, in a fresh one
_KILLED = 5  # runs of a program that somebody kills: by accident once or twice, so often by its own doing
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{4,}\b")
_CPU_SIGNALS = (signal.SIGPROF, signal.SIGXCPU, signal.SIGVTALRM)
NOT_RUN = TestOutcome("not_run")
TIMEOUT = TestOutcome("timeout", None, "took too long")
MEMORY = TestOutcome("memory", "MemoryError", "used too much memory")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A problem's tests, encoded once: what the worker gets (``inputs``) and what it never sees (``expected``)."""

    inputs: tuple[bytes, ...]
    expected: tuple[Expected | str, ...]
    claim_bytes: int
    after: tuple[bool, ...] = ()


@functools.lru_cache(maxsize=4096)
def prepare(problem: Problem) -> Prepared:
    """Encode a problem. Raises ProblemError for values that cannot be handed to another process."""
    if problem.language != "python":
        raise ProblemError(f"problem {problem.id!r}: no grader for language {problem.language!r}")
    inputs: list[bytes] = []
    expected: list[Expected | str] = []
    tests: tuple[FunctionTest | ProgramTest, ...] = problem.tests
    for number, test in enumerate(tests, 1):
        if isinstance(test, ProgramTest):
            inputs.append(test.stdin.encode("utf-8", "replace"))
            expected.append(test.stdout)
            continue
        try:
            inputs.append(marshal.dumps(literal(test.args), 2))
            value = literal(test.expected)
            expected.append(expect(value if test.after is None else (value, literal(test.after))))
        except ValueError as error:
            raise ProblemError(f"problem {problem.id!r}, test {number}: {error}") from None
    largest = max(len(e) * 4 if isinstance(e, str) else len(e.raw) for e in expected)
    room = 1 << 16
    while room < 2 * largest:  # in powers of two: the bound should not tell a program what is expected
        room *= 2
    after = tuple(isinstance(test, FunctionTest) and test.after is not None for test in tests)
    return Prepared(tuple(inputs), tuple(expected), room, after)


def grade_with(worker: Worker, code: str | None, problem: Problem) -> Grade:
    """Grade one program in ``worker``. Raises ProblemError and IsolationError; every other failure of ours is a
    ``grader_error``."""
    prepared = prepare(problem)
    blank = (NOT_RUN,) * len(prepared.inputs)
    if code is None or not code.strip():
        return Grade(0.0, "no_code", blank, "there is no code")
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            return _attempt(worker, code, problem, prepared)
        except WorkerLostError as lost:
            reason = str(lost)
    return Grade(0.0, "grader_error", blank, reason)


def _attempt(worker: Worker, code: str, problem: Problem, prepared: Prepared) -> Grade:
    """All tests, in as many children as it takes: the test a child dies in fails alone."""
    total = len(prepared.inputs)
    tests: list[TestOutcome] = []
    spent = 0.0
    while len(tests) < total:
        run = run_again(worker, _request(code, problem, prepared, len(tests)))
        spent += run.cpu_seconds
        if run.stages < 2:
            return our_failure(run, total)
        load, *claims = run.claims or ((b"", b""),)
        if load[0] != b"L":
            status, outcome, message = load_failure(load, run, problem)
            if not tests and status != "graded":
                return Grade(0.0, status, (NOT_RUN,) * total, message, spent)
            tests += [outcome] * (total - len(tests))
            break
        for tag, payload in claims[: total - len(tests)]:
            tests.append(_outcome(tag, payload, prepared.expected[len(tests)], problem, problem.tests[len(tests)]))
        if len(tests) == total or (claims and claims[-1][0] == b"Z"):
            continue
        tests.append(death(run))
        if run.end == "wall" or (problem.stop_at_timeout and tests[-1] == TIMEOUT):  # the others would wait as long
            tests += [NOT_RUN] * (total - len(tests))
    passed = sum(t.status == "pass" for t in tests)
    missing = f"there is no function named {problem.entry}" if tests[0].error == "MissingFunction" else ""
    return Grade(passed / total, "graded", tuple(tests), missing, spent)


def run_again(worker: Worker, request: Request | ScriptRequest) -> Run:
    """Run a request again if its child was killed, and not by us: by the kernel for want of memory, or by hand."""
    for _ in range(_KILLED):
        run = worker.run(request)
        if run.end != "ended" or run.exit_code != -signal.SIGKILL:
            break
    return run


def _request(code: str, problem: Problem, prepared: Prepared, done: int) -> Request:
    return Request(
        code=code,
        prelude=problem.prelude,
        entry=problem.entry,
        tests=prepared.inputs[done:],
        cpu_seconds=problem.cpu_seconds,
        memory_bytes=problem.memory_mb << 20,
        claim_bytes=prepared.claim_bytes,
        after=prepared.after[done:],
    )


def our_failure(run: Run, total: int) -> Grade:
    load = run.claims[0] if run.claims else (b"", b"")
    why = exception(load[1])[1] if load[0] == b"P" else death(run).detail
    return Grade(0.0, "grader_error", (NOT_RUN,) * total, f"the problem's prelude failed: {why}")


def load_failure(load: tuple[bytes, bytes], run: Run, problem: Problem) -> tuple[Status, TestOutcome, str]:
    """A program that could not be loaded: the grade's status, what it means for a test, the message."""
    tag, payload = load
    if tag == b"M":
        text = f"there is no function named {problem.entry}"
        return "graded", TestOutcome("error", "MissingFunction", text), text
    if tag == b"S":
        text = clean(payload, 400)
        return "syntax_error", TestOutcome("error", text.partition(":")[0], text), text
    if tag == b"R":
        name, text = exception(payload)
        return "runtime_error", TestOutcome("error", name, f"raised {text}"), text
    outcome = MEMORY if tag == b"Z" else death(run)
    status: Status = "runtime_error" if outcome.status == "error" else "timeout"
    return "memory" if outcome.status == "memory" else status, outcome, f"the program {outcome.detail}"


def _outcome(
    tag: bytes, payload: bytes, expected: Expected | str, problem: Problem, test: FunctionTest | ProgramTest
) -> TestOutcome:
    """What one claim is worth. Anything unknown is a wrong answer: an honest child writes nothing unknown."""
    if isinstance(test, FunctionTest) and test.raises is not None:
        return _raised(tag, payload, test.raises, test.after is not None)
    if tag == b"E":
        return error_outcome(payload)
    if tag == b"Z":
        return MEMORY
    if isinstance(expected, str):
        return printed(payload, expected, tag == b"Q", problem.compare, problem.tolerance)
    if tag == b"V" and same(payload, expected, problem.tolerance, problem.strict):
        return TestOutcome("pass")
    if isinstance(test, FunctionTest) and test.after is not None:
        return TestOutcome("wrong", None, _changed(tag, payload, expected))
    got = {b"V": show(payload, SHOWN), b"X": clean(payload, SHOWN)}.get(tag, "a very large value")
    return TestOutcome("wrong", None, f"returned {got}, expected {show(expected.raw, SHOWN)}")


def _raised(tag: bytes, payload: bytes, name: str, after: bool) -> TestOutcome:
    """A test that an exception of this name should have ended."""
    if tag == b"E":
        got, text = exception(payload)
        return TestOutcome("pass") if got == name else TestOutcome("error", got, f"raised {text}, expected {name}")
    if tag == b"Z":
        return MEMORY
    got = (
        "a value" if after else {b"V": show(payload, SHOWN), b"X": clean(payload, SHOWN)}.get(tag, "a very large value")
    )
    return TestOutcome("wrong", None, f"returned {got}, expected {name} to be raised")


def _changed(tag: bytes, payload: bytes, expected: Expected) -> str:
    """What was returned together with what became of the arguments, and what should have."""
    got = show(payload, 2 * SHOWN) if tag == b"V" else "something that is no plain value"
    return f"value and arguments were {got}, expected {show(expected.raw, 2 * SHOWN)}"


def error_outcome(payload: bytes) -> TestOutcome:
    """A test that a claimed exception ended."""
    name, text = exception(payload)
    return TestOutcome("error", name, f"raised {text}")


def death(run: Run) -> TestOutcome:
    """Why a child left without finishing a test."""
    if run.end != "ended" or -run.exit_code in _CPU_SIGNALS:
        return TIMEOUT
    if run.exit_code == -signal.SIGKILL:
        return MEMORY  # not ours: the kernel's, for want of memory
    if run.exit_code < 0:
        try:
            name = signal.Signals(-run.exit_code).name
        except ValueError:
            name = f"signal {-run.exit_code}"
        return TestOutcome("error", "Crash", f"crashed the interpreter ({name})")
    return TestOutcome("error", "SystemExit", "ended the interpreter")


def exception(payload: bytes) -> tuple[str, str]:
    """Class name and one line of text for a claimed exception."""
    name, line, text = [*payload.split(b"\0", 2), b"", b""][:3]
    kind = clean(name, 60) or "Exception"
    message = clean(text, 120)
    where = f" (line {int(line)})" if line.isdigit() and len(line) < 7 and int(line) else ""
    return kind, (f"{kind}: {message}" if message else kind) + where


def clean(text: bytes, limit: int) -> str:
    """Text as one bounded line without addresses, which differ from run to run."""
    line = " ".join(text[: 4 * limit + 40].decode("utf-8", "replace").split())
    return shorten(ADDRESS.sub("0x...", line), limit)
