"""The claim reader against rubbish: never an exception, never long, never equal to what it is not.

``python -m tests.graders.test_fuzz 1000000`` runs more frames than the 20,000 of the unit test.
"""

from __future__ import annotations

import contextlib
import json
import marshal
import random
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, get_args

from graders import candidate, checker, falconcode, trusted
from graders.claims import Expected, expect, load, same, show
from graders.problem import Compare, FunctionTest, Grade, Problem, ProgramTest
from graders.python import SHOWN, _outcome
from graders.reader import Node, UnreadableError, read
from graders.sandbox import Request, Run, Worker, _frames
from tests.graders.test_claims import random_value

FUNCTIONS = (
    FunctionTest("()", "1"), FunctionTest("()", "1", after="()"), FunctionTest("()", raises="E"),
)  # fmt: skip
TEXT = ProgramTest("", "text 1")
CALLS = Problem("calls", FUNCTIONS, entry="f")
PRINTS = [Problem("prints", (TEXT,), compare=compare) for compare in get_args(Compare)]
_TAGS = b"TKSRPMLVXBOQEZ"
_MARKS = b"NTF.iygluszS[(<>{0rRcCfIAaZp)\xfb\xdb"
_SIZES = (0, 1, 2, 3, 255, 256, 65535, 2**31 - 1, -1, -2, -(2**31))


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change bytes, lengths and tags; cut, repeat and nest."""
    out = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(8):
            case 0:
                out[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                out[at : at + 1] = bytes([rng.choice(_MARKS)])
            case 2:
                out[at : at + 4] = struct.pack("<i", rng.choice(_SIZES))
            case 3:
                del out[at : at + rng.randrange(1, 9)]
            case 4:
                out[at:at] = out[at : at + rng.randrange(1, 40)]
            case 5:
                out[at:at] = bytes([rng.choice(b"[(<>{lus")]) + struct.pack("<i", rng.choice(_SIZES))
            case 6:
                out[:0] = rng.choice((b"[\1\0\0\0", b"(\1\0\0\0", b"{N", b"<\1\0\0\0")) * rng.choice((1, 3, 100, 300))
            case 7:
                del out[at:]
    return bytes(out)


def rebuilt(node: Node) -> Any:
    """The value a claim says, by the shortest way there is; checks the comparison, which takes another."""
    items = [rebuilt(n) for n in node.items]
    match node.tag:
        case b"[":
            return items
        case b"(":
            return tuple(items)
        case b"<" | b">":
            return frozenset(items)
        case b"{":
            return dict(zip(items[::2], items[1::2], strict=True))
        case b"u":
            return node.value.decode("utf-8", "surrogatepass")
        case b"l" if node.value is None:
            digits = struct.unpack(f"<{len(node.raw) // 2 - 2}H", node.raw[5:])
            number = sum(d << (15 * i) for i, d in enumerate(digits))
            return number if struct.unpack_from("<i", node.raw, 1)[0] > 0 else -number
        case _:
            return node.value


def check(claim: bytes, expected: Expected, value: Any) -> bool:
    """Compare and show one claim; whether it was taken for equal, which it must then be."""
    equal = same(claim, expected, 0.0)
    assert len(show(claim, SHOWN)) <= SHOWN
    if equal:
        node, end = read(claim, 0, [expected.size], 0)
        assert end == len(claim)
        assert rebuilt(node) == value, (claim, value)
    return equal


def fuzz(count: int, seed: int) -> tuple[int, float]:
    """``count`` frames; how many were equal after all, and the longest time one took, in CPU seconds."""
    rng = random.Random(seed)
    pool = [random_value(rng, 3) for _ in range(200)] + [10**30, -(10**400), "x" * 3000, list(range(300))]
    values = [v for v in pool if v == v]
    encoded = [(marshal.dumps(v, 2), expect(v), v) for v in values]
    equal, longest = 0, 0.0
    for _ in range(count):
        data, expected, value = rng.choice(encoded)
        if rng.random() < 0.3:
            data = rng.choice(encoded)[0]
        claim = mutate(data, rng)
        size = max(0, len(claim) + rng.choice((0, 0, 0, 1, -1)))
        frames = mutate(bytes([rng.choice(_TAGS)]) + struct.pack("<I", size) + claim, rng)
        wanted, test, problem = rng.choice(
            ((expected, rng.choice(FUNCTIONS), CALLS), ("text 1", TEXT, rng.choice(PRINTS)))
        )

        def read(
            claim: bytes = claim, expected: Expected = expected, value: Any = value, frames: bytes = frames,
            wanted: Any = wanted, problem: Problem = problem, test: Any = test,
        ) -> bool:  # fmt: skip
            taken = check(claim, expected, value)
            with contextlib.suppress(UnreadableError):
                load(claim, 1000)
            for tag, payload in _frames(frames, 9):
                assert len(_outcome(tag, payload, wanted, problem, test).detail) < 400
            return taken

        taken, seconds = timed(read)
        equal, longest = equal + taken, max(longest, seconds)
    return equal, longest


def timed(work: Callable[[], bool]) -> tuple[bool, float]:
    """What it gives and its CPU seconds: the least of some tries when it takes long, for a busy machine slows them
    down too."""
    best = float("inf")
    for _ in range(5):
        begin = time.thread_time()
        result = work()
        best = min(best, time.thread_time() - begin)
        if best < 0.05:
            break
    return result, best


# --- two children ---------------------------------------------------------------------------------------------

SCRIPTED = Problem("p", autograder="def test_passed(): pass", max_points=100)
SECRET = "b1946ac92492d234"  # what no program here answers, nor a mutation of it
CHECKED = Problem("p", entry="f", checker=f"def check(candidate): assert candidate(1) == {SECRET!r}")


class Rubbish(Worker):
    """A worker whose children answer mutations of what honest ones would: a program's child always; a script's or a
    check's, which is trusted, only when ``all_of_them``."""

    def __init__(self, rng: random.Random, all_of_them: bool) -> None:
        super().__init__()
        self.rng, self.all = rng, all_of_them

    def run(self, request: Request) -> Run:
        rng = self.rng
        if request.code == trusted._LOADER:
            frames = _frame(b"L") + _frame(b"V", marshal.dumps(self.report(request), 2))
            mutated = self.all
        elif request.capture:
            frames = _frame(b"L") + b"".join(
                _frame(b"O", b"5\n") + _frame(b"T", rng.choice((b"", b"Traceback"))) + _frame(b"K")
                for _ in request.tests
            )
            mutated = True
        else:
            value = marshal.dumps((rng.choice((2, 3, "x", [1], {1: {2}}, 10**30)), ((1,), {})), 2)
            frames = _frame(b"L") + b"".join(_frame(rng.choice((b"V", b"X", b"E")), value) for _ in request.tests)
            mutated = True
        data = mutate(frames, rng) if mutated else frames
        end = rng.choice(("ended", "ended", "cpu", "wall"))
        code = rng.choice((0, 0, 70, -11, -27, -64))
        return Run(_frames(data[: request.file_bytes], request.frames), end, code, 2, 0.0)  # type: ignore[arg-type]

    def report(self, request: Request) -> tuple[Any, ...]:
        """What `candidate.run` or `autograder.run` gives: candidate's real one, run here, for a check."""
        modules, *arguments = marshal.loads(request.tests[0])
        if modules[-1][0] == "graders.candidate":
            return candidate.run(*arguments)
        return autograder_report(arguments[-1])


