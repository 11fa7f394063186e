"""Levels, refusals, and the filter's machine code."""

from __future__ import annotations

import dataclasses
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import graders
from graders import IsolationError, Pool, Problem, outcomes, seccomp
from graders.flavours import flavour
from graders.policy import Isolation, Policy
from graders.python import grade_with
from graders.sandbox import Request, Run, Worker

RIGHT = "def f(a, b): return a + b"
FILTER = ["no_new_privs", "capabilities", "seccomp"]
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these layers")


@linux
def test_this_machine_can_shut_programs_in() -> None:
    found = graders.isolation()
    assert found.level >= 2, found
    assert {"rlimits", "no_new_privs", "seccomp"} <= set(found.active)
    assert not set(found.active) & set(found.missing)
    assert str(found).startswith(f"isolation level {found.level} (rlimits, ")


@linux
@pytest.mark.parametrize(("layers", "level"), [([], 1), (FILTER, 2), ([*FILTER, "landlock"], 3), (["landlock"], 1)])
def test_layers_can_be_left_out(add: Problem, layers: list[str], level: int) -> None:
    best = graders.isolation()
    found = graders.isolation(layers=layers)
    assert found.level == min(level, 2 if "landlock" in best.missing else 3)
    assert found.missing["net"] == "switched off"
    with Pool(1, layers=layers, allow_unsafe=True) as pool:
        assert pool.grade(RIGHT, add).score == 1


@linux
def test_less_than_required_is_refused(add: Problem) -> None:
    with Pool(1, layers=[]) as pool:
        for _ in range(2):
            with pytest.raises(IsolationError, match=r"level 1, below min_isolation=2.*allow_unsafe"):
                pool.grade(RIGHT, add)
    with (
        Pool(1, layers=FILTER, min_isolation=4) as pool,
        pytest.raises(IsolationError, match="not landlock: switched off"),
    ):
        pool.grade(RIGHT, add)


def test_wishes_are_checked() -> None:
    with pytest.raises(ValueError, match="unknown layers"):
        Pool(1, layers=["selinux"])
    with pytest.raises(ValueError, match="0 to 4"):
        Pool(1, min_isolation=5)


def test_level() -> None:
    spaces, base = ["pid", "mount"], ["rlimits", "no_new_privs", "seccomp"]
    levels = [[], ["rlimits"], ["rlimits", "landlock", *spaces], base, [*base, "landlock"], [*base, *spaces]]
    assert [Isolation.of(names, {}).level for names in levels] == [0, 1, 1, 2, 3, 3]
    assert Isolation.of([*base, *spaces, "landlock"], {}).level == 4


def interpret(program: bytes, number: int, arguments: tuple[int, ...] = (), machine: int = 0xC000003E) -> int:
    """What the kernel would make of a filter: the action for one system call."""
    data = struct.pack("<IIQ6Q", number, machine, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    code = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    word, at = 0, 0
    while True:
        kind, true, false, value = code[at]
        at += 1
        match kind:
            case 0x20:
                word = struct.unpack_from("<I", data, value)[0]
            case 0x05:
                at += value
            case 0x15:
                at += true if word == value else false
            case 0x35:
                at += true if word >= value else false
            case 0x45:
                at += true if word & value else false
            case 0x06:
                return int(value)


def expected(number: int, column: int, shared: bool) -> int | None:
    """The action the tables ask for, by looking them up one by one; None where arguments decide."""
    if any(call[0][column] == number for call in seccomp._CHECKED.values()):
        return None
    if shared and number == seccomp._FAILING[11]["clone"][column]:
        return None
    for failure, calls in seccomp._FAILING.items():
        if any(call[column] == number for call in calls.values()):
            return seccomp.ERRNO | failure
    allowed = seccomp._ALLOWED | (seccomp._SHARED if shared else {})
    return seccomp.ALLOW if any(call[column] == number for call in allowed.values()) else seccomp.ERRNO | 1


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("name", "column", "machine"), [("x86_64", 0, 0xC000003E), ("aarch64", 1, 0xC00000B7)])
def test_every_number_gets_what_the_tables_say(name: str, column: int, machine: int, shared: bool) -> None:
    program = seccomp.assemble(shared=shared, machine=name).code
    assert len(program) // 8 < 400
    for number in range(700):
        want = expected(number, column, shared)
        if want is not None:
            assert interpret(program, number, machine=machine) == want, number
    assert interpret(program, 0, machine=0x40000003) == seccomp.KILL
    if column == 0:
        assert interpret(program, 0x40000000) == seccomp.ERRNO | 38


