"""The course's module `autograder`, as FalconCode's grading scripts know it. falconcode.py sends this file's code to a
child, together with a script and what a program has printed; no program is ever run there, and none runs a script.

A run that the script asks for is looked up among those done before. When it is not there, the child answers what it
needs; the caller has the program run in a child of its own and starts the script over, which does the same again.
"""

from __future__ import annotations

import builtins
import io
import marshal
import math
import random
import sys
from types import ModuleType
from typing import Any

from graders.blame import own_fault

RUNS = 100  # that a script may ask for
_SCRIPT = "<autograder>"  # the name its code was compiled with
_ANYTHING = "0\n" * 20  # what a program prints that there is not: enough for most scripts to go on
_TEXT = 20_000  # characters kept of what a script prints
_PART, _MARKS = 4_000, 50  # characters and comparisons kept of what follows one run


class _MissingRunError(BaseException):
    """The script needs a run that there is not yet. No Exception: a script may catch those."""


class _State:
    """One pass of a script: the student's file, the runs known, and what was seen of each run asked for."""

    def __init__(self, file: str, source: str, runs: tuple[tuple[str, str, str], ...] | None) -> None:
        self.file, self.source, self.runs = file, source, runs
        self.asked: list[str] = []
        self.begins: list[int] = []  # where the text that follows each run begins
        self.ends: list[int] = []  # and where the next run is asked for
        self.compared: list[list[bool]] = []
        self.equal: list[list[bool]] = []
        self.missing = False


def run(
    script: bytes, file: str, source: str, runs: tuple[tuple[str, str, str], ...] | None
) -> tuple[Any, str, bool, str, bool, list[str], list[tuple[str, list[bool], list[bool]]]]:
    """Run a script: points (or None), why there are none, whether that is its own fault, the text printed, whether a
    run is missing, the standard input of each run asked for, and for each one had the text printed after it and what
    came of the comparisons, of texts and of numbers.

    ``script`` is marshalled code. ``runs``: input, output and errors, in order; None to have every run answered with
    something, to see what a script asks for. What is random in a script is the same every time.
    """
    state = _State(file, source, runs)
    random.seed(42)  # as the published grader does
    text = sys.stdout = sys.stderr = io.StringIO()
    _install(state)
    points: Any = None
    problem, own = "", False
    try:
        space = {"__name__": "testcase", "__builtins__": builtins, "open": _opener(state)}
        exec(marshal.loads(script), space)
        points = space["test_passed"]()
        if not isinstance(points, (int, float)) or not math.isfinite(points):
            problem, points = f"test_passed() returned {str(points)[:40]!r}, which is no number of points", None
        else:
            print("Unit Test Returned:", points, file=text)
    except BaseException as error:
        problem, own = _error(error), own_fault(error)
    own = bool(problem) and (own or not state.begins)  # nothing of the program's was there to be blamed
    if problem and not own:
        print(f"The autograder could not grade this output, which is worth no points: {problem}", file=text)
    whole = text.getvalue()
    ends = [*state.ends, len(whole)][1:]
    parts = zip(state.begins, ends, state.compared, state.equal, strict=True)
    seen = [(whole[begin:end][:_PART], compared[:_MARKS], equal[:_MARKS]) for begin, end, compared, equal in parts]
    if len(whole) > _TEXT:
        whole = whole[:_TEXT] + "\n...\n"
    return None if points is None else float(points), problem, own, whole, state.missing, state.asked, seen


def _error(error: BaseException) -> str:
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _SCRIPT:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{type(error).__name__}: {str(error)[:200]}" + (f" (line {line})" if line else "")


def _install(state: _State) -> None:
    """Make every form of import find the course's module, and py_compile know the student's file."""
    course, module, compiler = ModuleType("cs110"), ModuleType("autograder"), ModuleType("py_compile")
    module.__dict__.update(_functions(state))
    course.__dict__.update(autograder=module, __path__=[])

    class PyCompileError(Exception):
        pass

    def compile_file(file: Any, *_: Any, doraise: bool = False, **__: Any) -> None:
        if not _is_students(state, file):
            raise FileNotFoundError(2, "No such file or directory", str(file))

    compiler.__dict__.update(compile=compile_file, PyCompileError=PyCompileError)
    modules = {"cs110": course, "cs110.autograder": module, "autograder": module, "py_compile": compiler}
    sys.modules.update(modules)


def _is_students(state: _State, file: Any) -> bool:
    return str(file).replace("\\", "/").rpartition("/")[2] == state.file


def _opener(state: _State) -> Any:
    """`open` for the script: it may read the student's program, as text."""

    def opened(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if _is_students(state, file) and mode in ("r", "rt"):
            return io.StringIO(state.source)
        return open(file, mode, *rest, **more)  # noqa: PTH123

    return opened


def _functions(state: _State) -> dict[str, Any]:
    """What the module offers to a script."""

    def run_script(
        filename: Any, input_list: Any = (), *options: Any, print_details: bool = True, **_: Any
    ) -> tuple[str, str]:
        """Output and errors of the student's program. A third argument is a number of seconds, which is the
        problem's affair, or, as in the course's older scripts, False to print nothing."""
        if not _is_students(state, filename):
            raise FileNotFoundError(2, "No such file or directory", str(filename))
        number, stdin = len(state.asked), get_inputs(input_list)
        state.asked.append(stdin)
        if number >= RUNS:
            state.missing = True
            raise _MissingRunError
        if state.runs is None:
            out, err = _ANYTHING, ""
        elif state.missing or number >= len(state.runs) or state.runs[number][0] != stdin:
            state.missing = True
            raise _MissingRunError
        else:
            out, err = state.runs[number][1:]
        state.ends.append(sys.stdout.tell())
        if print_details and not any(option is False for option in options):
            if err:
                print(f"Error Occurred:\n{err}\n")
            print("Feedback:")
        state.begins.append(sys.stdout.tell())
        state.compared.append([])
        state.equal.append([])
        return out, err

    def equals(value: Any, expected_value: Any, delta: float = 0.01) -> bool:
        try:
            got, want = float(value), float(expected_value)
            same = want - delta <= got <= want + delta
        except Exception:
            same = bool(value == expected_value)
        if state.equal:
            state.equal[-1].append(same)
        return same

    def compare_strings(
        student_output_list: Any, expected_output_list: Any, auto_trim: bool = True, check_order: bool = True
    ) -> int:
        matches, expected = 0, len(expected_output_list)
        for at in range(len(student_output_list)):
            print(f"Line {at + 1}: ", end="")
            if at >= expected:
                print(f"INCORRECT (Unexpected Line: '{student_output_list[at]}')")
                continue
            if auto_trim:  # in place, which scripts see
                student_output_list[at] = student_output_list[at].strip()
                expected_output_list[at] = expected_output_list[at].strip()
            if student_output_list[at] == expected_output_list[at]:
                print("CORRECT")
                matches += 1
            else:
                print(f"INCORRECT (Expected: '{expected_output_list[at]}')")
        print(matches, "out of", expected, "lines match")
        if state.compared:
            state.compared[-1].append(matches == expected == len(student_output_list))
        return matches

    def code_compiles(filename: Any) -> bool:
        """True for the student's program: one that does not compile is never handed to a script."""
        return _is_students(state, filename)

    def get_inputs(input_list: Any) -> str:
        return "".join(f"{item}\n" for item in input_list)

    def print_styled(style: Any, text: Any, last_char: str = "\n") -> None:
        print(text, end=last_char)

    functions = (run_script, equals, compare_strings, code_compiles, get_inputs, print_styled)
    return {function.__name__: function for function in functions}
