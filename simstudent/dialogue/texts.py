"""What people and models wrote, as token ids: each text once, many in one call."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Ids = tuple[int, ...]

KEPT = 4_000_000
"""Tokens that are remembered (about 150 MB); beyond it everything is forgotten and tokenised again when needed."""


class Texts:
    """A tokenizer for plain text, with memory. A special token spelt out in a text is just text."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._known: dict[str, Ids] = {}
        self._held = 0

    def __call__(self, text: str) -> Ids:
        """The ids of one text."""
        found = self._known.get(text)
        if found is None:
            found = tuple(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])
            self._keep(text, found)
        return found

    def learn(self, texts: Iterable[str]) -> None:
        """Tokenise all texts not known yet in one call, on all cores."""
        if self._held > KEPT:
            self._known.clear()
            self._held = 0
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        if not new:
            return
        with _all_cores():
            rows = self.tokenizer(
                new, add_special_tokens=False, split_special_tokens=True, return_attention_mask=False
            )["input_ids"]
        for text, ids in zip(new, rows, strict=True):
            self._keep(text, tuple(ids))

    def _keep(self, text: str, ids: Ids) -> None:
        if self._held > 2 * KEPT:
            self._known.clear()
            self._held = 0
        self._known[text] = ids
        self._held += len(ids)


@contextmanager
def _all_cores() -> Iterator[None]:
    """Let the tokenizer use all cores for a while: elsewhere it is told not to, since processes are forked later."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
