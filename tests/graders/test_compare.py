"""Equality of programs and similarity of texts."""

from __future__ import annotations

import pytest

from graders.compare import ast_equal, edit_similarity, same_text

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
    # 200 characters and more: difflib's heuristic for popular characters would give 0 here
    assert edit_similarity("ab" * 300, "ba" * 300) > 0.99
