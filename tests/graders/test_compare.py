"""Equality of programs and similarity of texts."""

from __future__ import annotations

import ast
import random

import pytest

from graders.compare import ast_equal, compiles, edit_similarity, same_text, token_similarity
from graders.renaming import own_names

PROGRAM = "def f(x):\n    return x + 1\n"


@pytest.mark.parametrize(
    "other",
    [
        PROGRAM,
        "# says what it does\ndef f(x):\n\n    return x + 1  # one more",
        "def f( x ):\n  return (x\n     + 1)",
    ],
)
def test_layout_and_comments_do_not_count(other: str) -> None:
    assert ast_equal(PROGRAM, other)
    assert ast_equal(other, PROGRAM)


@pytest.mark.parametrize(
    "other",
    ["def f(y):\n    return y + 1\n", "def f(x):\n    return x + 2\n", 'def f(x):\n    "doc"\n    return x + 1\n', ""],
)
def test_names_values_and_docstrings_count(other: str) -> None:
    assert not ast_equal(PROGRAM, other)


def test_a_literal_is_its_value_and_not_its_spelling() -> None:
    assert ast_equal("x = 'a'", 'x = "a"')
    assert not ast_equal("x = '''a \nb'''", "x = '''a\nb'''")


def test_what_does_not_parse_is_equal_as_text_only() -> None:
    assert ast_equal("def f(:\n", "def f(:   \n\n")
    assert not ast_equal("def f(:", "def f(: # why")
    assert not ast_equal("def f(:", "def f():")
    assert not ast_equal("  x = 1", "x = 1")
    assert not ast_equal("x = 1\0", "x = 1")


def test_no_warning_from_a_student_s_program(recwarn: pytest.WarningsRecorder) -> None:
    assert ast_equal("x = '\\d'", "x  =  '\\d'")
    assert not recwarn.list


def test_same_text_ignores_what_an_editor_adds() -> None:
    assert same_text("\nx = 1\r\ny = 2", "x = 1  \ny = 2\n\n")
    assert not same_text("x = 1\n\ny = 2", "x = 1\ny = 2")
    assert same_text("", "\n \n")


def test_edit_similarity() -> None:
    assert edit_similarity("", "") == 1.0
    assert edit_similarity("abc", "") == 0.0
    assert edit_similarity("abcd", "bcde") == 0.75
    assert edit_similarity("tide", "diet") == edit_similarity("diet", "tide")
    assert edit_similarity("ab" * 300, "ba" * 300) > 0.99


def same_but_names(a: str, b: str, *keep: str) -> bool:
    assert ast_equal(a, b, rename=True, keep=keep) == ast_equal(b, a, rename=True, keep=keep)
    return ast_equal(a, b, rename=True, keep=keep)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (PROGRAM, "def g(n):\n    return n + 1\n"),
        ("for i in range(3): print(i)", "for k in range(3): print(k)  # k"),
        ("end = 1\nprint(end, end='')", "last = 1\nprint(last, end='')"),
        ("try: x()\nexcept OSError as e: print(e)", "try: x()\nexcept OSError as error: print(error)"),
        ("def f():\n global n\n n = 1", "def f():\n global count\n count = 1"),
        ("match 1:\n case [a, *b]: print(a, b)", "match 1:\n case [p, *q]: print(p, q)"),
        ("match 1:\n case {'k': c, **d}: pass", "match 1:\n case {'k': r, **s}: pass"),
        ("a = 1\nb = 2\nprint(a, b)", "b = 1\na = 2\nprint(b, a)"),
        ("class A:\n def go(self, n): return n", "class B:\n def go(me, k): return k"),
    ],
)  # fmt: skip
def test_names_of_the_program_s_own_may_be_renamed(a: str, b: str) -> None:
    assert same_but_names(a, b)
    assert not ast_equal(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("a = 1\nb = 2\nprint(a, b)", "a = 1\nb = 2\nprint(b, a)"),  # not consistent
        ("a = 1\nb = 2\nprint(a, b)", "c = 1\nc = 2\nprint(c, c)"),
        ("print(1)", "input(1)"),
        ("list = 1\nprint(list)", "lst = 1\nprint(lst)"),
        ("x = 1\nx.real", "x = 1\nx.imag"),
        ("import math\nmath.pi", "import cmath\ncmath.pi"),
        ("import math as m\nm.pi", "import math as n\nn.pi"),
        ("from math import pi as p\np", "from math import pi as q\nq"),
        ("x = 1\nprint(y)", "x = 1\nprint(z)"),  # not bound here: perhaps the prelude's
        ("x = 1\nprint(x)", "x = 1\nprint(y)"),
        ("def f(x): return x\nf(x=1)", "def f(y): return y\nf(y=1)"),
        ("class A:\n def go(self): pass\nA().go()", "class A:\n def run(self): pass\nA().run()"),
        ("class A:\n n = 1", "class A:\n m = 1"),
        ("x = 1\nprint('x')", "y = 1\nprint('y')"),
        ("x = 1\nprint(eval('x'))", "y = 1\nprint(eval('x'))"),
        ("x = 1\ny = x", "x = 2\ny = x"),
        ("__all__ = 1", "names = 1"),
        ("def f(: x", "def f(: y"),
    ],
)
def test_what_is_not_a_renaming(a: str, b: str) -> None:
    assert not same_but_names(a, b)
    assert same_but_names(a, a)


