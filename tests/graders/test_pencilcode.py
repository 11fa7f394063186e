"""Pencil Code programs: statuses, what the names mean, what is drawn. All programs are made up."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import graders
from graders import Pool, Problem, ProblemError, ProgramTest, outcomes, pencilcode
from graders.feedback import feedback
from graders.pencilcode import Limits, Run

pytestmark = pytest.mark.skipif(bool(pencilcode.missing()), reason=f"Pencil Code: {pencilcode.missing()}")
DATA = Path(__file__).parents[3] / "shared" / "data" / "pencilcode_generated" / "traces.jsonl.gz"


@pytest.fixture(scope="module")
def workers() -> Iterator[Pool]:
    with Pool(1) as pool:
        yield pool


@pytest.fixture
def do(workers: Pool):  # type: ignore[no-untyped-def]
    """Run a program in the module's worker."""

    def do(program: str, **more: object) -> Run:
        return pencilcode.run(program, pool=workers, **more)  # type: ignore[arg-type]

    return do


def pose(run: Run) -> tuple[float, float, float]:
    assert run.pose is not None, run
    return run.pose.x, run.pose.y, run.pose.heading


def texts(run: Run) -> tuple[str, ...]:
    assert run.drawing is not None, run
    return run.drawing.texts


def test_a_square_is_drawn(do) -> None:  # type: ignore[no-untyped-def]
    run = do("speed 10\npen red, 5\nfor [1..4]\n  fd 100\n  rt 90\ndot blue, 30")
    assert (run.status, run.message, run.language, pose(run)) == ("ok", "", "coffeescript", (0, 0, 0))
    assert run.drawing is not None
    assert run.drawing.marks[0] == ("line", 0, 0, 0, 100, "red", 5)
    assert run.drawing.marks[-1] == ("dot", 0, 0, 30, "blue")
    assert (run.drawing.count("line"), run.drawing.length, run.drawing.colours) == (4, 400, ("blue", "red"))
    assert run.drawing.bounds == (0, 0, 100, 100)
    assert run.pose is not None
    assert (run.pose.pen, run.pose.visible) == ("red", True)


@pytest.mark.parametrize(
    ("program", "status", "message"),
    [
        ("fd 100", "ok", ""),
        ("fd 100\n  rt 90", "compile_error", "unexpected indentation (line 2, column 1)"),
        ("fd 100\nfdd 50", "runtime_error", "ReferenceError: fdd is not defined"),
        ("forever -> hop()", "runtime_error", "ReferenceError: hop is not defined"),
        ("throw 'no'", "runtime_error", "Error: no"),
        ("x = null\nx.y", "runtime_error", "TypeError: Cannot read properties of null (reading 'y')"),
        ("speed Infinity\nfd 1 while true", "timeout", "more commands than a browser would show in minutes"),
        ("read 'name?', (x) -> write x", "ok", ""),
        ("await readnum 'n?', defer n\nnosuch()", "ok", ""),
        ("forever -> fd 1", "ok", ""),
        ("pen nosuchcolor", "runtime_error", "ReferenceError: nosuchcolor is not defined"),
        ("pen 'nosuchcolor'\nfd()", "ok", ""),
        ("img 'https://nowhere.invalid/cat.png'\nwear 'cat'", "ok", ""),
        ("", "ok", ""),
        ("# nothing yet", "ok", ""),
    ],
)
def test_statuses(do, program: str, status: str, message: str) -> None:  # type: ignore[no-untyped-def]
    run = do(program)
    assert (run.status, run.message) == (status, message)


def test_javascript_comes_second(do) -> None:  # type: ignore[no-untyped-def]
    run = do("speed(10);\nfor (var i = 0; i < 4; i++) {\n  fd(50);\n  rt(90);\n}\nwrite(i);")
    assert (run.status, run.language, texts(run)) == ("ok", "javascript", ("4",))
    broken = do("var x = 1;\nnosuch(x);")
    assert (broken.status, broken.language) == ("runtime_error", "javascript")
    assert do("var x = (1;").language == "coffeescript"  # neither: the first compiler's words are the better ones


