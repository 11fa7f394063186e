"""Which names of a Python program are its own, and whether those of two programs stand for each other.

A name is the program's own when the program binds it: a variable, parameter, function, class, or the target of
``except``, ``for``, ``with`` or ``match``. These never are, because renaming them alone would change what the program
does or says:

* builtins, also where the program redefines one, and names with two underscores at both ends;
* what an import binds, with or without ``as``;
* attributes, and therefore whatever is bound in the body of a class;
* the name of an argument in a call, and therefore a parameter of that name;
* any name of a program that looks names up as text (``eval``, ``exec``, ``globals``, ``locals``, ``vars``).

A name has one meaning in the whole program here, in whatever scope it stands: a renaming that calls one ``x`` by two
new names, each in a function of its own, is not recognised.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

_BUILTINS = frozenset(dir(builtins))
_BY_TEXT = frozenset(("eval", "exec", "globals", "locals", "vars"))
_PLACES: dict[type[ast.AST], str] = {
    ast.Name: "id",
    ast.arg: "arg",
    ast.FunctionDef: "name",
    ast.AsyncFunctionDef: "name",
    ast.ClassDef: "name",
    ast.ExceptHandler: "name",
    ast.MatchAs: "name",
    ast.MatchStar: "name",
    ast.MatchMapping: "rest",
    ast.Global: "names",
    ast.Nonlocal: "names",
}
"""The field of each kind of node in which a name of the program's own can stand."""
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(slots=True)
class Renaming:
    """The pairs of names met so far, in both directions; ``match`` adds to them."""

    own_a: frozenset[str]
    own_b: frozenset[str]
    there: dict[str, str] = field(default_factory=dict)
    back: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, a: ast.AST, b: ast.AST, keep: Collection[str] = ()) -> Renaming:
        return cls(own_names(a) - set(keep), own_names(b) - set(keep))

    def holds(self, node: ast.AST, name: str) -> bool:
        """Whether this field of the node is a place of names that may be renamed."""
        return _PLACES.get(type(node)) == name

    def match(self, x: object, y: object) -> bool:
        """Whether two such fields agree with each other and with all those before them."""
        if isinstance(x, list) and isinstance(y, list):
            return len(x) == len(y) and all(self.match(*pair) for pair in zip(x, y, strict=True))
        if x not in self.own_a or y not in self.own_b or not isinstance(x, str) or not isinstance(y, str):
            return x == y and x not in self.own_a and y not in self.own_b
        return self.there.setdefault(x, y) == y and self.back.setdefault(y, x) == x


def own_names(tree: ast.AST) -> frozenset[str]:
    """The names that may be renamed, by the rules at the top of this file."""
    bound: set[str] = set()
    fixed: set[str] = set()
    parameters: set[str] = set()
    arguments: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            if node.id in _BY_TEXT:
                return frozenset()
            continue
        bound.update(_names(node))
        if isinstance(node, ast.arg):
            parameters.add(node.arg)
        elif isinstance(node, ast.keyword) and node.arg is not None:
            arguments.add(node.arg)
        elif isinstance(node, ast.alias):
            fixed.add(node.asname or node.name.split(".")[0])
        elif isinstance(node, ast.ClassDef):
            fixed.update(_in_class(node))
    # A variable may be called like an argument of somebody else's function (`end` of print); a parameter may not.
    fixed |= parameters & arguments
    return frozenset(n for n in bound - fixed - _BUILTINS if not (n.startswith("__") and n.endswith("__")))


def _names(node: ast.AST) -> Iterator[str]:
    """The names in a node's own place."""
    place = _PLACES.get(type(node))
    value = None if place is None else getattr(node, place)
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from value


def _in_class(node: ast.ClassDef) -> Iterator[str]:
    """What the body of a class binds, which makes it attributes; not what the functions in it bind."""
    left: list[ast.AST] = list(node.body)
    while left:
        inner = left.pop()
        if not (isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load)):
            yield from _names(inner)
        if not isinstance(inner, (*_FUNCTIONS, ast.ClassDef)):
            left += ast.iter_child_nodes(inner)
