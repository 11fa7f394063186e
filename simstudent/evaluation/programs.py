"""What programs look like (their sizes, sizes and shapes of their syntax trees) and how large edits of them are."""

from __future__ import annotations

import ast
import importlib.util
import io
import math
import warnings
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import Indel

from graders.compare import trimmed
from simstudent.errors import SimstudentError
from simstudent.evaluation.spread import cores, spread

STYLES = ("lines", "characters", "ast_depth", "ast_width", "ast_nodes", "lint")
"""Sizes of a program. Lines and characters are those of the text without white space around it."""
_LINTS = 1_000
"""Programs to lint from which on a further process saves more time than it takes to start: a millisecond each."""

NO_TREE = 0
"""Tree and shape of a text that is no Python."""

_PLAIN = (ast.Name, ast.Constant)
"""Kinds with one value, which is no node. Most nodes are of these."""

_Get = Callable[[ast.AST], Any] | None


def _gets(kind: type[ast.AST]) -> tuple[_Get, _Get]:
    """What gets the value of a plain node, and what the fields of another kind, where it has any.

    All that tells nodes of a kind apart: whether a name is stored shows in where it stands.
    """
    names = [name for name in kind._fields if name not in ("ctx", "kind")]
    if not names:
        return None, None
    get = attrgetter(*names)
    if kind in _PLAIN:
        return get, None
    return None, get if len(names) > 1 else lambda node: (get(node),)


_KINDS = [kind for kind in vars(ast).values() if isinstance(kind, type) and issubclass(kind, ast.AST)]
_KIND = {kind: (number, *_gets(kind)) for number, kind in enumerate(_KINDS)}

Digests = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Programs:
    """What texts look like, arrays of shape (texts,).

    ``sizes`` by ``STYLES``: ``ast_nodes``: nodes of the syntax tree, the contexts of names (load, store) left out;
    ``ast_depth``: its levels; ``ast_width``: nodes on the widest level; NaN where there is no tree; ``lint``:
    ``findings``, NaN where they were not asked for. ``trees``: equal for equal trees, that is, programs that differ in
    layout and comments only (``graders.compare.ast_equal``); ``shapes``: equal for trees whose kinds of nodes are
    equal, whatever names and values are in them; ``texts``: equal for the same text (``graders.compare.same_text``).
    Digests of 63 bits, ``NO_TREE`` where there is no tree.
    """

    sizes: Mapping[str, NDArray[np.float64]]
    texts: Digests
    trees: Digests
    shapes: Digests


def measured(texts: Sequence[str], lint: bool = False) -> Programs:
    """Sizes, trees and shapes. Python only: another language's programs have lines and characters alone.

    ``lint``: whether to count findings; NaN without. Raises SimstudentError when pycodestyle is not installed.
    """
    if lint and importlib.util.find_spec("pycodestyle") is None:
        raise SimstudentError("lint findings need pycodestyle: pip install pycodestyle, or leave them out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's words on students' programs
        rows = spread(measures, texts)
    *sizes, text, tree, shape = list(zip(*rows, strict=True)) or [()] * (len(STYLES) + 2)
    workers = max(1, min(cores(), len(texts) // _LINTS))
    sizes.append(tuple(spread(findings, texts, workers) if lint else [math.nan] * len(texts)))
    return Programs(
        {style: np.array(size, dtype=np.float64) for style, size in zip(STYLES, sizes, strict=True)},
        *(np.array(digest, dtype=np.int64) for digest in (text, tree, shape)),
    )


def edits(before: Sequence[str], after: Sequence[str]) -> list[int]:
    """Characters to delete and insert to get from each text to the one beside it (Indel distance). Symmetric."""
    found: list[int] = process.cpdist(before, after, scorer=Indel.distance, workers=cores()).tolist()
    return found


def measures(text: str) -> tuple[float, ...]:
    """Sizes of one text in the order of ``STYLES`` without lint, then the digests of text, tree and shape."""
    stripped, tree = text.strip(), _tree(text)
    size = stripped.count("\n") + bool(stripped), len(stripped)
    *of_tree, whole, shape = (*(math.nan,) * 3, NO_TREE, NO_TREE) if tree is None else _measured(tree)
    return *size, *of_tree, _digest(_bytes(trimmed(text))), whole, shape


def findings(text: str) -> float:
    """Findings of pycodestyle a line, by its default rules, of the file as it is; 0 for an empty one.

    A file that is no Python has a finding that says so, beside those of its lines. NaN where it is nested too deeply.
    """
    import pycodestyle

    lines = io.StringIO(text).readlines()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            count: int = pycodestyle.Checker("program.py", lines, _rules()).check_all()
        except (MemoryError, RecursionError):
            return math.nan
    return count / max(1, len(lines))


@cache
def _rules() -> Any:
    import pycodestyle

    # All said here: a user's own ~/.config/pycodestyle would change the figures.
    ignored = tuple(pycodestyle.DEFAULT_IGNORE.split(","))
    lengths = {"max_line_length": pycodestyle.MAX_LINE_LENGTH, "max_doc_length": None, "indent_size": 4}
    given = {"select": (), "ignore": ignored, "hang_closing": False, "verbose": 0, **lengths}
    return pycodestyle.StyleGuide(reporter=pycodestyle.BaseReport, **given).options


def _tree(text: str) -> ast.AST | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _measured(tree: ast.AST) -> tuple[int, int, int, int, int]:
    """Depth, width, number of nodes, digests of the whole tree and of its shape.

    Level by level, kinds and numbers of children tell the whole shape; with what stands in every field, the tree.
    """
    depth = width = nodes = 0
    told: list[int] = []
    values: list[object] = []
    level: list[ast.AST] = [tree]
    while level:
        depth, width, nodes = depth + 1, max(width, len(level)), nodes + len(level)
        below: list[ast.AST] = []
        for node in level:
            kind, plain, fields = _KIND[type(node)]
            if plain is not None:
                values.append(plain(node))
            elif fields is not None:
                before = len(below)
                for value in fields(node):
                    if type(value) in _KIND:
                        below.append(value)
                        values.append("")
                    elif value and type(value) is list:
                        inner = [item for item in value if type(item) in _KIND]
                        below += inner
                        values.append(len(value) if len(inner) == len(value) else _plain(value))
                    else:
                        values.append(value)
                kind += len(_KINDS) * (len(below) - before)
            told.append(kind)
        level = below
    shape = array("q", told).tobytes()
    return depth, width, nodes, _digest(shape + _bytes(repr(values))), _digest(shape)


def _plain(items: Sequence[object]) -> str:
    """A list that holds more than nodes: names, or None between keys."""
    return repr(["" if isinstance(item, ast.AST) else (item,) for item in items])


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _digest(told: bytes) -> int:
    return (int.from_bytes(blake2b(told, digest_size=8).digest(), "big") >> 1) or 1
