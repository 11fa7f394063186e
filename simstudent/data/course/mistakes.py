"""The mistakes beginners make, as small rewrites of one line or a few neighbouring lines of a right program.

``RULES`` holds those that a pattern can say; the functions below it hold those that need to look at the lines around.
``candidates`` finds every mistake that a program offers room for. Nothing here knows a particular exercise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from simstudent.data.course.exercises import Ideas
from simstudent.data.course.text import TOKEN, block_end, indent_of, inside_string, map_names, own_names


@dataclass(frozen=True, slots=True)
class Kind:
    """How often a sort of mistake is made, how hard it is to see through (0 to 1), and whether Python complains."""

    weight: float
    hard: float
    loud: bool = False


KINDS: dict[str, Kind] = {
    "idea": Kind(4.0, 0.75),
    "missing": Kind(1.6, 0.55),
    "operator": Kind(1.8, 0.5),
    "range": Kind(1.6, 0.5),
    "number": Kind(1.0, 0.45),
    "start": Kind(0.7, 0.45),
    "return": Kind(1.0, 0.4),
    "depth": Kind(1.2, 0.6),
    "text": Kind(1.3, 0.35),
    "conversion": Kind(0.6, 0.4, loud=True),
    "call": Kind(0.4, 0.4, loud=True),
    "mixup": Kind(0.7, 0.35),
    "name": Kind(0.7, 0.2, loud=True),
    "syntax": Kind(1.1, 0.15, loud=True),
}

RULES: tuple[tuple[str, str, str], ...] = (
    # comparison and arithmetic
    ("operator", r" < ", " <= "),
    ("operator", r" <= ", " < "),
    ("operator", r" > ", " >= "),
    ("operator", r" >= ", " > "),
    ("operator", r" > ", " < "),
    ("operator", r" < ", " > "),
    ("operator", r" == ", " != "),
    ("operator", r" and ", " or "),
    ("operator", r" or ", " and "),
    ("operator", r" \+= ", " = "),
    ("operator", r" \+= ", " =+ "),
    ("operator", r" -= ", " =- "),
    ("operator", r" // ", " / "),
    ("operator", r" % ", " / "),
    ("operator", r" % ", " // "),
    ("operator", r" \+ (?=\w+$)", " - "),
    ("operator", r"(if \w+) in (?=\w+:$)", r"\1 not in "),
    # ranges and positions
    ("range", r"range\((\w+)\)", r"range(\1 + 1)"),
    ("range", r"range\((\w+)\)", r"range(1, \1)"),
    ("range", r"range\((\w+) \+ 1\)", r"range(\1)"),
    ("range", r"range\((\w+), (\w+) \+ 1\)", r"range(\1, \2)"),
    ("range", r"range\((\w+), (\w+) \+ 1\)", r"range(\2)"),
    ("range", r"range\(len\((\w+)\)\)", r"range(len(\1) - 1)"),
    ("range", r"range\(len\((\w+)\)\)", r"range(1, len(\1))"),
    ("range", r"range\(len\((\w+)\)\)", r"range(len(\1) + 1)"),
    ("range", r", 0, -1\)", ", -1, -1)"),
    ("range", r", 0, -1\)", ", -1)"),
    ("range", r"\[-2\]", "[-1]"),
    ("range", r"\[::-1\]", "[-1]"),
    ("range", r"\[::-1\]", "[:-1]"),
    ("range", r"len\((\w+)\) - 1", r"len(\1)"),
    # starting values
    ("start", r" = 0$", " = 1"),
    ("start", r" = 1$", " = 0"),
    ("start", r" = 0$", " = []"),
    ("start", r" = \[\]$", ' = ""'),
    ("start", r" = \{\}$", " = []"),
    ("start", r' = ""$', ' = " "'),
    ("start", r" = None$", " = 0"),
    ("start", r" = (\w+)\[0\]$", " = 0"),
    # conversions
    ("conversion", r"int\(input\(\)\)", "input()"),
    ("conversion", r"int\((\w+)\)", r"\1"),
    ("conversion", r"str\((\w+)\)", r"\1"),
    ("conversion", r"str\((\w+\[\w+\])\)", r"\1"),
    # calls
    ("call", r"len\((\w+)\)", r"\1.len()"),
    ("call", r"len\((\w+)\)", r"\1.length"),
    ("call", r"\.append\((\w+)\)", r".add(\1)"),
    ("call", r"(\w+)\.append\((\w+)\)", r"\1 = \1.append(\2)"),
    ("call", r"(\w+)\.append\((\w+)\)", r"\1 += \2"),
    ("call", r"\.items\(\)", ".items"),
    ("call", r"\.items\(\)", ""),
    ("call", r"\.lower\(\)", ".lower"),
    ("call", r"(\w+)\.lower\(\)", r"lower(\1)"),
    ("call", r"\.split\(\)", ".split"),
    ("call", r"\.isalpha\(\)", ".isalpha"),
    ("call", r"\.isalpha\(\)", ".isletter()"),
    ("call", r"(\w+)\.count\((\w+)\)", r"count(\1, \2)"),
    ("call", r"\.get\((\w+), 0\)", r".get(\1)"),
    # giving back a result
    ("return", r"return (.+)$", r"print(\1)"),
    ("return", r"return (.+)$", r"\1"),
    ("return", r"return (\w+)$", "return"),
    ("text", r', end=""\)', ")"),
    ("text", r', sep=""\)', ")"),
    # what Python does not read
    ("syntax", r":$", ""),
    ("syntax", r":$", ";"),
    ("syntax", r"\)(:?)$", r"\1"),
    ("syntax", r"\)\)$", ")"),
    ("syntax", r"\)$", "))"),
    ("syntax", r"^( *)elif ", r"\1else if "),
    ("syntax", r"^( *)(el)?if (.*) == ", r"\1\2if \3 = "),
    ("syntax", r"^( *)while (.*) == ", r"\1while \2 = "),
    ("syntax", r" >= ", " => "),
    ("syntax", r" != ", " =! "),
    ("syntax", r" \+= 1$", "++"),
    ("syntax", r" \+ str\(", " str("),
    ("syntax", r"\](:?)$", r"\1"),
    ("name", r"\bTrue\b", "true"),
    ("name", r"\bFalse\b", "false"),
    ("name", r"\bNone\b", "none"),
    ("name", r"\bprint\(", "Print("),
    ("name", r"\binput\(", "imput("),
    ("name", r"\brange\(", "rang("),
)
_COMPILED = tuple((kind, re.compile(pattern), new) for kind, pattern, new in RULES)


@dataclass(frozen=True, slots=True)
class Mistake:
    """``lines`` stand where the right program has its lines ``start`` to ``end`` (end not included)."""

    kind: str
    start: int
    end: int
    lines: tuple[str, ...]

    def overlaps(self, other: Mistake) -> bool:
        return self.start < other.end and other.start < self.end


def candidates(lines: list[str], ideas: Ideas) -> list[Mistake]:
    """Every mistake that the right program ``lines`` offers room for, each once, in a stable order."""
    found: dict[Mistake, None] = {}
    for index, text in ideas:
        found[_forget(lines, index, "idea") if text is None else Mistake("idea", index, index + 1, (text,))] = None
    for index, line in enumerate(lines):
        if line.lstrip().startswith("#"):
            continue
        for kind, new in [*_by_rule(line), *_numbers(line), *_names(lines, index), *_texts(line)]:
            if new != line:
                found[Mistake(kind, index, index + 1, (new,))] = None
        for mistake in (*_missing(lines, index), *_depth(lines, index)):
            found[mistake] = None
    return list(found)


def _by_rule(line: str) -> Iterator[tuple[str, str]]:
    for kind, pattern, new in _COMPILED:
        for match in pattern.finditer(line):
            if not inside_string(line, match.start()):
                yield kind, line[: match.start()] + match.expand(new) + line[match.end() :]


def _numbers(line: str) -> Iterator[tuple[str, str]]:
    """A number of a condition one too small or one too large."""
    for match in re.finditer(r"\b\d+\b", line):
        if re.match(r" *(el)?if |\s*while ", line) and not inside_string(line, match.start()):
            for wrong in (max(0, int(match.group()) - 1), int(match.group()) + 1):
                yield "number", f"{line[: match.start()]}{wrong}{line[match.end() :]}"


def _names(lines: list[str], index: int) -> Iterator[tuple[str, str]]:
    """One name of a line misspelt, or mixed up with another one from further up."""
    line, own = lines[index], own_names(lines)
    if line.startswith("def "):
        return
    here = [name for name in own_names([line]) if name in own]
    entry = re.match(r"def (\w+)", lines[0])
    above = [name for name in own_names(lines[:index]) if name not in here and not (entry and name == entry[1])]
    made = re.match(r" *(?:for )?([\w, ]+?) (?:[-+]?=|in) ", line)
    for name in here:
        yield from (("name", _once(line, name, wrong)) for wrong in _misspelt(name) if wrong not in own)
        if made is None or name not in made[1].split(", "):
            yield from (("mixup", _once(line, name, other)) for other in above)


def _misspelt(name: str) -> list[str]:
    if len(name) < 4:
        return []
    middle = len(name) // 2
    swapped = name[: middle - 1] + name[middle] + name[middle - 1] + name[middle + 1 :]
    plural = name[:-1] if name.endswith("s") else name + "s"
    return [name[:middle] + name[middle + 1 :], swapped, plural, name[0].upper() + name[1:]]


def _once(line: str, name: str, new: str) -> str:
    """The line with the last use of ``name`` replaced."""
    total = 0

    def count(text: str) -> str:
        nonlocal total
        total += text == name
        return text

    map_names(line, count)

    def change(text: str) -> str:
        nonlocal total
        total -= text == name
        return new if text == name and total == 0 else text

    return map_names(line, change)


def _texts(line: str) -> Iterator[tuple[str, str]]:
    """What a program prints or asks, not quite as it should be; a lost quotation mark."""
    strings = [m for m in TOKEN.finditer(line) if m.lastgroup == "string"]
    for match in strings:
        quoted = match.group()
        before, after = line[: match.start()], line[match.end() :]
        if "print(" in before:
            for wrong in _misprints(quoted):
                yield "text", before + wrong + after
        if len(quoted) > 3:
            yield "syntax", before + quoted[:-1] + after
    if strings and "f" + '"' in line:
        yield "text", line.replace('f"', '"')
    if "input()" in line:
        name = re.match(r" *(\w+) = ", line)
        asked = name.group(1) if name and len(name.group(1)) > 2 else "a value"
        yield "text", line.replace("input()", f'input("Enter {asked}: ")')
        yield "text", line.replace("input()", f'input("{asked.capitalize()}? ")')


def _before(lines: list[str], index: int) -> str:
    """The line before this one, comments not counted."""
    return next((line for line in reversed(lines[:index]) if not line.lstrip().startswith("#")), "")


def _misprints(quoted: str) -> list[str]:
    """A small first letter, punctuation or a space left out, two letters of a word swapped."""
    small = re.sub(r"[A-Z]", lambda letter: letter.group().lower(), quoted, count=1)
    swapped = re.sub(r"(?<=[a-z])([a-z])([a-z])(?=[a-z ]*[^a-z{}]*$)", r"\2\1", quoted, count=1)
    return [small, re.sub(r"[.:!](?![^{]*\})", "", quoted), quoted.replace(": ", ":"), swapped]


def _forget(lines: list[str], index: int, kind: str) -> Mistake:
    """The line left out; if it opens a block, the block stays, one step to the left."""
    end = block_end(lines, index)
    body = tuple(line[4:] for line in lines[index + 1 : end])
    return Mistake(kind, index, end, body)


def _missing(lines: list[str], index: int) -> Iterator[Mistake]:
    """A line not written, a branch not thought of, an elif that is an if."""
    line, end = lines[index], block_end(lines, index)
    word = line.split()[0].rstrip(":")
    last = end == len(lines) or indent_of(lines[end]) < indent_of(line)
    alone = last and _before(lines, index).endswith(":")
    if word in ("def", "import") or alone:
        return
    if word == "elif":
        yield Mistake("missing", index, index + 1, (line.replace("elif", "if", 1),))
    follows = end < len(lines) and indent_of(lines[end]) == indent_of(line) and lines[end].strip().startswith("el")
    branch = word in ("elif", "else") or (word in ("if", "return") and not follows and end < len(lines))
    if branch or (word not in ("if", "for", "while") and end == index + 1):
        yield Mistake("missing", index, end, ())


def _depth(lines: list[str], index: int) -> Iterator[Mistake]:
    """A line too deep or not deep enough: a return inside the loop, a step outside it, a body not indented."""
    line = lines[index]
    if index == 0:
        return
    before = _before(lines, index)
    if indent_of(before) > indent_of(line) and not re.match(r" *el(se|if)\b", line) and not line.endswith(":"):
        yield Mistake("depth", index, index + 1, (" " * indent_of(before) + line.lstrip(),))
    last = index + 1 == len(lines) or indent_of(lines[index + 1]) < indent_of(line)
    if last and not before.endswith(":") and indent_of(line) >= 8:
        yield Mistake("depth", index, index + 1, (line[4:],))
    if before.endswith(":") and indent_of(line) >= 4 and not line.endswith(":"):
        yield Mistake("syntax", index, index + 1, (line[4:],))
