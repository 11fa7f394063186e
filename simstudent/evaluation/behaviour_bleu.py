"""BLEU between texts and within a set of them, as the paper computes it: over whitespace tokens, with nltk.

The score is the mean of the cumulative corpus BLEU-1 to BLEU-4, without smoothing: where no n-gram of an order is
shared, its precision is the smallest float (nltk's method0). Papineni et al., "BLEU" (ACL 2002); Zhu et al., "Texygen"
(SIGIR 2018) for Self-BLEU. Both depend on how many texts are compared: set beside each other equal numbers only.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from simstudent.errors import missing_extra

WEIGHTS = [(1.0,), (1 / 2, 1 / 2), (1 / 3, 1 / 3, 1 / 3), (1 / 4, 1 / 4, 1 / 4, 1 / 4)]
"""Of the n-gram orders in the cumulative BLEU-1, BLEU-2, ..."""


def bleu(texts: Sequence[str], references: Sequence[Sequence[str]]) -> float | None:
    """The corpus BLEU of ``texts``, of which each has its own ``references``; None where there is no text.

    Raises SimstudentError when nltk is not installed, ValueError when a text has no reference.
    """
    if len(texts) != len(references) or not all(references):
        raise ValueError(f"{len(texts)} texts need as many non-empty lists of references, not {len(references)}")
    if not texts:
        return None
    try:
        from nltk.translate.bleu_score import corpus_bleu
    except ImportError:
        raise missing_extra("nltk", "traces") from None
    split: dict[str, list[str]] = {}  # the same reference comes again for every text

    def tokens(text: str) -> list[str]:
        return split.setdefault(text, text.split())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that an order has no overlap is no news here
        cumulative = corpus_bleu([list(map(tokens, own)) for own in references], list(map(tokens, texts)), WEIGHTS)
    return float(sum(cumulative) / len(WEIGHTS))


def self_bleu(texts: Sequence[str]) -> float | None:
    """How alike the texts of a set are: the BLEU of each against all the others. None for fewer than two."""
    if len(texts) < 2:
        return None
    return bleu(texts, [[*texts[:n], *texts[n + 1 :]] for n in range(len(texts))])