@pytest.mark.parametrize(
    ("program", "end"),
    [
        ("fd()", (0, 100, 0)),
        ("bk()", (0, -100, 0)),
        ("rt()", (0, 0, 90)),
        ("lt()", (0, 0, -90)),
        ("rt 450", (0, 0, 90)),
        ("rt 180", (0, 0, 180)),
        ("rt 90, 50", (50, 50, 90)),
        ("lt 90, 50", (-50, 50, -90)),
        ("rt -90, 50", (50, -50, -90)),
        ("rt 90\nslide 30, 40", (40, -30, 90)),
        ("jumpto 30, 40\nturnto 0, 0", (30, 40, -143.13)),
        ("moveto [5, 6]", (5, 6, 0)),
        ("movexy 3, 4\njumpxy 1, 1", (4, 5, 0)),
        ("fd 50\nrt 30\nhome()", (0, 0, 0)),
        ("scale 2\nfd 10", (0, 20, 0)),
        ("fd 100 for [1..50]", (0, 500, 0)),  # five seconds, a move each
        ("speed 2\nfd 100 for [1..50]", (0, 1000, 0)),
        ("speed Infinity\nfd 100 for [1..50]", (0, 5000, 0)),
        ("forever -> fd 1", (0, 151, 0)),  # every 33 milliseconds, and at once
        ("forever 2, -> fd 1", (0, 10, 0)),
        ("tick 10, -> fd 1", (0, 50, 0)),
        ("n = 0\nforever -> if n++ is 3 then stop() else fd 1", (0, 3, 0)),
        ("fd 10, -> rt 90\nbk 5", (0, 5, 90)),
        ("await fd 10, defer()\nfd getxy()[1]", (0, 20, 0)),
        ("plan -> fd 10\nfd 1", (0, 11, 0)),
        ("t = new Turtle red\nt.speed Infinity\nt.fd 70\nmoveto t", (0, 70, 0)),
        ("pause 1\nsetTimeout (-> rt 20), 500\nfd 10", (0, 10, 20)),
        ("pen tan\nfd 10", (0, 10, 0)),
    ],
)
def test_motion(do, program: str, end: tuple[float, float, float]) -> None:  # type: ignore[no-untyped-def]
    run = do(program)
    assert run.status == "ok", run
    assert pose(run) == pytest.approx(end, abs=0.01)


@pytest.mark.parametrize(
    ("program", "written"),
    [
        ("write up, down, none, path, erase, touch", "up down none path erase touch"),
        ("write color, position, normal", "color position normal"),
        ("write [name, status, length].join '|'", "||0"),
        ("fd 50\nwrite getxy()", "0,0"),  # the pose is read before queued motion
        ("speed Infinity\nfd 50\nwrite getxy()", "0,50"),
        ("speed Infinity\nrt 120\nwrite direction()", "120"),
        ("g = table 2, 2\ng.cell(1, 1).css 'background', 'red'\nwrite g.cell(1, 1).css('background')", "red"),
        ("write (random 10 for [1..5])", "2,0,2,1,4"),
        ("write Math.random() is Math.random()", "false"),
        ("write new Date().getFullYear()", "2020"),
        ("write rgb(300, -1, 7.5), hsl(120, 0.5, 1)", "rgb(255,0,7) hsl(120,50%,100%)"),
        ("speed Infinity\nt = hatch red\nwrite touches(t), inside(window), pressed 'a'", "true true false"),
        ("write typeof fd, typeof $, typeof see, typeof Piano", "function function function function"),
        ("name = 'Ada'\nwrite 'hi', name", "hi Ada"),
        ("write max(1, 5), abs(-2), sqrt(16), PI > 3", "5 2 4 true"),
        ("write (typeof x for x in [window.require, window.process, window.Intl])", "undefined,undefined,undefined"),
        ("write (typeof x for x in [window.WebAssembly, window.Atomics])", "undefined,undefined"),
    ],
)  # fmt: skip
def test_names(do, program: str, written: str) -> None:  # type: ignore[no-untyped-def]
    run = do(program)
    assert (run.status, texts(run)[-1:]) == ("ok", (written,)), run


