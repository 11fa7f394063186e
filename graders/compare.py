"""How alike two programs are: equal up to layout and comments, or by the share of text they have in common."""

from __future__ import annotations

import ast
import difflib
import warnings
from functools import lru_cache


def ast_equal(a: str, b: str) -> bool:
    """Whether two Python programs are the same but for layout and comments.

    They are when their abstract syntax trees are equal: names, docstrings and the values of literals count, but
    not how a literal is written ('x' or "x"). A text that does not parse has no tree; then ``same_text`` decides,
    so that a student who submits one broken program twice has submitted the same program twice.
    """
    if a == b:
        return True
    tree_a, tree_b = _tree(a), _tree(b)
    if tree_a is None or tree_b is None:
        return same_text(a, b)
    return _same_tree(tree_a, tree_b)


def same_text(a: str, b: str) -> bool:
    """Whether two texts are the same but for white space at the end of lines and blank lines before and after."""
    return a == b or _lines(a) == _lines(b)


def edit_similarity(a: str, b: str) -> float:
    """The share of characters two texts have in common, in [0, 1]: 2 M / (len(a) + len(b)).

    M counts the characters of the blocks that ``difflib.SequenceMatcher`` pairs (Ratcliff and Obershelp), without
    its heuristic for popular characters, which makes scores of long programs jump. Two empty texts score 1. The
    longest common block is not unique, so the measure depends on the order of its arguments; the pair is put
    into one fixed order first to make it symmetric.
    """
    first, second = sorted((a, b))
    return difflib.SequenceMatcher(None, first, second, autojunk=False).ratio()


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    while lines and not lines[0]:
        lines.pop(0)
    return lines


@lru_cache(maxsize=256)
def _tree(code: str) -> ast.AST | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a student's "\d" is no news here
        try:
            return ast.parse(code)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return None


def _same_tree(a: ast.AST, b: ast.AST) -> bool:
    # Node by node: different programs differ soon, and no text of the tree is made (ast.dump takes milliseconds).
    left: list[tuple[object, object]] = [(a, b)]
    while left:
        x, y = left.pop()
        if type(x) is not type(y):
            return False
        if isinstance(x, ast.AST):
            left += ((getattr(x, name, None), getattr(y, name, None)) for name in x._fields if name != "kind")
        elif isinstance(x, list) and isinstance(y, list):
            if len(x) != len(y):
                return False
            left += zip(x, y, strict=True)
        elif x != y:
            return False
    return True
