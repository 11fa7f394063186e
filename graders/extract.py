"""From a model's answer to the program in it."""

from __future__ import annotations

import re

_BLOCK = re.compile(r"^(?P<ticks>`{3,})(?P<info>[^\n`]*)\n(?P<code>.*?)\n?^(?P=ticks)[ \t]*$", re.DOTALL | re.MULTILINE)


def normalise_newlines(text: str) -> str:
    """``\\r\\n`` and ``\\r`` as ``\\n``. The only normaliser of programs; every source goes through it."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def extract_block(answer: str) -> tuple[str, str] | None:
    """The first closed code block of an answer as (what stands after its opening ticks, its text), or None."""
    match = _BLOCK.search(normalise_newlines(answer))
    return None if match is None else (match["info"].strip(), match["code"])


def extract_code(answer: str) -> str | None:
    """The program in a model's answer: its first closed code block, or None when there is none.

    An answer without a closed block holds no program: it was cut off, or it is prose.
    """
    block = extract_block(answer)
    return None if block is None else block[1]
