"""Packing: every row once, within the width, and nothing learnt across borders."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from simstudent.dialogue.encode import IGNORED, Row
from simstudent.training.packing import Collator, pack, packed


@pytest.mark.parametrize("seed", range(20))
def test_every_row_is_in_one_pack_that_is_not_too_full(seed: int) -> None:
    chance = random.Random(seed)
    lengths = [chance.randint(1, 120) for _ in range(chance.randint(1, 60))]
    packs = pack(lengths, 100)
    assert sorted(n for p in packs for n in p) == list(range(len(lengths)))
    assert all(sum(lengths[n] for n in p) <= 100 or len(p) == 1 for p in packs)
    assert pack(lengths, 100) == packs
    # Best fit needs at most 1.7 times the least possible number of packs, plus one.
    assert len([p for p in packs if len(p) > 1]) <= 1.7 * sum(length for length in lengths if length <= 100) / 100 + 1


def rows(seed: int, vocabulary: int) -> list[Row]:
    chance = random.Random(seed)
    made = []
    for n in range(5):
        ids = tuple(chance.randrange(3, vocabulary) for _ in range(chance.randint(8, 40)))
        labels = tuple(i if chance.random() < 0.5 else IGNORED for i in ids)
        made.append(Row(f"s/{n}", ids, labels, (0,)))
    return made


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_losses_and_gradients_equal_those_of_single_rows(tiny_model: Path, attention: str) -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32, attn_implementation=attention)
    held = rows(1, model.config.vocab_size)
    alone, together = [], []
    for row in held:
        out = model(input_ids=torch.tensor([row.ids]), use_cache=False).logits[0]
        alone.append(_loss(torch, out, torch.tensor(row.labels)))
    torch.stack(alone).sum().backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()

    packs = packed(held, 64)
    assert len(packs) > 1
    assert max(len(p["lengths"]) for p in packs) > 1
    batch = Collator(pad_id=0)(packs)
    assert "attention_mask" not in batch
    labels = batch.pop("labels")
    logits = model(**batch, use_cache=False).logits
    for n, one in enumerate(packs):
        # A row's first token is never predicted: it carries no loss, nor does any row's last predict the next row.
        together.append(_loss(torch, logits[n], labels[n]))
        assert (labels[n][len(one["input_ids"]) :] == IGNORED).all()
    torch.stack(together).sum().backward()
    assert torch.stack(together).sum().item() == pytest.approx(torch.stack(alone).sum().item(), rel=1e-5)
    for p, grad in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, grad, rtol=1e-3, atol=1e-5)


def test_packs_in_one_row_have_the_losses_of_packs_in_several(tiny_model: Path) -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    packs = packed(rows(1, model.config.vocab_size), 64)
    found = []
    for collator in (Collator(pad_id=0), Collator(pad_id=0, flat=True)):
        batch = collator(packs)
        labels, lengths = batch.pop("labels"), batch.pop("packed_seq_lengths", None)
        logits = model(**batch, use_cache=False).logits
        found.append(sum(_loss(torch, made, wanted).item() for made, wanted in zip(logits, labels, strict=True)))
    assert lengths.tolist() == [n for p in packs for n in p["lengths"]]
    assert labels.tolist() == [[i for p in packs for i in p["labels"]]]
    assert found[1] == pytest.approx(found[0], rel=1e-5)


def _loss(torch, logits, labels):  # type: ignore[no-untyped-def]
    return torch.nn.functional.cross_entropy(logits[:-1], labels[1:], ignore_index=IGNORED, reduction="sum")
