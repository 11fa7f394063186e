"""Sizes, shapes and equality of programs; the same on all cores."""

from __future__ import annotations

import ast
import itertools
import math
import random

import pytest

from graders.compare import ast_equal, same_text, trimmed
from simstudent.evaluation.programs import NO_TREE, STYLES, edits, measured, measures
from simstudent.evaluation.spread import spread

ALIKE = [
    "x = 1\n",
    "x  =  1 # one\n",
    "x = 1.0\n",
    "x = True\n",
    "x = '1'\n",
    "x = b'1'\n",
    "x = u'1'\n",
    "y = 1\n",
    "x: int = 1\n",
    "x == 1\n",
    "del x\n",
    "global x\nx\n",
    "global x, y\nx\n",
    "print(x)\n",
    "print(*x)\n",
    "{'a': 1, **b}\n",
    "{**b, 'a': 1}\n",
    "def f(a, *, b, c=1): pass\n",
    "def f(a, *, b=1, c): pass\n",
    "def f(a, b, *, c=1): pass\n",
    "if a:\n    b\nelse:\n    c\n",
    "if a:\n    b\n    c\n",
    "'\\ud800'\n",
    "f'{x}'\n",
    "f'{x!r}'\n",
    "f'{x:>3}'\n",
    "-1\n",
    "0x10\n",
    "16\n",
    "def f(:\n",
    "def f(:   \n\n",
    "",
]


def test_equal_digests_are_equal_trees() -> None:
    found = measured(ALIKE)
    for (i, a), (j, b) in itertools.combinations(enumerate(ALIKE), 2):
        if NO_TREE in (found.trees[i], found.trees[j]):
            continue
        assert (found.trees[i] == found.trees[j]) == ast_equal(a, b), (a, b)


def test_shapes_forget_names_and_values() -> None:
    same = measured(["x = 1\n", "total = 'a'\n", "x = y\n", "x = 1\ny = 1\n", "x = (\n"]).shapes
    assert same[0] == same[1]
    assert len(set(same[1:4].tolist())) == 3
    assert same[4] == NO_TREE


def by_hand(node: ast.AST) -> list[int]:
    """Nodes on each level below and with this one, contexts left out."""
    levels: list[int] = [1]
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr_context):
            for depth, count in enumerate(by_hand(child), 1):
                levels += [0] * (depth + 1 - len(levels))
                levels[depth] += count
    return levels


@pytest.mark.parametrize("code", ["x = 1\n", "def f(a):\n    for i in a:\n        print(i, i + 1)\n    return a\n", ""])
def test_sizes(code: str) -> None:
    sizes = {style: size[0] for style, size in measured([code]).sizes.items()}
    levels = by_hand(ast.parse(code))
    expected = (len(code.strip().splitlines()), len(code.strip()), len(levels), max(levels), sum(levels))
    assert tuple(sizes[style] for style in STYLES if style != "lint") == expected


def test_what_does_not_parse_has_text_only() -> None:
    sizes = measured(["\ndef f(:\n    x\n"]).sizes
    assert (sizes["lines"][0], sizes["characters"][0]) == (2, 13)
    assert all(math.isnan(sizes[style][0]) for style in ("ast_depth", "ast_width", "ast_nodes"))
    assert measured([]).trees.shape == (0,)


def test_what_python_thinks_of_students_programs_is_not_said(recwarn: pytest.WarningsRecorder) -> None:
    assert measured(["'\\d'\n"]).sizes["ast_nodes"][0] == 3
    assert not recwarn.list


def test_edits_and_trimmed() -> None:
    generator = random.Random(0)
    for _ in range(300):
        a, b = ("".join(generator.choices("ab\n ", k=generator.randint(0, 9))) for _ in range(2))
        table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
        for i, j in itertools.product(range(len(a) + 1), range(len(b) + 1)):
            if not i or not j:
                table[i][j] = i + j
            elif a[i - 1] == b[j - 1]:
                table[i][j] = table[i - 1][j - 1]
            else:
                table[i][j] = 1 + min(table[i - 1][j], table[i][j - 1])
        assert edits([a, b], [b, a]) == [table[-1][-1]] * 2
        assert same_text(a, b) == (trimmed(a) == trimmed(b))


def test_processes_change_nothing() -> None:
    assert repr(spread(measures, ALIKE, workers=2)) == repr([measures(text) for text in ALIKE])  # a NaN is not itself


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="AttributeError"):
        spread(measures, [None, "a"], workers=2)  # type: ignore[list-item]
