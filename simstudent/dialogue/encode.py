"""Dialogues to token ids: the only encoder, for training, preview and rollout.

The window keeps the system prompt and the assignment, then the latest turns: the oldest (submission, feedback)
pairs are dropped until prompt and answer fit (Koutcheme et al. 2026, section 3). A submission to be learnt is
never cut. Where programs are written as diffs, the first one in view is written whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from simstudent.dialogue.edits import Answer, CodeFormat, read_answer
from simstudent.dialogue.rows import IGNORED as IGNORED
from simstudent.dialogue.rows import Encoded as Encoded
from simstudent.dialogue.rows import Row as Row
from simstudent.dialogue.rows import together
from simstudent.dialogue.serialize import Dialogue, Earlier, Turn
from simstudent.dialogue.template import ChatTemplate, chat_template
from simstudent.dialogue.texts import KEPT, Texts
from simstudent.dialogue.texts import Ids as Ids
from simstudent.dialogue.traces import ORIGIN, trace_template
from simstudent.dialogue.window import Segment as Segment
from simstudent.dialogue.window import View
from simstudent.dialogue.window import window_start as window_start

if TYPE_CHECKING:
    from simstudent.recipe import Recipe

AT_ONCE = 512
"""Dialogues whose texts are tokenised in one call; fewer where they are long."""
CHARACTERS = KEPT // 2
"""Of their texts: not so many that the first ones are forgotten again before their rows are made."""
_WIDE = 6
"""Characters of a token: programs have about three on average."""


class Encoder:
    """Encodes turns with one tokenizer and one template. ``window`` and ``answer_tokens`` count tokens.

    ``history_tokens`` is the room of earlier assignments within the window, ``max_programs`` the most programs in view
    before a submission, ``code`` how programs are written. With the template of a trace (`simstudent.dialogue.traces`)
    everything is trained: title, headers, programs, and the end-of-text token; with ``cut`` only what the first window
    holds, as published.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        window: int = 4096,
        answer_tokens: int = 768,
        history_tokens: int = 0,
        max_programs: int | None = None,
        code: CodeFormat = "whole",
        cut: bool = False,
        template: ChatTemplate | None = None,
        with_system: bool = True,
    ) -> None:
        self.tokenizer = tokenizer
        self.template = template or chat_template(tokenizer, with_system=with_system)
        self.window, self.answer_tokens = window, answer_tokens
        self.history_tokens, self.max_programs = history_tokens, max_programs
        self.code, self.cut = code, cut
        self.traces = self.template.origin == ORIGIN
        self._piece = lru_cache(maxsize=None)(self._markup)
        self._content = Texts(tokenizer)
        self._end = self._piece(self.template.end)
        if not self.traces:
            (_,) = self._end  # an answer ends with one token, at which generation stops

    @property
    def end_id(self) -> int:
        """The token that ends an answer; of a trace, the one that ends it all."""
        return self._end[0] if not self.traces else int(self.tokenizer.eos_token_id)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Tokens that end an answer: the template's, and the end-of-text token."""
        eos = self.tokenizer.eos_token_id
        return tuple(dict.fromkeys([self.end_id] + ([] if eos is None else [eos])))

    def _markup(self, text: str) -> Ids:
        """The template's own text: special tokens in it are special."""
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else ()

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """For each token of a turn's text its first character and the one after its last."""
        made = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
        return [(a, b) for a, b in made["offset_mapping"]]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids, special tokens included, nothing tidied up: a program must come back as written."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def read(self, answer: str, previous: str | None) -> Answer:
        """The program that a model's answer hands in after ``previous``, in the encoder's code format."""
        return read_answer(answer, previous, self.code)

    def head(self, system: str, opening: str, earlier: Sequence[Earlier] = ()) -> Ids:
        """Everything before the first turn: system prompt, earlier assignments, assignment."""
        return _ids(self._head(system, opening, earlier))

    def _head(self, system: str, opening: str, earlier: Sequence[Earlier]) -> list[Segment]:
        t = self.template
        found = [Segment("template", self._piece(t.head))]
        works = [Segment("earlier", self._content(text)) for text in self._latest(earlier)]
        if t.system_role:
            found += [
                Segment("system", self._content(system)),
                Segment("template", self._piece(t.after_system)),
                *works,
            ]
        elif works and system:
            found += [Segment("system", self._content(f"{system}\n\n")), *works]
        else:
            found += works
            opening = f"{system}\n\n{opening}" if system else opening
        return [*found, Segment("assignment", self._content(opening), trained=self.traces)]

    def size(self, work: Earlier) -> int:
        """Tokens that earlier work takes of the window."""
        return sum(len(self._content(text)) for text in work.texts)

    def _latest(self, earlier: Sequence[Earlier]) -> list[str]:
        """The texts of earlier work that fit into its room: whole statements, and of each the latest programs."""
        shown: list[str] = []
        room = self.history_tokens
        for work in reversed(earlier):
            lengths = [len(self._content(text)) for text in work.states]
            room -= len(self._content(work.title))
            first = window_start(lengths, room)
            if first is None or first == len(lengths):
                break
            shown[:0] = [work.title, *work.states[first:]]
            room -= sum(lengths[first:])
            if first:
                break
        return shown

    def answer(self, turn: Turn, *, whole: bool = False) -> Ids:
        """An answer's trained tokens: its text and the end-of-turn token. ``whole``: as the first program in view."""
        if turn.kind == "end":
            return (self.end_id,)
        return (*self._content(turn.whole if whole and turn.whole is not None else turn.answer), *self._end)

    def turn(self, turn: Turn, *, whole: bool = False) -> Ids:
        """A whole turn as it stands in the history: header, markup, answer, and the reaction to it."""
        return _ids(self.parts(turn, None, whole=whole))

    def parts(
        self, turn: Turn, number: int | None, *, whole: bool, last: bool = False, trained: bool = False
    ) -> list[Segment]:
        """A turn in its parts; ``last``: without the reaction to it."""
        t = self.template
        learnt = trained and self.traces
        found = [Segment("header", self._content(turn.header), number, learnt)] if turn.header else []
        found.append(Segment("template", self._piece(t.before_answer), number))
        found.append(Segment("answer", self.answer(turn, whole=whole), number, trained))
        if turn.reaction is not None and not last:
            found.append(Segment("template", self._piece(t.after_answer), number))
            found.append(Segment("reaction", self._content(turn.reaction), number))
        return found

    def prompt(
        self,
        system: str,
        opening: str,
        history: Sequence[Turn],
        *,
        earlier: Sequence[Earlier] = (),
        header: str = "",
    ) -> Ids | None:
        """The prompt for the next submission, within the window; None when not even the assignment fits.

        ``header``: what stands before that submission (``serialize.time_header``).
        """
        head, asked = self.head(system, opening, earlier), self._asked(header)
        view = View(self, history)
        first = self._first(view, head, asked)
        if first is None:
            return None
        return head + tuple(i for s in view.segments(first, len(history)) for i in s.ids) + asked

    def messages(
        self,
        system: str,
        opening: str,
        history: Sequence[Turn],
        *,
        earlier: Sequence[Earlier] = (),
        header: str = "",
    ) -> list[dict[str, str]] | None:
        """The same prompt as chat messages (role, content), for a server with a tokenizer and template of its own.

        The turns in view are those of `prompt`, so that a hosted model sees what a model here would.
        """
        view = View(self, history)
        first = self._first(view, self.head(system, opening, earlier), self._asked(header))
        if first is None:
            return None
        found = [{"role": "system", "content": system}] if system else []
        said = "".join([*self._latest(earlier), opening])
        shown_whole = view.first_program(first)
        for n, turn in enumerate(history[first:], first):
            answer = turn.whole if n == shown_whole and turn.whole is not None else turn.answer
            found.append({"role": "user", "content": said + turn.header})
            found.append({"role": "assistant", "content": answer})
            said = turn.reaction or ""
        return [*found, {"role": "user", "content": said + header}]

    def _asked(self, header: str) -> Ids:
        return self._content(header) + self._piece(self.template.before_answer)

    def _first(self, view: View, head: Ids, asked: Ids) -> int | None:
        """The first turn in view before an answer that follows all of them."""
        room = self.window - len(head) - len(asked)
        return view.start(len(view.turns), room, self.answer_tokens, self.answer_tokens)

    def prompt_before(self, dialogue: Dialogue, number: int) -> Ids | None:
        """The prompt for turn ``number`` (0-based) of a dialogue: what a rollout from there would see."""
        header = dialogue.turns[number].header if number < len(dialogue.turns) else ""
        history = dialogue.turns[:number]
        return self.prompt(dialogue.system, dialogue.opening, history, earlier=dialogue.earlier, header=header)

    def rows(self, dialogue: Dialogue) -> Encoded:
        """Training rows in which each turn is a target once, after the history that a rollout would see.

        A dialogue that fits the window is one row. In a longer one, turns whose window starts at the same turn share
        a row.
        """
        head = self._head(dialogue.system, dialogue.opening, dialogue.earlier)
        taken = sum(len(s.ids) for s in head) + len(self._piece(self.template.before_answer))
        turns = dialogue.turns if not self.cut else self._reached(dialogue.turns)
        view = View(self, turns)
        groups: dict[int, list[int]] = {}
        unfit: list[tuple[str, int]] = []
        for number, turn in enumerate(turns):
            # Of an answer in a dialogue, a rollout knows no more than the room it is given; a trace goes on to its end.
            need, alone = (max(0 if self.traces else self.answer_tokens, size) for size in view.answers[number])
            room = self.window - taken - (len(self._content(turn.header)) if turn.header else 0)
            first = view.start(number, room, need, alone)
            if first is None or (first and self.cut):
                unfit.append((dialogue.key, number))
            else:
                groups.setdefault(first, []).append(number)
        unfit += ((dialogue.key, number) for number in range(len(turns), len(dialogue.turns)))
        rows = [_row(dialogue.key, head, view, first, targets) for first, targets in groups.items()]
        return Encoded(tuple(rows), tuple(unfit))

    def _reached(self, turns: Sequence[Turn]) -> Sequence[Turn]:
        """The turns that the first window might hold: none of the others is ever tokenised."""
        taken = 0
        for number, turn in enumerate(turns):
            if taken > self.window:
                return turns[:number]
            taken += sum(len(s.ids) for s in self.parts(turn, None, whole=False))
        return turns

    def segments(self, dialogue: Dialogue, row: Row) -> list[Segment]:
        """A row of the dialogue in its parts; one after another they are the row."""
        head = self._head(dialogue.system, dialogue.opening, dialogue.earlier)
        return _segments(head, View(self, dialogue.turns), row.first, row.targets)

    def learn(self, texts: Iterable[str]) -> None:
        """Tokenise texts in one call, on all cores, ahead of the rows that they are in."""
        self._content.learn(texts)

    def texts(self, d: Dialogue) -> Iterator[str]:
        """The texts of a dialogue that its rows need (where traces are cut, about those)."""
        if self.template.system_role or d.earlier:
            yield from (d.system, d.opening)
        for work in d.earlier:
            yield from work.texts
        room = self.window * _WIDE if self.cut else math.inf
        for turn in d.turns:
            if room < 0:  # what is needed after all is tokenised then
                return
            yield from turn.texts
            room -= sum(map(len, turn.texts))


