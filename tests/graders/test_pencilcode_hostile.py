"""Pencil Code programs that attack the page, the clock, the compiler, the machine or the verdict. All are made up."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from graders import Pool, pencilcode
from graders.pencilcode import Limits, Run
from graders.sandbox import ScriptRequest, Worker

pytestmark = pytest.mark.skipif(bool(pencilcode.missing()), reason=f"Pencil Code: {pencilcode.missing()}")

QUICK = Limits(cpu_seconds=0.15, memory_mb=128)
ROOMY = Limits(memory_mb=128)
CANARY = "speed 10\npen red\nfor [1..3]\n  fd random 100\n  rt 120\nwrite 'well'"
LOOP = "for (;;);"


@pytest.fixture(scope="module")
def workers() -> Iterator[Pool]:
    with Pool(1) as pool:
        yield pool


@pytest.fixture(scope="module")
def canary(workers: Pool) -> Run:
    return pencilcode.run(CANARY, pool=workers)


HOSTILE = {
    "endless loop": (LOOP, "timeout"),
    "endless loop in a callback": (f"setTimeout(function () {{ {LOOP} }}, 10);", "timeout"),
    "endless loop in a tick": (f"forever(function () {{ {LOOP} }});", "timeout"),
    "endless loop that catches": ("for (;;) { try { for (;;) fd(1); } catch (e) {} }", "timeout"),
    "endless loop in an error's text": (f"throw {{ toString: function () {{ {LOOP} }} }};", "timeout"),
    "endless loop in an error's name": (f"throw {{ __proto__: new Error, get name() {{ {LOOP} }} }};", "timeout"),
    "endless promises": ("function f() { return Promise.resolve().then(f); } f();", "timeout"),
    "endless await": ("(async () => { for (;;) await null; })();", "timeout"),
    "catastrophic expression": ("/^(a+)+$/.test('a'.repeat(60) + 'b');", "timeout"),
    "timers without end": ("function f() { setTimeout(f, 0); setTimeout(f, 0); } f();", "timeout"),
    "a thousand intervals": ("for (var i = 0; i < 1000; i++) setInterval(function () {}, 0);", "timeout"),
    "recursion": ("function f() { f(); } f();", "runtime_error"),
    "recursion in callbacks": ("speed(Infinity); function f() { fd(1, f); } f();", "timeout"),
    "memory in a list": ("var a = []; for (;;) a.push(new Array(100000).fill(1));", "memory"),
    "memory in texts": ("var s = 'x', a = []; for (;;) { a.push(s + a.length); s = (s + s).slice(0, 1e6); }", "memory"),
    "one long text": ("var s = 'x'; for (;;) s += s;", "runtime_error"),
    "memory in buffers": ("var a = []; for (;;) a.push(new Uint8Array(1e7).fill(1));", "runtime_error"),
    "memory in the queue": ("for (;;) fd(1);", "timeout"),
    "a table of a billion": ("table(1e9, 1e9);", "timeout"),
    "a billion turtles": ("for (var i = 0; i < 1000; i++) hatch(1e9);", "timeout"),
    "much text": ("speed(Infinity); for (var i = 0; i < 2000; i++) write('\\u0001'.repeat(2000));", "ok"),
    "many marks": ("speed(Infinity); pen('\\u0001'.repeat(2000)); for (var i = 0; i < 5000; i++) fd(1).dot();", "ok"),
    "many labels": ("speed(Infinity); for (var i = 0; i < 5000; i++) label('\\u0001'.repeat(900));", "ok"),
    "polluted prototypes": ("Object.prototype.x = Object.prototype.toJSON = function () { return 1; }; fd(10);", "ok"),
    "iterators replaced": ("Array.prototype[Symbol.iterator] = function () { throw 1; }; write('a');", "runtime_error"),
    "push replaced": ("Array.prototype.push = Array.prototype.slice = Array.prototype.map = null; fd(10);", "ok"),
    "apply replaced": ("Function.prototype.apply = Function.prototype.call = Reflect.apply = null; fd(10);", "ok"),
    "list setters": ("Object.defineProperty(Array.prototype, '0', {set() {}}); fd(10);", None),
    "all are elements": ("Object.defineProperty(HTMLElement, Symbol.hasInstance, {value: () => 1}); $(5).fd();", None),
    "numbers that are none": ("speed(Infinity); fd(NaN); rt(Infinity); moveto(1e308, 1e308); fd(1e308);", "ok"),
    "an error without a prototype": ("throw Object.create(null);", "runtime_error"),
    "a proxy as error": ("throw new Proxy({}, {get() { throw 1; }, getPrototypeOf() { throw 1; }});", "runtime_error"),
    "out through a constructor": ("write(typeof fd.constructor('return this')().process);", "ok"),
    "out through an import": ("import('fs').then(function () { write('in'); });", "ok"),
    "natives": ("%DebugPrint(1);", "compile_error"),
    "a body closed early": ("}); write('out'); (function () {", "compile_error"),
    "atomics": ("Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);", "runtime_error"),
    "deep brackets": ("(" * 100_000, "compile_error"),
    "deep lists": ("x = " + "[" * 1_000 + "]" * 1_000, None),
    "a very long line": ("x = " + "1 + " * 20_000 + "1", None),
    "long interpolation": ('x = "' + '#{"' * 200 + '"}' * 200 + '"', None),
    "lone surrogate": ("write '\ud800'", "ok"),
    "null byte": ("write 'a\0b'", None),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_programs_are_held_and_leave_nothing(name: str, workers: Pool, canary: Run) -> None:
    program, status = HOSTILE[name]
    limits = QUICK if status == "timeout" else ROOMY
    started = time.monotonic()
    run = pencilcode.run(program, pool=workers, limits=limits)
    assert time.monotonic() - started < 30
    assert run.status != "grader_error", run
    assert status is None or run.status == status, run
    if status != "timeout":
        assert run == pencilcode.run(program, pool=workers, limits=limits)
    assert pencilcode.run(CANARY, pool=workers) == canary


def test_what_a_program_replaces_does_not_change_the_report(workers: Pool) -> None:
    program = """speed(Infinity); fd(10);
    JSON.stringify = JSON.parse = Math.round = Array.isArray = String = Number = function () { return 'forged'; };
    turtle[0].turtle = {x: 999}; turtle[0] = null; globalThis.turtle = null;
    nosuch();"""
    run = pencilcode.run(program, pool=workers)
    assert (run.status, run.message) == ("runtime_error", "ReferenceError: nosuch is not defined")
    assert run.pose is not None
    assert (run.pose.x, run.pose.y) == (0, 10)


def test_an_error_swallowed_by_the_halt_stays_a_timeout(workers: Pool) -> None:
    """A program may catch what stops it and throw such a thing itself: the status is that of the limit."""
    program = "var H; try { for (;;) fd(1); } catch (e) { H = e.constructor; } throw new H('ok');"
    assert pencilcode.run(program, pool=workers, limits=QUICK).status == "timeout"


def test_no_real_time_is_to_be_seen(workers: Pool) -> None:
    program = """var a = Date.now() + performance.now() + new Date().getTime();
    for (var i = 0; i < 3e6; i++);
    write(a === Date.now() + performance.now() + new Date().getTime(), new Date(0).constructor === Date, Date());
    write(new Date().toLocaleString());"""
    run = pencilcode.run(program, pool=workers)
    assert run.drawing is not None
    assert run.drawing.texts[0].startswith("true true Wed Jan 01 2020 00:00:00 GMT+0000")
    assert "2020" in run.drawing.texts[1]


def test_a_compiler_that_dies_is_replaced() -> None:
    worker = Worker()
    try:
        starved = worker.run(ScriptRequest("x = 1\n" * 20_000, True, cpu_seconds=0.004))
        assert starved.exit_code != 0
        again = worker.run(ScriptRequest("fd 1", True))
        assert again.claims == ((b"C", b"fd(1);\n"),)
    finally:
        worker.close()


LAYERS = {
    "all": None,
    "no namespaces": ("rlimits", "no_new_privs", "uid", "capabilities", "landlock", "seccomp"),
    "the filter alone": ("rlimits", "no_new_privs", "seccomp"),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux only")
@pytest.mark.parametrize("name", LAYERS)
def test_the_same_at_every_level(name: str, canary: Run) -> None:
    with Pool(1, layers=LAYERS[name]) as pool:
        assert pencilcode.run(CANARY, pool=pool) == canary
        assert pencilcode.run(LOOP, pool=pool, limits=QUICK).status == "timeout"
        assert pencilcode.run("fd (", pool=pool).status == "compile_error"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux only")
def test_every_thread_of_a_child_is_filtered() -> None:
    """A running program's process and the compiler's have threads: each is filtered, without privileges to gain."""
    with Pool(1) as pool:
        pencilcode.run("fd 1", pool=pool)
        waiting = pool.submit(lambda worker: worker.run(ScriptRequest(LOOP, False, SETTINGS, cpu_seconds=1.0)))
        time.sleep(0.4)
        seen = 0
        for process in _descendants(os.getpid()):
            threads = list(Path(f"/proc/{process}/task").glob("*/status"))
            if len(threads) < 2:
                continue  # the worker itself, and its guard
            for status in threads:
                words = status.read_text()
                assert "Seccomp:\t2" in words
                assert "NoNewPrivs:\t1" in words
                seen += 1
        assert seen >= 4
        assert waiting.result().exit_code != 0


SETTINGS = '{"seed": 0, "seconds": 5, "answers": []}'


def _descendants(process: int) -> list[int]:
    children = [
        int(child) for task in Path(f"/proc/{process}/task").glob("*/children") for child in task.read_text().split()
    ]
    return [*children, *(further for child in children for further in _descendants(child))]
