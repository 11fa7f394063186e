"""FalconCode's protocol: programs graded by the course's own autograder script, which is run unchanged.

Two processes, never one: the program runs in a locked-in child for every `run_script` of the script, and the script
in another, which gets nothing of the program but its text and what it printed. So neither can harm the caller, and
the program never meets what is expected. What the script will ask for is found out once, by a pass without a
program; with that, a program and its script cost a child each.
"""

from __future__ import annotations

import functools
import marshal
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

from graders import python
from graders.claims import UnreadableError, load
from graders.problem import Grade, Problem, ProblemError, TestOutcome
from graders.sandbox import Request, Run, Worker, WorkerLostError

_OUTPUT = 1 << 18  # bytes kept of what a program prints in one run
_REPORT = 1 << 22  # bytes of what comes back from a script: 20,000 characters and the inputs it asked for
_REMEMBERED = 1 << 16  # characters of output up to which a script's report on it is kept
_RUNS = 100  # runs that a script may ask for
_SCRIPT_CPU = 2.0  # seconds
_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{4,}\b")
_WRONG = re.compile(r"\b(incorrect|wrong|fail(ed|s|ure)?|(doesn't|does not) match|error)\b", re.IGNORECASE)
_RIGHT = re.compile(r"\b(correct|pass(ed|es)?|success|good job)\b", re.IGNORECASE)
_LOADER = "def grade(code, *arguments):\n    space = {}\n    exec(code, space)\n    return space['run'](*arguments)\n"
# Students' files import the course's module, which does nothing while they are graded.
_STUB = """import sys
sys.modules['cs110'] = sys.modules['autograder'] = sys.modules['cs110.autograder'] = type(sys)('autograder')
sys.modules['cs110'].autograder = sys.modules['autograder']
del sys
"""
_TOO_LONG = "Timed out: the program took too long. It may contain a loop that does not end.\n"


class _BrokenScriptError(Exception):
    """The script failed, not the program."""


@dataclass(frozen=True, slots=True)
class _Ran:
    """One run of a program: its standard input, what a script gets to see of it, and what it means by itself."""

    stdin: str
    out: str
    err: str
    outcome: TestOutcome | None  # None: it ended in the ordinary way


@dataclass(frozen=True, slots=True)
class _Report:
    """What came of one pass of a script; see `graders.autograder.run`."""

    points: float | None
    problem: str
    text: str
    missing: bool
    asked: tuple[str, ...]
    seen: tuple[tuple[str, tuple[bool, ...], tuple[bool, ...]], ...]


