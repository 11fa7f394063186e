"""BLEU between texts and within a set of them, as the paper computes it: over whitespace tokens, with nltk.

The score is the mean of the cumulative corpus BLEU-1 to BLEU-4, without smoothing: where no n-gram of an order is
shared, its precision is the smallest float (nltk's method0). Papineni et al., "BLEU" (ACL 2002); Zhu et al., "Texygen"
(SIGIR 2018) for Self-BLEU. Both depend on how many texts are compared: set beside each other equal numbers only.

nltk counts n-grams; the score is made here from sums of counts (and equals nltk's ``corpus_bleu``), because a bootstrap
needs it of thousands of such sums.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np

from simstudent.errors import missing_extra
from simstudent.evaluation.statistics import Array

ORDERS = 4
COUNTS = 2 * ORDERS + 2


def counts(text: str, references: Sequence[str]) -> Array:
    """What a text adds to a corpus: n-grams shared and n-grams there, of each order; its length and its reference's.

    Shape (COUNTS,). Raises SimstudentError when nltk is not installed, ValueError without a reference.
    """
    try:
        from nltk.translate.bleu_score import closest_ref_length, modified_precision
    except ImportError:
        raise missing_extra("nltk", "traces") from None
    if not references:
        raise ValueError("a text needs a reference to be compared with")
    words, others = text.split(), [reference.split() for reference in references]
    shared = [modified_precision(others, words, n) for n in range(1, ORDERS + 1)]
    return np.array(
        [
            *(fraction.numerator for fraction in shared),
            *(fraction.denominator for fraction in shared),
            *(len(words), closest_ref_length(others, len(words))),
        ],
        dtype=np.float64,
    )


def score(totals: Array) -> Array:
    """The BLEU of summed counts (..., COUNTS): the mean of BLEU-1, BLEU-2, ...; NaN where there is no text."""
    above, below = totals[..., :ORDERS], totals[..., ORDERS : 2 * ORDERS]
    length, reference = totals[..., -2], totals[..., -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        precisions = np.where(above > 0, above / below, sys.float_info.min)
        brevity = np.where(length > reference, 1.0, np.exp(1 - reference / length))
        cumulative = np.log(precisions).cumsum(axis=-1) / np.arange(1, ORDERS + 1)
        found = brevity * np.exp(cumulative).mean(axis=-1)
    found = np.where(above[..., 0] > 0, found, 0.0)
    return np.where(below[..., 0] > 0, found, np.nan)


def bleu(texts: Sequence[str], references: Sequence[Sequence[str]]) -> float | None:
    """The corpus BLEU of ``texts``, of which each has its own ``references``; None where there is no text."""
    if len(texts) != len(references):
        raise ValueError(f"{len(texts)} texts need as many lists of references, not {len(references)}")
    if not texts:
        return None
    return float(score(np.sum([counts(t, r) for t, r in zip(texts, references, strict=True)], axis=0)))


def self_bleu(texts: Sequence[str]) -> float | None:
    """How alike the texts of a set are: the BLEU of each against all the others. None for fewer than two.

    Equal to ``bleu`` of each text with the others as references. Its n-grams are counted once, not once for each of
    the others: of an n-gram, what any *other* text holds most is the set's highest count or, for the text that has that
    one, the second highest.
    """
    if len(texts) < 2:
        return None
    try:
        from nltk.translate.bleu_score import closest_ref_length
        from nltk.util import ngrams
    except ImportError:
        raise missing_extra("nltk", "traces") from None
    words = [text.split() for text in texts]
    above, below = np.zeros(ORDERS), np.zeros(ORDERS)
    for order in range(1, ORDERS + 1):
        held = [Counter(ngrams(of, order)) for of in words]
        most: dict[tuple[str, ...], tuple[int, int]] = {}
        for gram, count in (item for own in held for item in own.items()):
            first, second = most.get(gram, (0, 0))
            most[gram] = (count, first) if count > first else (first, max(second, count))
        for own in held:
            others = (most[gram][1] if most[gram][0] == count else most[gram][0] for gram, count in own.items())
            above[order - 1] += sum(map(min, own.values(), others))
            below[order - 1] += max(1, own.total())  # as nltk counts a text without any n-gram
    nearest = sum(closest_ref_length([*words[:n], *words[n + 1 :]], len(of)) for n, of in enumerate(words))
    return float(score(np.array([*above, *below, sum(map(len, words)), nearest])))
