"""The untrusted side: what a worker's child does with a stranger's program. Imported by worker.py only.

It writes *claims* into a bounded file, frame by frame: a tag, a length, a payload.

    S text      the program does not compile       R error     its body raised            P error  the prelude raised
    M           it has no function of that name    L           it is loaded, tests follow
    V marshal   a value returned                   X text      a value that is no data    B        a value too large
    O bytes     what a program printed             Q bytes     the same, cut off          E error  the test raised
    T bytes     standard error of a captured run   K        its end, if without an error
    Z           out of memory (in a test, or while loading)

Writing such frames by hand gains a program nothing over returning those values. What decides about *our* failures
goes another way: a pipe that is closed before the first byte of the program runs (see `run`).

Only C modules after the fork: Python-level ones such as ``signal`` or ``json`` cost a page fault for every object
they touch, which is most of what a program costs here.
"""

from __future__ import annotations

import builtins

# Functions below keep these built-ins, whatever a program does to the real ones.
__builtins__ = dict(vars(builtins))  # type: ignore[assignment]

import _signal  # type: ignore[import-not-found]
import io
import marshal
import os
import resource
import struct
import sys
from collections.abc import Callable
from types import CodeType, ModuleType
from typing import Any, NoReturn

from graders.encode import MAX_TEXT, error_bytes, repr_bytes, traceback_text, value_claim

FRAME = struct.Struct("<cI")
NULL, RESULT, STAGE = 1, 3, 4  # file descriptors: /dev/null, frames, and what `run` says of its pipe
ERRORS = 16 << 10  # bytes kept of a captured run's standard error


def run(size: int, steps: int, file: int, arm: Callable[[], None] | None, alone: bool) -> NoReturn:
    """Read one request of ``size`` bytes, run its program's tests and leave. Never returns.

    The request is read here and not in the worker, whose memory all later children inherit. ``arm`` puts this
    process under a filter, where the worker is under none; not ``alone``, it could fork, so it gets a group that
    can be killed. The pipe STAGE gets a byte when the limits are in place and another when the prelude ran, then
    it is closed: a program cannot pretend that a failure of its own was a failure of ours.
    """
    try:
        request = marshal.loads(_read(size))
        if not alone:
            os.setsid()
        os.dup2(NULL, 0)
        os.dup2(NULL, 2)
        os.closerange(STAGE + 1, 32)
        _limit(request, steps, file)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {_signal.SIGCHLD})
        if arm is not None:
            arm()
        os.write(STAGE, b"s")
        tests = _run_programs if request["entry"] is None else _run_function
        tests(request)
    except BaseException:
        os._exit(70)
    os._exit(0)


def _read(size: int) -> bytes:
    data = os.read(0, size)
    while len(data) < size:
        more = os.read(0, size - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data


def _limit(request: dict[str, Any], steps: int, file: int) -> None:
    lower(resource.RLIMIT_CPU, int(request["cpu"] * steps) + 3, 1)  # SIGXCPU first: SIGKILL has other meanings
    lower(resource.RLIMIT_FSIZE, file)
    lower(resource.RLIMIT_NPROC, 0)
    if sys.platform == "linux":
        lower(resource.RLIMIT_AS, request["memory"])


def lower(kind: int, value: int, slack: int = 0) -> None:
    try:
        resource.setrlimit(kind, (value, value + slack))
    except ValueError:  # the caller was allowed less
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (hard, hard))


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _claim(tag: bytes, payload: bytes = b"") -> None:
    _write(RESULT, FRAME.pack(tag, len(payload)) + payload)


def _timer(seconds: float) -> None:
    _signal.setitimer(_signal.ITIMER_PROF, seconds)  # its signal, left at the default, ends the process


def _compile(code: str) -> CodeType | None:
    """The program's code object, or None after claiming why there is none."""
    try:
        return compile(code.removeprefix("\ufeff"), "student.py", "exec", dont_inherit=True)
    except MemoryError:
        _claim(b"Z")
    except SyntaxError as error:
        where = f" (line {error.lineno})" if error.lineno else ""
        text = f"{type(error).__name__}: {error.msg}{where}"
        _claim(b"S", text.encode("utf-8", "backslashreplace")[:MAX_TEXT])
    except (ValueError, OverflowError, RecursionError) as error:
        _claim(b"S", f"SyntaxError: {error}".encode("utf-8", "backslashreplace")[:MAX_TEXT])
    return None


def _module(name: str, prelude: CodeType | None) -> dict[str, Any]:
    """A fresh module for a program, the prelude already run in it."""
    module = ModuleType(name)
    module.__dict__["__builtins__"] = builtins
    sys.modules[name] = module
    if prelude is not None:
        exec(prelude, module.__dict__)
    return module.__dict__


