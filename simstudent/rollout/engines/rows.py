"""The rows that the transformers engine generates side by side: their keys and values, and one token a step for each.

``SlotRows`` keeps one buffer a layer, [row, head, position, size]. A row fills it from position 0, so there is no
padding: rows of any length share a step, join and leave at any time, and a prompt is always computed alone. That is
what makes an answer independent of its neighbours, and it is fast on a CPU, where a padded batch of prompts is not.
Models whose layers are not all plain attention (sliding windows, linear attention) run in ``SeparateRows``.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from simstudent.rollout.engine import Sampling

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

# Keys and values of one row, a pair for each layer, [1, head, position, size] each.
KeysValues = list[tuple["Tensor", "Tensor"]]

ATTENTION = "simstudent_grouped"
GROWTH = 256  # positions: how far ahead buffers grow, so that a step seldom copies them
NUCLEUS = 256  # top-p looks at so many of the likeliest tokens before it sorts the whole vocabulary


class Rows(Protocol):
    """Rows are numbered in the order in which they were added; ``remove`` moves the last one into the gap."""

    reusable: bool
    """Whether keys and values can be given to ``add`` again, for a prompt that starts the same way."""

    def add(self, ids: Sequence[int], kept: KeysValues | None) -> tuple[Tensor, KeysValues]:
        """Compute a prompt, of which ``kept`` is the beginning: the next token's scores [vocabulary], and its keys."""
        ...

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Append one token to every row: the next ones' scores, [row, vocabulary]."""
        ...

    def remove(self, index: int) -> KeysValues:
        """End a row. Returns a copy of its keys and values, empty when they cannot be used again."""
        ...