def test_answers_are_typed_in(do) -> None:  # type: ignore[no-untyped-def]
    program = "await read 'name?', defer n\nawait readnum 'age?', defer a\nwrite n, a + 1\nread (x) -> write x"
    run = do(program, answers=["Ada", "9"])
    assert (run.status, run.waiting, texts(run)[-1]) == ("ok", True, "Ada 10")
    assert do(program).waiting


def test_chance_is_the_same_every_time_and_follows_the_seed(do) -> None:  # type: ignore[no-untyped-def]
    program = "speed Infinity\nfor [1..20]\n  pen random color\n  rt random 360\n  fd random 50\n"
    program += "setTimeout (-> write Date.now()), 77"
    assert do(program) == do(program)
    assert do(program) != do(program, seed=1)
    assert json.loads(json.dumps(do(program).to_dict())) == do(program).to_dict()


def test_promises_and_async_functions(do) -> None:  # type: ignore[no-untyped-def]
    program = (
        "const f = async () => { await null; fd(30); await new Promise((go) => setTimeout(go, 100)); rt(45); };\nf();"
    )
    assert pose(do(program)) == (0, 30, 45)


def test_more_virtual_time_can_be_had(do) -> None:  # type: ignore[no-untyped-def]
    assert pose(do("fd 10 for [1..50]", limits=Limits(seconds=60))) == (0, 500, 0)


def test_many_come_in_order_and_compile_gives_javascript(workers: Pool) -> None:
    programs = [f"speed Infinity\nfd {n}" if n % 5 else "fd (" for n in range(20)]
    runs = list(pencilcode.run_many(iter(programs), pool=workers))
    assert [run.pose.y if run.pose else None for run in runs] == [n if n % 5 else None for n in range(20)]
    compiled = pencilcode.compile("fd 100 if true", pool=workers)
    assert (compiled.status, compiled.javascript) == ("ok", "if (true) {\n  fd(100);\n}\n")
    assert pencilcode.compile("fd (", pool=workers).status == "compile_error"


def test_grades(workers: Pool) -> None:
    runs = Problem("free", language="pencilcode")
    grade = workers.grade("fd 100", runs)
    assert (grade.score, grade.status, outcomes(grade)) == (1.0, "graded", "P")
    broken = workers.grade("fd 100\nnosuch()", runs)
    assert (broken.score, broken.status, broken.message) == (
        0.0,
        "runtime_error",
        "ReferenceError: nosuch is not defined",
    )
    assert workers.grade("fd (", runs).status == "syntax_error"
    assert workers.grade("x = 0\nx++ while true", runs).status == "timeout"
    assert workers.grade(" ", runs).status == "no_code"
    assert feedback(broken, runs, "full").startswith("ReferenceError: nosuch is not defined")
    echo = Problem("echo", (ProgramTest("Ada\n", "hello Ada"), ProgramTest("Bo\n", "hello Ada")), language="pencilcode")
    told = workers.grade("readstr (x) -> write 'hello', x", echo)
    assert (told.score, outcomes(told)) == (0.5, "PW")
    assert Problem.from_dict(echo.to_dict()) == echo
    with pytest.raises(ProblemError, match="has no 'entry'"):
        graders.grade("fd 1", Problem("p", (graders.FunctionTest("()", "1"),), entry="f", language="pencilcode"))


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="the sampled Pencil Code traces are not here")
def test_final_programs_of_sampled_traces_run() -> None:
    with gzip.open(DATA, "rt", encoding="utf-8") as lines:
        finals = [json.loads(line)["programs"][-1] for line in lines]
    counts = Counter(run.status for run in pencilcode.run_many(finals))
    print(f"{len(finals)} final programs: {dict(counts)}")
    assert counts["grader_error"] == 0
    assert counts["ok"] / len(finals) >= 0.93
