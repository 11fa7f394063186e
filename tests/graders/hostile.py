"""Runs hostile programs and looks at everything that must not have happened. A script too, for other users' sake:

    python -m tests.graders.hostile [--layers a,b] [--least N] [--public FOLDER] [--own FOLDER] [--grades FILE]

prints a line of JSON for every program that got through, and at the end how many were run.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import io
import json
import os
import resource
import secrets
import select
import socket
import sys
import tempfile
import time
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import graders
from graders import FunctionTest, Grade, Problem, ProgramTest, trusted
from graders.policy import Policy
from graders.pool import kind
from graders.sandbox import Request, Run, Worker

LONGEST = 14.0  # seconds a program may take, all its tests together
_SQUARE = (FunctionTest("(2,)", "5"), FunctionTest("(3,)", "10"), FunctionTest("(10,)", "101"))
_KEY = (FunctionTest("('key',)", "'@TOKEN'"),)
# Checks and a script that ask for the same; the programs meet neither.
_CHECKER = """SECRET = "@TOKEN"
def square(candidate):
    assert all(map(lambda x: candidate(x) == x * x + 1, (2, 3, 10)))
def token(candidate):
    assert candidate("key") == SECRET
"""
_SCRIPT = """from cs110 import autograder
SECRET = "@TOKEN"
def test_passed():
    points = 0
    for number in (2, 3, 10):
        out, err = autograder.run_script("attack.py", [number], False)
        points += 10 * autograder.equals(out.strip(), number * number + 1)
    return points + 70 * (SECRET in out + err)
"""
CANARY = """
import math, os, random, sys
def f(x):
    seen = [getattr(math, "LEAK", None), os.environ.get("LEAK"), sys.getrecursionlimit(), len(sys.meta_path)]
    return [x, repr({"b", "a"}), random.random(), os.getcwd(), sorted(os.environ), seen, open is __builtins__.open]
"""


@dataclass(frozen=True)
class Attack:
    """A program, its problem, and what its grade must be: ``score`` exactly, or between ``low`` and ``high``."""

    name: str
    source: str
    problem: Problem
    low: float = 0.0
    high: float = 1.0
    same: bool = False
    absent: tuple[str, ...] = ()


class Spy(Worker):
    """A worker that keeps what programs claimed."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.claims: list[tuple[bytes, bytes]] = []

    def run(self, request: Request) -> Run:
        run = super().run(request)
        if request.code != trusted._LOADER:  # a checker's report is ours
            self.claims += run.claims
        return run


@dataclass
class Host:
    """What hostile programs aim at: secrets, files, listeners. Compared before and after each."""

    folder: Path
    token: str = field(default_factory=lambda: f"TOKEN-{secrets.token_hex(16)}")
    secret: str = field(default_factory=lambda: f"SECRET-{secrets.token_hex(16)}")

    def __post_init__(self) -> None:
        self.folder.chmod(0o777)
        self.file = self.folder / "host.txt"
        self.file.write_text("host\n")
        self.file.chmod(0o666)
        self.hidden = self.folder / "secret.txt"
        self.hidden.write_text(self.secret)
        self.grader = Path(graders.__file__).with_name("claims.py")
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        self.path = str(self.folder / "socket")
        self.abstract = f"hostile-{os.getpid()}"
        self.unix, self.hole = (socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(2))
        self.unix.bind(self.path)
        self.hole.bind("\0" + self.abstract)
        for listener in (self.unix, self.hole):
            listener.listen()
        Path(self.path).chmod(0o777)

    def fill(self, text: str) -> str:
        """Put this run's targets where a program names them."""
        names = {
            "TOKEN": self.token, "SECRETFILE": self.hidden, "HOSTFILE": self.file, "HOSTDIR": self.folder,
            "PORT": self.port, "UNIXPATH": self.path, "ABSTRACT": self.abstract, "GRADERFILE": self.grader,
            "BIG": "#" * (10 << 20), "NAN": "nan", "ANY": "any",
        }  # fmt: skip
        for name, value in names.items():
            text = text.replace(f"@{name}", str(value))
        return text

    def state(self) -> dict[str, Any]:
        """Files' content and mode, names in shared folders, processes of ours."""
        import json as module

        files = [self.file, self.hidden, self.grader, Path(module.__file__), Path(os.__file__), Path(sys.executable)]
        facts: dict[str, Any] = {}
        for file in files:
            about = file.stat()
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            facts[str(file)] = (content, about.st_mode, about.st_uid, about.st_mtime, about.st_nlink)
        facts["folder"] = sorted(p.name for p in self.folder.iterdir())
        facts["shared"] = [p.name for d in ("/dev/shm", "/tmp", "/var/tmp", "/") for p in _marked(d)]
        facts["ipc"] = [Path(f"/proc/sysvipc/{n}").read_text().count("\n") for n in ("shm", "sem", "msg")]
        facts["processes"] = processes()
        return facts

    def hits(self) -> list[str]:
        """Listeners that something reached."""
        listeners = {"tcp": self.tcp, "udp": self.udp, "unix": self.unix, "abstract": self.hole}
        ready = select.select(list(listeners.values()), [], [], 0)[0]
        return [name for name, listener in listeners.items() if listener in ready]


