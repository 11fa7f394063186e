"""A worker with a JavaScript engine: locks itself in, keeps one compiler, forks a child for every program. A script.

It speaks with its caller as ../worker.py does and shares what that has; it is started by sandbox.py as ``worker.py
pencilcode LAYER,LAYER... ENGINE COMPILER``: the folder of py_mini_racer, the file of the compiler. V8 is initialised
before the first fork and has no thread then; every child makes an isolate of its own, and with it a thread, before it
arms itself. The filter is for all threads, and nothing needs memory to be executable.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import marshal
import os
import resource
import select
import sys
import time
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import NoReturn

_folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
for _name in ("graders", "graders.pencilcode"):  # their modules without their __init__
    _package = ModuleType(_name)
    _package.__path__ = [os.path.join(_folder, *_name.split(".")[1:])]  # noqa: PTH118
    sys.modules[_name] = _package
from graders import child, lockdown, worker  # noqa: E402
from graders.pencilcode import engine  # noqa: E402

WORLD = ("clock", "turtle", "page", "jquery", "moves", "names", "browser", "drive")  # the stub's files, in order
COMPILATIONS = 1_000  # programs after which the compiler is replaced, should it ever keep something of them
SPARE = 96 << 20  # bytes of a child that are not its program's
GO, DONE, PIPES = 6, 7, 8  # the compiler's ends of its pipes, and the first descriptor that nothing needs


def _start(wanted: tuple[str, ...], engine_folder: str, compiler: str) -> NoReturn:
    plan = lockdown.plan(wanted)
    sys.path.append(engine_folder)
    library = engine.load()
    with open(compiler, encoding="utf-8") as file:  # noqa: PTH123
        compiler_text = file.read()
    world = _world()
    worker.open_files()
    _signal.pthread_sigmask(_signal.SIG_BLOCK, {_signal.SIGCHLD})
    locked = lockdown.lock(plan, threads=True)
    hello = marshal.dumps((plan.active, plan.missing), 2)
    worker.write(worker.REPLY.pack(0, worker.ENDED, 0, 0, 0.0, len(hello)) + hello)
    _serve(locked, "seccomp" in plan.active, engine.Maker(library, world, compiler_text))


def _world() -> str:
    """The stub as one script: a function of its settings."""
    texts = []
    for name in WORLD:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "world", f"{name}.js")  # noqa: PTH100, PTH118, PTH120
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            texts.append(file.read())
    return "(function (settings) {\n'use strict';\n" + "\n".join(texts) + "\n})"


def _serve(locked: lockdown.Locked, alone: bool, make: engine.Maker) -> NoReturn:
    compiler: _Compiler | None = None
    while True:
        sequence, length, cpu, steps, room = worker.HEADER.unpack(worker.read(worker.HEADER.size))
        if steps == 0:
            if compiler is None:
                compiler = _Compiler(locked, alone, make)
            over, ended, status, used = compiler.compile(length, cpu, room)
            if over:
                compiler = None
        else:
            pid = os.fork()
            if not pid:
                _child(partial(_run, length, room, locked, alone, make))
            worker.wait(0.1)
            used = worker.used_by(pid)
            done, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
            ended = worker.ENDED
            if not done or status & 0xFF == worker.STOPPED:
                ended, status, used = worker.watch(pid, cpu, 1, locked.kill)
            if not alone:
                lockdown.kill_rest(pid)
        worker.answer(sequence, ended, status, used, room)


class _Compiler:
    """A child that compiles one program after another, reading each from the socket itself."""

    def __init__(self, locked: lockdown.Locked, alone: bool, make: engine.Maker) -> None:
        go, self._go = os.pipe()
        self._done, done = os.pipe()
        self._kill = locked.kill
        self._left = COMPILATIONS
        self.pid = os.fork()
        if not self.pid:
            os.dup2(go, 20)
            os.dup2(done, 21)
            os.closerange(GO, 20)
            os.dup2(20, GO)
            os.dup2(21, DONE)
            _child(partial(_compile_all, locked, alone, make))
        os.close(go)
        os.close(done)

    def compile(self, length: int, cpu: float, room: int) -> tuple[bool, int, int, float]:
        """Whether the child is over, how it ended, its wait status, the CPU seconds that it took."""
        used = worker.used_by(self.pid)
        os.write(self._go, worker.HEADER.pack(0, length, cpu, 0, room))
        deadline = time.monotonic() + 6 * (5 + 10 * cpu)
        ended, status, over = worker.ENDED, 0, False
        while not select.select([self._done], [], [], 0.1)[0]:
            late = worker.used_by(self.pid) - used > cpu + 0.5
            if late or time.monotonic() > deadline:
                ended = worker.CPU if late else worker.WALL
                self._kill(self.pid)
        used = worker.used_by(self.pid) - used
        self._left -= 1
        answer = os.read(self._done, 1)
        if answer != b"d" or not self._left:
            over = True
            os.close(self._go)
            os.close(self._done)
            _, ending = os.waitpid(self.pid, 0)
            status = status if answer == b"d" else ending
        return over, ended, status, used


def _child(action: Callable[[], None]) -> NoReturn:
    try:
        action()
    except BaseException:
        os._exit(70)
    os._exit(0)


def _compile_all(locked: lockdown.Locked, alone: bool, make: engine.Maker) -> None:
    isolate, compiler = make.compiler()
    null_two()
    os.closerange(PIPES, 64)
    armed = False
    while head := os.read(GO, worker.HEADER.size):
        _, length, cpu, _, room = worker.HEADER.unpack(head)
        request = marshal.loads(worker.read(length))
        if not armed:
            _limit(request["memory"], 0.0, room)
            isolate.limit(request["memory"] // 2)
            _arm(locked, alone)
            armed = True
        os.write(child.STAGE, b"sp")
        _signal.setitimer(_signal.ITIMER_PROF, cpu)
        value = isolate.call(compiler, request["code"])
        _signal.setitimer(_signal.ITIMER_PROF, 0)
        _claim({"text": b"C", "memory": b"Z"}.get(value.kind, b"S"), value.text, room)
        if value.kind == "memory":
            return
        isolate.free(value)
        os.write(DONE, b"d")


def _run(length: int, room: int, locked: lockdown.Locked, alone: bool, make: engine.Maker) -> None:
    """One program in a world of its own. STAGE gets a byte when it is locked in, another when its world is there."""
    isolate = engine.Isolate(make.library)
    request = marshal.loads(worker.read(length))
    os.dup2(child.NULL, 0)
    null_two()
    os.closerange(worker.STAGES, 64)
    cpu: float = request["cpu"]
    _limit(request["memory"], cpu, room)
    isolate.limit(request["memory"] // 2)
    _arm(locked, alone)
    os.write(child.STAGE, b"s")
    world = isolate.eval(f"({make.world})({request['settings']})")
    if world.kind != "other":
        raise RuntimeError("the world does not load")
    os.write(child.STAGE, b"p")
    os.close(child.STAGE)
    _signal.setitimer(_signal.ITIMER_PROF, cpu)
    value = isolate.call(world, request["code"])
    while value.kind == "text" and value.text == "more":
        isolate.free(value)
        value = isolate.call(world)
    _signal.setitimer(_signal.ITIMER_PROF, 0)
    _claim({"text": b"V", "memory": b"Z"}.get(value.kind, b"E"), value.text, room)


def null_two() -> None:
    """Standard error to nowhere: V8 has last words of its own, and they are not for a grade."""
    os.dup2(child.NULL, 2)


def _arm(locked: lockdown.Locked, alone: bool) -> None:
    if not alone:
        os.setsid()
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {_signal.SIGCHLD})
    if locked.arm is not None:
        locked.arm()


def _limit(memory: int, cpu: float, room: int) -> None:
    """The process's limits. V8 reserves far more addresses than it uses, so it is what is written to that counts."""
    if cpu:
        child.lower(resource.RLIMIT_CPU, int(cpu) + 3, 1)
    child.lower(resource.RLIMIT_FSIZE, room)
    child.lower(resource.RLIMIT_NPROC, 0)
    if sys.platform == "linux":
        child.lower(resource.RLIMIT_DATA, memory + SPARE)


def _claim(tag: bytes, text: str, room: int) -> None:
    payload = text.encode("utf-8", "replace")[: room - 64]
    data = child.FRAME.pack(tag, len(payload)) + payload
    view = memoryview(data)
    while view:
        view = view[os.write(child.RESULT, view) :]


if __name__ == "__main__":
    try:
        _start(tuple(sys.argv[2].split(",")), *sys.argv[3:5])
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())  # what the caller shows as last words
        os._exit(1)
