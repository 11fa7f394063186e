"""Diffs: exact both ways, standard enough for ``patch``, and an explanation where they do not fit."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from graders.extract import normalise_newlines
from simstudent.dialogue.edits import LONGEST, DiffError, apply_diff, program_text, read_answer, small_diff

PIECES = [
    "a",
    "b",
    "\n",
    "\n",
    "\n",
    "\r\n",
    "\r",
    "\u2028",
    "\x0b",
    "\x0c",
    "\x85",
    "`",
    "```\n",
    "-",
    "+",
    "@@",
    "\\",
    " ",
]
LINES = st.lists(st.sampled_from(PIECES), max_size=40)
EDIT = st.tuples(st.integers(0, 40), st.integers(0, 3), st.lists(st.sampled_from(PIECES), max_size=3))


@settings(max_examples=400, deadline=None)
@given(LINES, st.lists(EDIT, max_size=3))
@example([], [])
@example(["a"], [(1, 0, ["\n"])])
@example(["a", "\n"] * 6, [(11, 1, [])])
def test_a_program_comes_back_exactly(pieces: list[str], edits: list[tuple[int, int, list[str]]]) -> None:
    changed = list(pieces)
    for at, removed, added in edits:
        changed[at : at + removed] = added
    old, new = "".join(pieces), "".join(changed)
    diff = small_diff(old, new)
    if diff is not None:
        assert apply_diff(old, diff) == new
    assert read_answer(program_text(new, old, "python", "diff"), old, "diff").code == normalise_newlines(new)
    assert read_answer(program_text(new, old, "python", "whole"), old, "whole").code == normalise_newlines(new)


OLD = "def f(n):\n    x = 1\n    y = 2\n    z = 3\n    return x\n"
EDITS = [
    (OLD, OLD.replace("return x", "return x + y")),
    (OLD, OLD + "print(f(1))\n"),
    (OLD, OLD.replace("    y = 2\n", "")),
    (OLD, OLD.rstrip("\n")),
    (OLD.rstrip("\n"), OLD),
    (OLD.rstrip("\n"), OLD.rstrip("\n") + " + 1"),
    (OLD, "# mine\n" + OLD),
]


@pytest.mark.parametrize(("old", "new"), EDITS)
@pytest.mark.skipif(shutil.which("patch") is None, reason="no patch command")
def test_patch_reads_our_diffs(old: str, new: str, tmp_path: Path) -> None:
    diff = small_diff(old, new)
    assert diff is not None
    (tmp_path / "a").write_text(old)
    subprocess.run(["patch", "-s", "a"], input=f"--- a\n+++ a\n{diff}\n", text=True, cwd=tmp_path, check=True)
    assert (tmp_path / "a").read_text() == new


def test_only_small_edits_of_one_hunk_are_diffs() -> None:
    long = "".join(f"line {n}\n" for n in range(30))
    assert small_diff(long, long) is None
    assert small_diff(long, long.replace("line 3\n", "x\n").replace("line 25\n", "y\n")) is None
    assert small_diff("a\nb\nc\nd\n", "a\nb\nx\nd\n") is not None
    assert small_diff("a\nb\nc\nd\n", "a\nx\ny\nd\n") is None  # half of the lines
    assert small_diff("", "a\n") is None
    assert small_diff("a\n" * (LONGEST + 1), "a\n" * LONGEST) is None


@pytest.mark.parametrize(
    ("diff", "reason"),
    [
        ("-    y = 2\n+    y = 3", "does not begin with a hunk header"),
        ("@@ -3 +3 @@\n-    y = 9\n+    y = 3", "are not in the last program"),
        ("@@ -3 +3 @@\n-    y = 2\n+    y = 3\n@@ -5 +5 @@\n-    return x\n+    return y", "more than one hunk"),
        ("@@ -3 +3 @@\ny = 2", "line 1 of the hunk begins with 'y'"),
        ("", "does not begin with a hunk header"),
    ],
)
def test_a_diff_that_does_not_fit_says_why(diff: str, reason: str) -> None:
    with pytest.raises(DiffError, match=reason):
        apply_diff(OLD, diff)
    answer = read_answer(f"```diff\n{diff}\n```", OLD, "diff")
    assert answer.code is None
    assert reason in str(answer.reason)


def test_a_wrong_line_number_is_forgiven_where_only_one_place_fits() -> None:
    assert apply_diff(OLD, "@@ -1,9 +1 @@\n-    y = 2\n+    y = 3") == OLD.replace("y = 2", "y = 3")
    with pytest.raises(DiffError, match="in several places"):
        apply_diff("a\nb\na\n", "@@ -2 +2 @@\n-a\n+c")
    assert apply_diff("a\nb\na\n", "@@ -3 +3 @@\n-a\n+c") == "a\nb\nc\n"


def test_a_diff_needs_a_program_before_it_and_the_option() -> None:
    answer = "```diff\n@@ -1 +1 @@\n-a\n+b\n```"
    assert "no program yet" in str(read_answer(answer, None, "diff").reason)
    assert read_answer(answer, "a\n", "whole").code == "@@ -1 +1 @@\n-a\n+b"
    assert read_answer("no block", "a\n", "diff").reason is None