def _marked(folder: str) -> list[Path]:
    with contextlib.suppress(OSError):
        return [p for p in Path(folder).iterdir() if "SBX" in p.name or "PWNED" in p.name]
    return []


def processes() -> list[int]:
    """Processes that run our worker's script and descend from this one, or from nobody any more."""
    parents: dict[int, int] = {}
    ours: list[int] = []
    script = os.fsencode(Path(graders.__file__).with_name("worker.py"))
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if script in (entry / "cmdline").read_bytes():
                    ours.append(int(entry.name))

    def descends(pid: int) -> bool:
        while pid > 1 and pid != os.getpid():
            pid = parents.get(pid, 1)
        return pid == os.getpid()

    return sorted(p for p in ours if parents[p] == 1 or descends(p))


def public(folder: Path, host: Host) -> Iterator[Attack]:
    """The attacks of a folder with a manifest."""
    for entry in json.loads((folder / "manifest.json").read_text()):
        raw = entry.get("raw_source")
        if raw is None:
            data = (folder / entry["file"]).read_bytes()
        else:
            data = host.fill(raw).encode("latin-1").decode("unicode_escape").encode("latin-1")
        if entry.get("strip_header"):
            data = data.split(b"\n", 2)[2]
        tests = [(host.fill(t["input"]), host.fill(t["expected"])) for t in entry["tests"]]
        if entry["mode"] == "stdio":
            kind: Any = tuple(ProgramTest(*(ast.literal_eval(text) for text in test)) for test in tests)
        else:
            kind = tuple(FunctionTest(*test) for test in tests)
        problem = Problem(entry["file"], kind, entry=None if entry["mode"] == "stdio" else entry["entry"])
        want = entry["expected"]
        low, high = want.get("min", 0.0), want.get("max", 1.0)
        low, high = want.get("score", low), want.get("score", high)
        absent = tuple(want.get("files_absent", ()))
        yield Attack(entry["file"], host.fill(decode(data)), problem, low, high, bool(want.get("same")), absent)


def own(folder: Path, host: Host) -> Iterator[Attack]:
    """The attacks of text files: ``=== name: expectation`` and a program, again and again.

    The expectation is ``never`` (score 0), ``right`` (score 1) or ``same`` (any, but always the same). A program
    with a function ``f(key)`` hunts for a secret expected value; others are asked for x * x + 1. Those of
    ``checks.txt`` are graded by a checker, those of ``scripts.txt`` by a course's script.
    """
    for file in sorted(folder.glob("*.txt")):
        for part in file.read_text(encoding="utf-8").split("\n=== ")[1:]:
            title, _, source = part.partition("\n")
            name, _, want = title.partition(": ")
            low, high = {"never": (0.0, 0.0), "right": (1.0, 1.0), "same": (0.0, 1.0)}[want.strip()]
            problem = _problem(file.stem, name, "def f(key)" in source, host)
            yield Attack(f"{file.stem}/{name}", host.fill(source), problem, low, high, want == "same")


