"""What programs look like (their sizes, sizes and shapes of their syntax trees) and how large edits of them are."""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import Indel

from graders.compare import trimmed
from simstudent.evaluation.spread import cores, spread

STYLES = ("lines", "characters", "ast_depth", "ast_width", "ast_nodes")
"""Sizes of a program. Lines and characters are those of the text without white space around it."""

NO_TREE = 0
"""Tree and shape of a text that is no Python."""

_FIELDS = {
    kind: tuple(field for field in kind._fields if field not in ("ctx", "kind"))
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST)
}
"""What tells a node of a kind from another: whether a name is stored shows in where it stands."""

Digests = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Programs:
    """What texts look like, arrays of shape (texts,).

    ``sizes`` by ``STYLES``: ``ast_nodes``: nodes of the syntax tree, the contexts of names (load, store) left out;
    ``ast_depth``: its levels; ``ast_width``: nodes on the widest level; NaN where there is no tree. ``trees``: equal
    for equal trees, that is, programs that differ in layout and comments only (``graders.compare.ast_equal``);
    ``shapes``: equal for trees whose kinds of nodes are equal, whatever names and values are in them; ``texts``: equal
    for the same text (``graders.compare.same_text``). Digests of 63 bits, ``NO_TREE`` where there is no tree.
    """

    sizes: Mapping[str, NDArray[np.float64]]
    texts: Digests
    trees: Digests
    shapes: Digests


def measured(texts: Sequence[str]) -> Programs:
    """Sizes, trees and shapes. Python only: another language's programs have lines and characters alone."""
    columns = list(zip(*spread(measures, texts), strict=True)) or [()] * (len(STYLES) + 3)
    sizes, digests = columns[: len(STYLES)], columns[len(STYLES) :]
    return Programs(
        {style: np.array(size, dtype=np.float64) for style, size in zip(STYLES, sizes, strict=True)},
        *(np.array(digest, dtype=np.int64) for digest in digests),
    )


def edits(before: Sequence[str], after: Sequence[str]) -> list[int]:
    """Characters to delete and insert to get from each text to the one beside it (Indel distance). Symmetric."""
    found: list[int] = process.cpdist(before, after, scorer=Indel.distance, workers=cores()).tolist()
    return found


def measures(text: str) -> tuple[float, ...]:
    """Sizes in the order of ``STYLES``, then the digests of text, tree and shape, of one text (``Programs``)."""
    stripped, tree = text.strip(), _tree(text)
    size = stripped.count("\n") + bool(stripped), len(stripped)
    *of_tree, whole, shape = (*(math.nan,) * 3, NO_TREE, NO_TREE) if tree is None else _measured(tree)
    return *size, *of_tree, _digest([trimmed(text)]), whole, shape


def _tree(text: str) -> ast.AST | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return None


def _measured(tree: ast.AST) -> tuple[int, int, int, int, int]:
    """Depth, width, number of nodes, digests of the whole tree and of its shape.

    Level by level, kinds and numbers of children tell the whole shape; with what stands in every field, the tree.
    """
    depth = width = nodes = 0
    told: list[str] = []
    values: list[str] = []
    level: list[ast.AST] = [tree]
    while level:
        depth, width, nodes = depth + 1, max(width, len(level)), nodes + len(level)
        below: list[ast.AST] = []
        for node in level:
            before, kind = len(below), type(node)
            for field in _FIELDS[kind]:
                value = getattr(node, field, None)
                if isinstance(value, ast.AST):
                    below.append(value)
                    values.append("")
                elif isinstance(value, list):
                    inner = [item for item in value if isinstance(item, ast.AST)]
                    below += inner
                    values.append(str(len(value)) if len(inner) == len(value) else _plain(value))
                else:
                    values.append(f"{type(value).__name__}{value!r}")
            told.append(f"{kind.__name__}{len(below) - before}")
        level = below
    return depth, width, nodes, _digest([*told, *values]), _digest(told)


def _plain(items: Sequence[object]) -> str:
    """A list that holds more than nodes: names, or None between keys."""
    return repr(["" if isinstance(item, ast.AST) else (type(item).__name__, item) for item in items])


def _digest(told: Sequence[str]) -> int:
    found = blake2b("\n".join(told).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(found, "big") >> 1) or 1