def _segments(head: list[Segment], view: View, first: int, targets: Sequence[int]) -> list[Segment]:
    if first:  # what stands before the first turn is learnt in one row only
        head = [replace(s, trained=False) for s in head]
    return [*head, *view.segments(first, targets[-1] + 1, targets, last=True)]


def _row(key: str, head: list[Segment], view: View, first: int, targets: list[int]) -> Row:
    ids: list[int] = []
    labels: list[int] = []
    for s in _segments(head, view, first, targets):
        ids += s.ids
        labels += s.ids if s.trained else [IGNORED] * len(s.ids)
    return Row(key, tuple(ids), tuple(labels), tuple(targets), first)


def _ids(segments: Iterable[Segment]) -> Ids:
    return tuple(i for s in segments for i in s.ids)


def make_encoder(recipe: Recipe, tokenizer: Any, template: ChatTemplate | None = None) -> Encoder:
    """The encoder of a recipe, the same for preview, training and rollout."""
    d = recipe.dialogue
    if template is None and d.format == "trace":
        template = trace_template(tokenizer)
    return Encoder(
        tokenizer,
        window=d.window - (recipe.students.kind != "none"),  # the student's token stands before the rest
        answer_tokens=d.answer_tokens,
        history_tokens=d.history.tokens if d.history.assignments else 0,
        max_programs=d.max_programs,
        code=d.code,
        cut=d.overflow == "cut",
        template=template,
        with_system=d.system != "",
    )


def encode_batches(encoder: Encoder, dialogues: Iterable[Dialogue], size: int = AT_ONCE) -> Iterator[Encoded]:
    """Training rows, at most ``size`` dialogues at a time: as fast as the tokenizer, in memory that does not grow."""
    held: list[Dialogue] = []
    texts: list[str] = []
    characters = 0
    for d in dialogues:
        held.append(d)
        more = list(encoder.texts(d))
        texts += more
        characters += sum(map(len, more))
        if len(held) == size or characters > CHARACTERS:
            yield _batch(encoder, held, texts)
            held, texts, characters = [], [], 0
    if held:
        yield _batch(encoder, held, texts)


def _batch(encoder: Encoder, dialogues: Sequence[Dialogue], texts: Sequence[str]) -> Encoded:
    encoder.learn(texts)
    return together(encoder.rows(d) for d in dialogues)


def encode(encoder: Encoder, dialogues: Iterable[Dialogue]) -> Encoded:
    """All training rows of the dialogues, in order."""
    return together(encode_batches(encoder, dialogues))