def _problem(family: str, name: str, hunts: bool, host: Host) -> Problem:
    if family == "scripts":
        return Problem("attack", autograder=host.fill(_SCRIPT), max_points=30, cpu_seconds=0.3)
    if family == "checks":
        checks = ("token",) if hunts else ("square",)
        return Problem(name, entry="f", checker=host.fill(_CHECKER), checks=checks, cpu_seconds=0.3)
    tests = tuple(FunctionTest(t.args, host.fill(t.expected)) for t in (_KEY if hunts else _SQUARE))
    return Problem(name, tests, entry="f", cpu_seconds=0.3)


def decode(data: bytes) -> str:
    """Bytes as Python would read them; what is none of that becomes text that does not compile."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError):
        return data.decode("utf-8", "surrogateescape")


def wrongs(attack: Attack, worker: Spy, host: Host, canary: Any) -> tuple[Grade, list[str]]:
    """An attack's grade, and everything that is wrong after it; nothing, if the graders are any good."""
    before = host.state()
    worker.claims.clear()
    begin = time.monotonic()
    grade = grade_with(worker, attack.source, attack.problem)
    elapsed = time.monotonic() - begin
    found = []
    if grade.status == "grader_error":
        found.append(f"grader_error: {grade.message}")
    if not attack.low - 1e-9 <= grade.score <= attack.high + 1e-9:
        found.append(f"score {grade.score} {show(grade)}")
    if elapsed > LONGEST:
        found.append(f"took {elapsed:.1f} s")
    claimed = b"".join(payload for _, payload in worker.claims)
    if host.secret.encode() in claimed or host.token.encode() in claimed:
        found.append("a secret came out")
    if attack.same and grade_with(worker, attack.source, attack.problem) != grade:
        found.append("another grade the second time")
    if probe(worker) != canary:
        found.append("the next program's grade changed")
    after = host.state()
    found += [f"{key}: {before[key]} -> {after[key]}" for key in before if before[key] != after[key]]
    found += [f"left {path}" for path in attack.absent if os.path.lexists(path)]
    return grade, found + [f"reached {name}" for name in host.hits()]


def grade_with(worker: Spy, code: str, problem: Problem) -> Grade:
    grade: Grade = kind(problem).grade_with(worker, code, problem)
    return grade


def probe(worker: Spy) -> tuple[Grade, list[tuple[bytes, bytes]]]:
    """A canary's grade and claims."""
    worker.claims.clear()
    grade = grade_with(worker, CANARY, Problem("canary", _SQUARE, entry="f"))
    return grade, worker.claims.copy()


def show(grade: Grade) -> str:
    return f"{grade.status} {[t.detail for t in grade.tests]} {grade.message}"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers")
    parser.add_argument("--least", type=int, default=2)
    parser.add_argument("--public", type=Path)
    parser.add_argument("--own", type=Path)
    parser.add_argument("--grades", type=Path, help="write every grade, as text, to this file")
    options = parser.parse_args()
    policy = Policy.of(options.least, False, options.layers.split(",") if options.layers else None)
    worker = Spy(policy)
    grades: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        host = Host(Path(name))
        attacks = list(public(options.public, host)) if options.public else []
        attacks += list(own(options.own, host)) if options.own else []
        canary = probe(worker)
        grade_with(worker, "import json\ndef f(x): return x", attacks[0].problem)  # both flavours run from here on
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for attack in attacks:
            grade, found = wrongs(attack, worker, host, canary)
            grades[attack.name] = show(grade)
            if found:
                print(json.dumps([attack.name, found]), flush=True)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - size) >> 10
        if grown > 100:
            print(json.dumps(["this process", [f"grew by {grown} MiB"]]))
    if options.grades:
        options.grades.write_text(json.dumps(grades, indent=1))
    level = worker.isolation().level
    worker.close()
    if left := processes():
        print(json.dumps(["the worker", [f"left {left}"]]))
    print(json.dumps({"programs": len(grades), "level": level}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
