"""A worker: one process that locks itself in and forks a child for every program. A script, never imported.

It is started by sandbox.py as ``worker.py FLAVOUR LAYER,LAYER...`` with a socket as fd 0. It was executed afresh and
holds no expected value, no solution and nothing of its caller's memory or environment. Nor does it ever hold a
program or what one returned: the child reads the one, the kernel copies the other, so that no program finds an
earlier one in the memory it inherits.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import builtins
import gc
import marshal
import os
import struct
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import NoReturn

_package = ModuleType("graders")  # its modules without its __init__, which loads what no worker needs
_package.__path__ = [os.path.dirname(os.path.abspath(__file__))]  # noqa: PTH100, PTH120 (pathlib is slow to load)
sys.modules["graders"] = _package
from graders import child, flavours, lockdown  # noqa: E402

HEADER = struct.Struct("<IIdIQ")  # sequence number, length of the body, CPU seconds a step, steps, bytes of result
REPLY = struct.Struct("<IBBidI")  # sequence number, how it ended, stages passed, wait status, CPU s, length
ENDED, CPU, WALL = 0, 1, 2  # how a child ended: by itself, or killed by the worker for one of these
NO_RANDOMIZE = 0x0040000  # ADDR_NO_RANDOMIZE of personality(2)
STOPPED = 0x7F  # the low byte of a wait status
STAGES = 5  # where the worker reads what children write to child.STAGE
CHILD = frozenset((_signal.SIGCHLD,))
_nap = time.sleep
_await = getattr(_signal, "sigtimedwait", None)


def _fix_addresses() -> None:
    """Start over without address randomisation, where that is allowed: sets of objects are ordered by address.

    What randomisation guards against is a program that runs code of its own, and these do that anyway.
    """
    if sys.platform == "linux":
        import ctypes

        personality = ctypes.CDLL(None).personality
        current = personality(ctypes.c_ulong(0xFFFFFFFF))  # asks only
        if current >= 0 and not current & NO_RANDOMIZE and personality(ctypes.c_ulong(current | NO_RANDOMIZE)) >= 0:
            os.execv(sys.executable, sys.orig_argv)


def open_files() -> None:
    """Put everything that is ever needed where it is expected: 0 socket, 1 /dev/null, 2 last words, 3, 4, 5."""
    high = 20
    os.dup2(os.open("/dev/null", os.O_RDWR), high)
    os.dup2(_results(), high + 1)
    reader, writer = os.pipe()
    os.dup2(writer, high + 2)
    os.dup2(reader, high + 3)
    os.closerange(3, high)
    for target, source in ((child.NULL, high), (child.RESULT, high + 1), (child.STAGE, high + 2), (STAGES, high + 3)):
        os.dup2(source, target)
    os.closerange(STAGES + 1, 64)
    os.set_blocking(STAGES, False)


def _results() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("r")
    path = f"/tmp/graders-{os.getpid()}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(path)  # noqa: PTH108 (nor is pathlib)
    return fd


def _prepare(flavour: str, sealed: bool) -> None:
    """Import what novices import, once; make what they would find random or this machine's the same for everybody.

    ``sealed``: no file can be opened later on, so the rest of the standard library is kept in memory.
    """
    os.register_at_fork = lambda **hooks: None  # re-seeding and lock hooks cost each child 0.5 ms
    for name in flavours.FULL if flavour == "full" else flavours.SLIM:
        try:
            __import__(name)
        except ImportError:
            if name in flavours.SLIM:
                raise
    if sealed:
        from graders.archive import Archive

        sys.meta_path[:] = [*sys.meta_path[:2], Archive()]  # the first two: built in, frozen
    sys.modules["random"].seed(0)
    time.tzset()
    os.environ.pop("LD_BIND_NOW", None)  # it spared the children the dynamic linker's work
    time.sleep = _sleep  # type: ignore[assignment]
    same = os.uname_result((sys.platform.capitalize(), "localhost", "1", "1", os.uname().machine))
    os.uname = sys.modules["posix"].uname = lambda: same  # type: ignore[attr-defined]
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]  # what `site` would have given
    sys.argv = ["student.py"]
    sys.orig_argv = ["student.py"]
    child.streams(b"", 0)  # here and not in every child, where it would cost a quarter of all page faults


def _hide(flavour: str) -> None:
    """Take what is ours away from programs that look around by name."""
    hidden = [n for n in sys.modules if n == "graders" or n.startswith("graders.")]
    for name in [*hidden, *(("ctypes", "_ctypes") if flavour != "full" else ())]:
        sys.modules.pop(name, None)
    sys.modules["__main__"] = ModuleType("__main__")


def _sleep(seconds: float) -> None:
    """A nap costs a student nothing here, so that waiting programs do not keep a worker from others."""
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")


def read(count: int) -> bytes:
    data = os.read(0, count)
    while len(data) < count:
        more = os.read(0, count - len(data))
        if not more:
            os._exit(0)  # the caller is gone
        data += more
    return data


def write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(0, view) :]


def _start(flavour: str, wanted: tuple[str, ...]) -> NoReturn:
    plan = lockdown.plan(wanted)
    _prepare(flavour, "seccomp" in plan.active)
    open_files()
    _signal.pthread_sigmask(_signal.SIG_BLOCK, {_signal.SIGCHLD})
    locked = lockdown.lock(plan)
    _hide(flavour)
    gc.collect()
    gc.freeze()
    hello = marshal.dumps((plan.active, plan.missing), 2)
    write(REPLY.pack(0, ENDED, 0, 0, 0.0, len(hello)) + hello)
    _serve(locked, alone="seccomp" in plan.active)


def _serve(locked: lockdown.Locked, alone: bool) -> NoReturn:
    """Answer requests. Every object touched here is a page copied, while there is a child: hence the few calls."""
    while True:
        sequence, length, cpu, steps, room = HEADER.unpack(read(HEADER.size))
        pid = os.fork()
        if not pid:
            child.run(length, steps, room, locked.arm, alone)
        wait(0.1)
        used = used_by(pid)  # before it is gone: what wait4 reports costs ten times as much
        done, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        ended = ENDED
        if not done or status & 0xFF == STOPPED:
            ended, status, used = watch(pid, cpu, steps, locked.kill)
        if not alone:
            lockdown.kill_rest(pid)
        answer(sequence, ended, status, used, room)


def answer(sequence: int, ended: int, status: int, used: float, room: int) -> None:
    """Tell the caller how a child ended, and hand on what it claimed."""
    try:
        stages = len(os.read(STAGES, 8))
    except BlockingIOError:
        stages = 0
    size = min(os.lseek(child.RESULT, 0, os.SEEK_END), room)
    write(REPLY.pack(sequence, ended, stages, status, used, size))
    if size:
        send(size)
        os.ftruncate(child.RESULT, 0)
    os.lseek(child.RESULT, 0, os.SEEK_SET)


def send(size: int) -> None:
    """Hand the child's frames on, unseen where the system can do that."""
    if sys.platform != "linux":
        write(os.pread(child.RESULT, size, 0))
        return
    sent = 0
    while sent < size:
        sent += os.sendfile(0, child.RESULT, sent, size - sent)


