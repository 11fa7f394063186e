"""Whether a program printed what it should: four ways to compare texts, each with a line for the student."""

from __future__ import annotations

import math
import re

from graders.claims import shorten
from graders.problem import Compare, TestOutcome

SHOWN = 48  # characters of a value in a test's detail
_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,4})?)")
_INTEGER = re.compile(r"[-+]?\d+")


def printed(output: bytes, expected: str, cut: bool, compare: Compare, tolerance: float) -> TestOutcome:
    """What an output is worth. ``cut``: there was more of it than anything expected. See `Compare`."""
    text = output.decode("utf-8", "replace")
    if compare == "exact":
        return _wrong(text.split("\n"), expected.split("\n"), cut or text != expected)
    if compare == "lines":
        return _by_lines(text, expected, cut)
    got, want = _lines(text), _lines(expected)
    if compare == "numbers":
        same = len(got) == len(want) and all(_close(g, w, tolerance) for g, w in zip(got, want, strict=True))
        return _wrong(got, want, cut or not same, tolerance)
    return _wrong(got, want, cut or got != want)


def _lines(text: str) -> list[str]:
    """Without white space at the ends of lines and newlines at the end."""
    lines = [line.rstrip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _wrong(got: list[str], want: list[str], wrong: bool, tolerance: float | None = None) -> TestOutcome:
    """The outcome, with both texts if they are short, else the first lines that differ."""
    if not wrong:
        return TestOutcome("pass")
    whole, wanted = (repr("\n".join(lines)) if lines not in ([], [""]) else "nothing" for lines in (got, want))
    if len(whole) <= SHOWN and len(wanted) <= SHOWN:
        return TestOutcome("wrong", None, f"printed {whole}, expected {wanted}")
    pairs = enumerate(zip(got, want, strict=False))
    differ = (at for at, (g, w) in pairs if g != w and (tolerance is None or not _close(g, w, tolerance)))
    at = next(differ, min(len(got), len(want)))
    line = shorten(repr(got[at]), SHOWN) if at < len(got) else "nothing"
    right = shorten(repr(want[at]), SHOWN) if at < len(want) else "nothing"
    return TestOutcome("wrong", None, f"printed {line} as line {at + 1}, expected {right}")


def _by_lines(text: str, expected: str, cut: bool) -> TestOutcome:
    """As FalconCode's `compare_strings`: every line without the white space around it, and how many match."""
    got, want = ([line.strip() for line in whole.strip().split("\n")] for whole in (text, expected))
    matches = sum(g == w for g, w in zip(got, want, strict=False))
    if matches == len(got) == len(want) and not cut:
        return TestOutcome("pass")
    outcome = _wrong(got, want, True)
    return TestOutcome("wrong", None, f"{matches} of {len(want)} lines match: {outcome.detail}")


def _close(got: str, want: str, tolerance: float) -> bool:
    """Whether two lines are the same but for the size of white space and small differences of their numbers."""
    if got == want:
        return True
    ours, theirs = _NUMBER.split(got), _NUMBER.split(want)
    if len(ours) != len(theirs):
        return False
    for at, (g, w) in enumerate(zip(ours, theirs, strict=True)):
        if at % 2 == 0:
            if " ".join(f".{g}.".split()) != " ".join(f".{w}.".split()):
                return False
        elif g != w and not _equal(g, w, tolerance):
            return False
    return True


def _equal(got: str, want: str, tolerance: float) -> bool:
    """Two numbers as printed. Integers must be equal: 1000000001 is no 1000000000."""
    if _INTEGER.fullmatch(got) and _INTEGER.fullmatch(want):
        return _plain(got) == _plain(want)
    return math.isclose(float(got), float(want), rel_tol=tolerance, abs_tol=tolerance)


def _plain(number: str) -> str:
    digits = number.lstrip("+-").lstrip("0")
    return ("-" if number[0] == "-" and digits else "") + digits