def _prelude(request: dict[str, Any], name: str) -> tuple[CodeType | None, dict[str, Any]] | None:
    """The compiled prelude and a first module with it run, or None after claiming what went wrong."""
    try:
        code = compile(request["prelude"], "prelude.py", "exec", dont_inherit=True) if request["prelude"] else None
        space = _module(name, code)
    except BaseException as error:
        _claim(b"P", error_bytes(error))
        return None
    os.write(STAGE, b"p")
    os.close(STAGE)
    return code, space


class _Sink(io.RawIOBase):
    """Keeps the first ``limit`` bytes written, and whether there were more."""

    def __init__(self, limit: int) -> None:
        self.limit, self.kept, self.cut = limit, bytearray(), False

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        room = self.limit - len(self.kept)
        size = len(data)
        self.kept += data[:room]
        self.cut = self.cut or size > room
        return size


def streams(stdin: bytes, limit: int, errors: int = 0) -> tuple[_Sink, io.TextIOWrapper, _Sink, io.TextIOWrapper]:
    """Give the program a standard input and outputs of its own: sinks and streams of the output and of the errors.

    At most ``limit`` and ``errors`` bytes of them are kept.

    The worker has called it already, with nothing to read and nothing kept: all that a function's tests need.
    """
    sink, failures = _Sink(limit), _Sink(errors)
    stdout = io.TextIOWrapper(io.BufferedWriter(sink), "utf-8", newline="\n")
    stderr = io.TextIOWrapper(io.BufferedWriter(failures), "utf-8", "backslashreplace", newline="\n")
    source = io.TextIOWrapper(io.BytesIO(stdin), "utf-8", "surrogateescape")
    for name, stream in (("stdin", source), ("stdout", stdout), ("stderr", stderr)):
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    return sink, stdout, failures, stderr


def _run_function(request: dict[str, Any]) -> None:
    _timer(request["cpu"])
    started = _prelude(request, "student")
    code = _compile(request["code"]) if started else None
    if started is None or code is None:
        return
    space = started[1]
    try:
        exec(code, space)
        function = space.get(request["entry"])
    except MemoryError:
        _claim(b"Z")
        return
    except BaseException as error:
        _claim(b"R", error_bytes(error))
        return
    if not callable(function):
        _claim(b"M")
        return
    _claim(b"L")
    left = request["most"]
    for arguments, after in zip(request["tests"], request["after"], strict=True):
        values = marshal.loads(arguments)
        _timer(request["cpu"])
        try:
            value = function(*values[0], **values[1]) if request["named"] else function(*values)
            claim = value_claim((value, values) if after else value, min(left, request["claim"]))
            if request["named"] and claim[0] == b"X":
                claim = b"X", repr_bytes(value)
            left -= len(claim[1])
        except MemoryError:
            _claim(b"Z")  # a fresh child, whose memory is free, runs the other tests
            return
        except BaseException as error:
            claim = b"E", error_bytes(error)
        _claim(*claim)


def _run_programs(request: dict[str, Any]) -> None:
    _timer(request["cpu"])
    started = _prelude(request, "__main__")
    code = _compile(request["code"]) if started else None
    if started is None or code is None:
        return
    prelude, first = started
    space: dict[str, Any] | None = first
    _claim(b"L")
    for stdin in request["tests"]:
        _timer(request["cpu"])
        if request["capture"]:
            if not _capture(request, code, space if space is not None else _module("__main__", prelude), stdin):
                return
            space = None
            continue
        sink, stdout, _, _ = streams(stdin, request["claim"])
        try:
            try:  # noqa: SIM105
                exec(code, space if space is not None else _module("__main__", prelude))
            except SystemExit:
                pass  # an ordinary way to end a program
            if not stdout.closed:
                stdout.flush()
            claim = b"Q" if sink.cut else b"O", bytes(sink.kept)
        except MemoryError:
            _claim(b"Z")
            return
        except BaseException as error:
            claim = b"E", error_bytes(error)
        space = None
        _claim(*claim)


def _capture(request: dict[str, Any], code: CodeType, space: dict[str, Any], stdin: bytes) -> bool:
    """One run with all that it printed: claims O or Q, then T, then K or E. False when it ran out of memory.

    What was printed before an error counts, as it does for whoever runs the program in a terminal.
    """
    sink, stdout, failures, stderr = streams(stdin, request["claim"], ERRORS)
    claim, text = (b"K", b""), ""
    try:
        try:
            exec(code, space)
        except SystemExit as leave:
            text = leave.code + "\n" if type(leave.code) is str else ""
        if not stdout.closed:
            stdout.flush()
    except MemoryError:
        _claim(b"Z")
        return False
    except BaseException as error:
        claim, text = (b"E", error_bytes(error)), traceback_text(error, request["capture"], request["code"])
    for stream in (stdout, stderr):
        try:  # noqa: SIM105
            stream.flush()
        except Exception:
            pass  # the program has closed it, or printed what cannot be encoded
    _claim(b"Q" if sink.cut else b"O", bytes(sink.kept))
    _claim(b"T", (bytes(failures.kept) + text.encode("utf-8", "backslashreplace"))[:ERRORS])
    _claim(*claim)
    return True
