"""Grades of Pencil Code programs: a problem with language "pencilcode", for `graders.Pool`."""

from __future__ import annotations

from graders.pencilcode.install import require
from graders.pencilcode.runs import Limits, Run, run_with
from graders.printed import printed
from graders.problem import Grade, Problem, ProblemError, ProgramTest, Status, TestOutcome
from graders.python import ATTEMPTS, MEMORY, NOT_RUN, TIMEOUT
from graders.sandbox import Worker, WorkerLostError

_STATUS: dict[str, Status] = {
    "compile_error": "syntax_error",
    "runtime_error": "runtime_error",
    "timeout": "timeout",
    "memory": "memory",
}


def prepare(problem: Problem) -> None:
    """Raises ProblemError for a problem that Pencil Code cannot have, NotInstalledError where no program can be run."""
    if problem.entry is not None or problem.autograder is not None or problem.prelude:
        raise ProblemError(f"problem {problem.id!r}: a Pencil Code problem has no 'entry', 'prelude' or 'autograder'")
    require()


def grade_with(worker: Worker, code: str | None, problem: Problem) -> Grade:
    """Without tests: 1 for a program that runs without an error, else 0 and the status.

    With tests, each types its ``stdin`` line by line and passes when the program has no error and writes ``stdout``,
    compared as for any printed text. Raises IsolationError; other failures of ours are a ``grader_error``.
    """
    tests = problem.tests or (ProgramTest("", ""),)
    if code is None or not code.strip():
        return Grade(0.0, "no_code", (NOT_RUN,) * len(tests), "there is no code")
    limits = Limits(cpu_seconds=problem.cpu_seconds, memory_mb=problem.memory_mb)
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            runs = [run_with(worker, code, tuple(test.stdin.splitlines()), 0, limits) for test in tests]  # type: ignore[union-attr]
            return _grade(runs, problem)
        except WorkerLostError as lost:
            reason = str(lost)
    return Grade(0.0, "grader_error", (NOT_RUN,) * len(tests), reason)


def _grade(runs: list[Run], problem: Problem) -> Grade:
    if not problem.tests or all(run.status == "compile_error" for run in runs):
        run = runs[0]
        if run.status != "ok":
            return Grade(0.0, _STATUS[run.status], (NOT_RUN,) * len(runs), run.message)
        return Grade(1.0, "graded", (TestOutcome("pass"),))
    outcomes = tuple(_outcome(run, test, problem) for run, test in zip(runs, problem.tests, strict=True))  # type: ignore[arg-type]
    return Grade(sum(outcome.status == "pass" for outcome in outcomes) / len(outcomes), "graded", outcomes)


def _outcome(run: Run, test: ProgramTest, problem: Problem) -> TestOutcome:
    if run.status == "timeout":
        return TIMEOUT
    if run.status == "memory":
        return MEMORY
    if run.status != "ok" or run.drawing is None:
        return TestOutcome("error", run.message.partition(":")[0], f"raised {run.message}")
    text = "\n".join(run.drawing.texts)
    return printed(
        text.encode(), test.stdout, run.drawing.total_texts > len(run.drawing.texts), problem.compare, problem.tolerance
    )
