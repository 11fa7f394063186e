"""CodeBLEU: the package's scores under PYTHONHASHSEED=0, under every seed, and never a silent 0."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from graders import codebleu as module
from graders.codebleu import CodeBleuError, analysis, codebleu, codebleu_many, processes, syntax
from graders.set_order import seed_zero_order

pytest.importorskip("codebleu", reason='needs pip install "simstudent[codebleu]"')

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT.parent / "shared" / "bench"

JAVASCRIPT = [
    "function total(values, start) {\n  // adds up\n  var result = start, text = 'a // b';\n"
    "  for (var i = 0; i < values.length; i++) { result += values[i] * start; }\n  return result;\n}",
    "const f = (a, b = 2) => a + b;\nlet n = 0;\nwhile (n < 3) { n++; if (n > 1) { console.log(f(n)); }"
    " else if (n == 1) { n = n; } else n--; }",
    "for (const x of [1, 2]) {\n  fd(x); /* forward */\n  rt(90);\n}\npen(red, 5);",
    "speed(2);\nfor (;;) { for (var j = 0; j < 2; j++) { k = j + k; } }\nvar s = `x${k}y`;",
    "function broken( { return",
    "x",
]
PROGRAMS = [
    "def total(values, start):\n    '''Adds up.'''\n    result = start\n    for value in values:  # each\n"
    "        result = result + value * start - result\n    return result\n",
    "def total(values, start):\n    result, count = start, 0\n    while count < len(values):\n"
    "        if values[count] > 0:\n            result += values[count]\n        elif count:\n"
    "            result = count\n        count += 1\n    return result\n",
    "xs = [a + b for a, b in pairs]\nfor i in range(3):\n    for j in xs:\n        k = i * j + k\nprint(k, i, j)\n",
    "name = input()\nprint('héllo', name)\nprint(f'{name!r} {len(name)}')",
    "def broken(:\n    x = = 1\n  return x",
    "x = '''never closed",
    "exit()",
    "x",
    "if True:\n\tpass\n        y = 1",
    "# nothing but a comment",
]


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    module._known.clear()
    yield
    module._known.clear()


def run_python(code: str, *, seed: str, given: object = None) -> object:
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(given),
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


THE_PACKAGE = """
import json, logging, sys
from codebleu import calc_codebleu
logging.disable(logging.WARNING)
language, pairs = json.load(sys.stdin)
scores = [list(calc_codebleu([r], [p], language).values()) for r, p in pairs]
print(json.dumps(scores))
"""


def parts(reference: str, prediction: str, language: str = "python") -> list[float]:
    found = codebleu(reference, prediction, language)
    assert found is not None
    return [found.score, found.ngram, found.weighted_ngram, found.syntax, found.dataflow]


def test_every_part_equals_the_package_under_hash_seed_zero() -> None:
    pairs = [(a, b) for a in PROGRAMS for b in PROGRAMS]
    expected = run_python(THE_PACKAGE, seed="0", given=["python", pairs])
    assert [parts(*pair) for pair in pairs] == expected


def test_javascript_equals_the_package_too() -> None:
    pytest.importorskip("tree_sitter_javascript")
    pairs = [(a, b) for a in JAVASCRIPT for b in JAVASCRIPT]
    expected = run_python(THE_PACKAGE, seed="0", given=["javascript", pairs])
    assert [parts(*pair, "javascript") for pair in pairs] == expected
    assert len({tuple(one) for one in expected}) > 20  # type: ignore[attr-defined]


STRANGE = (
    *(
        "(",
        "]",
        '"',
        "'''",
        "#",
        "\n",
        "    ",
        "\t",
        "\\\n",
        " = ",
        "if x:\n",
        "é",
        "$",
        'f"{x} "',
        "1e5",
        "lambda a=1: a",
    ),
    *("not in", 'a, b, c = "abc"\n', "for x, y in z:\n  x = y\n", "[i for i in x if i]", "while x:\n", "\r"),
)


def test_damaged_programs_equal_the_package_too() -> None:
    generator = random.Random(3)
    damaged = []
    while len(damaged) < 300:
        code = generator.choice(PROGRAMS)
        for _ in range(generator.randint(1, 4)):
            at = generator.randint(0, len(code))
            code = code[:at] + generator.choice(STRANGE) + code[at + generator.choice((0, 0, 3)) :]
        damaged += [code.strip()] if code.strip() else []
    pairs = [(code, damaged[i - 1]) for i, code in enumerate(damaged)]
    assert [parts(*pair) for pair in pairs] == run_python(THE_PACKAGE, seed="0", given=["python", pairs])
    assert sum(syntax.without_comments(code) is not None for code in damaged) > 50  # both ways were taken


def test_published_scores_whatever_the_hash_seed() -> None:
    if not BENCH.is_dir():
        pytest.skip("the workload with known scores is not here")
    programs = {p["name"]: p["code"] for p in json.loads((BENCH / "programs.json").read_text())["programs"]}
    rows = json.loads((BENCH / "expected_codebleu.json").read_text())
    kinds = ("ngram", "weighted_ngram", "syntax", "dataflow")
    expected = [[row["codebleu"], *(row[f"{kind}_match_score"] for kind in kinds)] for row in rows]
    pairs = [(programs[row["reference"]], programs[row["prediction"]]) for row in rows]
    here = """
