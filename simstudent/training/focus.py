"""Less loss on what a student merely kept: most of a submission repeats the one before, and teaches copying.

Of the lines taken over from the previous submission only a share carries loss, drawn by a seeded hash; in
expectation that weighs those lines by the share. Changed lines and the end of the turn always carry it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace

from simstudent.data.split import position
from simstudent.dialogue.encode import IGNORED, Encoded, Encoder, Row
from simstudent.dialogue.serialize import Dialogue


def focused(encoded: Encoded, dialogues: Mapping[str, Dialogue], encoder: Encoder, share: float, seed: int) -> Encoded:
    """The rows with loss on only ``share`` of the copied lines."""
    return replace(encoded, rows=tuple(_focused(r, dialogues[r.key], encoder, share, seed) for r in encoded.rows))


def _focused(row: Row, dialogue: Dialogue, encoder: Encoder, share: float, seed: int) -> Row:
    labels = list(row.labels)
    for target, (begin, end) in zip(row.targets, label_runs(row.labels), strict=True):
        turn, past = dialogue.turns[target], [t for t in dialogue.turns[:target] if t.has_program]
        if not past or not turn.has_program or turn.whole is not None:  # a diff holds little that was merely kept
            continue
        before, now = past[-1].whole or past[-1].answer, turn.answer
        for line, (first, last) in copied_lines(before, now).items():
            if position(seed, "focus", row.key, str(target), str(line)) < share:
                continue
            for place in _tokens(encoder, now, first, last):
                labels[begin + place] = IGNORED
        assert labels[end - 1] != IGNORED  # the end of the turn
    return replace(row, labels=tuple(labels))


def label_runs(labels: tuple[int, ...]) -> list[tuple[int, int]]:
    """Begin and end of each stretch of labels with loss: one for each target, as markup stands between answers."""
    edges = [n for n in range(1, len(labels)) if (labels[n] == IGNORED) != (labels[n - 1] == IGNORED)]
    edges = ([0] if labels[0] != IGNORED else []) + edges + ([len(labels)] if labels[-1] != IGNORED else [])
    return list(zip(edges[::2], edges[1::2], strict=True))


def copied_lines(before: str, now: str) -> dict[int, tuple[int, int]]:
    """Line numbers of ``now`` that a diff calls taken over from ``before``, with their first and last+1 character."""
    old, new = before.splitlines(keepends=True), now.splitlines(keepends=True)
    starts = [0]
    for line in new:
        starts.append(starts[-1] + len(line))
    blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    return {n: (starts[n], starts[n + 1]) for block in blocks for n in range(block.b, block.b + block.size)}


def _tokens(encoder: Encoder, text: str, first: int, last: int) -> list[int]:
    """Numbers of the answer's tokens that lie wholly within the characters ``first`` to ``last``."""
    return [n for n, (a, b) in enumerate(encoder.offsets(text)) if first <= a and b <= last and a < b]
