"""The trusted side's end of one worker process: start it, hand it a program, take its answer, replace it.

The worker is executed afresh, never forked from the caller, whose memory may hold models, keys and answers, and
whose threads and CUDA contexts do not survive a fork. It is given a program and the tests' inputs; nothing else.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from graders.flavours import flavour
from graders.policy import Isolation, Policy

if TYPE_CHECKING:  # loaded when the first worker starts: `import graders` is to stay fast
    import socket
    import subprocess

_HEADER = struct.Struct("<IIdIQ")  # as in worker.py
_REPLY = struct.Struct("<IBBidI")
_FRAME = struct.Struct("<cI")
_ENDS: tuple[Literal["ended", "cpu", "wall"], ...] = ("ended", "cpu", "wall")
_ERRORS = 16 << 10  # child.ERRORS: bytes kept of a captured run's standard error
_RECYCLE = 5_000  # programs after which a worker is replaced: a leak, if there were one, would stay small
_START_SECONDS = 60.0  # a busy machine may take long to start a process; a broken one says so at once
SCRIPTS = "pencilcode"  # the kind of worker that has a JavaScript engine
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": "/", "LD_BIND_NOW": "1"}


class WorkerLostError(RuntimeError):
    """The worker died, stalled or made no sense: our failure, never the program's."""


@dataclass(frozen=True, slots=True)
class Request:
    """One program and the inputs of its tests: marshalled arguments, or the text for standard input.

    ``capture``: claim a whole run of the program, as in child.py; the name its file has in tracebacks, or empty.
    ``after``: for each test of a function whether its arguments are claimed too, in a tuple after the value returned.
    ``named``: each test's arguments are a tuple and a dictionary of those given by name.
    ``most_bytes``: room for the values of all tests together; None: ``claim_bytes`` for each.
    ``imports``: further text whose imports decide about the flavour of the worker.
    """

    code: str
    prelude: str
    entry: str | None
    tests: Sequence[bytes]
    cpu_seconds: float
    memory_bytes: int
    claim_bytes: int
    capture: str = ""
    imports: str = ""
    after: Sequence[bool] = ()
    named: bool = False
    most_bytes: int | None = None

    def encode(self, sequence: int) -> bytes:
        body = {
            "code": self.code,
            "prelude": self.prelude,
            "entry": self.entry,
            "tests": list(self.tests),
            "cpu": self.cpu_seconds,
            "memory": self.memory_bytes,
            "claim": self.claim_bytes,
            "capture": self.capture,
            "after": list(self.after),
            "named": self.named,
            "most": self.file_bytes if self.most_bytes is None else self.most_bytes,
        }
        data = marshal.dumps(body, 2)
        return _HEADER.pack(sequence, len(data), self.cpu_seconds, len(self.tests) + 1, self.file_bytes) + data

    @property
    def file_bytes(self) -> int:
        if self.most_bytes is not None:
            return self.most_bytes + 4096 * (len(self.tests) + 1)
        return (self.claim_bytes + 64 + (_ERRORS + 1024 if self.capture else 0)) * len(self.tests) + 4096

    @property
    def kind(self) -> str:
        """The worker that it takes."""
        return flavour(self.code, self.prelude, self.imports)

    @property
    def frames(self) -> int:
        """How many claims are read: one for loading, then one a test, or three of a captured run."""
        return (3 if self.capture else 1) * len(self.tests) + 1

    @property
    def patience(self) -> float:
        """Seconds after which a worker that has not answered is given up; its own clocks are far stricter."""
        return 60 + 6 * (5 + 10 * self.cpu_seconds) * (len(self.tests) + 1)


@dataclass(frozen=True, slots=True)
class ScriptRequest:
    """One Pencil Code program to ``compile`` to JavaScript, or JavaScript to run in the stub of a page.

    ``settings`` is what the stub is told, as JSON; ``cpu_seconds`` and ``memory_bytes`` limit the child that it takes.
    """

    code: str
    compile: bool
    settings: str = "{}"
    cpu_seconds: float = 2.0
    memory_bytes: int = 512 << 20
    kind: str = SCRIPTS
    frames: int = 1
    file_bytes: int = 8 << 20

    def encode(self, sequence: int) -> bytes:
        data = marshal.dumps(
            {"code": self.code, "settings": self.settings, "memory": self.memory_bytes, "cpu": self.cpu_seconds}, 2
        )
        return _HEADER.pack(sequence, len(data), self.cpu_seconds, 0 if self.compile else 1, self.file_bytes) + data

    @property
    def patience(self) -> float:
        """As of `Request`."""
        return 60 + 6 * (5 + 10 * self.cpu_seconds)


@dataclass(frozen=True, slots=True)
class Run:
    """How a child ended and what it claimed. ``exit_code`` is negative for a signal, as in subprocess.

    ``stages``: 1, the prelude failed; 2, the program was reached. A program cannot influence it.
    """

    claims: tuple[tuple[bytes, bytes], ...]
    end: Literal["ended", "cpu", "wall"]
    exit_code: int
    stages: int
    cpu_seconds: float


