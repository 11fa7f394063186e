"""What is graded: a problem, its tests, and the grade that comes out. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from graders.literal import literal

Status = Literal["graded", "syntax_error", "runtime_error", "timeout", "memory", "no_code", "grader_error"]
"""``graded``: the program loaded and its tests ran (tests may fail, raise or time out one by one).
``syntax_error``: it does not compile. ``runtime_error``, ``timeout``, ``memory``: it died before any test could
run. ``no_code``: there was no program to run. ``grader_error``: *we* failed; the score means nothing."""

TestStatus = Literal["pass", "wrong", "error", "timeout", "memory", "not_run"]


VERSION = 5
"""Raised whenever some program's grade may come out differently; part of every key of a `GradeCache`."""

Compare = Literal["exact", "whitespace", "numbers", "lines"]
"""How printed text is compared. ``exact``: character by character. ``whitespace``: blind to white space at the ends
of lines and to newlines at the end. ``numbers``: also blind to the amount of white space, and numbers match within
the problem's ``tolerance``, absolute or relative; integers must be equal. ``lines``: line by line as FalconCode does,
blind to white space around lines and text, with the number of matching lines in the detail."""


_LATER = (
    "stop_at_timeout",
    "compare",
    "autograder",
    "max_points",
    "checker",
    "checks",
    "strict",
)  # fields of a problem that are written only when they are used


class ProblemError(ValueError):
    """A problem that cannot be graded as written; the message names the test and the field."""


@dataclass(frozen=True, slots=True)
class FunctionTest:
    """One call: ``args`` is a Python literal of the tuple of arguments, ``expected`` one of the return value.

    ``after``: a literal of what the arguments must have become, for functions that change them. ``raises``: the name of
    the exception that the call must raise, exactly this class; ``expected`` and ``after`` do not count then.
    """

    args: str
    expected: str = "None"
    after: str | None = None
    raises: str | None = None

    def to_dict(self) -> dict[str, str]:
        """What is given, as before there was more than ``args`` and ``expected``."""
        more = {name: value for name in ("after", "raises") if (value := getattr(self, name)) is not None}
        return {"args": self.args, "expected": self.expected} | more