def watch(pid: int, cpu: float, steps: int, kill: Callable[[int], None]) -> tuple[int, int, float]:
    """Wait for a child that takes long; kill it when it cheats its own timer, or waits for what never comes.

    The child's timer stops an honest program at exactly ``cpu`` seconds for a step (loading, or one test). Here
    is what holds for the others. A child that makes no progress and hardly computes is idle; one that computes
    slowly is on a busy machine, and gets six times as long.
    """
    patience = 5 + 10 * cpu
    size, cpu_then, wall_then = 0, 0.0, time.monotonic()
    ended = ENDED
    while True:
        used = used_by(pid)
        done, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if done and status & 0xFF != STOPPED:
            return ended, status, used
        now, progress = time.monotonic(), os.lseek(child.RESULT, 0, os.SEEK_CUR)
        if progress != size:
            size, cpu_then, wall_then = progress, used, now
        waited, computed = now - wall_then, used - cpu_then
        if computed > cpu + 0.5 or used > steps * cpu + 1:
            ended = CPU
        elif done or waited > (patience if computed < 0.02 * waited else 6 * patience):
            ended = WALL  # or it stopped itself, which comes to the same
        if ended != ENDED:
            kill(pid)
        wait(0.1)


def used_by(pid: int) -> float:
    """CPU seconds of a child, until it is waited for; 0 where a system cannot tell."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # Linux: the CPU clock of a process
    except OSError:
        return 0.0


def wait(seconds: float) -> None:
    """Until a child changes state, or about as long."""
    if _await is not None:
        _await(CHILD, seconds)
    else:
        _nap(0.001)


if __name__ == "__main__":
    try:
        _fix_addresses()
        _start(sys.argv[1], tuple(sys.argv[2].split(",")))
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())  # sys.stderr is the program's by now
        os._exit(1)
