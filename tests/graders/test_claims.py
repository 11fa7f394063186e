"""What equals what, and how much work a hostile claim can cause."""

from __future__ import annotations

import marshal
import random
import struct
import time
from typing import Any

import pytest

from graders import FunctionTest, Pool, Problem, outcomes
from graders.claims import expect, same, show
from graders.literal import literal

NAN, INF = float("nan"), float("inf")


def equal(got: Any, want: Any, tolerance: float = 1e-9) -> bool:
    return same(marshal.dumps(got, 2), expect(want), tolerance)


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (1, 1), (1, True), (True, 1), (0, False), (1.0, 1), (2, 2.0), (10**30, 10**30), (10**400, 10**400),
        (1e22, 10**22), (0.1 + 0.2, 0.3), (-0.0, 0), (NAN, NAN), (INF, INF), ([NAN], [NAN]), (1 + 0j, 1),
        ("é\n", "é\n"), ("", ""), (b"x", b"x"), (None, None), ((), ()), ([], []), (set(), set()), ({}, {}),
        ({3, 1, 2}, {1, 2, 3}), (frozenset({1}), {1}), ({1.0, 2.0}, {1, 2}), ({0.1 + 0.2, 1}, {1, 0.3}),
        ({"a": 1, "b": [2.0]}, {"b": [2], "a": True}), ({1: "x"}, {True: "x"}), ({(1, 2): {3}}, {(1.0, 2): {3}}),
        ([(1, [2, {"k": (3,)}])], [(1, [2, {"k": (3,)}])]), (..., ...),
    ],
)  # fmt: skip
def test_equal(got: Any, want: Any) -> None:
    assert equal(got, want)


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (1, 2), (1, "1"), ("1", 1), (1, None), (None, 0), (False, None), ([1], (1,)), ((1,), [1]), ([], ()),
        ([1, 2], [2, 1]), ([1], [1, 1]), ([1, 1], [1]), ({1}, [1]), ({1, 2}, {1, 3}), ({1: 1}, {1: 2}),
        ({1: 1}, {2: 1}), ({1: 1}, {1: 1, 2: 2}), ("a", b"a"), ("a", "b"), (0.3001, 0.3), (NAN, 1.0), (1.0, NAN),
        (INF, -INF), (INF, 10**400), (10**400, 10**400 + 1), (10**400, 1), (10**400, 1.0), (1e300, INF),
        (..., None), ({}, set()), ([[]], [()]), (1 + 1j, 1), (10**17, 10**17 + 1),
    ],
)  # fmt: skip
def test_different(got: Any, want: Any) -> None:
    assert not equal(got, want)


@pytest.mark.parametrize(
    ("got", "want", "alike"),
    [
        (1, 1.0, False), (1, True, False), ([1, {2: 0}], [1, {2: False}], False), ({1, 2}, frozenset({1, 2}), False),
        (1 + 0j, 1.0, False), (0.1 + 0.2, 0.3, True), ([1, 2**40], [1, 2**40], True), ({True: 1}, {1: 1}, False),
        ({2, 1}, {1, 2}, True), (NAN, NAN, True),
    ],
)  # fmt: skip
def test_strict(got: Any, want: Any, alike: bool) -> None:
    assert same(marshal.dumps(got, 2), expect(want), 1e-9, strict=True) == alike
    assert equal(got, want)


def test_tolerance_is_absolute_and_relative() -> None:
    assert equal(1e-5, 0.0, 1e-4)
    assert equal(1e9 + 1, 1e9, 1e-8)
    assert not equal(1.1, 1.0, 1e-2)
    assert not equal(100_000_001, 100_000_000, 1e-2), "integers are compared exactly"


def random_value(rng: random.Random, depth: int, *, hashable: bool = False) -> Any:
    kinds = ["int", "float", "str", "const"] + ["tuple"] * (depth > 0)
    kinds += ["list", "dict", "set"] * (depth > 0 and not hashable)
    size = rng.randrange(4)
    match rng.choice(kinds):
        case "int":
            return rng.randrange(-(10**12), 10**12) >> rng.randrange(40)
        case "float":
            return rng.choice([rng.random(), INF, -0.0, 1e300])
        case "str":
            return "".join(rng.choices("ab'é\n𝄞", k=size))
        case "const":
            return rng.choice([None, True, False, b"x\0"])
        case "tuple":
            return tuple(random_value(rng, depth - 1, hashable=hashable) for _ in range(size))
        case "list":
            return [random_value(rng, depth - 1) for _ in range(size)]
        case "set":
            return {random_value(rng, depth - 1, hashable=True) for _ in range(size)}
        case _:
            return {random_value(rng, 1, hashable=True): random_value(rng, depth - 1) for _ in range(size)}


