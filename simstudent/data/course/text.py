"""A small reader of single lines of Python that also gets through broken ones, and what is built on it.

Students' programs are changed line by line as text, because many of them do not parse and because comments, spacing and
quotes are part of what makes a student recognisable.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Callable, Iterable, Mapping

TOKEN = re.compile(
    r"""(?P<string>f?"[^"]*"|f?'[^']*')|(?P<comment>\#.*)|(?P<name>[A-Za-z_]\w*)|(?P<number>\d+(?:\.\d+)?)
      |(?P<op>\*\*=?|//=?|[-+*/%<>=!]=|[-+*/%<>=])|(?P<space>[ ]+)|(?P<other>.)""",
    re.VERBOSE,
)
FIELD = re.compile(r"\{([^{}]*)\}")


def tokens(line: str) -> list[tuple[str, str]]:
    """The line in pieces of (kind, text); joined, the texts are the line."""
    return [(match.lastgroup or "other", match.group()) for match in TOKEN.finditer(line)]


def indent_of(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def inside_string(line: str, position: int) -> bool:
    """Whether a position lies in a string or comment."""
    spans = (m.span() for m in TOKEN.finditer(line) if m.lastgroup in ("string", "comment"))
    return any(start <= position < end for start, end in spans)


def block_end(lines: list[str], start: int) -> int:
    """The index after the block that the line at ``start`` opens (after the line itself if it opens none)."""
    end = start + 1
    while end < len(lines) and indent_of(lines[end]) > indent_of(lines[start]):
        end += 1
    return end


def map_names(line: str, change: Callable[[str], str]) -> str:
    """The line with every name changed, attributes and keywords left alone, names in fields of strings included."""
    out: list[str] = []
    for kind, text in tokens(line):
        attribute = bool(out) and out[-1] == "."
        if kind == "name" and not attribute and not keyword.iskeyword(text):
            text = change(text)
        elif kind == "string":
            text = FIELD.sub(lambda field: "{" + map_names(field.group(1), change) + "}", text)
        out.append(text)
    return "".join(out)


def rename(line: str, names: Mapping[str, str]) -> str:
    """The line with names replaced as ``names`` says."""
    return map_names(line, lambda name: names.get(name, name))


def names_in(lines: Iterable[str]) -> list[str]:
    """Every name the lines use, in the order of first use, builtins included."""
    found: dict[str, None] = {}

    def note(name: str) -> str:
        found[name] = None
        return name

    for line in lines:
        map_names(line, note)
    return list(found)


def own_names(lines: Iterable[str]) -> list[str]:
    """The names the program makes itself: not a builtin, unless it is assigned to."""
    lines = list(lines)
    assigned = {m.group(1) for line in lines if (m := re.match(r"\s*(\w+) [-+]?= ", line))}
    return [name for name in names_in(lines) if name in assigned or not hasattr(builtins, name)]
