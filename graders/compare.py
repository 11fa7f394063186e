"""How alike two programs are: equal up to layout and comments, or by the share of text they have in common."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import repeat

from graders.lexer import tokens, words
from graders.renaming import Renaming


def ast_equal(a: str, b: str, *, rename: bool = False, keep: Collection[str] = ()) -> bool:
    """Whether two Python programs are the same but for layout and comments.

    They are when their abstract syntax trees are equal: names, docstrings and the values of literals count, but
    not how a literal is written ('x' or "x"). A text that does not parse has no tree; then ``same_text`` decides,
    so that a student who submits one broken program twice has submitted the same program twice.

    With ``rename`` the names that the programs themselves define may differ too, as long as one always stands
    for the other (`graders.renaming` tells which names those are); never the names in ``keep``, such as that of
    the function to be tested.
    """
    if a == b:
        return True
    tree_a, tree_b = _tree(a), _tree(b)
    if tree_a is None or tree_b is None:
        return same_text(a, b)
    return _same_tree(tree_a, tree_b, Renaming.of(tree_a, tree_b, keep) if rename else None)


def compiles(code: str) -> bool:
    """Whether Python accepts a program; nothing of it is run. Blank programs compile."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(code, "<program>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError):
            return False
    return True


def same_text(a: str, b: str) -> bool:
    """Whether two texts are the same but for white space at the end of lines and blank lines before and after."""
    return a == b or trimmed(a) == trimmed(b)


def trimmed(text: str) -> str:
    """A text without white space at the end of lines and blank lines before and after: equal for ``same_text``."""
    return "\n".join(_lines(text))


def edit_similarity(a: str, b: str) -> float:
    """The share of characters two texts have in common, in [0, 1]: 2 L / (len(a) + len(b)).

    L is the length of their longest common subsequence, so this is 1 - d / (len(a) + len(b)) for the number d of
    characters to delete and insert (the normalised Indel similarity of RapidFuzz). Symmetric; two empty texts score 1.
    """
    return _similarity(a, b)


def token_similarity(a: str, b: str, language: str = "python") -> float:
    """The share of tokens two programs have in common, in [0, 1]: `edit_similarity` of their token sequences.

    Comments and blank lines do not count; a change of indentation is one token, however wide. When one of two Python
    programs cannot be split by ``tokenize`` (an open bracket or string, say) both are split into words and signs.
    ``language``: python, javascript or coffeescript (`graders.lexer` has the rules); ValueError for another.
    """
    left, right = tokens(a, language), tokens(b, language)
    if left is None or right is None:
        left, right = words(a), words(b)
    return 1.0 if a == b else _similarity(left, right)


def _similarity(a: Sequence[str], b: Sequence[str]) -> float:
    total = len(a) + len(b)
    return 2 * _common(a, b) / total if total else 1.0


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of the table at a time in the bits of one integer (Hyyrö,
    "Bit-parallel LCS-length computation revisited", 2004): difflib took thirty times as long on programs."""
    if len(a) < len(b):
        a, b = b, a
    places: dict[str, int] = {}
    for at, item in enumerate(a):
        places[item] = places.get(item, 0) | 1 << at
    row = full = (1 << len(a)) - 1
    for place in map(places.get, b, repeat(0)):
        matches = row & place
        row = row + matches | row - matches  # carries beyond the row's bits never come back into them
    return len(a) - (row & full).bit_count()


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


def _same_tree(a: ast.AST, b: ast.AST, names: Renaming | None) -> bool:
    # Node by node: different programs differ soon, and no text of the tree is made (ast.dump takes milliseconds).
    left: list[tuple[object, object]] = [(a, b)]
    while left:
        x, y = left.pop()
        if type(x) is not type(y):
            return False
        if isinstance(x, ast.AST):
            for name in x._fields:
                if name != "kind":
                    pair = getattr(x, name, None), getattr(y, name, None)
                    if names is None or not names.holds(x, name):
                        left.append(pair)
                    elif not names.match(*pair):
                        return False
        elif isinstance(x, list) and isinstance(y, list):
            if len(x) != len(y):
                return False
            left += zip(x, y, strict=True)
        elif x != y:
            return False
    return True
