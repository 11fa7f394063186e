"""What a program looks like: its size, and the size and shape of its syntax tree; computed once a distinct text."""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

STYLES = ("lines", "characters", "ast_depth", "ast_width", "ast_nodes")
"""Sizes of a program. Lines and characters are those of the text without white space around it."""

UNPARSED = 0
"""The shape of a text that is no Python."""

Styles = dict[str, NDArray[np.float64]]
Shapes = NDArray[np.int64]


def measured(texts: Sequence[str]) -> tuple[Styles, Shapes]:
    """The sizes (``STYLES``) and the shape of each text, arrays of shape (texts,).

    ``ast_nodes``: nodes of the syntax tree, the contexts of names (load, store) left out; ``ast_depth``: its levels;
    ``ast_width``: nodes on the widest level; NaN where there is no tree. Equal shapes: trees whose kinds of nodes are
    equal, whatever names and values are in them (a digest of 63 bits; ``UNPARSED`` without a tree).
    Python only: another language's programs have lines and characters alone.
    """
    found = np.full((len(texts), len(STYLES)), math.nan)
    shapes = np.zeros(len(texts), dtype=np.int64)
    for at, text in enumerate(texts):
        stripped = text.strip()
        found[at, :2] = stripped.count("\n") + bool(stripped), len(stripped)
        tree = _tree(text)
        if tree is not None:
            *found[at, 2:], shapes[at] = _measured(tree)
    return {style: found[:, number] for number, style in enumerate(STYLES)}, shapes


def _tree(text: str) -> ast.AST | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return None


def _measured(tree: ast.AST) -> tuple[int, int, int, int]:
    """Depth, width, number of nodes, shape. Level by level, kinds and numbers of children tell the whole shape."""
    depth = width = nodes = 0
    told: list[str] = []
    level: list[ast.AST] = [tree]
    while level:
        depth, width, nodes = depth + 1, max(width, len(level)), nodes + len(level)
        below: list[ast.AST] = []
        for node in level:
            before = len(below)
            for field in node._fields:
                value = getattr(node, field, None)
                if isinstance(value, list):
                    below += [item for item in value if isinstance(item, ast.AST)]
                elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
                    below.append(value)
            told.append(f"{type(node).__name__}{len(below) - before}")
        level = below
    digest = blake2b(" ".join(told).encode(), digest_size=8).digest()
    return depth, width, nodes, (int.from_bytes(digest, "big") >> 1) or 1