def autograder_report(runs: tuple[tuple[str, str, str], ...] | None) -> tuple[Any, ...]:
    """A script of three runs, with ten points for each that printed what none does."""
    inputs = ["1\n", "2\n", "3\n"]
    points = 10.0 * sum(out.strip() == SECRET for _, out, _ in runs or ())
    return points, "", False, "text", False, inputs, [("INCORRECT", [False], [])] * 3


def _frame(tag: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<cI", tag, len(data)) + data


def fuzz_pairs(count: int, seed: int) -> tuple[dict[str, int], float]:
    """``count`` programs through falconcode.py and checker.py, their children's frames mutated; how many got which
    status, and the longest time one took, in CPU seconds. Raises AssertionError when a program got
    points by its own child's frames."""
    rng = random.Random(seed)
    found: dict[str, int] = {}
    longest = 0.0
    for number in range(count):
        falconcode._known.clear()
        falconcode._reports.clear()
        checker._trials.clear()
        checker._reports.clear()
        module: Any = rng.choice((falconcode, checker))
        problem = SCRIPTED if module is falconcode else CHECKED
        worker = Rubbish(rng, all_of_them=rng.random() < 0.3)
        begin = time.thread_time()
        grade: Grade = module.grade_with(worker, f"x = {number}", problem)
        longest = max(longest, time.thread_time() - begin)
        found[grade.status] = found.get(grade.status, 0) + 1
        assert 0.0 <= grade.score <= 1.0
        assert len(grade.output) < 100_000
        assert worker.all or grade.score == 0, grade
        Grade.from_dict(json.loads(json.dumps(grade.to_dict())))
    return found, longest


def test_fuzz() -> None:
    equal, longest = fuzz(20_000, 1)
    assert equal > 500, "mutations that change nothing must still be seen to be equal"
    assert longest < 0.2


def test_fuzz_pairs_of_children() -> None:
    found, longest = fuzz_pairs(3_000, 1)
    assert found["graded"] > 500
    assert found["grader_error"] > 50
    assert longest < 2.0


if __name__ == "__main__":
    begun = time.monotonic()
    total = int(sys.argv[1])
    print("{} equal, longest {:.4f} s".format(*fuzz(total, 2)), f"in {time.monotonic() - begun:.0f} s")
    begun = time.monotonic()
    print(
        "pairs of children: {}, longest {:.4f} s".format(*fuzz_pairs(total, 2)), f"in {time.monotonic() - begun:.0f} s"
    )
