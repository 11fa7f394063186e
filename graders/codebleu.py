"""CodeBLEU of the ``codebleu`` package, the same on every run and fast enough for whole rollouts.

Formula: Ren et al., "CodeBLEU: a Method for Automatic Evaluation of Code Synthesis" (2020), as codebleu 0.7.0
computes it with equal weights, quirks included (a data-flow match of 0 counts as 1 in the score; the weighted
n-gram match takes every reference to be two tokens long). What differs: the package numbers variables in the
order of a Python set of names, so a few percent of its scores change with PYTHONHASHSEED. Here that order is
always the one of PYTHONHASHSEED=0. And what depends on one program only (tokens, syntax tree, data flow) is
computed once a program instead of once a pair.
"""

from __future__ import annotations

import gc
import json
import math
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from functools import cache, lru_cache
from hashlib import blake2b
from pathlib import Path
from types import FunctionType
from typing import Any

from graders.set_order import SeedZeroSet

_PACKAGE_VERSION = "0.7.0"
_SCORES_KEPT = 200_000
_PROGRAMS_KEPT = 1024
_PAIRS_WORTH_A_PROCESS = 400


class CodeBleuError(RuntimeError):
    """CodeBLEU cannot be computed on this installation; the message says what to install."""


@dataclass(frozen=True, slots=True)
class CodeBleu:
    """The score of a pair and its four parts, all in [0, 1]; ``score`` weighs the parts equally.

    ``dataflow`` 0 counts as 1 inside ``score``, as in the package.
    """

    score: float
    ngram: float
    weighted_ngram: float
    syntax: float
    dataflow: float


def codebleu(reference: str, prediction: str, language: str = "python") -> CodeBleu | None:
    """CodeBLEU of ``prediction`` (simulated program) against ``reference`` (the student's program).

    None where there is nothing to score: a text that is blank or not encodable as UTF-8. Not symmetric.
    Raises CodeBleuError when the package or the right tree-sitter pair is missing, ValueError for a language
    that the package does not know.
    """
    return codebleu_many([(reference, prediction)], language, workers=1)[0]


