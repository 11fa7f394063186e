"""A worker: one process that forks a child for every program. Run as a script by sandbox.py, never imported.

It reads requests from fd 0 and answers on it. It was executed afresh and holds no expected value, no solution and
nothing of its caller's memory or environment; nor does the child that it forks.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import builtins
import gc
import marshal
import os
import resource
import struct
import sys
import time
from typing import NoReturn

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 (pathlib is slow to load)
import child  # type: ignore[import-not-found]

del sys.path[0], sys.modules["child"]  # not for programs to import

REPLY = struct.Struct("<IBBiQI")  # sequence number, how it ended, stages passed, exit status, CPU us, length
ENDED, CPU, WALL = 0, 1, 2  # how a child ended: by itself, or killed by the worker for one of these
PRELOADED = (
    "abc", "bisect", "collections", "copy", "datetime", "enum", "functools", "heapq", "itertools", "math",
    "operator", "random", "re", "string", "time", "typing",
)  # fmt: skip


def _prepare() -> None:
    """Import what novices import, once; make what they would find random the same for everybody."""
    os.register_at_fork = lambda **hooks: None  # re-seeding and lock hooks cost each child 0.5 ms
    for name in PRELOADED:
        __import__(name)
    sys.modules["random"].seed(0)
    time.sleep = _sleep  # type: ignore[assignment]
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]  # what `site` would have given
    sys.argv = ["student.py"]
    child.streams(b"", 0)  # here and not in every child, where it would cost a quarter of all page faults
    gc.collect()
    gc.freeze()


def _sleep(seconds: float) -> None:
    """A nap costs a student nothing here, so that waiting programs do not keep a worker from others."""
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")


def _read(count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = os.read(0, count - len(data))
        if not more:
            os._exit(0)  # the caller is gone
        data += more
    return data


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _results() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("r")
    path = f"/tmp/graders-{os.getpid()}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(path)  # noqa: PTH108 (nor is pathlib)
    return fd


def _serve() -> NoReturn:
    _prepare()
    null = os.open("/dev/null", os.O_RDWR)
    _signal.pthread_sigmask(_signal.SIG_BLOCK, {_signal.SIGCHLD})
    _write(0, REPLY.pack(0, ENDED, 0, 0, 0, 0))
    while True:
        request = marshal.loads(_read(int.from_bytes(_read(4), "little")))
        result = _results()
        stage_in, stage_out = os.pipe()
        pid = os.fork()
        if not pid:
            child.run(request, null, result, stage_out)
        os.close(stage_out)
        ended, status, usage = _watch(pid, result, request["cpu"], len(request["tests"]) + 1)
        stages = len(os.read(stage_in, 8))
        size = min(os.fstat(result).st_size, request["file"])
        data = os.pread(result, size, 0) if size else b""
        os.close(stage_in)
        os.close(result)
        used = int((usage.ru_utime + usage.ru_stime) * 1e6)
        _write(0, REPLY.pack(request["sequence"], ended, stages, status, used, len(data)) + data)


def _watch(pid: int, result: int, cpu: float, steps: int) -> tuple[int, int, resource.struct_rusage]:
    """Wait for the child; kill it when it cheats its own timer, or waits for something that never comes.

    The child's timer stops an honest program at exactly ``cpu`` seconds for a step (loading, or one test). Here
    is what holds for the others. A child that makes no progress and hardly computes is idle; one that computes
    slowly is on a busy machine, and gets six times as long.
    """
    clock = (~pid << 3) | 2  # Linux: the CPU clock of a process
    patience = 5 + 10 * cpu
    size, cpu_then, wall_then = 0, 0.0, time.monotonic()
    ended = ENDED
    while True:
        _signal.sigtimedwait({_signal.SIGCHLD}, 0.1)
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            _kill_group(pid)  # what it left behind
            return ended, os.waitstatus_to_exitcode(status), usage
        try:
            used = time.clock_gettime(clock)
        except OSError:
            used = 0.0
        now, progress = time.monotonic(), os.fstat(result).st_size
        if progress != size:
            size, cpu_then, wall_then = progress, used, now
        waited, computed = now - wall_then, used - cpu_then
        if computed > cpu + 0.5 or used > steps * cpu + 1:
            ended = CPU
        elif waited > (patience if computed < 0.02 * waited else 6 * patience):
            ended = WALL
        if ended != ENDED:
            _kill_group(pid)
            os.kill(pid, _signal.SIGKILL)


def _kill_group(pid: int) -> None:
    try:  # noqa: SIM105 (contextlib is not loaded here)
        os.killpg(pid, _signal.SIGKILL)
    except OSError:
        pass


if __name__ == "__main__":
    try:
        _serve()
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())  # sys.stderr is the program's by now
        os._exit(1)
