"""``python -m graders.pencilcode``: install the compiler, or run or compile one program."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from graders.pencilcode import InstallError, Limits, NotInstalledError, compile, compiler_path, install, missing, run
from graders.policy import IsolationError


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Exit status 0: done; 1: the program does not compile or run; 2: it could not be tried."""
    args = _parser().parse_args(argv)
    try:
        if args.command == "install":
            if args.if_missing and compiler_path().is_file():
                return 0
            print(install(args.source))
            if reason := missing():
                print(f"still missing: {reason}", file=sys.stderr)
            return 0
        program = (sys.stdin.buffer.read() if args.program == "-" else Path(args.program).read_bytes()).decode(
            "utf-8-sig"
        )
        if args.command == "compile":
            compiled = compile(program)
            print(compiled.javascript if compiled.javascript is not None else f"{compiled.status}: {compiled.message}")
            return 2 if compiled.status == "grader_error" else int(compiled.javascript is None)
        done = run(program, answers=args.answer, seed=args.seed, limits=Limits(seconds=args.seconds))
        print(json.dumps(done.to_dict()))
        return 2 if done.status == "grader_error" else int(done.status != "ok")
    except (InstallError, NotInstalledError, IsolationError, UnicodeDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or 'output'}: {error.strerror or error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m graders.pencilcode", description=__doc__.partition(": ")[2])
    commands = parser.add_subparsers(dest="command", required=True)
    bring = commands.add_parser("install", help="bring the compiler from npm into the cache folder, checked")
    bring.add_argument(
        "--from", dest="source", type=Path, metavar="FOLDER", help="take the packages' tarballs from here"
    )
    bring.add_argument("--if-missing", action="store_true", help="do nothing when it is there already")
    for name, words in (("run", "run a program; what it did, as JSON"), ("compile", "print the JavaScript it becomes")):
        command = commands.add_parser(name, help=words)
        command.add_argument("program", metavar="PROGRAM", help="file of the program, or - for standard input")
        if name == "run":
            command.add_argument("--answer", action="append", default=[], metavar="TEXT", help="typed in when it asks")
            command.add_argument("--seed", type=int, default=0, metavar="N", help="of its chance (default 0)")
            command.add_argument("--seconds", type=float, default=5.0, metavar="S", help="of virtual time (default 5)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