def codebleu_many(
    pairs: Sequence[tuple[str, str]], language: str = "python", workers: int | None = None
) -> list[CodeBleu | None]:
    """``codebleu`` of many (reference, prediction) pairs, in their order.

    Equal pairs are scored once and remembered for the life of the process. ``workers`` is the number of
    processes; None takes as many as there are cores and as the work deserves. The scores do not depend on it.
    Raises as ``codebleu`` does.
    """
    tools = _tools(language)
    keys = [_key(language, reference, prediction) for reference, prediction in pairs]
    with _lock:
        scores = {key: _scores[key] for key in keys if key in _scores}
    todo = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in scores}
    if workers is None:
        workers = min(_cores(), 1 + len(todo) // _PAIRS_WORTH_A_PROCESS)
    if workers <= 1 or len(todo) < 2:
        found = [_score(tools, reference, prediction) for reference, prediction in todo.values()]
    else:
        found = _score_in_processes(list(todo.values()), language, min(workers, len(todo)))
    new = dict(zip(todo, found, strict=True))
    _remember(new)
    scores.update(new)
    return [scores[key] for key in keys]


_scores: dict[bytes, CodeBleu | None] = {}
_lock = threading.RLock()  # the scores above, tree-sitter's parsers and the walks below are shared by all threads


def _key(language: str, reference: str, prediction: str) -> bytes:
    # A digest instead of the texts, so that remembering a score does not keep two programs alive.
    texts = (language, reference, prediction)
    return b"".join(blake2b(t.encode("utf-8", "surrogatepass"), digest_size=16).digest() for t in texts)


def _remember(new: dict[bytes, CodeBleu | None]) -> None:
    with _lock:
        _scores.update(new)
        while len(_scores) > _SCORES_KEPT:
            del _scores[next(iter(_scores))]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# --- the score of a pair --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Program:
    """All that CodeBLEU needs to know of one program.

    ``ngrams[n - 1]`` holds each n-gram with the number of its earlier occurrences, so that two programs have as
    many n-grams in common as the sets have elements. ``tokens`` counts the words in order of appearance.
    """

    tokens: Counter[str]
    ngrams: tuple[frozenset[tuple[object, int]], ...]
    subtrees: Counter[bytes]
    dataflow: frozenset[tuple[object, int]]


def _numbered(items: Iterable[object]) -> frozenset[tuple[object, int]]:
    return frozenset((item, i) for item, count in Counter(items).items() for i in range(count))


def _score(tools: _Tools, reference: str, prediction: str) -> CodeBleu | None:
    ref, pred = _program(tools, reference.strip()), _program(tools, prediction.strip())
    if ref is None or pred is None:
        return None
    ref_length, pred_length = len(ref.ngrams[0]), len(pred.ngrams[0])
    common = [len(a & b) for a, b in zip(ref.ngrams, pred.ngrams, strict=True)]
    precision = [(hits, max(1, len(of_pred))) for hits, of_pred in zip(common, pred.ngrams, strict=True)]
    recall = [(hits, max(1, len(of_ref))) for hits, of_ref in zip(common, ref.ngrams, strict=True)]
    ngram = _bleu(precision, pred_length, ref_length)
    weighted = _bleu([_weighted_recall(ref.tokens, pred.tokens, tools.keywords), *recall[1:]], pred_length, 2)
    syntax = sum(n for tree, n in ref.subtrees.items() if tree in pred.subtrees) / ref.subtrees.total()
    dataflow = len(ref.dataflow & pred.dataflow) / len(ref.dataflow) if ref.dataflow else 0.0
    score = 0.25 * ngram + 0.25 * weighted + 0.25 * syntax + 0.25 * (dataflow or 1)
    return CodeBleu(score, ngram, weighted, syntax, dataflow)


def _weighted_recall(ref: Counter[str], pred: Counter[str], keywords: frozenset[str]) -> tuple[float, float]:
    """Matches and number of the reference's tokens, a keyword weighing 1 and any other token 0.2."""
    matches = total = 0.0
    for token, count in ref.items():
        weight = 1 if token in keywords else 0.2
        matches += min(count, pred.get(token, 0)) * weight
        total += count * weight
    return matches, max(1, total)


def _bleu(ratios: Sequence[tuple[float, float]], hypothesis: int, reference: int) -> float:
    """Geometric mean of the ratios (a matchless order counts 0.1 matches) times the brevity penalty."""
    if ratios[0][0] == 0:
        return 0.0
    penalty = 1.0 if hypothesis > reference else math.exp(1 - reference / hypothesis)
    return penalty * math.exp(math.fsum(0.25 * math.log((hits or 0.1) / total) for hits, total in ratios))


# --- what is known of one program -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Tools:
    """The package's own pieces for a language, its data-flow part with the ordered set in place of ``set``."""

    language: str
    keywords: frozenset[str]
    strip_comments: Callable[[str, str], str]
    parse: Callable[[bytes], Any]
    dataflow: Callable[[str, _Node], Sequence[tuple[str, str, list[str]]]]


@cache
def _tools(language: str) -> _Tools:
    install = 'pip install "simstudent[codebleu]" (codebleu 0.7.0, tree-sitter 0.22.3, tree-sitter-python 0.21.0)'
    from importlib import metadata

    try:
        from codebleu import AVAILABLE_LANGS, dataflow_match
        from codebleu.parser import utils as parser_utils
        from codebleu.utils import get_tree_sitter_language
        from tree_sitter import Parser
    except ImportError as error:
        raise CodeBleuError(f"CodeBLEU needs a package that is not installed ({error}). Fix: {install}") from error
    version = metadata.version("codebleu")
    if version != _PACKAGE_VERSION:
        raise CodeBleuError(f"CodeBLEU figures are those of codebleu 0.7.0, installed is {version}. Fix: {install}")
    if language not in AVAILABLE_LANGS:
        raise ValueError(f"CodeBLEU does not know the language {language!r}; it knows {', '.join(AVAILABLE_LANGS)}")
    try:
        parser = Parser()
        parser.language = get_tree_sitter_language(language)
        parser.parse(b"x = 1")
    except Exception as error:  # an ABI mismatch shows as TypeError, ValueError or AttributeError by version
        raise CodeBleuError(f"tree-sitter cannot load its {language} grammar ({error}). Fix: {install}") from error

    extract = _with_globals(dataflow_match.dfg_function[language], set=SeedZeroSet, memoise=True)
    get_data_flow = _with_globals(dataflow_match.get_data_flow, set=SeedZeroSet)
    keywords = Path(dataflow_match.__file__).with_name("keywords") / f"{language}.txt"
    return _Tools(
        language,
        frozenset(line.strip() for line in keywords.read_text(encoding="utf-8").splitlines()),
        parser_utils.remove_comments_and_docstrings,
        parser.parse,
        lambda code, root: dataflow_match.normalize_dataflow(get_data_flow(code, [_Parsed(root), extract])),
    )


@lru_cache(maxsize=_PROGRAMS_KEPT)
def _program(tools: _Tools, code: str) -> _Program | None:
    """What CodeBLEU needs of ``code`` (already stripped); None when blank or not encodable."""
    try:
        code.encode("utf-8")
    except UnicodeEncodeError:
        return None
    if not code:
        return None
    tokens = code.split()
    ngrams = tuple(_numbered(zip(*(tokens[i:] for i in range(n)), strict=False)) for n in (1, 2, 3, 4))
    try:
        bare = tools.strip_comments(code, tools.language)
    except Exception:  # tokenize refuses broken programs; the package then keeps the comments
        bare = code
    with _lock:
        root, subtrees = _read_tree(tools.parse(bare.encode("utf-8")).root_node)
        flows = tools.dataflow(bare, root)
    dataflow = _numbered((name, relation, tuple(sources)) for name, relation, sources in flows)
    return _Program(Counter(tokens), ngrams, subtrees, dataflow)


class _Node:
    """A tree-sitter node, read once: the data-flow part asks for the same few attributes again and again."""

    __slots__ = ("_node", "children", "end_point", "start_point", "type")

    def __init__(self, node: Any) -> None:
        self._node = node
        self.type: str = node.type
        self.children: list[_Node] = []

    def __getattr__(self, name: str) -> Any:
        # Where a node lies is asked of leaves only: looked up when it is, and then kept.
        if name not in ("start_point", "end_point"):
            raise AttributeError(name)
        setattr(self, name, getattr(self._node, name))
        return getattr(self, name)

    @property
    def id(self) -> int:
        return int(self._node.id)

    def child_by_field_name(self, name: str) -> _Node | None:
        wanted = self._node.child_by_field_name(name)
        return None if wanted is None else next(child for child in self.children if child.id == wanted.id)


@dataclass(frozen=True)
class _Parsed:
    """Stands where the package expects a parser: the tree is there already."""

    root_node: _Node

    def parse(self, _source: bytes) -> _Parsed:
        return self


def _read_tree(raw: Any) -> tuple[_Node, Counter[bytes]]:
    """The tree, and how often each subtree (the root and what has children) occurs, as digests of S-expressions."""
    found: Counter[bytes] = Counter()
    root = _Node(raw)
    stack = [(raw, root)]
    while stack:
        node, copy = stack.pop()
        found[blake2b(str(node).encode("utf-8"), digest_size=16).digest()] += 1
        for child in node.children:
            copy.children.append(_Node(child))
            if child.child_count:
                stack.append((child, copy.children[-1]))
    return root, found


# --- the package's functions, made deterministic --------------------------------------------------------


def _with_globals(function: Any, *, memoise: bool = False, **changed: object) -> Any:
    """A private copy of a recursive function that sees ``changed`` instead of its module's names.

    Nothing of the package itself is changed, so others that use it are not affected.
    """
    namespace = {**function.__globals__, **changed}
    copy = FunctionType(function.__code__, namespace, function.__name__, function.__defaults__)
    namespace[function.__name__] = _memoised_loops(copy) if memoise else copy
    return namespace[function.__name__]


def _memoised_loops(extract: Callable[..., Any]) -> Callable[..., Any]:
    """The package walks every loop body twice, hence d nested loops 2^d times: degenerate answers would hang it.

    The walk depends on the node and on where each variable was last set only, and that stops changing after
    one round, so remembering the answers leaves a handful of walks per loop.
    """
    known: dict[Any, Any] = {}
    depth = 0

    def walk(node: Any, index_to_code: Any, states: dict[str, list[int]]) -> Any:
        nonlocal depth
        if depth and node.type not in ("for_statement", "while_statement"):
            return extract(node, index_to_code, states)
        key = (node.id, tuple(sorted((name, tuple(where)) for name, where in states.items())))
        if key not in known:
            depth += 1
            try:
                known[key] = extract(node, index_to_code, states)
            finally:
                depth -= 1
                if not depth:
                    answer = known.get(key)
                    known.clear()  # node ids are only unique within one tree
            if not depth:
                return answer
        flow, after = known[key]
        return list(flow), dict(after)

    return walk


# --- other processes ------------------------------------------------------------------------------------


def _score_in_processes(pairs: list[tuple[str, str]], language: str, workers: int) -> list[CodeBleu | None]:
    # Plain child processes, not multiprocessing: forking after torch or threads have started can hang, and
    # spawning would import the user's main script again. Neighbouring pairs stay together: they share programs.
    size = -(-len(pairs) // workers)
    chunks = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    with ThreadPoolExecutor(len(chunks)) as waiting:
        parts = waiting.map(lambda chunk: _score_in_a_process(chunk, language), chunks)
        return [score for part in parts for score in part]


def _score_in_a_process(pairs: list[tuple[str, str]], language: str) -> list[CodeBleu | None]:
    path = [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", "from graders.codebleu import _serve; _serve()"],
        input=json.dumps([language, pairs]),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise CodeBleuError(f"a process that computes CodeBLEU failed: {done.stderr.strip()[-2000:]}")
    return [None if parts is None else CodeBleu(*parts) for parts in json.loads(done.stdout)]


def _serve() -> None:
    """What such a process does: language and pairs as JSON from standard input, the scores to standard output."""
    gc.disable()  # programs are held in many small tuples and no cycles: collecting costs a quarter of the time
    language, pairs = json.load(sys.stdin)
    scores = [_score(_tools(language), reference, prediction) for reference, prediction in pairs]
    json.dump([None if score is None else astuple(score) for score in scores], sys.stdout)
