"""CodeBLEU's data flow: which variable gets its value from which, as codebleu 0.7.0 finds it, but always the same.

The rules are those of the package's ``DFG_python``, ``DFG_javascript`` and ``get_data_flow`` (after Guo et al.,
GraphCodeBERT, 2021), oddities included: a test compares the two on every kind of statement. Three things differ. Names
are merged in the order of a set under PYTHONHASHSEED=0, where the package's scores change with that seed. A loop's
body is walked once for each state it is entered in, where the package walks it twice, hence d nested loops 2^d times.
And one dictionary is carried through a program where the package copies it at every node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from graders.codebleu.syntax import Node
from graders.set_order import seed_zero_order

_DEEPEST = 900  # about where the package meets Python's recursion limit, and then counts no data flow at all

_States = dict[str, tuple[int, ...]]
"""For each variable the tokens at which it may have got its value."""
_Flow = tuple[str, int, str, tuple[str, ...], tuple[int, ...]]
"""A variable, its token, how it comes by its value, and the names and tokens that the value comes from."""
_Walk = Callable[[Node, _States, list[_Flow]], None]
"""Appends the flows in a node, and brings the states up to date."""


def data_flow(root: Node, depth: int, language: str) -> list[tuple[int, str, tuple[int, ...]]]:
    """The flows of a program with its variables numbered: (variable, relation, variables it comes from)."""
    flows: list[_Flow] = []
    if depth <= _DEEPEST:
        try:
            _walker(_PYTHON if language == "python" else _JAVASCRIPT)(root, {}, flows)
        except (AttributeError, TypeError, IndexError):
            flows = []  # as in the package: a statement it cannot read takes all flows of the program with it
    return _numbered(_merged_by_token(flows))


def _merged_by_token(flows: list[_Flow]) -> Iterable[_Flow]:
    flows.sort(key=_token)
    linked = {at for _, own, _, _, sources in flows if sources for at in (own, *sources)}
    merged: dict[int, _Flow] = {}
    for flow in flows:
        name, at, relation, names, sources = flow
        if at in linked:
            before = merged.get(at)
            merged[at] = flow if before is None else (name, at, relation, _union(before[3], names), sources)
    return merged.values()


def _numbered(flows: Iterable[_Flow]) -> list[tuple[int, str, tuple[int, ...]]]:
    numbers: dict[str, int] = {}
    found = []
    for name, _, relation, names, _ in flows:
        sources = tuple([numbers.setdefault(source, len(numbers)) for source in names])
        found.append((numbers.setdefault(name, len(numbers)), relation, sources))
    return found


def _token(flow: _Flow) -> int:
    return flow[1]


def _union(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    """``tuple(set(a + b))``."""
    both = a + b
    first = both[0] if both else ""
    if both.count(first) == len(both):
        return both[:1]
    return tuple(seed_zero_order(both))


# --- what both languages share ----------------------------------------------------------------------------------


def _walker(rules: Mapping[str, _Rule]) -> _Walk:
    """A walk through one program by the rules of its language; it remembers the loops it has been in."""
    loops: dict[Node, list[tuple[_States, list[_Flow], _States]]] = {}

    def walk(node: Node, states: _States, flows: list[_Flow]) -> None:
        if node.at is not None and node.name is not None:
            if node.name != node.type:
                _read_token(node.at, node.name, node.type, states, flows)
            return
        rule = rules.get(node.type)
        if rule is None:
            if not node.children and node.type != "comment":
                raise TypeError("inside a string: no token to the package")
            for child in node.telling:
                if child.at is not None and child.name is not None:
                    _read_token(child.at, child.name, child.type, states, flows)
                else:
                    walk(child, states, flows)
        elif node.type in _LOOPS:
            known = loops.setdefault(node, [])
            found = next(((own, after) for before, own, after in known if before == states), None)
            if found is None:
                own: list[_Flow] = []
                before = states.copy()
                rule(node, states, own, walk)
                found = _merged_in_loop(own), states.copy()
                known.append((before, *found))
            flows += found[0]
            states.clear()
            states.update(found[1])
        else:
            rule(node, states, flows, walk)

    return walk


def _read_token(at: int, name: str, kind: str, states: _States, flows: list[_Flow]) -> None:
    if name in states:
        flows.append((name, at, "comesFrom", (name,), states[name]))
        return
    if kind == "identifier":
        states[name] = (at,)
    flows.append((name, at, "comesFrom", (), ()))


def _merged_in_loop(flows: list[_Flow]) -> list[_Flow]:
    merged: dict[tuple[str, int, str], _Flow] = {}
    for flow in flows:
        key = flow[:3]
        before = merged.get(key)
        if before is not None:
            sources = tuple(sorted({*before[4], *flow[4]}))
            flow = (*key, _union(before[3], flow[3]), sources)
        merged[key] = flow
    return list(merged.values())


def _variables(node: Node | None) -> list[tuple[int, str]]:
    """Number and text of every token in a node that is not a word or sign of the language."""
    if node is None:
        raise AttributeError
    if node.tokens is None:
        node.tokens = []
        stack = [node]
        while stack:
            one = stack.pop()
            if one.at is not None and one.name is not None:
                if one.name != one.type:
                    node.tokens.append((one.at, one.name))
            elif not one.children and one.type != "comment":
                raise TypeError("inside a string: no token to the package")
            else:
                stack += reversed(one.telling)
    return node.tokens


def _join(states: _States, others: Iterable[_States]) -> None:
    """After a branch, each variable may have its value from any way through it."""
    for other in others:
        for name, where in other.items():
            own = states.get(name, ())
            if own != where:
                states[name] = tuple(sorted({*own, *where}))


def _define(node: Node, states: _States, flows: list[_Flow], walk: _Walk) -> None:
    """A parameter with a default value; a declared variable: each name comes from each token of the value."""
    names, value = _variables(node.field("name")), node.field("value")
    if value is None:
        for at, name in names:
            flows.append((name, at, "comesFrom", (), ()))
            states[name] = (at,)
        return
    sources = _variables(value)
    walk(value, states, flows)
    _one_by_one(names, sources, "comesFrom", states, flows)


def _one_by_one(
    targets: Sequence[tuple[int, str]],
    sources: Sequence[tuple[int, str]],
    relation: str,
    states: _States,
    flows: list[_Flow],
) -> None:
    for at, name in targets:
        flows += [(name, at, relation, (source,), (place,)) for place, source in sources]
        states[name] = (at,)


# --- Python -----------------------------------------------------------------------------------------------------


def _assign(node: Node, states: _States, flows: list[_Flow], walk: _Walk) -> None:
    right = node.field("right")
    if right is not None:  # an annotation alone assigns nothing
        _bind(*_sides(node.field("left"), right), states, flows, walk)


def _sides(left: Node | None, right: Node | None) -> tuple[Sequence[Node], Sequence[Node]]:
    """Targets and values, part by part where the two sides have as many parts as each other."""
    if left is None or right is None:
        raise AttributeError
    if not left.children and not right.children:
        return [left], [right]
    lefts = [child for child in left.children if child.type != ","]
    rights = [child for child in right.children if child.type != ","]
    return (lefts, rights) if len(lefts) == len(rights) > 0 else ([left], [right])


def _bind(
    lefts: Sequence[Node | None], rights: Sequence[Node], states: _States, flows: list[_Flow], walk: _Walk
) -> None:
    for right in rights:
        walk(right, states, flows)
    for left, right in zip(lefts, rights, strict=True):
        targets, sources = _variables(left), _variables(right)
        names, places = tuple([name for _, name in sources]), tuple([at for at, _ in sources])
        for at, name in targets:
            flows.append((name, at, "computedFrom", names, places))
            states[name] = (at,)


def _for_in_clause(node: Node, states: _States, flows: list[_Flow], walk: _Walk) -> None:
    _bind([node.field("left")], [node.children[-1]], states, flows, walk)


def _comprehension(node: Node, states: _States, flows: list[_Flow], walk: _Walk) -> None:
    """What is in it is walked after its ``for`` clauses, which bind the names."""
    for first in (True, False):
        for child in node.children:
            if (child.type == "for_in_clause") is first:
                walk(child, states, flows)


def _python_if(node: Node, states: _States, flows: list[_Flow], walk: _Walk) -> None:
    before, others = states.copy(), []
    for child in node.children:
        if child.type in ("elif_clause", "else_clause"):
            others.append(before.copy())
            walk(child, others[-1], flows)
        else:
            walk(child, states, flows)
    if not any("else" in child.type for child in node.children):
        others.append(before)
    _join(states, others)


def _python_for(node: Node, states: _States, flows: list[_Flow], walk: _Walk) -> None:
    sides = _sides(node.field("left"), node.field("right"))
    for _ in range(2):
        _bind(*sides, states, flows, walk)
        if node.children[-1].type == "block":
            walk(node.children[-1], states, flows)


def _while(node: Node, states: _States, flows: list[_Flow], walk: _Walk) -> None:
    for child in node.children * 2:
        walk(child, states, flows)


# --- JavaScript -------------------------------------------------------------------------------------------------


def _javascript_assign(node: Node, states: _States, flows: list[_Flow], walk: _Walk) -> None:
    right = node.field("right")
    if right is None:
        raise AttributeError
    walk(right, states, flows)
    _one_by_one(_variables(node.field("left")), _variables(right), "computedFrom", states, flows)


def _update(node: Node, states: _States, flows: list[_Flow], walk: _Walk) -> None:
    tokens = _variables(node)
    _one_by_one(tokens, tokens, "computedFrom", states, flows)


def _javascript_if(node: Node, states: _States, flows: list[_Flow], walk: _Walk) -> None:
    before, others, apart = states.copy(), [states.copy()], False
    for child in node.children:
        apart = apart or child.type in ("if_statement", "else")
        if apart:
            others.append(before.copy())
            walk(child, others[-1], flows)
        else:
            walk(child, states, flows)
    _join(states, others)


def _javascript_for(node: Node, states: _States, flows: list[_Flow], walk: _Walk) -> None:
    for child in node.children:
        walk(child, states, flows)
    kinds = [child.type for child in node.children]
    if "variable_declaration" in kinds:
        for child in node.children[kinds.index("variable_declaration") + 1 :]:
            walk(child, states, flows)


_Rule = Callable[[Node, _States, list[_Flow], _Walk], None]
_LOOPS = frozenset(("for_statement", "while_statement"))
_PYTHON: dict[str, _Rule] = {
    "default_parameter": _define,
    "assignment": _assign,
    "augmented_assignment": _assign,
    "for_in_clause": _for_in_clause,
    "if_statement": _python_if,
    "for_statement": _python_for,
    "while_statement": _while,
    **dict.fromkeys(
        ("list_comprehension", "set_comprehension", "dictionary_comprehension", "generator_expression", "ERROR"),
        _comprehension,
    ),
}
_JAVASCRIPT: dict[str, _Rule] = {
    "variable_declarator": _define,
    "assignment_pattern": _javascript_assign,
    "augmented_assignment_expression": _javascript_assign,
    "update_expression": _update,
    "if_statement": _javascript_if,
    "for_statement": _javascript_for,
    "while_statement": _while,
}
