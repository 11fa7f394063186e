"""Four ways to compare what a program prints."""

from __future__ import annotations

import pytest

from graders import Pool, Problem, ProblemError, ProgramTest
from graders.printed import printed
from graders.problem import Compare

MATCHES = [  # printed, expected, by which of: exact, whitespace, numbers, lines
    ("a\nb\n", "a\nb\n", "ewnl"),
    ("a\nb", "a\nb\n", "wnl"),
    ("a  \nb\n\n", "a\nb", "wnl"),
    ("  a\n b", "a\nb", "l"),
    ("\n\na", "a", "l"),
    ("a  b", "a b", "n"),
    ("", "", "ewnl"),
    ("\n", "", "wnl"),
    ("Mean: 3.3334", "Mean: 3.3333", "n"),
    ("Mean: 3.34", "Mean: 3.3333", ""),
    ("x=1.0e3, y", "x=1000.0001, y", "n"),
    ("1000001", "1000000", ""),
    ("+007", "7", "n"),
    ("-0", "0", "n"),
    ("8.0", "8", "n"),
    ("ab", "a b", ""),
    ("5 apples", "5 pears", ""),
    ("1 2", "12", ""),
    ("1\n2", "1 2", ""),
    ("9" * 5000, "9" * 5000, "ewnl"),
    ("9" * 5000 + ".5", "1.5", ""),
]


@pytest.mark.parametrize("compare", ["exact", "whitespace", "numbers", "lines"])
def test_what_matches(compare: Compare) -> None:
    for got, expected, matching in MATCHES:
        outcome = printed(got.encode(), expected, False, compare, 1e-3)
        assert (outcome.status == "pass") == (compare[0] in matching), (got, expected)
        assert printed(got.encode(), expected, True, compare, 1e-3).status == "wrong"
        assert len(outcome.detail) < 200


def test_details() -> None:
    got = b"Average: 80.00\nMax: 90\nMin: 90\nPassing: 3\nBye\n"
    expected = "Average: 80.00\nMax: 90\nMin: 70\nPassing: 3\n"
    assert printed(got, expected, False, "lines", 0).detail == (
        "3 of 4 lines match: printed 'Min: 90' as line 3, expected 'Min: 70'"
    )
    assert printed(b"a ", "a", False, "exact", 0).detail == "printed 'a ', expected 'a'"
    long = "x" * 60
    assert printed(f"1.04\n{long}\n2".encode(), f"1.0\n{long}\n3", False, "numbers", 0.1).detail == (
        "printed '2' as line 3, expected '3'"
    )


def test_a_problem_chooses(pool: Pool) -> None:
    tests = (ProgramTest("", "3.14159\n"),)
    scores = {
        compare: pool.grade("print(3.1416)", Problem("pi", tests, compare=compare, tolerance=1e-4)).score
        for compare in ("exact", "whitespace", "numbers", "lines")
    }
    assert scores == {"exact": 0, "whitespace": 0, "numbers": 1, "lines": 0}
    problem = Problem("pi", tests, compare="numbers")
    assert Problem.from_dict(problem.to_dict()) == problem
    with pytest.raises(ProblemError, match="'compare' must be one of exact"):
        Problem.from_dict({"id": "p", "tests": [{"stdin": "", "stdout": ""}], "compare": "about"})
