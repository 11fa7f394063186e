"""The test cases of ProgFeed's labs, read off their autograders: nothing of those is run.

An autograder's method ``test_NAME`` holds a list ``test_cases`` and a loop over it that calls the function with parts
of each case and compares what it returns with ``expected``. Cases are literals, at most with arithmetic in them. What
is tested in another way (files that are written, upper and lower case alike, random cases) has no tests here.
"""

from __future__ import annotations

import ast
import json
import operator
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graders import FunctionTest, Problem, ProblemError
from simstudent.errors import SimstudentError

ROUNDED = 0.005
"""The tolerance where an autograder compares numbers rounded to two decimals."""


@dataclass(frozen=True, slots=True)
class Cases:
    """The tests of one function of a lab, and how many of the lab's cases could not be read."""

    tests: tuple[FunctionTest, ...]
    tolerance: float = 1e-9
    unread: int = 0
    statement: str | None = None

    def problem(self, name: str, function: str, statement: str) -> Problem | None:
        """What the graders run; None without tests."""
        if not self.tests:
            return None
        return Problem(name, self.tests, function, statement=statement, tolerance=self.tolerance)


def key(lab: str, function: str) -> str:
    """How a function of a lab is found: labs are spelt ``pre-lab01`` in one place and ``preLab01`` in another."""
    return f"{re.sub(r'[^a-z0-9]', '', lab.lower())}.{function}"


def cases(folder: Path) -> dict[str, Cases]:
    """The cases in a clone's ``autograders`` and in files ``tests_*.json`` (lab, function, list of args and expected).

    Raises SimstudentError for a file that is neither.
    """
    found: dict[str, Cases] = {}
    for path in sorted(folder.glob("autograders/*/test.py")):
        lab = path.parent.name.split("_")[0]
        for function, held in _of_autograder(path):
            found[key(lab, function)] = held
    for path in sorted(folder.glob("tests_*.json")):
        found |= _of_json(path)
    return found


def _of_json(path: Path) -> dict[str, Cases]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8-sig"))
        return {
            key(lab, function): Cases(
                tuple(FunctionTest(case["args"], case["expected"]) for case in held),
                ROUNDED if any("rounded to 2" in case.get("compare", "") for case in held) else 1e-9,
            )
            for lab, functions in raw.items()
            for function, held in functions.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SimstudentError(f"{path}: not a table of tests by lab and function ({error!r:.120})") from None


def _of_autograder(path: Path) -> Iterator[tuple[str, Cases]]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise SimstudentError(f"{path}: not a Python program ({error})") from None
    for method in ast.walk(tree):
        if isinstance(method, ast.FunctionDef) and method.name.startswith("test_"):
            function = method.name.removeprefix("test_")
            held = _of_method(method, function)
            text = path.with_name(f"{function}_desc.txt")
            if held is not None or text.is_file():
                told = text.read_text(encoding="utf-8", errors="replace").strip() if text.is_file() else None
                held = held or Cases(())
                yield function, Cases(held.tests, held.tolerance, held.unread, told)


def _of_method(method: ast.FunctionDef, function: str) -> Cases | None:
    """The cases of a method; None when it does anything else with them than compare returned values."""
    nodes = list(ast.walk(method))
    lists = [
        n.value
        for n in nodes
        if isinstance(n, ast.Assign) and isinstance(n.value, ast.List) and _name(n.targets[0]) == "test_cases"
    ]
    loops = [n for n in nodes if isinstance(n, ast.For) and "test_cases" in map(_name, ast.walk(n.iter))]
    calls = [
        n.value
        for n in nodes
        if isinstance(n, ast.Assign) and isinstance(n.value, ast.Call) and _attribute(n.value) == function
    ]
    compared = [n for n in nodes if isinstance(n, ast.Compare) and isinstance(n.ops[0], ast.Eq)]
    if not (lists and loops and calls and any("expected" in (_name(c.comparators[0]) or "") for c in compared)):
        return None
    pattern, arguments = _pattern(loops[0]), [_name(a) for a in calls[0].args]
    if {_name(n) for n in ast.walk(pattern) if _name(n)} != {*arguments, "expected"}:
        return None
    tests, unread = [], 0
    for case in lists[0].elts:
        try:
            bound = _bind(pattern, ast.literal_eval(_Arithmetic().visit(case)))
            test = FunctionTest(repr(tuple(bound[a] for a in arguments)), repr(bound["expected"]))
            Problem("case", (test,), function)
        except (ValueError, TypeError, KeyError, SyntaxError, ProblemError, ArithmeticError):
            unread += 1
        else:
            tests.append(test)
    rounded = any(isinstance(n, ast.Call) and _name(n.func) == "round" for n in nodes)
    return Cases(tuple(tests), ROUNDED if rounded else 1e-9, unread)


def _pattern(loop: ast.For) -> ast.expr:
    """What a case is bound to: the loop's target, less the number that enumerate gives."""
    counted = isinstance(loop.iter, ast.Call) and _name(loop.iter.func) == "enumerate"
    return loop.target.elts[-1] if counted and isinstance(loop.target, ast.Tuple) else loop.target


def _attribute(call: ast.Call) -> str | None:
    return call.func.attr if isinstance(call.func, ast.Attribute) else None


def _name(node: ast.AST) -> str | None:
    return node.id if isinstance(node, ast.Name) else None


def _bind(pattern: ast.expr, value: Any) -> Mapping[str | None, Any]:
    """The names of a loop's target and their values. Raises ValueError or TypeError when they don't fit."""
    if not isinstance(pattern, ast.Tuple):
        return {_name(pattern): value}
    bound: dict[str | None, Any] = {}
    for part, item in zip(pattern.elts, value, strict=True):
        bound |= _bind(part, item)
    return bound


_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


class _Arithmetic(ast.NodeTransformer):
    """Sums, products and quotients of numbers become numbers."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        left, right = (ast.literal_eval(self.visit(side)) for side in (node.left, node.right))
        if type(node.op) not in _OPERATORS or not all(type(side) in (int, float) for side in (left, right)):
            raise ValueError("not arithmetic with numbers")
        return ast.Constant(_OPERATORS[type(node.op)](left, right))
