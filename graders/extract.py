"""From a model's answer to the program in it."""

from __future__ import annotations

import re

_BLOCK = re.compile(r"^(?P<ticks>`{3,})[^\n`]*\n(?P<code>.*?)\n?^(?P=ticks)[ \t]*$", re.DOTALL | re.MULTILINE)


def normalise_newlines(text: str) -> str:
    """``\\r\\n`` and ``\\r`` as ``\\n``. The only normaliser of programs; every source goes through it."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def extract_code(answer: str) -> str | None:
    """The program in a model's answer: its first closed code block, or None when there is none.

    An answer without a closed block holds no program: it was cut off, or it is prose.
    """
    match = _BLOCK.search(normalise_newlines(answer))
    return None if match is None else match["code"]
