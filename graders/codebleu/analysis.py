"""What CodeBLEU needs to know of one program: its tokens, n-grams, subtrees and data flow."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from graders.codebleu.dataflow import data_flow
from graders.codebleu.syntax import read_tree, without_comments

LANGUAGES = {"python": "tree-sitter-python==0.21.0", "javascript": "tree-sitter-javascript==0.21.4"}
"""The languages there are, and the grammar of each that goes with codebleu 0.7.0 and tree-sitter 0.22.3."""
_VERSION = "0.7.0"
_PROGRAMS_KEPT = 1024
_lock = threading.Lock()  # tree-sitter's parsers are shared by all threads


class CodeBleuError(RuntimeError):
    """CodeBLEU cannot be computed on this installation; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Program:
    """All that CodeBLEU needs to know of one program.

    ``ngrams[n - 1]`` has every n-gram and, for its further occurrences, (n-gram, number): so two programs have as many
    n-grams in common as the sets have elements. ``dataflow`` likewise. ``tokens`` counts the words in order of
    appearance; ``subtrees`` is for this process only.
    """

    tokens: Counter[str]
    ngrams: tuple[frozenset[Any], ...]
    subtrees: Counter[int]
    dataflow: frozenset[Any]


@dataclass(frozen=True, eq=False)
class Tools:
    """The package's own pieces for a language."""

    language: str
    keywords: frozenset[str]
    strip_comments: Callable[[str, str], str]
    parse: Callable[[bytes], Any]


@cache
def tools(language: str) -> Tools:
    """Load them. Raises CodeBleuError when the package or the right tree-sitter pair is missing, ValueError for a
    language without data flow here."""
    if language not in LANGUAGES:
        raise ValueError(f"CodeBLEU is computed for {' and '.join(LANGUAGES)}, not for {language!r}")
    grammar = LANGUAGES[language].replace("==", " ")
    install = f'pip install "simstudent[codebleu]" (codebleu 0.7.0, tree-sitter 0.22.3, {grammar})'
    from importlib import metadata

    try:
        from codebleu import dataflow_match
        from codebleu.parser import utils
        from codebleu.utils import get_tree_sitter_language
        from tree_sitter import Parser
    except ImportError as error:
        raise CodeBleuError(f"CodeBLEU needs a package that is not installed ({error}). Fix: {install}") from error
    version = metadata.version("codebleu")
    if version != _VERSION:
        raise CodeBleuError(f"CodeBLEU figures are those of codebleu 0.7.0, installed is {version}. Fix: {install}")
    try:
        parser = Parser()
        parser.language = get_tree_sitter_language(language)
        parser.parse(b"x = 1")
    except Exception as error:  # an ABI mismatch shows as TypeError, ValueError or AttributeError by version
        raise CodeBleuError(f"tree-sitter cannot load its {language} grammar ({error}). Fix: {install}") from error
    words = Path(dataflow_match.__file__).with_name("keywords") / f"{language}.txt"
    keywords = frozenset(line.strip() for line in words.read_text(encoding="utf-8").splitlines())
    return Tools(language, keywords, utils.remove_comments_and_docstrings, parser.parse)


@lru_cache(maxsize=_PROGRAMS_KEPT)
def analyse(tools: Tools, code: str) -> Program | None:
    """What CodeBLEU needs of ``code`` (already stripped); None when blank or not encodable."""
    try:
        code.encode("utf-8")
    except UnicodeEncodeError:
        return None
    if not code:
        return None
    tokens = code.split()
    words = Counter(tokens)
    longer = [_all(Counter(zip(*(tokens[i:] for i in range(n)), strict=False))) for n in (2, 3, 4)]
    bare = _bare(tools, code)
    with _lock, _uncollected():
        tree = tools.parse(bare.encode("utf-8"))
        root, subtrees, depth = read_tree(tree.root_node, bare)
        flows = data_flow(root, depth, tools.language)
        del root
    return Program(words, (_all(words), *longer), subtrees, _all(Counter(flows)))


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without collecting garbage: a tree is a thousand objects and no cycle, and is gone in a millisecond."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _all(counts: Counter[Any]) -> frozenset[Any]:
    return frozenset(counts).union([(item, i) for item, count in counts.items() if count > 1 for i in range(1, count)])


def _bare(tools: Tools, code: str) -> str:
    bare = without_comments(code) if tools.language == "python" else None
    if bare is not None:
        return bare
    try:
        return tools.strip_comments(code, tools.language)
    except Exception:  # tokenize refuses broken programs; the package then keeps the comments
        return code
