"""Trusted code of a course (an autograder script, a checker) in a locked-in child of its own.

It is trusted not to lie about a grade, but kept from the caller, whose files and memory it has no use for, and apart
from the program, which is run in another child. Modules of this package that it needs there go along as code.
"""

from __future__ import annotations

import ast
import functools
import marshal
import warnings
from pathlib import Path
from typing import Any, TypeVar

from graders import python
from graders.claims import load
from graders.problem import ProblemError
from graders.reader import UnreadableError
from graders.sandbox import Request, Worker, WorkerLostError

K = TypeVar("K")
V = TypeVar("V")
CPU_SECONDS = 2.0  # of one pass
_REPORT = 1 << 22  # bytes of what comes back
_NODES = 20_000  # values in it
_LOADER = """import marshal, sys
def call(modules, *arguments):
    for name, code in modules:
        module = sys.modules[name] = type(sys)(name)
        exec(marshal.loads(code), module.__dict__)
    return module.run(*arguments)
"""


class BrokenError(Exception):
    """The trusted code failed, not the program."""


class DiedError(BrokenError):
    """It did not come to its end: too long, too large, or it ended the interpreter."""


def compiled(text: str | ast.Module, name: str, what: str) -> bytes:
    """Trusted text as marshalled code. Raises ProblemError, naming ``what`` does not compile."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return marshal.dumps(compile(text, name, "exec", dont_inherit=True))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ProblemError(f"{what} does not compile ({error})") from None


def call(
    worker: Worker, modules: tuple[str, ...], arguments: tuple[Any, ...], imports: str, shape: tuple[Any, ...]
) -> tuple[Any, ...]:
    """What ``run(*arguments)`` of the last of these modules returns, in a child that has them all.

    ``arguments`` are plain data. ``imports``: text whose imports the child must have. The result's lists are tuples.
    ``shape`` is what it must look like: types, tuples of shapes, and a list of one shape for any number of them.
    Raises DiedError, BrokenError and WorkerLostError.
    """
    codes = tuple((f"graders.{name}", _module(name)) for name in modules)
    request = Request(
        code=_LOADER,
        prelude="",
        entry="call",
        tests=[marshal.dumps((codes, *arguments), 2)],
        cpu_seconds=CPU_SECONDS,
        memory_bytes=512 << 20,
        claim_bytes=_REPORT,
        after=[False],
        imports=imports,
    )
    run = python.run_again(worker, request)
    if run.stages < 2:
        raise WorkerLostError(python.our_failure(run, 0).message)
    if len(run.claims) < 2:
        raise DiedError(python.death(run).detail)
    tag, payload = run.claims[1]
    if tag == b"E":
        raise BrokenError(python.exception(payload)[1])
    if tag != b"V":
        raise DiedError("used too much memory")
    try:
        report = load(payload, _NODES)
    except UnreadableError:
        report = None
    if not (isinstance(report, tuple) and _fits(report, shape)):
        raise BrokenError("its report makes no sense")
    return report


def _fits(value: object, shape: Any) -> bool:
    if isinstance(shape, list):
        return isinstance(value, tuple) and all(_fits(item, shape[0]) for item in value)
    if isinstance(shape, tuple):
        return isinstance(value, tuple) and len(value) == len(shape) and all(map(_fits, value, shape))
    return isinstance(value, shape)


@functools.cache
def _module(name: str) -> bytes:
    path = Path(__file__).with_name(f"{name}.py")
    return compiled(path.read_text(encoding="utf-8"), path.name, path.name)


def remember(table: dict[K, V], key: K, value: V, most: int) -> V:
    """Keep what is costly to find out again, for ``most`` keys at once."""
    if len(table) >= most:
        table.clear()
    table[key] = value
    return value