import json, sys
from dataclasses import astuple
from graders.codebleu import codebleu_many
print(json.dumps([astuple(score) for score in codebleu_many(map(tuple, json.load(sys.stdin)), workers=1)]))
"""
    for seed in ("2", "77"):
        found = run_python(here, seed=seed, given=pairs)
        assert isinstance(found, list)
        worst = max(abs(a - b) for x, y in zip(found, expected, strict=True) for a, b in zip(x, y, strict=True))
        assert worst <= 1e-9


def test_the_order_is_that_of_a_set_under_hash_seed_zero() -> None:
    generator = random.Random(7)
    alphabet = "abcxyz_019é漢😀"
    lists = [
        ["".join(generator.choices(alphabet, k=generator.randint(0, 12))) for _ in range(size)]
        for size in (1, 2, 3, 4, 5, 6, 12, 13, 40, 100, 700)
        for _ in range(20)
    ]
    there = "import json, sys\nprint(json.dumps([list(set(names)) for names in json.load(sys.stdin)]))"
    assert run_python(there, seed="0", given=lists) == [seed_zero_order(names) for names in lists]


def test_other_processes_give_the_same_scores_in_the_same_order() -> None:
    pairs = [(a, b) for a in PROGRAMS for b in [*PROGRAMS, ""]]
    alone = list(codebleu_many(pairs, workers=1))
    module._known.clear()
    assert list(codebleu_many(pairs, workers=2)) == alone
    assert alone.count(None) == len(PROGRAMS)


def test_a_stream_is_read_only_a_little_ahead() -> None:
    read = 0

    def pairs() -> Iterator[tuple[str, str]]:
        nonlocal read
        for read in range(1, 100_000):
            yield f"x = {read}", f"y = {read}"

    for workers in (1, 2):
        module._known.clear()
        stream = codebleu_many(pairs(), workers=workers)
        assert next(stream) is not None
        assert read <= 6 * processes._CHUNK
        stream.close()  # type: ignore[attr-defined]


def test_a_process_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_COMMAND", "import sys; sys.exit('no memory left')")
    with pytest.raises(CodeBleuError, match="no memory left"):
        list(codebleu_many([("x = 1", "y = 1"), ("x = 2", "y = 2")], workers=2))


def test_quirks_of_the_package_are_kept() -> None:
    assert parts("exit()", "exit()")[0] == pytest.approx(0.555, abs=5e-4)
    score, *rest, dataflow = parts("x", "y")
    assert (dataflow, score) == (0.0, pytest.approx(sum(rest) / 4 + 0.25))


@pytest.mark.parametrize("pair", [("", "x = 1"), ("x = 1", ""), ("x = 1", " \n\t"), ("x = 1", "y = '\ud800'")])
def test_nothing_to_score_is_none(pair: tuple[str, str]) -> None:
    assert codebleu(*pair) is None


def test_pairs_are_scored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(PROGRAMS[0], PROGRAMS[1])] * 3
    first = list(codebleu_many(pairs))
    monkeypatch.setattr(module, "score", lambda *_: pytest.fail("scored again"))
    assert list(codebleu_many(pairs)) == first == [first[0]] * 3


def nested_loops(depth: int) -> str:
    loops = [f"{'  ' * i}for v{i + 1} in range(v{i}):" for i in range(depth)]
    return "\n".join([*loops, f"{'  ' * depth}v0 = v{depth} + v1 + v0"])


def test_nested_loops_are_scored_as_the_package_does() -> None:
    pair = nested_loops(7), PROGRAMS[2]
    assert [parts(*pair)] == run_python(THE_PACKAGE, seed="0", given=["python", [pair]])


def test_an_answer_of_nothing_but_nested_loops_does_not_hang() -> None:
    assert codebleu(nested_loops(30), nested_loops(31)) is not None  # the package would walk 2**30 times


def test_a_missing_package_is_an_error_that_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    analysis.tools.cache_clear()
    monkeypatch.setitem(sys.modules, "codebleu", None)
    with pytest.raises(CodeBleuError, match=r'pip install "simstudent\[codebleu\]"'):
        codebleu("x = 1", "x = 1")


def test_a_wrong_tree_sitter_pair_is_an_error_and_not_a_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    import tree_sitter_python

    analysis.tools.cache_clear()
    monkeypatch.setattr(tree_sitter_python, "language", lambda: object())
    with pytest.raises(CodeBleuError, match=r"tree-sitter 0\.22\.3, tree-sitter-python 0\.21\.0"):
        codebleu("x = 1", "x = 1")


def test_an_unknown_language_is_named() -> None:
    with pytest.raises(ValueError, match="coffeescript"):
        codebleu("x = 1", "x = 1", language="coffeescript")
