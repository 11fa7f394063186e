"""Dialogues to token ids: the only encoder, for training, preview and rollout, and the only window.

The window keeps the system prompt and the assignment, then the latest turns: the oldest (submission, feedback)
pairs are dropped until prompt and answer fit (Koutcheme et al. 2026, section 3). A submission to be learnt is
never cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from simstudent.dialogue.serialize import Dialogue, Turn
from simstudent.dialogue.template import ChatTemplate, chat_template

if TYPE_CHECKING:
    from simstudent.recipe import Recipe

IGNORED = -100
"""The label of tokens that carry no loss (PyTorch's convention)."""

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One training row: ids and labels of equal length; ``targets`` are the 0-based submissions trained in it."""

    key: str
    ids: Ids
    labels: Ids
    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Encoded:
    """All rows of some dialogues. ``unfit`` names (dialogue, submission) pairs too long for the window."""

    rows: tuple[Row, ...]
    unfit: tuple[tuple[str, int], ...]

    @property
    def tokens(self) -> int:
        """Tokens in all rows."""
        return sum(len(row.ids) for row in self.rows)

    @property
    def trained_tokens(self) -> int:
        """Tokens that carry loss."""
        return sum(sum(label != IGNORED for label in row.labels) for row in self.rows)


class Encoder:
    """Encodes turns with one tokenizer and one template. ``window`` and ``answer_tokens`` count tokens."""

    def __init__(
        self,
        tokenizer: Any,
        *,
        window: int = 4096,
        answer_tokens: int = 768,
        template: ChatTemplate | None = None,
        with_system: bool = True,
    ) -> None:
        self.tokenizer = tokenizer
        self.template = template or chat_template(tokenizer, with_system=with_system)
        self.window, self.answer_tokens = window, answer_tokens
        self._piece = lru_cache(maxsize=None)(self._markup)
        self._content = lru_cache(maxsize=200_000)(self._text)
        (self.end_id,) = self._piece(self.template.end)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Tokens that end an answer: the template's, and the end-of-text token."""
        eos = self.tokenizer.eos_token_id
        return tuple(dict.fromkeys([self.end_id] + ([] if eos is None else [eos])))

    def _markup(self, text: str) -> Ids:
        """The template's own text: special tokens in it are special."""
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else ()

    def _text(self, text: str) -> Ids:
        """Anything a student, teacher or model wrote: a special token spelt out in it is just text."""
        return tuple(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """For each token of a turn's text its first character and the one after its last."""
        made = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
        return [(a, b) for a, b in made["offset_mapping"]]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids, special tokens included, nothing tidied up: a program must come back as written."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def head(self, system: str, opening: str) -> Ids:
        """Everything before the first turn: system prompt and assignment."""
        t = self.template
        if t.system_role:
            return self._piece(t.head) + self._content(system) + self._piece(t.after_system) + self._content(opening)
        both = f"{system}\n\n{opening}" if system else opening
        return self._piece(t.head) + self._content(both)

    def answer(self, turn: Turn) -> Ids:
        """An answer's trained tokens: its text and the end-of-turn token."""
        return (*self._content(turn.answer), self.end_id)

    def turn(self, turn: Turn) -> Ids:
        """A whole turn as it stands in the history: markup, answer, and the reaction to it."""
        t = self.template
        ids = self._piece(t.before_answer) + self.answer(turn)
        if turn.reaction is not None:
            ids += self._piece(t.after_answer) + self._content(turn.reaction)
        return ids

    def prompt(self, system: str, opening: str, history: Sequence[Turn]) -> Ids | None:
        """The prompt for the next submission, within the window; None when not even the assignment fits."""
        head, turns = self.head(system, opening), [self.turn(turn) for turn in history]
        before = self._piece(self.template.before_answer)
        room = self.window - len(head) - len(before) - self.answer_tokens
        first = window_start([len(ids) for ids in turns], room)
        if first is None:
            return None
        return head + tuple(i for ids in turns[first:] for i in ids) + before

    def rows(self, dialogue: Dialogue) -> Encoded:
        """Training rows in which each submission is a target once, after the history that a rollout would see.

        A dialogue that fits the window is one row. In a longer one, submissions whose window starts at the same
        turn share a row.
        """
        head, before = self.head(dialogue.system, dialogue.opening), self._piece(self.template.before_answer)
        turns = [self.turn(turn) for turn in dialogue.turns]
        lengths = [len(ids) for ids in turns]
        groups: dict[int, list[int]] = {}
        unfit: list[tuple[str, int]] = []
        for number, turn in enumerate(dialogue.turns):
            need = max(self.answer_tokens, len(self.answer(turn)))
            first = window_start(lengths[:number], self.window - len(head) - len(before) - need)
            if first is None:
                unfit.append((dialogue.key, number))
            else:
                groups.setdefault(first, []).append(number)
        rows = [self._row(dialogue, head, turns, first, targets) for first, targets in groups.items()]
        return Encoded(tuple(rows), tuple(unfit))

    def _row(self, dialogue: Dialogue, head: Ids, turns: Sequence[Ids], first: int, targets: list[int]) -> Row:
        ids, labels = list(head), [IGNORED] * len(head)
        before = self._piece(self.template.before_answer)
        for number in range(first, targets[-1] + 1):
            whole, answer = turns[number], self.answer(dialogue.turns[number])
            if number == targets[-1]:
                whole = before + answer
            ids += whole
            carried = answer if number in targets else (IGNORED,) * len(answer)
            rest = len(whole) - len(before) - len(answer)
            labels += (IGNORED,) * len(before) + carried + (IGNORED,) * rest
        return Row(dialogue.key, tuple(ids), tuple(labels), tuple(targets))


def make_encoder(recipe: Recipe, tokenizer: Any, template: ChatTemplate | None = None) -> Encoder:
    """The encoder of a recipe, the same for preview, training and rollout."""
    d = recipe.dialogue
    return Encoder(
        tokenizer,
        window=d.window,
        answer_tokens=d.answer_tokens,
        template=template,
        with_system=d.system != "",
    )


def window_start(lengths: Sequence[int], room: int) -> int | None:
    """The first turn kept so that the turns from it on take at most ``room`` tokens.

    The number of turns when none fits; None when ``room`` is negative, i.e. nothing fits at all.
    """
    if room < 0:
        return None
    first, used = len(lengths), 0
    while first > 0 and used + lengths[first - 1] <= room:
        first -= 1
        used += lengths[first]
    return first


def encode(encoder: Encoder, dialogues: Iterable[Dialogue]) -> Encoded:
    """All training rows of the dialogues, in order."""
    parts = [encoder.rows(d) for d in dialogues]
    return Encoded(tuple(r for p in parts for r in p.rows), tuple(u for p in parts for u in p.unfit))
