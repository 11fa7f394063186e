"""Loss on what changed: only copied lines lose theirs, and only a share of those."""

from __future__ import annotations

from pathlib import Path

import pytest

from simstudent.dialogue.encode import IGNORED, Encoder, encode
from simstudent.dialogue.serialize import Dialogue, Turn, fence
from simstudent.training.focus import copied_lines, focused

FIRST = "def add(a, b):\n    total = a\n    return total"
SECOND = "def add(a, b):\n    total = a + b\n    return total"


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> Encoder:
    transformers = pytest.importorskip("transformers")
    return Encoder(transformers.AutoTokenizer.from_pretrained(tiny_model), window=1024, answer_tokens=64)


def dialogue() -> Dialogue:
    turns = (Turn(fence(FIRST), "1 of 2"), Turn(fence(SECOND), "2 of 2"), Turn(fence(SECOND), None))
    return Dialogue("s/a", "sys", "Write add.", turns)


def test_copied_lines_are_those_of_a_diff() -> None:
    found = copied_lines(FIRST, SECOND)
    assert sorted(found) == [0, 2]
    assert [SECOND[a:b] for a, b in found.values()] == ["def add(a, b):\n", "    return total"]


def trained(encoder: Encoder, share: float, seed: int = 1) -> list[str]:
    """The text of each target that carries loss."""
    d = dialogue()
    (row,) = focused(encode(encoder, [d]), {d.key: d}, encoder, share, seed).rows
    texts, held = [], []
    for i, label in zip(row.ids, row.labels, strict=True):
        if label != IGNORED:
            assert label == i
            held.append(i)
            if i == encoder.end_id:
                texts.append(encoder.decode(held))
                held = []
    assert not held
    return texts


def test_without_copied_lines_only_changes_and_the_end_carry_loss(encoder: Encoder) -> None:
    first, second, third = trained(encoder, 0.0)
    assert first == fence(FIRST) + "<|im_end|>"  # nothing was there to copy
    assert "total = a + b" in second
    assert "def add" not in second
    assert "return" not in second
    assert third.endswith("<|im_end|>")
    assert "total" not in third


def test_a_share_of_one_changes_nothing_and_a_share_between_keeps_some(encoder: Encoder) -> None:
    d = dialogue()
    plain = encode(encoder, [d])
    assert focused(plain, {d.key: d}, encoder, 1.0, 1) == plain
    lengths = {sum(map(len, trained(encoder, 0.5, seed))) for seed in range(12)}
    assert min(lengths) < max(lengths)
    assert trained(encoder, 0.5, 3) == trained(encoder, 0.5, 3)
