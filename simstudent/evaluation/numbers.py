"""How a figure is written: three digits, the interval in brackets, a dash where there is none; and tables of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simstudent.evaluation.statistics import Estimate


def number(value: float, signed: bool) -> str:
    # A fourth digit where three would hide on which side of zero a value lies.
    digits = 4 if 0.00005 <= abs(value) < 0.0005 else 3 if abs(value) < 10 else 1
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if not text.strip("+-.0"):
        return ".000"
    return text.replace("0.", ".", 1) if abs(value) < 0.9995 else text


def parts(figure: Estimate | None, signed: bool) -> tuple[str, str]:
    if figure is None or figure.value is None:
        return "-", ""
    if figure.interval is None:
        return number(figure.value, signed), "-"
    interval = f"[{number(figure.interval.low, signed)}, {number(figure.interval.high, signed)}]"
    return number(figure.value, signed), interval


def shown(figure: Estimate | None, signed: bool = False) -> str:
    value, interval = parts(figure, signed)
    return value if interval in ("", "-") else f"{value} {interval}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


@dataclass(frozen=True, slots=True)
class Section:
    """A table for people. ``key``: what documents call it; ``reading``: how to read it, "" where that is plain."""

    key: str
    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    reading: str = ""

    @property
    def markdown(self) -> str:
        """Title, table and reading."""
        return "\n\n".join(filter(None, (f"### {self.title}", table(self.headings, self.rows), self.reading)))


def section(key: str, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], reading: str = "") -> Section:
    return Section(key, title, tuple(headings), tuple(tuple(row) for row in rows), reading)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = "|---|" + "---:|" * (len(headings) - 1)
    return "\n".join([_row(headings), rule, *(_row(row) for row in rows)])