class Worker:
    """One worker process of each flavour that programs turn out to need. Not for use by two threads at once."""

    def __init__(self, policy: Policy | None = None) -> None:
        self._policy = policy or Policy.of(None, False, None)
        self._processes: dict[str, _Process] = {}

    def run(self, request: Request | ScriptRequest) -> Run:
        """Run one program.

        Raises WorkerLostError, the process then being gone; the next call starts another. Raises IsolationError
        when this machine offers less isolation than the policy asks for.
        """
        return self._process(request.kind).run(request)

    def isolation(self, kind: str = "slim") -> Isolation:
        """What shuts its programs in, whatever the policy asks for. Raises WorkerLostError."""
        process = self._process(kind)
        process.start()
        return process.isolation

    def close(self) -> None:
        """End the processes."""
        for process in self._processes.values():
            process.close()

    @property
    def pid(self) -> int | None:
        """The process id of the slim worker, if there is one; of its guard, when it has a pid namespace of its own."""
        return self._process("slim").pid

    def _process(self, kind: str) -> _Process:
        if kind not in self._processes:
            self._processes[kind] = _Process(kind, self._policy)
        return self._processes[kind]


class _Process:
    """One worker process, started at the first ``run``."""

    def __init__(self, kind: str, policy: Policy) -> None:
        self.isolation = Isolation(0, ())
        self._kind = kind
        self._policy = policy
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._sequence = 0

    def run(self, request: Request | ScriptRequest) -> Run:
        """As `Worker.run`."""
        if self._sequence >= _RECYCLE:
            self.close()
        self.start()
        try:
            self._policy.check(self.isolation)
            return self._run(request)
        except OSError as error:
            raise self._lost(error) from error
        except BaseException:
            self.close(kill=True)
            raise

    def start(self) -> None:
        """Start the process unless it runs. Raises WorkerLostError."""
        if self._process is None:
            try:
                self._start()
            except OSError as error:
                raise self._lost(error) from error
            except BaseException:
                self.close(kill=True)
                raise

    def _run(self, request: Request | ScriptRequest) -> Run:
        self._sequence += 1
        self._send(request.encode(self._sequence), request.patience)
        head = _REPLY.unpack(self._receive(_REPLY.size, request.patience))
        sequence, end, stages, status, cpu_seconds, size = head
        if sequence != self._sequence or end >= len(_ENDS) or size > request.file_bytes:
            raise WorkerLostError("the worker's answer makes no sense")
        exit_code = os.waitstatus_to_exitcode(status)
        if stages == 0:
            raise WorkerLostError(f"a child could not be set up (exit code {exit_code})")
        claims = _frames(self._receive(size, 10.0), request.frames)
        return Run(claims, _ENDS[end], exit_code, stages, cpu_seconds)

    def _lost(self, error: OSError) -> WorkerLostError:
        lost = WorkerLostError(f"the worker was lost ({type(error).__name__}){self._last_words()}")
        self.close(kill=True)
        return lost

    def close(self, *, kill: bool = False) -> None:
        """End the process: it leaves by itself when its socket closes, or is killed."""
        process, self._process = self._process, None
        self._sequence = 0
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if process is None:
            return
        import subprocess

        try:
            process.wait(0 if kill else 2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stderr is not None:
            process.stderr.close()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def _start(self) -> None:
        import socket
        import subprocess

        if not sys.executable:
            raise WorkerLostError("sys.executable is empty: graders needs a Python interpreter to start its workers")
        ours, theirs = socket.socketpair()
        folder = Path(__file__).parent
        script = folder / "pencilcode" / "worker.py" if self._kind == SCRIPTS else folder / "worker.py"
        command = [sys.executable, "-S", "-s", "-P", "-B", "-X", "utf8", "-W", "ignore", os.fspath(script)]
        command += [self._kind, ",".join(self._policy.layers)]
        if self._kind == SCRIPTS:
            from graders.pencilcode.install import engine_and_compiler

            command += engine_and_compiler()
        with theirs:
            self._socket = ours
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        size = _REPLY.unpack(self._receive(_REPLY.size, _START_SECONDS))[5]
        active, missing = marshal.loads(self._receive(size, _START_SECONDS))
        self.isolation = Isolation.of(active, missing)

    def _send(self, data: bytes, seconds: float) -> None:
        assert self._socket is not None
        self._socket.settimeout(seconds)
        self._socket.sendall(data)

    def _receive(self, size: int, seconds: float) -> bytes:
        assert self._socket is not None
        deadline = time.monotonic() + seconds
        data = bytearray()
        while len(data) < size:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            more = self._socket.recv(size - len(data))
            if not more:
                raise ConnectionResetError
            data += more
        return bytes(data)

    def _last_words(self) -> str:
        """The end of the dead worker's standard error: what tells a broken installation from a bug."""
        process = self._process
        if process is None or process.stderr is None:
            return ""
        with contextlib.suppress(OSError, ValueError):
            os.set_blocking(process.stderr.fileno(), False)
            words = (process.stderr.read(4096) or b"").decode("utf-8", "replace").strip()
            return f": {words.splitlines()[-1]}" if words else ""
        return ""


def _frames(data: bytes, limit: int) -> tuple[tuple[bytes, bytes], ...]:
    """The claims in a child's file, up to the first that is not whole."""
    claims: list[tuple[bytes, bytes]] = []
    at = 0
    while len(claims) < limit and at + _FRAME.size <= len(data):
        tag, size = _FRAME.unpack_from(data, at)
        at += _FRAME.size
        if at + size > len(data):
            break
        claims.append((tag, data[at : at + size]))
        at += size
    return tuple(claims)
