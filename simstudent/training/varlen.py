"""Attention over packed rows without a mask: PyTorch's varlen flash kernel, told where each trajectory begins and ends.

Under a mask (``sdpa``) a row of n tokens costs n^2 whatever is packed in it, and few kernels take a mask; here each
trajectory costs its own square. It is registered with transformers as an attention implementation and reads the borders
that the flat collator (packing.py) sends along, under the names that transformers has for them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from simstudent.errors import SimstudentError

if TYPE_CHECKING:
    from simstudent.recipe import Recipe

NAME = "simstudent_varlen"

PLAIN_CAUSAL = ("llama", "qwen2", "qwen3")
"""Model types whose attention is nothing but causal: no sliding windows, soft caps or sinks."""


def attention_for(recipe: Recipe, device: str) -> str | None:
    """The attention implementation to train with: the recipe's, for ``auto`` this one where it can be used.

    None leaves the choice to transformers. Raises SimstudentError when this one is named for a model whose attention
    is another.
    """
    s = recipe.sft
    if s.attention == NAME and _plain_head(recipe) is None:
        raise SimstudentError(
            f"sft.attention: {NAME} would leave out what the attention of {recipe.model.id} does beyond being causal "
            f"(it is for {', '.join(PLAIN_CAUSAL)} without windows); set sft.attention: auto"
        )
    if s.attention == NAME or (s.attention == "auto" and s.packing and _usable(recipe, device)):
        _register()
        return NAME
    return None if s.attention == "auto" else s.attention


def _usable(recipe: Recipe, device: str) -> bool:
    """Whether packed rows of this model can go through the kernel: plain attention, an NVIDIA GPU from Ampere on."""
    if device != "cuda" or _kernel() is None:
        return False
    import torch

    if torch.version.hip is not None or torch.cuda.get_device_capability()[0] < 8:
        return False
    head = _plain_head(recipe)
    return head is not None and head % 8 == 0 and head <= 256 and _agrees(head, device)


def _plain_head(recipe: Recipe) -> int | None:
    """The width of an attention head of the recipe's model; None when its attention is more than causal."""
    from transformers import AutoConfig

    from simstudent.training.models import resolve_model

    config = AutoConfig.from_pretrained(resolve_model(recipe.model.id), revision=recipe.model.revision)
    windows = any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or ())
    if config.model_type not in PLAIN_CAUSAL or windows:
        return None
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _agrees(head: int, device: str) -> bool:
    """Whether the kernel runs here, forward and backward, and gives what plain attention gives within bf16's rounding.

    Some builds of PyTorch come without it. A quarter of a second.
    """
    import torch

    lengths, heads = (5, 130, 64), 2
    drawn = torch.Generator().manual_seed(0)
    parts = [torch.randn(1, heads, sum(lengths), head, generator=drawn) for _ in range(3)]
    borders = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
    ours, plain = ([x.to(device, torch.bfloat16).requires_grad_() for x in parts] for _ in range(2))
    try:
        q, k, v = ours
        made, _ = _attend(None, q, k, v, None, scaling=head**-0.5, cu_seq_lens_q=borders, max_length_q=max(lengths))
        made.float().pow(2).sum().backward()
    except (RuntimeError, NotImplementedError, TypeError):
        return False
    segments = zip(*(x.split(lengths, dim=2) for x in plain), strict=True)
    attention = torch.nn.functional.scaled_dot_product_attention
    wanted = torch.cat([attention(q, k, v, is_causal=True) for q, k, v in segments], dim=2).transpose(1, 2)
    wanted.float().pow(2).sum().backward()
    pairs = [(made, wanted), *((a.grad, b.grad) for a, b in zip(ours, plain, strict=True))]
    return all(bool(torch.allclose(a.float(), b.float(), rtol=0.05, atol=0.05)) for a, b in pairs)


def _kernel() -> Callable[..., Any] | None:
    """torch's function, None where it is not there or cannot say causal (before torch 2.11)."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    known = inspect.signature(varlen_attn).parameters
    return varlen_attn if {"window_size", "scale"} <= known.keys() else None


def _register() -> None:
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, _attend)  # without a mask function: transformers then makes no mask


def _attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    *,
    scaling: float,
    cu_seq_lens_q: Any = None,
    max_length_q: int = 0,
    **unused: Any,
) -> tuple[Any, None]:
    """query (1, heads, tokens, width), key and value (1, key heads, tokens, width) -> (1, tokens, heads, width)."""
    kernel = _kernel()
    if cu_seq_lens_q is None or attention_mask is not None or query.shape[0] != 1 or kernel is None:
        raise ValueError("sft.attention simstudent_varlen is for packed rows only (sft.packing: true)")
    groups = query.shape[1] // key.shape[1]
    if groups > 1:  # the kernel takes fewer key heads only from torch 2.12 on
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    # Under autocast rotary embeddings may leave queries and keys wider than the values.
    q, k, v = (x.squeeze(0).transpose(0, 1).to(value.dtype).contiguous() for x in (query, key, value))
    borders, longest = cu_seq_lens_q.to(q.device), int(max_length_q)
    made = kernel(q, k, v, borders, borders, longest, longest, scale=scaling, window_size=(-1, 0))
    return made.unsqueeze(0), None
