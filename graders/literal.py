"""Python literals as tests spell them."""

from __future__ import annotations

import ast
from typing import Any


def literal(text: str) -> Any:
    """The value of a Python literal; ``nan`` and ``inf`` are allowed too, as `repr` writes them.

    Raises ValueError, SyntaxError, MemoryError or RecursionError as `ast.literal_eval` does.
    """
    if "nan" in text or "inf" in text:
        return ast.literal_eval(_Names().visit(ast.parse(text.strip(), mode="eval")))
    return ast.literal_eval(text.strip())


class _Names(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(float(node.id)) if node.id in ("nan", "inf") else node
