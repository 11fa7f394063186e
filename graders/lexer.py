"""Programs as sequences of tokens, for comparing them: Python by ``tokenize``, JavaScript and CoffeeScript by rules.

The rules know comments, strings, numbers, names, regular expressions and operators; what is inside a string with
interpolation stays one token. Where a line ends, and in CoffeeScript how its indentation changes, is a token of its
own, as it is for Python's tokenizer, except in JavaScript, where it means nothing.
"""

from __future__ import annotations

import io
import re
import tokenize
from functools import lru_cache

_SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER}
_LAYOUT = {tokenize.NEWLINE: "<line>", tokenize.INDENT: "<in>", tokenize.DEDENT: "<out>"}
_COMMON = r"""
    | (?P<number>0[xXoObB][0-9a-fA-F]+ | (?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<name>[^\W\d][\w$]*|[$@][\w$]*)
    | (?P<line>\n[ \t]*)
    | (?P<regex>/(?![\s*/=])(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[a-z]*)
    | (?P<sign>>>>=|===|!==|>>>|\*\*=|<<=|>>=|\.\.\.|=>|->|[-+*/%&|^<>=!?]=|\+\+|--|&&|\|\||<<|>>|\*\*|//|\?\.|::|\.\.)
    | (?P<space>[ \t\r\f\\]+)
    | (?P<other>.)
"""
_RULES = {
    "javascript": re.compile(
        r"(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<string>`(?:[^`\\]|\\.)*`|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*')"
        + _COMMON,
        re.VERBOSE | re.DOTALL,
    ),
    "coffeescript": re.compile(
        r"(?P<comment>\#\#\#(?!\#).*?\#\#\#|\#[^\n]*)"
        r"|(?P<string>\"\"\".*?\"\"\"|'''.*?'''|`[^`]*`|\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')" + _COMMON,
        re.VERBOSE | re.DOTALL,
    ),
}
_ENDS_A_VALUE = re.compile(r"[\w$)\]}\"'`]$")  # after such a token a slash divides
_BEFORE_A_VALUE = frozenset(("return", "typeof", "case", "in", "of", "and", "or", "not", "is", "isnt", "if", "unless"))


@lru_cache(maxsize=256)
def tokens(code: str, language: str) -> tuple[str, ...] | None:
    """The tokens of a program without its comments and blank lines; None for Python that cannot be split.

    Raises ValueError for a language other than python, javascript and coffeescript.
    """
    if language == "python":
        return _python(code)
    if language not in _RULES:
        raise ValueError(f"no rules for tokens of {language!r}; there are python, {', '.join(_RULES)}")
    return _by_rules(code, language)


def words(code: str) -> tuple[str, ...]:
    """Words and signs of any text."""
    return tuple(re.findall(r"\w+|[^\w\s]", code))


def _python(code: str) -> tuple[str, ...] | None:
    try:
        found = [t for t in tokenize.generate_tokens(io.StringIO(code).readline) if t.type not in _SILENT]
    except (tokenize.TokenError, SyntaxError, ValueError):
        return None
    if any(t.type == tokenize.ERRORTOKEN for t in found):
        return None
    return tuple(_LAYOUT.get(t.type, t.string) for t in found)


def _by_rules(code: str, language: str) -> tuple[str, ...]:
    rules = _RULES[language]
    found: list[str] = []
    indents, indent, fresh = [0], 0, True  # fresh: nothing in this line so far
    at = 0
    while match := rules.match(code, at):
        kind, text, at = match.lastgroup, match.group(), match.end()
        if kind == "line":
            fresh, indent = True, len(text.expandtabs()) - 1
        if kind in ("line", "space", "comment"):
            continue
        if kind == "regex" and found and _ENDS_A_VALUE.search(found[-1]) and found[-1] not in _BEFORE_A_VALUE:
            text, at = "/", match.start() + 1
        if fresh and language == "coffeescript":
            found += _layout(indents, indent) if found else []
        fresh = False
        found.append(text)
    return tuple(found + ["<out>"] * (len(indents) - 1))


def _layout(indents: list[int], indent: int) -> list[str]:
    """The tokens for the beginning of a line that is indented so far; ``indents`` is brought up to date."""
    found = ["<line>"]
    if indent > indents[-1]:
        indents.append(indent)
        found.append("<in>")
    while indent < indents[-1]:
        indents.pop()
        found.append("<out>")
    return found
