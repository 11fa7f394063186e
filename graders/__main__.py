"""``python -m graders``: grade one program, or a stream of them, or tell how programs are shut in."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from graders.cache import GradeCache
from graders.feedback import Level, feedback
from graders.jsonl import BadRowError, Problems, grade_rows, read_problem, read_problems
from graders.policy import IsolationError
from graders.pool import Pool, isolation
from graders.problem import Grade, Problem, ProblemError, outcomes
from graders.sandbox import WorkerLostError

USAGE = """\
python -m graders [options] PROBLEM PROGRAM
       python -m graders [options] --jsonl [ROWS] [--problems FILE] [--on-bad-row skip]
       python -m graders --isolation"""

EXIT = """\
PROBLEM is a JSON object as Problem.to_dict writes it; PROGRAM, and ROWS by default, may be - for standard input.
A row is {"code": ..., "problem": {...}} or, with --problems, {"code": ..., "problem_id": "..."}; an "id" is handed on.
A code of null means that there was no program. Grades come out as rows in the order of the programs.

exit status: 0 all programs were graded, whatever their scores; 1 some could not be (grader_error, or a row skipped);
2 the input or the machine is not as it must be: nothing more was graded; 130 interrupted."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; the exit status is the one that ``--help`` explains."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.isolation:
        wrong = args.problem is not None or args.jsonl is not None
    elif args.jsonl is not None:
        wrong = args.problem is not None
    else:
        wrong = args.program is None
    if wrong:
        parser.error("give either PROBLEM and PROGRAM, or --jsonl, or --isolation")
    try:
        return _run(args)
    except (ProblemError, BadRowError, IsolationError, WorkerLostError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader has gone; the interpreter's own flush at exit must not complain either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"error: {error.filename or 'output'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m graders",
        usage=USAGE,
        description="Grade programs by the tests of a problem.",
        epilog=EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("problem", nargs="?", metavar="PROBLEM", help="JSON file of the problem")
    parser.add_argument("program", nargs="?", metavar="PROGRAM", help="file of the program")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of one program's grade")
    parser.add_argument(
        "--feedback", choices=("full", "summary", "none"), default="full", help="how much the text says (default full)"
    )
    parser.add_argument("--jsonl", nargs="?", const="-", metavar="ROWS", help="grade every row of a JSON Lines file")
    parser.add_argument("--problems", metavar="FILE", help="problems by id: a JSON list, or JSON Lines")
    parser.add_argument(
        "--on-bad-row",
        choices=("stop", "skip"),
        default="stop",
        help="skip: write a row with an 'error' in its place, say so, and go on (default stop)",
    )
    parser.add_argument("--workers", type=_positive, metavar="N", help="worker processes (default one a core)")
    parser.add_argument("--cache", metavar="FILE", help="look grades up in this file, and keep them there")
    parser.add_argument("--min-isolation", type=int, choices=range(5), metavar="LEVEL", help="refuse to run below it")
    parser.add_argument("--allow-unsafe", action="store_true", help="run programs you trust below the minimum as well")
    parser.add_argument("--isolation", action="store_true", help="tell how programs are shut in on this machine")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _run(args: argparse.Namespace) -> int:
    if args.isolation:
        print(isolation())
        return 0
    problem = read_problem(args.problem) if args.problem is not None else None
    known = read_problems(args.problems) if args.problems is not None else {}
    code = _read_program(args.program) if args.program is not None else None
    with ExitStack() as stack:
        cache = stack.enter_context(_cache(args.cache)) if args.cache else None
        workers = args.workers if problem is None else 1
        pool = stack.enter_context(
            Pool(workers, cache=cache, min_isolation=args.min_isolation, allow_unsafe=args.allow_unsafe)
        )
        if problem is None:
            return _batch(pool, args.jsonl, known, skip=args.on_bad_row == "skip")
        grade = pool.grade(code, problem)
    print(json.dumps(grade.to_dict()) if args.format == "json" else _text(grade, problem, args.feedback))
    return int(grade.status == "grader_error")


@contextmanager
def _cache(path: str) -> Iterator[GradeCache]:
    """The cache of grades in a file, closed in the end. Raises ProblemError when it cannot be opened as one."""
    import sqlite3

    try:
        with closing(GradeCache(path)) as cache:
            yield cache
    except sqlite3.Error as error:
        raise ProblemError(f"{path}: cannot be used as a cache of grades ({error})") from None


def _read_program(path: str) -> str:
    raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProblemError(f"{path}: not UTF-8 text ({error})") from None


def _batch(pool: Pool, path: str, known: Problems, *, skip: bool) -> int:
    bad = 0
    with ExitStack() as stack:
        rows = sys.stdin.buffer if path == "-" else stack.enter_context(Path(path).open("rb"))
        name = "standard input" if path == "-" else path
        for row in grade_rows(rows, pool, known, name=name, skip=skip):
            if "error" in row:
                print(f"skipped: {row['error']}", file=sys.stderr)
            bad += "error" in row or row["status"] == "grader_error"
            print(json.dumps(row), flush=True)
    return int(bad > 0)


def _text(grade: Grade, problem: Problem, level: Level) -> str:
    head = f"{grade.status} {outcomes(grade)} score {grade.score:.3g}"
    if grade.status == "grader_error":
        return f"{head}\n{grade.message}"
    said = feedback(grade, problem, level)
    return f"{head}\n{said}" if said else head


if __name__ == "__main__":
    sys.exit(main())