def test_agrees_with_python_on_random_values() -> None:
    rng = random.Random(1)
    values = [random_value(rng, 3) for _ in range(400)]
    for value in values:
        assert equal(value, value)
        assert show(marshal.dumps(value, 2), 10**6) == repr(value) or "{" in repr(value)
        for other in rng.sample(values, 20):
            assert equal(value, other, 0.0) == (value == other), (value, other)


def test_broken_claims_are_just_wrong() -> None:
    rng = random.Random(2)
    for _ in range(3000):
        value = random_value(rng, 3)
        data = bytearray(marshal.dumps(value, 2))
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        same(bytes(data[: rng.randrange(len(data) + 1)]), expect(random_value(rng, 2)), 1e-9)
        show(bytes(data), 50)


@pytest.mark.parametrize(
    "claim",
    [
        b"", b"(", b"[\xff\xff\xff\x7f", b"[\xff\xff\xff\xff", b"(\x01\0\0\0" * 16000, b"{" * 60000, b"{NN" * 20000,
        b"l\x60\x79\0\0" + b"\xff\x7f" * 31072, b"[\x60\x79\0\0" + b"N" * 31072, b"c", b"R\0\0\0\0", b"<\x02\0\0\0NN",
        marshal.dumps({(2**61 - 1) * i for i in range(5000)}, 2), marshal.dumps("x" * 60000, 2),
        b"u\x01\0\0\0\xff", b"s\xff\xff\xff\xff", b"i", b"g\0",
    ],
)  # fmt: skip
@pytest.mark.parametrize("want", [1, [1, 2], {1, 2}, {1: 2}, set(range(5000)), "x"])
def test_hostile_claims_cost_little(claim: bytes, want: Any) -> None:
    expected = expect(want)
    assert not same(claim, expected, 1e-9)
    seconds = []
    for _ in range(3):  # the least of three: a busy machine makes CPU time longer, too
        begin = time.thread_time()
        same(claim, expected, 1e-9)
        assert len(show(claim, 50)) <= 50
        seconds.append(time.thread_time() - begin)
    assert min(seconds) < 0.2


def test_show() -> None:
    assert show(marshal.dumps((1,), 2), 50) == "(1,)"
    assert show(marshal.dumps(set(), 2), 50) == "set()"
    assert show(marshal.dumps({"a": [1.5, None]}, 2), 50) == "{'a': [1.5, None]}"
    assert show(marshal.dumps(list(range(100)), 2), 20) == "[0, 1, 2, 3, 4, 5..."
    assert show(marshal.dumps("x" * 100, 2), 20) == "'xxxxxxxxxxxxxxxx..."
    assert show(b"g" + struct.pack("<d", NAN), 20) == "nan"


def test_literal_knows_nan_and_inf() -> None:
    value = literal("[inf, -inf, {'nan': nan}]")
    assert value[:2] == [INF, -INF]
    assert value[2]["nan"] != value[2]["nan"]
    with pytest.raises(ValueError, match="malformed"):
        literal("inf()")


@pytest.mark.parametrize(
    ("returned", "expected", "letter"),
    [
        ("{'b': 1, 'a': 2}", "{'a': 2, 'b': 1}", "P"),
        ("__import__('collections').Counter('aab')", "{'a': 2, 'b': 1}", "P"),
        ("__import__('collections').namedtuple('P', 'x y')(1, 2)", "(1, 2)", "P"),
        ("__import__('collections').OrderedDict(a=1)", "{'a': 1}", "P"),
        ("__import__('enum').IntEnum('E', 'a b').b", "2", "P"),
        ("bytearray(b'ab')", "b'ab'", "P"),
        ("float('nan')", "nan", "P"),
        ("{1, 2} | {3}", "{3, 2, 1}", "P"),
        ("range(3)", "[0, 1, 2]", "W"),
        ("(i for i in [1])", "[1]", "W"),
        ("iter", "None", "W"),
        ("print('x')", "None", "P"),
        ("[[1], (2,)]", "[[1], [2]]", "W"),
    ],
)
def test_returned_values(pool: Pool, returned: str, expected: str, letter: str) -> None:
    problem = Problem("value", (FunctionTest("()", expected),), entry="f")
    assert outcomes(pool.grade(f"def f(): return {returned}", problem)) == letter
