"""CodeBLEU of the ``codebleu`` package, the same on every run and fast enough for whole rollouts.

Formula: Ren et al., "CodeBLEU: a Method for Automatic Evaluation of Code Synthesis" (2020), as codebleu 0.7.0
computes it with equal weights, quirks included (a data-flow match of 0 counts as 1 in the score; the weighted
n-gram match takes every reference to be two tokens long). What differs: the package numbers variables in the
order of a Python set of names, so a few percent of its scores change with PYTHONHASHSEED. Here that order is
always the one of PYTHONHASHSEED=0. And what depends on one program only (tokens, syntax tree, data flow) is
computed once a program instead of once a pair (`analysis`, `syntax`, `dataflow`).

Python and JavaScript. CoffeeScript has no grammar in the package: compile it first (`graders.pencilcode`), or use
`graders.compare.token_similarity`.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from graders.codebleu.analysis import LANGUAGES, CodeBleuError, Tools, analyse, tools

__all__ = ["LANGUAGES", "CodeBleu", "CodeBleuError", "codebleu", "codebleu_many"]

_SCORES_KEPT = 100_000
_PAIRS_WORTH_A_PROCESS = 400


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
    other than Python and JavaScript.
    """
    return next(codebleu_many([(reference, prediction)], language, workers=1))


def codebleu_many(
    pairs: Iterable[tuple[str, str]], language: str = "python", workers: int | None = None
) -> Iterator[CodeBleu | None]:
    """``codebleu`` of many (reference, prediction) pairs: a stream in their order, read only a little ahead.

    The last 100,000 different pairs are remembered for the life of the process, and each process keeps what it found
    out about its last 1,024 programs: pairs with the same reference are fastest when they are neighbours. ``workers``
    is the number of processes; None takes as many as there are cores, once 400 pairs were met. They are executed
    afresh, never forked from the caller, and the scores do not depend on them.
    Raises as ``codebleu`` does, at once.
    """
    found = tools(language)
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    return _stream(iter(pairs), found, workers)


def _stream(pairs: Iterator[tuple[str, str]], tools: Tools, workers: int | None) -> Iterator[CodeBleu | None]:
    if workers is None:
        first = list(itertools.islice(pairs, _PAIRS_WORTH_A_PROCESS))
        pairs = itertools.chain(first, pairs)
        workers = 1 if len(first) < _PAIRS_WORTH_A_PROCESS else None
    if workers == 1:
        for pair in pairs:
            key = pair_key(tools.language, *pair)
            found = known([key])
            if not found:
                found = {key: score(tools, *pair)}
                remember(found)
            yield found[key]
        return
    from graders.codebleu.processes import score_in_processes

    yield from score_in_processes(pairs, tools, workers)


# --- scores are remembered --------------------------------------------------------------------------------------

_known: dict[bytes, CodeBleu | None] = {}
_lock = threading.Lock()


def pair_key(language: str, reference: str, prediction: str) -> bytes:
    """A digest instead of the texts, so that remembering a score does not keep two programs alive."""
    texts = (language, reference, prediction)
    return b"".join(blake2b(t.encode("utf-8", "surrogatepass"), digest_size=16).digest() for t in texts)


def known(keys: Iterable[bytes]) -> dict[bytes, CodeBleu | None]:
    """Those of the scores that are remembered."""
    with _lock:
        return {key: _known[key] for key in keys if key in _known}


def remember(scores: dict[bytes, CodeBleu | None]) -> None:
    """Keep scores, and forget the oldest when there are too many."""
    with _lock:
        _known.update(scores)
        while len(_known) > _SCORES_KEPT:
            del _known[next(iter(_known))]


# --- the score of a pair ----------------------------------------------------------------------------------------


def score(tools: Tools, reference: str, prediction: str) -> CodeBleu | None:
    """The score of a pair, in this process."""
    ref, pred = analyse(tools, reference.strip()), analyse(tools, prediction.strip())
    if ref is None or pred is None:
        return None
    ref_length, pred_length = len(ref.ngrams[0]), len(pred.ngrams[0])
    common = [len(a & b) for a, b in zip(ref.ngrams, pred.ngrams, strict=True)]
    precision = [(hits, max(1, len(of_pred))) for hits, of_pred in zip(common, pred.ngrams, strict=True)]
    recall = [(hits, max(1, len(of_ref))) for hits, of_ref in zip(common, ref.ngrams, strict=True)]
    ngram = _bleu(precision, pred_length, ref_length)
    weighted = _bleu([_weighted_recall(ref.tokens, pred.tokens, tools.keywords), *recall[1:]], pred_length, 2)
    syntax = sum([ref.subtrees[tree] for tree in ref.subtrees.keys() & pred.subtrees.keys()]) / ref.subtrees.total()
    dataflow = len(ref.dataflow & pred.dataflow) / len(ref.dataflow) if ref.dataflow else 0.0
    total = 0.25 * ngram + 0.25 * weighted + 0.25 * syntax + 0.25 * (dataflow or 1)
    return CodeBleu(total, ngram, weighted, syntax, dataflow)


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
