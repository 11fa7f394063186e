"""Functions graded by checks: trusted code such as HumanEval's ``def check(candidate)``, which calls the program's
function as it likes and asserts what it likes.

Two processes, never one, as in falconcode.py: a check runs in a locked-in child and the program in another. The check
gets a stand-in for the function (candidate.py), which answers with what the program's own child has claimed, read by
a strict reader. Neither the check's text nor anything it expects goes the other way: a program meets arguments only.
Which calls a check makes is found out by a try without a program; a program that answers as usual then costs a child
for its calls and one for the check. A call whose arguments were not foreseen costs another two.
"""

from __future__ import annotations

import ast
import functools
import marshal
from dataclasses import dataclass

from graders import python
from graders.problem import Grade, Problem, ProblemError, TestOutcome
from graders.sandbox import Request, Worker, WorkerLostError
from graders.trusted import BrokenError, DiedError, call, compiled, remember

_ROUNDS = 100  # calls of one check whose arguments depend on earlier answers
_ANSWER = 1 << 18  # bytes of one answer, changed arguments included
_ANSWERS = 1 << 22  # bytes of all answers to a check: they are read within its CPU time
_REMEMBERED = 1 << 16  # bytes of answers up to which a check's report on them is kept
_SHAPE = (str, str, str, int, str, bool, [bytes])  # of a `_Report`
_DETAIL = 100  # characters of a check's message or line

Answers = tuple[tuple[bytes, bytes, bytes], ...]  # a call, a claim's tag, its payload


@dataclass(frozen=True, slots=True)
class Prepared:
    """A checker's code, marshalled. ``lenient``: the same, but what is asserted does not matter."""

    checker: bytes
    lenient: bytes
    prelude: bytes
    solution: bytes


@dataclass(frozen=True, slots=True)
class _Report:
    """What came of one pass of a check; see `graders.candidate.run`."""

    kind: str
    error: str
    text: str
    line: int
    last: str
    missing: bool
    calls: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Trial:
    """What a try without a program showed: the calls made, and why the check is no good, if so.

    ``ended``: it came to an end, so that a program is to blame under which it does not.
    """

    calls: tuple[bytes, ...]
    broken: str
    ended: bool


@functools.lru_cache(maxsize=1024)
def prepare(problem: Problem) -> Prepared:
    """Compile a problem's checker. Raises ProblemError when it, the prelude or the solution does not compile, or
    one of the checks is not there."""
    if problem.language != "python":
        raise ProblemError(f"problem {problem.id!r}: no grader for language {problem.language!r}")
    where, text = f"problem {problem.id!r}", problem.checker or ""
    checker = compiled(text, "<checker>", f"{where}: the checker")
    missing = [name for name in problem.checks if name not in marshal.loads(checker).co_names]
    if missing:
        raise ProblemError(f"{where}: the checker defines no {missing[0]}()")
    tree = ast.fix_missing_locations(_Lenient().visit(ast.parse(text)))
    lenient = compiled(tree, "<checker>", f"{where}: the checker")
    prelude = compiled(problem.prelude, "<prelude>", f"{where}: the prelude")
    solution = compiled(problem.solution, "<solution>", f"{where}: the solution") if problem.solution else b""
    return Prepared(checker, lenient, prelude, solution)


class _Lenient(ast.NodeTransformer):
    """Lets a check go on after a failed assertion, to see which calls would come."""

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        body: list[ast.stmt] = [ast.Expr(node.test)]
        handler = ast.ExceptHandler(ast.Name("Exception", ast.Load()), None, [ast.Pass()])
        return ast.copy_location(ast.Try(body, [handler], [], []), node)


