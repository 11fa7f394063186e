"""Attention without a mask: that every trajectory of a packed row is alone, with a stand-in for the GPU's kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simstudent.recipe import load_recipe
from simstudent.runs import read_lines
from simstudent.training import varlen
from simstudent.training.packing import Collator, packed
from tests.training.test_packing import _loss, rows

torch = pytest.importorskip("torch")

RECIPE = """\
name: tiny
seed: 3
model: {{id: {model}}}
data:
  source: {{kind: course}}
  select: [stop_at_full_grade, min_submissions: 2, max_submissions: 3]
dialogue: {{feedback: summary, window: 2048, answer_tokens: 256}}
sft: {{attention: {attention}, limit: 4, batch_size: 2, micro_batch_size: 2, packing: true, evaluations: 1, epochs: 2}}
"""


def segment_by_segment(
    q: Any, k: Any, v: Any, begins: Any, same: Any, longest: int, longest_too: int, *, scale: float, window_size: Any
) -> Any:
    """What torch's kernel computes, (tokens, heads, width) each, without a GPU."""
    assert window_size == (-1, 0)
    assert max((begins[1:] - begins[:-1]).tolist()) == longest == longest_too
    made = []
    for a, b in zip(begins[:-1].tolist(), begins[1:].tolist(), strict=True):
        parts = (x[a:b].transpose(0, 1).unsqueeze(0) for x in (q, k, v))
        out = torch.nn.functional.scaled_dot_product_attention(*parts, is_causal=True, scale=scale)
        made.append(out.squeeze(0).transpose(0, 1))
    return torch.cat(made)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlen, "_kernel", lambda: segment_by_segment)
    varlen._register()


@pytest.mark.usefixtures("kernel")
def test_losses_and_gradients_are_those_under_a_mask(tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    found = []
    for attention, flat in (("sdpa", False), (varlen.NAME, True)):
        model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32, attn_implementation=attention)
        batch = Collator(pad_id=0, flat=flat)(packed(rows(1, model.config.vocab_size), 64))
        labels = batch.pop("labels")
        logits = model(**batch, use_cache=False).logits
        loss = sum(_loss(torch, made, wanted) for made, wanted in zip(logits, labels, strict=True))
        loss.backward()
        found.append((loss.item(), [p.grad for p in model.parameters()]))
    (masked, expected), (ours, gradients) = found
    assert ours == pytest.approx(masked, rel=1e-5)
    for made, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(made, wanted, rtol=1e-3, atol=1e-5)


def test_a_kernel_is_tried_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **options: Any) -> Any:
        raise RuntimeError("USE_FLASH_ATTENTION was not enabled for build")

    def leaky(q: Any, k: Any, v: Any, *args: Any, scale: float, window_size: Any) -> Any:
        whole = torch.tensor([0, len(q)])
        return segment_by_segment(q, k, v, whole, whole, len(q), len(q), scale=scale, window_size=window_size)

    for kernel, agrees in ((segment_by_segment, True), (broken, False), (leaky, False)):
        monkeypatch.setattr(varlen, "_kernel", lambda kernel=kernel: kernel)
        assert varlen._agrees(16, "cpu") is agrees


@pytest.mark.usefixtures("kernel")
def test_rows_that_are_not_packed_are_refused(tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model, attn_implementation=varlen.NAME)
    with pytest.raises(ValueError, match=r"packed rows only \(sft\.packing: true\)"):
        model(input_ids=torch.tensor([[5, 6, 7]]))


def test_what_is_chosen(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlen, "_kernel", lambda: segment_by_segment)
    monkeypatch.setattr(varlen, "_agrees", lambda head, device: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))

    def chosen(device: str, **sft: object) -> str | None:
        recipe = load_recipe(path)
        return varlen.attention_for(recipe.model_copy(update={"sft": recipe.sft.model_copy(update=sft)}), device)

    path = tmp_path / "auto.yaml"
    path.write_text(RECIPE.format(model=tiny_model, attention="auto"), encoding="utf-8")
    assert chosen("cuda") == varlen.NAME
    assert chosen("cpu") is None
    assert chosen("cuda", packing=False) is None
    assert chosen("cuda", attention="flash_attention_2") == "flash_attention_2"
    monkeypatch.setattr(varlen, "PLAIN_CAUSAL", ("gpt2",))
    assert chosen("cuda") is None
    monkeypatch.setattr(varlen, "_kernel", lambda: None)
    assert chosen("cuda") is None


@pytest.mark.slow
@pytest.mark.usefixtures("kernel")
def test_a_run_has_the_losses_of_one_under_a_mask(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    from simstudent.training.sft import run_sft

    found = []
    for attention in ("sdpa", varlen.NAME):
        path = tmp_path / f"{attention}.yaml"
        path.write_text(RECIPE.format(model=tiny_model, attention=attention), encoding="utf-8")
        run = run_sft(load_recipe(path), root=tmp_path / attention, say=lambda text: None)
        assert run is not None
        found.append([x.get("validation_loss", x.get("loss")) for x in read_lines(run / "metrics.jsonl")])
    assert found[1] == pytest.approx(found[0], abs=5e-3)