def test_the_name_that_is_tested_is_kept() -> None:
    assert not same_but_names(PROGRAM, PROGRAM.replace("f", "g"), "f")
    assert same_but_names(PROGRAM, PROGRAM.replace("x", "y"), "f")


LONG = '''
import math
from random import choice as pick

limit = 10

def area(radius, digits=2):
    """The area."""
    value = math.pi * radius ** 2
    return round(value, digits)

class Box:
    sides = 4
    def size(self, scale):
        total = sum(side * scale for side in self.edges)
        self.total = total
        return total

def main():
    global limit
    for number in range(limit):
        try:
            print(area(number, digits=3), end=" ")
        except ValueError as problem:
            print(f"{problem!r:>{limit}}", len([n for n in "abc" if (m := n)]))
    words = {word: (lambda key: key + word)(word) for word in ["end", "limit"]}
    return pick(words)

main()
'''
OWN = [
    "limit", "area", "radius", "value", "Box", "self", "scale", "total", "side",
    "main", "number", "problem", "n", "m", "words", "word", "key",
]  # fmt: skip


def renamed(code: str, names: dict[str, str]) -> str:
    """By tokens' places in the tree, so that attributes, strings, imports and arguments of calls stay."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        for place in ("id", "arg", "name"):
            old = getattr(node, place, None)
            if isinstance(old, str) and not isinstance(node, ast.alias | ast.keyword):
                setattr(node, place, names.get(old, old))
        if isinstance(node, ast.Global):
            node.names = [names.get(n, n) for n in node.names]
    return ast.unparse(tree)


@pytest.mark.parametrize("seed", range(100))
def test_random_renamings(seed: int) -> None:
    draw = random.Random(seed)
    assert own_names(ast.parse(LONG)) == set(OWN)
    fresh = [f"v{i}" for i in range(40)] + OWN
    names = dict(zip(OWN, draw.sample(fresh, len(OWN)), strict=True))
    other = renamed(LONG, names)
    assert same_but_names(LONG, other)
    fixed = draw.choice(["math", "pick", "round", "digits", "print", "size", "range", "len", "sides"])
    assert not same_but_names(LONG, renamed(LONG, {**names, fixed: "fresh"}))
    one, two = draw.sample(OWN, 2)
    assert not same_but_names(LONG, renamed(LONG, {**names, one: names[two]}))  # two names become one


def test_token_similarity() -> None:
    assert token_similarity("x = 1  # one", "x=1") == 1.0
    assert token_similarity("if x:\n  y", "if x:\n        y\n\n") == 1.0
    assert token_similarity("x = 1", "x = 2") == 0.75  # three of four tokens, the end of the line being one
    assert token_similarity("f(x, 1", "f (x , 2") == 0.8  # by words and signs: the bracket is open
    assert token_similarity("", "x") == 0.0
    assert token_similarity("", "") == 1.0
    a, b = "def f(x):\n  return x", "def f(y:\n  return 'y"
    assert token_similarity(a, b) == token_similarity(b, a)


@pytest.mark.parametrize(
    ("language", "a", "b", "expected"),
    [
        ("javascript", "x = 1; // one", "x=1;/* 1 */", 1.0),
        ("javascript", "if (x)\n{ fd(1) }", "if (x) {\n  fd(1)\n}", 1.0),
        ("javascript", "a = b / c / d", "a = b / c / e", 6 / 7),
        ("javascript", "a = /b c/g", "a = /b  c/g", 2 / 3),
        ("coffeescript", "for i in [1..3] # turn\n  rt 90\n\nfd 5", "for i in [1..3]\n     rt 90\nfd 5", 1.0),
        ("coffeescript", "if x\n  fd 1\nbk 1", "if x\n  fd 1\n  bk 1", 0.9),
        ("coffeescript", "pen 'red # no comment'", "pen 'red'", 0.5),
    ],
)
def test_token_similarity_in_other_languages(language: str, a: str, b: str, expected: float) -> None:
    assert token_similarity(a, b, language) == pytest.approx(expected) == token_similarity(b, a, language)


def test_similarity_is_by_the_longest_common_subsequence() -> None:
    generator = random.Random(4)
    for _ in range(100):
        a, b = ("".join(generator.choices("abcd", k=generator.randint(0, 40))) for _ in range(2))
        row = [0] * (len(b) + 1)
        for x in a:
            before, row = row, [0]
            for at, y in enumerate(b):
                row.append(before[at] + 1 if x == y else max(before[at + 1], row[at]))
        assert edit_similarity(a, b) == (2 * row[-1] / len(a + b) if a + b else 1.0)


@pytest.mark.parametrize(
    ("code", "good"),
    [("x = 1", True), ("", True), ("return", False), ("x = (", False), ("\0", False), ("x=\\d", False)],
)
def test_compiles(code: str, good: bool) -> None:
    assert compiles(code) == good