@dataclass(frozen=True, slots=True)
class ProgramTest:
    """One run of the whole program: text given on standard input, text expected on standard output."""

    stdin: str
    stdout: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A task with tests. ``entry`` names the function to call; None means a stdin/stdout program.

    ``compare`` says how the text that such a program prints is compared.

    ``autograder`` is a course's own grading script instead of tests, trusted; it gives up to ``max_points`` for a
    program that it knows as ``<id>.py`` (falconcode.py tells what such a script may use).

    ``checker`` is trusted code instead of tests that calls the function ``entry`` of a program by itself: for each name
    in ``checks`` it defines a function of one argument, the program's function, that asserts what it likes about it.
    The prelude is run before the checker, too, and ``entry`` names the program's function there (see checker.py).

    ``prelude`` is trusted code run before the student's, in the same namespace. ``tolerance`` is the absolute
    and relative slack for floats; with ``strict`` the types of returned values must match, too: 1 is not 1.0.
    ``cpu_seconds`` limits the CPU time of each test, ``memory_mb`` the process.
    ``stop_at_timeout``: once a test takes too long the others are ``not_run``, which saves most of what endless
    loops cost where a program is only right or wrong. ``solution`` is a reference program; it is never handed to
    the process that runs a student's program.
    Raises ProblemError when a test is of the wrong kind or not a literal.
    """

    id: str
    tests: tuple[FunctionTest, ...] | tuple[ProgramTest, ...] = ()
    entry: str | None = None
    prelude: str = ""
    solution: str | None = None
    statement: str = ""
    language: str = "python"
    tolerance: float = 1e-9
    cpu_seconds: float = 0.5
    memory_mb: int = 512
    stop_at_timeout: bool = False
    compare: Compare = "whitespace"
    autograder: str | None = None
    max_points: float = 100.0
    checker: str | None = None
    checks: tuple[str, ...] = ("check",)
    strict: bool = False

    def __post_init__(self) -> None:
        if self.compare not in get_args(Compare):
            raise ProblemError(f"problem {self.id!r}: 'compare' must be one of {', '.join(get_args(Compare))}")
        if self.autograder is not None:
            self._check_autograder()
            return
        if self.checker is not None:
            self._check_checker()
            return
        if not self.tests and self.language != "pencilcode":
            raise ProblemError(f"problem {self.id!r} has no tests")
        tests: tuple[FunctionTest | ProgramTest, ...] = self.tests
        for number, test in enumerate(tests, 1):
            self._check(number, test)

    def _check_autograder(self) -> None:
        if self.tests or self.entry is not None or self.checker is not None:
            raise ProblemError(
                f"problem {self.id!r}: an autograder script takes the place of 'tests', 'entry' and 'checker'"
            )
        if not 0 < self.max_points < float("inf"):
            raise ProblemError(f"problem {self.id!r}: 'max_points' must be a positive number, not {self.max_points}")

    def _check_checker(self) -> None:
        if self.tests or self.entry is None:
            raise ProblemError(f"problem {self.id!r}: a checker takes the place of 'tests', and needs 'entry'")
        if not self.checks or len(set(self.checks)) < len(self.checks):
            raise ProblemError(f"problem {self.id!r}: 'checks' must name functions of the checker, each once")

    def _check(self, number: int, test: FunctionTest | ProgramTest) -> None:
        where = f"problem {self.id!r}, test {number}"
        if self.entry is None:
            if not isinstance(test, ProgramTest):
                raise ProblemError(f"{where}: a problem without 'entry' needs stdin/stdout tests")
            return
        if not isinstance(test, FunctionTest):
            raise ProblemError(f"{where}: a problem with entry {self.entry!r} needs args/expected tests")
        for name in ("args", "expected") if test.after is None else ("args", "expected", "after"):
            try:
                value = literal(getattr(test, name))
            except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
                raise ProblemError(f"{where}: '{name}' is not a Python literal ({error})") from None
            if name != "expected" and not isinstance(value, tuple):
                raise ProblemError(f"{where}: '{name}' must be a tuple such as '(1, 2)' or '(1,)'")

    def to_dict(self) -> dict[str, Any]:
        if self.entry is None:
            tests = [{"stdin": t.stdin, "stdout": t.stdout} for t in self.tests]  # type: ignore[union-attr]
        else:
            tests = [t.to_dict() for t in self.tests]  # type: ignore[union-attr]
        rest = {name: getattr(self, name) for name in self.__slots__ if name != "tests"}
        for name in _LATER:
            if rest[name] == self.__dataclass_fields__[name].default:
                del rest[name]  # so that what was written before there was such a thing stays as it is
        if "checks" in rest:
            rest["checks"] = list(self.checks)
        return rest | {"tests": tests}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Problem:
        """The problem a JSON object describes. Raises ProblemError naming an unknown or missing key."""
        unknown = set(raw) - set(cls.__slots__)
        if unknown:
            raise ProblemError(f"problem {raw.get('id')!r}: unknown keys {sorted(unknown)}")
        scripted = raw.get("autograder") is not None or raw.get("checker") is not None
        missing = {"id", "id" if scripted else "tests"} - set(raw)
        if missing:
            raise ProblemError(f"problem {raw.get('id')!r}: missing keys {sorted(missing)}")
        _check_types(raw)
        kind = ProgramTest if raw.get("entry") is None else FunctionTest
        for number, test in enumerate(raw.get("tests", ()), 1):
            if kind is FunctionTest and not {"expected", "after", "raises"} & set(test):
                raise ProblemError(f"problem {raw['id']!r}, test {number}: nothing is expected")
        try:
            tests = tuple(kind(**test) for test in raw.get("tests", ()))
        except TypeError as error:
            raise ProblemError(f"problem {raw['id']!r}: {error}") from None
        return cls(**{**raw, "tests": tests, "checks": tuple(raw.get("checks", ("check",)))})


_TEXT: tuple[type, ...] = (str,)
_NUMBER: tuple[type, ...] = (int, float)
_TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "id": ("a text", _TEXT),
    "entry": ("a text or null", (str, type(None))),
    "prelude": ("a text", _TEXT),
    "solution": ("a text or null", (str, type(None))),
    "statement": ("a text", _TEXT),
    "language": ("a text", _TEXT),
    "tolerance": ("a number", _NUMBER),
    "cpu_seconds": ("a number", _NUMBER),
    "memory_mb": ("a whole number", (int,)),
    "stop_at_timeout": ("true or false", (bool,)),
    "compare": ("a text", _TEXT),
    "autograder": ("a text or null", (str, type(None))),
    "max_points": ("a number", _NUMBER),
    "strict": ("true or false", (bool,)),
    "checker": ("a text or null", (str, type(None))),
    "checks": ("a list of names", (list, tuple)),
    "tests": ("a list of objects", (list, tuple)),
}
_LEAST: dict[str, float] = {"tolerance": 0.0, "cpu_seconds": 1e-3, "memory_mb": 16}


def _check_types(raw: Mapping[str, Any]) -> None:
    """Raises ProblemError for a value from outside that is of the wrong type or out of range."""
    for name in raw:
        value = raw[name]
        words, types = _TYPES[name]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise ProblemError(f"problem {raw.get('id')!r}: '{name}' must be {words}, not {value!r:.60}")
        if name in _LEAST and not _LEAST[name] <= float(raw[name]) < float("inf"):
            raise ProblemError(f"problem {raw.get('id')!r}: '{name}' must be at least {_LEAST[name]}, not {value!r}")
    if not all(isinstance(name, str) for name in raw.get("checks", ())):
        raise ProblemError(f"problem {raw.get('id')!r}: 'checks' must be a list of names, not {raw['checks']!r:.60}")
    for number, test in enumerate(raw.get("tests", ()), 1):
        if not isinstance(test, Mapping) or not all(isinstance(value, str) for value in test.values()):
            raise ProblemError(f"problem {raw.get('id')!r}, test {number}: a test is an object of texts")


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """What one test showed. ``error`` is the exception's class name; ``detail`` one deterministic line."""

    __test__ = False  # not a test case, whatever pytest thinks of its name

    status: TestStatus
    error: str | None = None
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {"status": self.status, "error": self.error, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Grade:
    """The result of grading: ``score`` in [0, 1] is the share of tests (or checks) passed, or of an autograder
    script's points (0 unless ``graded``).

    ``output`` is what the problem's autograder script printed, if it has one. ``message`` explains a status other
    than ``graded`` (a syntax error's text, say), deterministically.
    Equal programs get equal grades; ``cpu_seconds`` is measured and therefore left out of comparison.
    """

    score: float
    status: Status
    tests: tuple[TestOutcome, ...] = ()
    message: str = ""
    cpu_seconds: float = field(default=0.0, compare=False)
    output: str = ""

    def to_dict(self) -> dict[str, Any]:
        raw = {
            "score": self.score,
            "status": self.status,
            "tests": [t.to_dict() for t in self.tests],
            "message": self.message,
            "cpu_seconds": self.cpu_seconds,
        }
        return raw | {"output": self.output} if self.output else raw

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Grade:
        return cls(**{**raw, "tests": tuple(TestOutcome(**t) for t in raw["tests"])})


_LETTERS: dict[str, str] = {"pass": "P", "wrong": "W", "error": "E", "timeout": "T", "memory": "M", "not_run": "-"}


def outcomes(grade: Grade) -> str:
    """The per-test outcome vector as text, a letter a test: P(ass) W(rong) E(rror) T(imeout) M(emory) - (not run)."""
    return "".join(_LETTERS[t.status] for t in grade.tests)


def exception(grade: Grade) -> str | None:
    """The class of the first exception that a test met (or loading the program), None where there was none."""
    return next((test.error for test in grade.tests if test.error), None)