def new_rows(model: PreTrainedModel, size: int) -> Rows:
    """Room for ``size`` rows of ``model``."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    plain = all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)
    if plain and getattr(model, "_supports_attention_backend", False) and _use_grouped_attention(model):
        return SlotRows(model, size)
    return SeparateRows(model)


class SlotRows:
    """Rows in shared buffers; see the head of this file."""

    reusable = True

    def __init__(self, model: PreTrainedModel, size: int) -> None:
        from transformers.cache_utils import Cache

        self._model = model
        self._size = size
        self._lengths: list[int] = []
        self._layers: list[Any] = []
        self._cache = Cache(layers=self._layers)

    def add(self, ids: Sequence[int], kept: KeysValues | None) -> tuple[Tensor, KeysValues]:
        import torch
        from transformers.cache_utils import DynamicCache

        cache = DynamicCache()
        for index, (keys, values) in enumerate(kept or []):
            cache.update(keys, values, index)
        start = cache.get_seq_length()
        tokens = torch.tensor([ids[start:]], device=self._model.device)
        positions = torch.arange(start, len(ids), device=self._model.device)[None]
        output = self._model(
            input_ids=tokens, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        computed = [(layer.keys, layer.values) for layer in cache.layers]
        self._reserve(len(ids) + 1, computed)
        row = len(self._lengths)
        for layer, (keys, values) in zip(self._layers, computed, strict=True):
            layer.keys[row, :, : len(ids)] = keys[0]
            layer.values[row, :, : len(ids)] = values[0]
        self._lengths.append(len(ids))
        return output.logits[0, -1], computed

    def step(self, tokens: Sequence[int]) -> Tensor:
        import torch

        device = self._model.device
        width = max(self._lengths) + 1
        self._reserve(width, [])
        ends = torch.tensor(self._lengths, device=device)
        seen = torch.arange(width, device=device) <= ends[:, None]
        for layer in self._layers:
            layer.rows, layer.ends, layer.width = torch.arange(len(tokens), device=device), ends, width
        output = self._model(
            input_ids=torch.tensor(tokens, device=device)[:, None],
            attention_mask=seen[:, None, None],
            position_ids=ends[:, None],
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._lengths = [length + 1 for length in self._lengths]
        return output.logits[:, -1]

    def remove(self, index: int) -> KeysValues:
        last, length = len(self._lengths) - 1, self._lengths[index]
        kept: KeysValues = []
        for layer in self._layers:
            kept.append(
                (layer.keys[index : index + 1, :, :length].clone(), layer.values[index : index + 1, :, :length].clone())
            )
            if index != last:
                layer.keys[index, :, : self._lengths[last]] = layer.keys[last, :, : self._lengths[last]]
                layer.values[index, :, : self._lengths[last]] = layer.values[last, :, : self._lengths[last]]
        self._lengths[index] = self._lengths[last]
        self._lengths.pop()
        return kept

    def _reserve(self, width: int, like: KeysValues) -> None:
        """Grow the buffers to ``width`` positions. The first time they are shaped as ``like``."""
        if not self._layers:
            self._layers.extend(_slot_layer()(keys, values) for keys, values in like)
        if self._layers[0].keys.shape[2] >= width and self._layers[0].keys.shape[0] == self._size:
            return
        capacity = -(-width // GROWTH) * GROWTH
        filled = len(self._lengths)
        for layer in self._layers:
            # Zeros, not whatever memory holds: a masked NaN would still spread.
            for name in ("keys", "values"):
                old = getattr(layer, name)
                new = old.new_zeros(self._size, old.shape[1], capacity, old.shape[3])
                new[:filled, :, : old.shape[2]] = old[:filled]
                setattr(layer, name, new)


class SeparateRows:
    """One cache and one forward pass for each row: right for any model with a cache, and no faster than one by one."""

    reusable = False

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._caches: list[Any] = []

    def add(self, ids: Sequence[int], kept: KeysValues | None) -> tuple[Tensor, KeysValues]:
        from transformers.cache_utils import DynamicCache

        cache = DynamicCache(config=self._model.config)
        scores = self._forward(ids, cache)
        self._caches.append(cache)
        return scores, []

    def step(self, tokens: Sequence[int]) -> Tensor:
        import torch

        return torch.stack([self._forward([token], cache) for token, cache in zip(tokens, self._caches, strict=True)])

    def remove(self, index: int) -> KeysValues:
        self._caches[index] = self._caches[-1]
        self._caches.pop()
        return []

    def _forward(self, ids: Sequence[int], cache: Any) -> Tensor:
        import torch

        tokens = torch.tensor([ids], device=self._model.device)
        output = self._model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return output.logits[0, -1]


def choose(scores: Tensor, samplings: Sequence[Sampling], draws: Sequence[random.Random]) -> list[int]:
    """The next token of every row of ``scores`` [row, vocabulary].

    Each row is decided by its own scores and one number of its own generator, in [0, 1): the place where that number
    falls in the cumulated probabilities. So a row's choice depends on no other row, nor on the device's generator.
    """
    import torch

    chosen: list[int] = scores.argmax(-1).tolist()
    rows = [row for row, sampling in enumerate(samplings) if sampling.temperature > 0]
    if not rows:
        return chosen

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, device=scores.device)[:, None]

    heat = column([samplings[row].temperature for row in rows])
    probabilities = torch.softmax(scores[rows].float() / heat, dim=-1)
    top_p = [samplings[row].top_p for row in rows]
    if min(top_p) < 1:
        probabilities = _nucleus(probabilities, column(top_p))
    cumulated = probabilities.double().cumsum(-1)
    total = cumulated[:, -1:].contiguous()
    target = column([draws[row].random() for row in rows]).double() * total
    places = torch.searchsorted(cumulated, target, right=True)
    # Rounding may put the target at the total: the last token that has any probability then.
    places = torch.minimum(places, torch.searchsorted(cumulated, total))
    for row, place in zip(rows, places[:, 0].tolist(), strict=True):
        chosen[row] = place
    return chosen


def _nucleus(probabilities: Tensor, top_p: Tensor) -> Tensor:
    """Zero all but the likeliest tokens that together reach ``top_p`` [row, 1]."""
    import torch

    vocabulary = probabilities.shape[-1]
    for count in (min(NUCLEUS, vocabulary), vocabulary):
        likeliest = probabilities.topk(count).values
        mass = likeliest.cumsum(-1)
        if count == vocabulary or bool((mass[:, -1:] >= top_p).all()):
            break
    last = (mass < top_p).sum(-1, keepdim=True).clamp(max=count - 1)
    floor = likeliest.gather(-1, last)
    return torch.where((probabilities >= floor) | (top_p >= 1), probabilities, 0)


def _use_grouped_attention(model: PreTrainedModel) -> bool:
    """Give the model our attention for single tokens. False when it keeps its own."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    model.set_attn_implementation(ATTENTION)
    return bool(model.config._attn_implementation == ATTENTION)


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """transformers' attention, but one token of a row asks each key head with all its query heads at once.

    transformers repeats keys and values for every query head whenever there is a mask, at every step. On a CPU this
    costs more than the rest of the model: 99 instead of 368 ms a step for 16 rows of 600 tokens of a 135M model.
    """
    from torch.nn.functional import scaled_dot_product_attention
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    rows, heads, length, size = query.shape
    if length > 1 or attention_mask is None or options.get("position_bias") is not None:
        attended: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return attended
    groups = heads // key.shape[1]
    grouped = scaled_dot_product_attention(
        query.reshape(rows, key.shape[1], groups, size),
        key,
        value,
        attn_mask=attention_mask.expand(rows, 1, groups, key.shape[2]),
        scale=options.get("scaling"),
    )
    return grouped.reshape(rows, 1, heads, -1), None


def _slot_layer() -> Any:
    """The class of a layer's buffer; made late, since its parent is in transformers."""
    from transformers.cache_utils import DynamicLayer

    class SlotLayer(DynamicLayer):  # type: ignore[misc]
        """``rows`` (their numbers), ``ends`` (where each writes next) and ``width`` are set before every step."""

        def __init__(self, keys: Tensor, values: Tensor) -> None:
            super().__init__()
            self.keys, self.values, self.is_initialized = keys, values, True

        def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
            self.keys[self.rows, :, self.ends] = key_states[:, :, 0]
            self.values[self.rows, :, self.ends] = value_states[:, :, 0]
            count = len(self.rows)
            return self.keys[:count, :, : self.width], self.values[:count, :, : self.width]

    return SlotLayer
