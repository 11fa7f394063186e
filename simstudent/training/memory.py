"""What a training will use of the device's memory, before it starts: an estimate to decide by, not a promise.

Weights, adapter with gradients and Adam's two moments, and what the backward pass keeps of each token. Full logits are
never held: TRL computes them chunk by chunk, and only where there is loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

GIB = 2**30
_WORKSPACE = 1.5 * GIB  # CUDA context, kernels' workspaces, a chunk of logits, fragmentation


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes by what they are for; ``available`` is None where the device cannot tell."""

    weights: float
    adapter: float
    activations: float
    checkpointed: float
    """The activations with gradient checkpointing."""
    available: float | None

    def total(self, checkpointing: bool) -> float:
        kept = self.checkpointed if checkpointing else self.activations
        return self.weights + self.adapter + kept + _WORKSPACE

    def checkpointing(self, wanted: bool | str) -> bool:
        """Whether to checkpoint gradients: as the recipe says or, for ``auto``, only where it would not fit without."""
        if isinstance(wanted, bool):
            return wanted
        return self.available is not None and self.total(False) > 0.92 * self.available

    def text(self, checkpointing: bool) -> str:
        """One line for a person."""
        kept = self.checkpointed if checkpointing else self.activations
        parts = ", ".join(
            f"{name} {size / GIB:.1f}"
            for name, size in (
                ("weights", self.weights),
                ("gradients, optimiser, adapter", self.adapter),
                ("activations", kept),
            )
        )
        line = f"Memory: about {self.total(checkpointing) / GIB:.1f} GiB at most ({parts})"
        if self.available is not None:
            line += f" of {self.available / GIB:.1f} GiB free"
        line += "; gradient checkpointing " + ("on" if checkpointing else "off")
        if self.available is not None and self.total(checkpointing) > self.available:
            line += ". IT MAY NOT FIT: lower micro_batch_size, then dialogue.window"
        return line


def plan_memory(model: Any, *, rank: int | None, tokens: int, available: float | None) -> MemoryPlan:
    """The plan for a loaded base model that gets an adapter of rank ``rank`` on every linear layer.

    Without a rank all weights are trained, in float32: gradients and two moments of each. ``tokens``: most tokens of a
    forward pass.
    """
    config = model.config.get_text_config()
    hidden, layers = config.hidden_size, config.num_hidden_layers
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    weights = float(sum(p.numel() * p.element_size() for p in model.parameters()))
    # Rank-r factors of seven projections a layer: 4 attention (in and out about hidden), 3 feed-forward.
    factors = (rank or 0) * layers * (4 * 2 * hidden + 3 * (hidden + inner))
    # bf16 inputs of the projections and of the activation function, and the norms' float32 copies.
    per_layer = 2 * (10 * hidden + 5 * inner) + 8 * hidden
    return MemoryPlan(
        weights=weights,
        adapter=float(factors * (4 + 4 + 8)) if rank is not None else 3 * weights,
        activations=float(tokens * layers * per_layer),
        checkpointed=float(tokens * (layers * 2 * hidden + per_layer)),
        available=available,
    )


def available_memory(device: str, reserved: float = 0.0) -> float | None:
    """Free bytes of the GPU less a ``reserved`` share of all its memory, or None elsewhere."""
    if device != "cuda":
        return None
    import torch

    free, total = torch.cuda.mem_get_info()
    return float(free - reserved * total)