def test_arguments_are_looked_at() -> None:
    alone, shared = (seccomp.assemble(shared=s, machine="x86_64") for s in (False, True))
    assert interpret(alone.code, 9, (0, 4096, 3)) == seccomp.ALLOW
    assert interpret(alone.code, 9, (0, 4096, 7)) == seccomp.ERRNO | 1
    assert interpret(alone.code, 10, (0, 4096, 5)) == seccomp.ERRNO | 1
    assert interpret(alone.code, 72, (3, 4, 0x400)) == seccomp.ERRNO | 1
    assert interpret(alone.code, 72, (3, 1030)) == seccomp.ALLOW
    assert interpret(alone.code, 302, (1, 0)) == seccomp.ERRNO | 1
    assert interpret(alone.code, 56, (17,)) == seccomp.ERRNO | 11
    assert interpret(shared.code, 56, (0x01200011,)) == seccomp.ALLOW
    assert interpret(shared.code, 56, (0x003D0F00,)) == seccomp.ERRNO | 11
    assert interpret(shared.code, 234, (7, 7, 6)) == seccomp.ALLOW
    assert interpret(shared.code, 234, (7, 7, 19)) == seccomp.ERRNO | 1
    assert not shared.pids
    patched = bytearray(alone.code)
    for at in alone.pids:
        struct.pack_into("<I", patched, at, 77)
    assert interpret(bytes(patched), 234, (77, 77, 6)) == seccomp.ALLOW
    assert interpret(bytes(patched), 234, (76, 76, 6)) == seccomp.ERRNO | 1


def test_no_table_for_other_machines() -> None:
    with pytest.raises(seccomp.UnsupportedError, match="riscv64"):
        seccomp.assemble(shared=False, machine="riscv64")


@pytest.mark.parametrize(
    ("code", "want"),
    [
        ("def f(): pass", "slim"), ("import math, random as r\nfrom collections import deque", "slim"),
        ("x = 'import'", "slim"), ("def f():\n    from os import path, fork", "slim"),
        ("import json", "full"), ("x = 1; import math, ctypes", "full"), ("from xml.dom import minidom", "full"),
        ("__import__('math')", "full"), ("exec('import json')", "full"), ("x = '\\N{BULLET}'", "full"),
        ("\timport\tzlib", "full"),
    ],
)  # fmt: skip
def test_flavour(code: str, want: str) -> None:
    assert flavour(code) == want
    assert flavour(code, "import math") == want
    assert flavour("", code) == want


@linux
def test_the_library_is_there_without_a_file(pool: Pool, add: Problem) -> None:
    code = "import json, decimal, unittest.mock, xml.dom.minidom, asyncio, os\ndef f(a, b): return a + b"
    assert pool.grade(code, add).score == 1
    assert pool.grade("import numpy\ndef f(a, b): return a + b", add).tests == pool.grade("import numpy", add).tests
    missing = pool.grade("import numpy", add)
    assert missing.message == "ModuleNotFoundError: No module named 'numpy' (line 1)"
    opened = pool.grade(f"def f(a, b): return open({str(Path(__file__))!r})", add)
    assert opened.tests[0].error == "FileNotFoundError"


def test_workers_are_replaced_after_many_programs(add: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graders.sandbox._RECYCLE", 3)
    worker = Worker(Policy.of(None, False, None))
    seen = set()
    for _ in range(7):
        assert outcomes(grade_with(worker, RIGHT, add)) == "PP"
        seen.add(worker.pid)
    worker.close()
    assert len(seen) == 3


@linux
def test_a_child_killed_by_hand_is_tried_again(add: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(Policy.of(None, False, None))
    kill = "import signal\ndef f(a, b): signal.raise_signal(9)"
    assert outcomes(grade_with(worker, kill, add)) == "MM", "a habit of the program's own"
    runs: list[Run] = []
    original = Worker.run

    def killed_once(self: Worker, request: Request) -> Run:
        runs.append(original(self, request if runs else dataclasses.replace(request, code=kill)))
        return runs[-1]

    monkeypatch.setattr(Worker, "run", killed_once)
    assert outcomes(grade_with(worker, RIGHT, add)) == "PP"
    assert len(runs) == 2
    worker.close()


@linux
def test_addresses_are_the_same_everywhere(add: Problem) -> None:
    allowed = "import ctypes, sys; sys.exit(ctypes.CDLL(None).personality(0x40000) < 0)"
    if subprocess.run([sys.executable, "-c", allowed], check=False).returncode:
        pytest.skip("address randomisation cannot be switched off here")
    code = "class A: pass\ndef f(a, b): return [id(A()), *(id(x) % 4096 for x in {A() for _ in range(9)})]"
    details = set()
    for _ in range(2):
        with Pool(1) as pool:
            pool.grade("x = [0] * 10**6", add)
            details |= {pool.grade(code + "#" * 5000 * i, add).tests[0].detail for i in range(2)}
    assert len(details) == 1
