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
from dataclasses import dataclass

from graders import python
from graders.autograder import RUNS
from graders.problem import Grade, Problem, ProblemError, TestOutcome
from graders.sandbox import Request, Run, Worker, WorkerLostError
from graders.trusted import BrokenError, DiedError, call, compiled, remember

_OUTPUT = 1 << 18  # bytes kept of what a program prints in one run
_REMEMBERED = 1 << 16  # characters of output up to which a script's report on it is kept
_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{4,}\b")
_WRONG = re.compile(r"\b(incorrect|wrong|fail(ed|s|ure)?|(doesn't|does not) match|error)\b", re.IGNORECASE)
_RIGHT = re.compile(r"\b(correct|pass(ed|es)?|success|good job)\b", re.IGNORECASE)
# Students' files import the course's module, which does nothing while they are graded.
_STUB = """import sys
sys.modules['cs110'] = sys.modules['autograder'] = sys.modules['cs110.autograder'] = type(sys)('autograder')
sys.modules['cs110'].autograder = sys.modules['autograder']
del sys
"""
_SHAPE = (float | None, str, bool, str, bool, [str], [(str, [bool], [bool])])  # of a `_Report`
_TOO_LONG = "Timed out: the program took too long. It may contain a loop that does not end.\n"


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
    own: bool
    text: str
    missing: bool
    asked: tuple[str, ...]
    seen: tuple[tuple[str, tuple[bool, ...], tuple[bool, ...]], ...]


@functools.lru_cache(maxsize=1024)
def prepare(problem: Problem) -> bytes:
    """The script as marshalled code. Raises ProblemError when it does not compile or defines no test_passed()."""
    if problem.language != "python":
        raise ProblemError(f"problem {problem.id!r}: no grader for language {problem.language!r}")
    code = compiled(problem.autograder or "", "<autograder>", f"problem {problem.id!r}: the autograder script")
    if "test_passed" not in marshal.loads(code).co_names:
        raise ProblemError(f"problem {problem.id!r}: the autograder script defines no test_passed()")
    return code


def grade_with(worker: Worker, code: str | None, problem: Problem) -> Grade:
    """Grade one program in ``worker``: points out of `Problem.max_points`, cut off at both ends.

    An outcome for every run that the script asks for: ``timeout``, ``memory`` and ``error`` by how the program ended
    (whatever the script thinks of it), else ``pass`` or ``wrong`` by the script's comparisons and words after the
    run; all ``pass`` at full points. Where nothing can be told a run counts as ``wrong``. A program that does not
    compile gets no points; the script is not asked. Nor does one whose output makes the script fail, which is
    where the published grader gives 0.
    Raises ProblemError and IsolationError; every other failure of ours is a ``grader_error``, and so is a script that
    fails by its own fault: before it had any output, for want of a name, module or file, or whatever it is given.
    """
    reason = ""
    for _ in range(python.ATTEMPTS):
        try:
            return _attempt(worker, code, problem)
        except WorkerLostError as lost:
            reason = str(lost)
        except BrokenError as broken:
            return Grade(0.0, "grader_error", (), f"the autograder script failed: {broken}")
    return Grade(0.0, "grader_error", (), reason)


def _attempt(worker: Worker, code: str | None, problem: Problem) -> Grade:
    prepare(problem)
    inputs, ended = _inputs(worker, problem)
    blank = (python.NOT_RUN,) * max(len(inputs), 1)
    if code is None or not code.strip():
        return Grade(0.0, "no_code", blank, "there is no code")
    ran = _runs(worker, code, problem, inputs or ("",))  # one at least, to see whether it compiles
    spent = 0.0
    while not isinstance(ran, Grade):
        runs, cpu = ran
        spent += cpu
        try:
            report = _script(worker, problem, code, runs)
            if report.missing and len(report.asked) > RUNS:
                raise DiedError(f"asks for more than {RUNS} runs")
        except DiedError as died:
            if not ended:
                raise BrokenError(f"it {died}") from None
            text = f"The autograder could not grade this output, which is worth no points: it {died}\n"
            report = _Report(None, f"it {died}", False, text, False, (), (("", (False,), ()),) * len(runs))
        if not report.missing:
            return _grade(problem, report, runs, len(inputs), spent)
        known = runs[: len(report.asked) - 1]
        ran = _runs(worker, code, problem, report.asked[-1:])
        if not isinstance(ran, Grade):
            ran = ([*known, *ran[0]], ran[1])
    return Grade(0.0, ran.status, blank, ran.message, spent + ran.cpu_seconds)


def _grade(problem: Problem, report: _Report, runs: list[_Ran], predicted: int, spent: float) -> Grade:
    if report.own:
        raise BrokenError(report.problem)
    score = min(1.0, max(0.0, (report.points or 0.0) / problem.max_points))
    tests = [_outcome(ran, _went_well(*seen), score) for ran, seen in zip(runs, report.seen, strict=False)]
    if not predicted and not tests:  # a script that only reads the program
        tests = [TestOutcome("pass") if score == 1 else TestOutcome("wrong", None, "lacks something")]
    tests += [python.NOT_RUN] * (predicted - len(tests))
    message = f"the autograder script failed on this output: {report.problem}" if report.problem else ""
    text = _ADDRESS.sub("at 0x...", report.text)
    return Grade(score, "graded", tuple(tests), _ADDRESS.sub("at 0x...", message), spent, text)


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
            raise BrokenError(failure.message)
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

_known: dict[Problem, tuple[tuple[str, ...], bool]] = {}  # what is found out about a script depends on nothing else
_reports: dict[tuple[Problem, str, tuple[tuple[str, str, str], ...]], _Report] = {}  # likewise


def _inputs(worker: Worker, problem: Problem) -> tuple[tuple[str, ...], bool]:
    """The standard inputs of the runs that the script asks for, as far as a pass without a program tells, and whether
    that came to an end: else a program is not to blame for a script that does not."""
    if problem not in _known:
        try:
            report = _pass(worker, problem, "", None)
            found = report.asked[:RUNS], not report.missing
        except DiedError:
            found = (), False
        remember(_known, problem, found, 1024)
    return _known[problem]


def _script(worker: Worker, problem: Problem, code: str, runs: list[_Ran]) -> _Report:
    """One pass of the script, or what an equal one gave: many programs print the same. Raises BrokenError, DiedError
    when it does not come to an end."""
    known = tuple((ran.stdin, ran.out, ran.err) for ran in runs)
    code = code.encode("utf-8", "replace").decode()  # marshal takes lone surrogates, files of programs have none
    key = problem, code if "open" in (problem.autograder or "") else "", known
    report = _reports.get(key)
    if report is None:
        report = _pass(worker, problem, code, known)
        if sum(len(out) + len(err) for _, out, err in known) < _REMEMBERED:
            remember(_reports, key, report, 256)
    return report


def _pass(worker: Worker, problem: Problem, code: str, known: tuple[tuple[str, str, str], ...] | None) -> _Report:
    """As `_script`, in any case in a child."""
    arguments = (prepare(problem), _file(problem), code, known)
    imports = (problem.autograder or "").replace("py_compile", "cs110")
    return _Report(*call(worker, ("blame", "autograder"), arguments, imports, _SHAPE))