def grade_with(worker: Worker, code: str | None, problem: Problem) -> Grade:
    """Grade one program in ``worker``: the share of the problem's checks that it passes.

    Every check gets the program loaded afresh. It fails (``wrong``) by an AssertionError or by returning False, and is
    an ``error``, ``timeout`` or ``memory`` when an exception of the program passes through it, a call does not return,
    or the check cannot use what was returned. A check that fails whatever the program does is a ``grader_error``.
    Raises ProblemError and IsolationError; every other failure of ours is a ``grader_error``.
    """
    prepare(problem)
    blank = (python.NOT_RUN,) * len(problem.checks)
    if code is None or not code.strip():
        return Grade(0.0, "no_code", blank, "there is no code")
    reason = ""
    for _ in range(python.ATTEMPTS):
        try:
            return _attempt(worker, code, problem, blank)
        except WorkerLostError as lost:
            reason = str(lost)
        except BrokenError as broken:
            return Grade(0.0, "grader_error", blank, f"the checker failed: {broken}")
    return Grade(0.0, "grader_error", blank, reason)


def _attempt(worker: Worker, code: str, problem: Problem, blank: tuple[TestOutcome, ...]) -> Grade:
    tests: list[TestOutcome] = []
    spent = 0.0
    for name in problem.checks:
        outcome, cpu = _check(worker, code, problem, name)
        spent += cpu
        if isinstance(outcome, Grade):
            if not tests and outcome.status != "graded":
                return Grade(0.0, outcome.status, blank, outcome.message, spent)
            outcome = outcome.tests[0]
        tests.append(outcome)
        if problem.stop_at_timeout and outcome == python.TIMEOUT:
            break
    tests += [python.NOT_RUN] * (len(blank) - len(tests))
    missing = f"there is no function named {problem.entry}" if tests[0].error == "MissingFunction" else ""
    return Grade(sum(t.status == "pass" for t in tests) / len(tests), "graded", tuple(tests), missing, spent)


def _check(worker: Worker, code: str, problem: Problem, name: str) -> tuple[TestOutcome | Grade, float]:
    """One check's outcome, or the grade of a program that could not be loaded for it; CPU seconds of the program."""
    trial = _try(worker, problem, name)
    if trial.broken:
        raise BrokenError(f"{name}: {trial.broken}")
    calls, spent = trial.calls, 0.0
    for _ in range(_ROUNDS):
        answers, stopped, cpu = _answers(worker, code, problem, calls)
        spent += cpu
        if isinstance(stopped, Grade):
            return stopped, spent
        try:
            report = _report(worker, problem, name, answers)
        except DiedError as died:
            if not trial.ended:
                raise BrokenError(f"{name}: it {died}") from None
            return TestOutcome("error", "CheckDied", f"with its answers the check {died}"), spent
        if not report.missing:
            return _outcome(report, stopped, trial, problem, name), spent
        calls = report.calls + trial.calls[len(report.calls) :]
    return _endless(trial, name), spent


def _outcome(report: _Report, stopped: TestOutcome, trial: _Trial, problem: Problem, name: str) -> TestOutcome:
    before = f"{report.last}; " if report.last else ""
    words = f"{report.error}: {report.text}".rstrip(": ")
    match report.kind:
        case "pass" | "wrong" if not report.calls:
            raise BrokenError(f"{name}: it never calls the program")
        case "pass":
            return TestOutcome("pass")
        case "wrong":
            lines = (problem.checker or "").split("\n")
            line = lines[report.line - 1].strip() if 0 < report.line <= len(lines) else f"{name} returned False"
            return TestOutcome("wrong", None, before + "failed: " + _short(report.text or line, _DETAIL))
        case "program":
            return TestOutcome("error", report.error, _short(f"{report.last}: {report.text}".rstrip(": "), 2 * _DETAIL))
        case "stopped":
            return stopped
        case "endless":
            return _endless(trial, name)
        case "values":
            return TestOutcome("error", report.error, before + "the check raised " + _short(words, _DETAIL))
        case _:
            raise BrokenError(f"{name}: {words}" + (f" (line {report.line})" if report.line else ""))


def _short(text: str, limit: int) -> str:
    return python.clean(text.encode("utf-8", "replace"), limit)


def _endless(trial: _Trial, name: str) -> TestOutcome:
    if not trial.ended:
        raise BrokenError(f"{name}: it makes too many calls")
    return TestOutcome("error", "CheckDied", "with its answers the check makes too many calls")