@functools.lru_cache(maxsize=1024)
def prepare(problem: Problem) -> CodeType:
    """The script, compiled. Raises ProblemError when it does not compile."""
    if problem.language != "python":
        raise ProblemError(f"problem {problem.id!r}: no grader for language {problem.language!r}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return compile(problem.autograder or "", "<autograder>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ProblemError(f"problem {problem.id!r}: the autograder script does not compile ({error})") from None


@functools.cache
def _module() -> CodeType:
    path = Path(__file__).with_name("autograder.py")
    return compile(path.read_text(encoding="utf-8"), "autograder.py", "exec", dont_inherit=True)


def grade_with(worker: Worker, code: str | None, problem: Problem) -> Grade:
    """Grade one program in ``worker``: points out of `Problem.max_points`, cut off at both ends.

    An outcome for every run that the script asks for: ``timeout``, ``memory`` and ``error`` by how the program ended
    (whatever the script thinks of it), else ``pass`` or ``wrong`` by the script's comparisons and words after the
    run; all ``pass`` at full points. Where nothing can be told a run counts as ``wrong``. A program that does not
    compile gets no points; the script is not asked.
    Raises ProblemError and IsolationError; every other failure of ours, the script's among them, is a
    ``grader_error``.
    """
    reason = ""
    for _ in range(python.ATTEMPTS):
        try:
            return _attempt(worker, code, problem)
        except WorkerLostError as lost:
            reason = str(lost)
        except _BrokenScriptError as broken:
            return Grade(0.0, "grader_error", (), f"the autograder script failed: {broken}")
    return Grade(0.0, "grader_error", (), reason)


def _attempt(worker: Worker, code: str | None, problem: Problem) -> Grade:
    inputs = _inputs(worker, problem)
    blank = (python.NOT_RUN,) * max(len(inputs), 1)
    if code is None or not code.strip():
        return Grade(0.0, "no_code", blank, "there is no code")
    ran = _runs(worker, code, problem, inputs or ("",))  # one at least, to see whether it compiles
    spent = 0.0
    while not isinstance(ran, Grade):
        runs, cpu = ran
        spent += cpu
        report = _script(worker, problem, code, runs)
        if not report.missing:
            return _grade(problem, report, runs, len(inputs), spent)
        known = runs[: len(report.asked) - 1]
        if len(known) >= _RUNS:
            raise _BrokenScriptError(f"it asks for more than {_RUNS} runs")
        ran = _runs(worker, code, problem, report.asked[-1:])
        if not isinstance(ran, Grade):
            ran = ([*known, *ran[0]], ran[1])
    return Grade(0.0, ran.status, blank, ran.message, spent + ran.cpu_seconds)


def _grade(problem: Problem, report: _Report, runs: list[_Ran], predicted: int, spent: float) -> Grade:
    if report.points is None:
        raise _BrokenScriptError(report.problem)
    score = min(1.0, max(0.0, report.points / problem.max_points))
    tests = [_outcome(ran, _went_well(*seen), score) for ran, seen in zip(runs, report.seen, strict=False)]
    if not predicted and not tests:  # a script that only reads the program
        tests = [TestOutcome("pass") if score == 1 else TestOutcome("wrong", None, "lacks something")]
    tests += [python.NOT_RUN] * (predicted - len(tests))
    text = _ADDRESS.sub("at 0x...", report.text)
    return Grade(score, "graded", tuple(tests), "", spent, text)


def _outcome(ran: _Ran, well: bool, score: float) -> TestOutcome:
    if score == 1:
        return TestOutcome("pass")
    if ran.outcome is not None:
        return ran.outcome
    return TestOutcome("pass") if well else TestOutcome("wrong", None, "printed something else than expected")


def _went_well(text: str, compared: tuple[bool, ...], equal: tuple[bool, ...]) -> bool:
    """Whether a run satisfied the script: by its comparisons of texts, its words after the run, its comparisons of
    numbers, in this order: a script may try several numbers, one of which must fit."""
    if not all(compared) or _WRONG.search(text):
        return False
    return _RIGHT.search(text) is not None or (bool(compared + equal) and all(compared + equal))


# --- the program ------------------------------------------------------------------------------------------------


def _runs(worker: Worker, code: str, problem: Problem, inputs: tuple[str, ...]) -> tuple[list[_Ran], float] | Grade:
    """The program's runs and their CPU seconds, or the grade of one that cannot be run at all. All in one child; after
    a run that a child dies in, the others go on in another."""
    done: list[_Ran] = []
    spent = 0.0
    while len(done) < len(inputs):
        run = python.run_again(worker, _request(code, problem, inputs[len(done) :]))
        spent += run.cpu_seconds
        if run.stages < 2:
            failure = python.our_failure(run, 0)
            raise _BrokenScriptError(failure.message)
        head, *claims = run.claims or ((b"", b""),)
        if head[0] != b"L":
            status, _, message = python.load_failure(head, run, problem)
            return Grade(0.0, status, (), message, spent)
        while len(done) < len(inputs):
            if len(claims) < 3:
                done.append(_cut_short(inputs[len(done)], claims, run))
                break
            (_, out), (_, err), end = claims[:3]
            del claims[:3]
            outcome = python.error_outcome(end[1]) if end[0] == b"E" else None
            done.append(_Ran(inputs[len(done)], _text(out), _text(err), outcome))
        if run.end == "wall" or (problem.stop_at_timeout and done[-1].outcome == python.TIMEOUT):
            done += [_Ran(stdin, "", _TOO_LONG, python.NOT_RUN) for stdin in inputs[len(done) :]]
    return done, spent


def _cut_short(stdin: str, claims: list[tuple[bytes, bytes]], run: Run) -> _Ran:
    """A run that did not get to its end; what it had printed is lost, as it is in the course."""
    outcome = python.MEMORY if claims and claims[0][0] == b"Z" else python.death(run)
    if outcome == python.TIMEOUT:
        return _Ran(stdin, "", _TOO_LONG, outcome)
    return _Ran(stdin, "", f"The program {outcome.detail}.\n", outcome)


def _request(code: str, problem: Problem, inputs: tuple[str, ...]) -> Request:
    return Request(
        code=code,
        prelude=_STUB + problem.prelude,
        entry=None,
        tests=[stdin.encode("utf-8", "replace") for stdin in inputs],
        cpu_seconds=problem.cpu_seconds,
        memory_bytes=problem.memory_mb << 20,
        claim_bytes=_OUTPUT,
        capture=_file(problem),
    )


def _file(problem: Problem) -> str:
    return f"{problem.id.rpartition('/')[2]}.py"


def _text(data: bytes) -> str:
    """As a pipe opened in text mode gives it, without addresses, which differ from run to run."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    return _ADDRESS.sub("at 0x...", text)


# --- the script -------------------------------------------------------------------------------------------------

_known: dict[Problem, tuple[str, ...]] = {}  # what is found out about a script depends on nothing else
_reports: dict[tuple[Problem, str, tuple[tuple[str, str, str], ...] | None], _Report] = {}  # likewise


def _inputs(worker: Worker, problem: Problem) -> tuple[str, ...]:
    """The standard inputs of the runs that the script asks for, as far as a pass without a program tells."""
    if problem not in _known:
        if len(_known) >= 1024:
            _known.clear()
        _known[problem] = _script(worker, problem, "", None).asked[:_RUNS]
    return _known[problem]


def _script(worker: Worker, problem: Problem, code: str, runs: list[_Ran] | None) -> _Report:
    """One pass of the script, or what an equal one gave: many programs print the same. Raises _BrokenScriptError
    when it does not come to an end."""
    known = None if runs is None else tuple((ran.stdin, ran.out, ran.err) for ran in runs)
    code = code.encode("utf-8", "replace").decode()  # marshal takes lone surrogates, files of programs have none
    key = problem, code if "open" in (problem.autograder or "") else "", known
    report = _reports.get(key)
    if report is None:
        report = _pass(worker, problem, code, known)
        if sum(len(out) + len(err) for _, out, err in known or ()) < _REMEMBERED:
            if len(_reports) >= 256:
                _reports.clear()
            _reports[key] = report
    return report


def _pass(worker: Worker, problem: Problem, code: str, known: tuple[tuple[str, str, str], ...] | None) -> _Report:
    """As `_script`, in any case in a child."""
    arguments = (_module(), prepare(problem), _file(problem), code, known)
    request = Request(
        code=_LOADER,
        prelude="",
        entry="grade",
        tests=[marshal.dumps(arguments)],
        cpu_seconds=_SCRIPT_CPU,
        memory_bytes=512 << 20,
        claim_bytes=_REPORT,
        after=[False],
        imports=(problem.autograder or "").replace("py_compile", "cs110"),
    )
    run = python.run_again(worker, request)
    if run.stages < 2:
        raise WorkerLostError(python.our_failure(run, 0).message)
    if len(run.claims) < 2:
        raise _BrokenScriptError(f"it {python.death(run).detail}")
    tag, payload = run.claims[1]
    if tag != b"V":
        raise _BrokenScriptError(python.exception(payload)[1] if tag == b"E" else "it used too much memory")
    try:
        return _Report(*load(payload, 20_000))
    except (UnreadableError, TypeError):
        raise _BrokenScriptError("its report makes no sense") from None