# --- the program ------------------------------------------------------------------------------------------------


def _answers(
    worker: Worker, code: str, problem: Problem, calls: tuple[bytes, ...]
) -> tuple[Answers, TestOutcome | Grade, float]:
    """What the function answers to these calls, in one child, up to one that does not return; what that one means, or
    the grade of a program that could not be loaded."""
    request = Request(
        code=code,
        prelude=problem.prelude,
        entry=problem.entry,
        tests=calls,
        cpu_seconds=problem.cpu_seconds,
        memory_bytes=problem.memory_mb << 20,
        claim_bytes=_ANSWER,
        most_bytes=_ANSWERS,
        after=[True] * len(calls),
        named=True,
    )
    run = python.run_again(worker, request)
    if run.stages < 2:
        raise BrokenError(python.our_failure(run, 0).message)
    head, *claims = run.claims or ((b"", b""),)
    if head[0] != b"L":
        status, outcome, message = python.load_failure(head, run, problem)
        return (), Grade(0.0, status, (outcome,), message), run.cpu_seconds
    answers = [(call, tag, _same_always(tag, payload)) for call, (tag, payload) in zip(calls, claims, strict=False)]
    stopped = python.MEMORY if claims and claims[-1][0] == b"Z" else python.death(run)
    if len(answers) < len(calls):
        answers.append((calls[len(answers)], b"", b""))
    return tuple(answers), stopped, run.cpu_seconds


def _same_always(tag: bytes, payload: bytes) -> bytes:
    """A claim's text without addresses, which differ from run to run."""
    if tag not in (b"E", b"X"):
        return payload
    return python.ADDRESS.sub("0x...", payload.decode("utf-8", "replace")).encode("utf-8", "replace")


# --- the check --------------------------------------------------------------------------------------------------

_trials: dict[tuple[Problem, str], _Trial] = {}  # what is found out about a check depends on nothing else
_reports: dict[tuple[Problem, str, Answers], _Report] = {}  # likewise


def _try(worker: Worker, problem: Problem, name: str) -> _Trial:
    """See which calls a check makes, and whether it works with the reference solution, if there is one.

    The calls are those that it makes of its own accord, without that solution: what a solution returns must not
    reach a program, not even as an argument.
    """
    trial = _trials.get((problem, name))
    if trial is not None:
        return trial
    prepared = prepare(problem)
    calls: tuple[bytes, ...] = ()
    broken, ended = "", True
    try:
        report = _pass(worker, problem, name, prepared.lenient, b"", None)
        calls, ended = report.calls, report.kind != "endless"
    except DiedError:
        ended = False
    if prepared.solution:
        try:
            report = _pass(worker, problem, name, prepared.checker, prepared.solution, None)
        except DiedError as died:
            broken = f"with the reference solution it {died}"
        else:
            ended = report.kind != "endless"
            if report.kind not in ("pass", "wrong"):
                broken = f"with the reference solution it ends in {report.error or report.kind}: {report.text}"
    return remember(_trials, (problem, name), _Trial(calls, broken, ended), 1024)


def _report(worker: Worker, problem: Problem, name: str, answers: Answers) -> _Report:
    """One pass of a check, or what an equal one gave: many programs answer the same. Raises DiedError."""
    report = _reports.get((problem, name, answers))
    if report is None:
        report = _pass(worker, problem, name, prepare(problem).checker, b"", answers)
        if sum(len(payload) for _, _, payload in answers) < _REMEMBERED:
            remember(_reports, (problem, name, answers), report, 256)
    return report


def _pass(
    worker: Worker, problem: Problem, name: str, checker: bytes, solution: bytes, answers: Answers | None
) -> _Report:
    imports = "\n".join((problem.checker or "", problem.prelude, problem.solution or ""))
    arguments = (checker, prepare(problem).prelude, solution, name, problem.entry, answers)
    return _Report(*call(worker, ("reader", "blame", "candidate"), arguments, imports, _SHAPE))
