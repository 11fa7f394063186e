"""Memory and speed of QLoRA SFT for a model of Qwen3-8B's exact shape with random weights: nothing to download.

    python benchmarks/qlora_memory.py --folder /tmp/qwen3-8b-random

Weights of that shape are written to ``--folder`` (16 GB, bfloat16, a file a layer), then loaded and trained as
``simstudent sft`` does: NF4 base, LoRA r=8 on every linear layer, packed rows of 4,096 tokens, loss chunk by chunk, one
row a forward pass. What differs: ids are random, so the loss means nothing, and there is no validation. Each case (with
gradient checkpointing, without, under a limit of memory as on a smaller card) has a process of its own.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from training import WAYS, run_way

from simstudent.dialogue.encode import IGNORED, Row
from simstudent.recipe import Recipe, recipe_from_dict
from tests.tiny import save_tokenizer

QWEN3_8B = {
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "rope_theta": 1_000_000,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
}
"""As published in the model's config.json."""
TINY = QWEN3_8B | {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 2048,
}
CASES = {
    "off": "without gradient checkpointing",
    "on": "with gradient checkpointing",
    "on-24": "with it, on a card of 24 GB",
    "off-40": "without it, on a card of 40 GB",
}
CONTEXT = 0.7
"""GiB that CUDA itself takes beside what torch reserves: what a smaller card would have less."""


def write_model(folder: Path, shape: dict[str, Any]) -> None:
    """Random bfloat16 weights of a Qwen3, one file a layer, and a small tokenizer."""
    import torch
    from safetensors.torch import save_file
    from transformers import Qwen3Config, Qwen3ForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    shape = dict(shape)
    rope = {"rope_type": "default", "rope_theta": shape.pop("rope_theta")}
    config = Qwen3Config(**shape, rope_parameters=rope, dtype="bfloat16", pad_token_id=0, eos_token_id=2)
    config.architectures = ["Qwen3ForCausalLM"]
    config.save_pretrained(folder)
    save_tokenizer(folder)
    with torch.device("meta"):
        meta = Qwen3ForCausalLM(config)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    files: dict[str, dict[str, Any]] = {}
    for name, weight in meta.state_dict().items():
        parts = name.split(".")
        file = f"layer-{int(parts[2]):02d}.safetensors" if parts[1] == "layers" else f"{parts[-2]}.safetensors"
        files.setdefault(file, {})[name] = weight.shape
    where, size = {}, 0
    for file, tensors in files.items():
        made = {}
        for name, dims in tensors.items():
            made[name] = torch.ones(dims, dtype=torch.bfloat16)
            if len(dims) > 1:
                made[name] = (torch.randn(dims, dtype=torch.bfloat16, device=device) * 0.02).cpu()
            size += made[name].numel() * 2
            where[name] = file
        save_file(made, folder / file, metadata={"format": "pt"})
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    print(f"{folder}: {size / 2:,.0f} weights, {size / 2**30:.1f} GiB in bfloat16", flush=True)


def recipe_for(folder: Path, window: int) -> Recipe:
    """The recipe's model, window and training; its data is not read."""
    return recipe_from_dict(
        {
            "name": "qlora-memory",
            "model": {"id": str(folder), "quantization": "nf4"},
            "data": {"source": {"kind": "course"}},
            "dialogue": {"window": window, "answer_tokens": window // 4},
            "sft": {"batch_size": 4, "micro_batch_size": 1, "packing": True},
        }
    )


def random_rows(count: int, window: int, vocabulary: int) -> list[Row]:
    """Rows that fill the window, with loss on a quarter of their tokens, in eight stretches."""
    draw = random.Random(1)
    rows = []
    for number in range(count):
        ids = tuple(draw.randrange(3, vocabulary) for _ in range(window))
        stretch = window // 8
        labels = tuple(i if at % stretch >= stretch * 3 // 4 else IGNORED for at, i in enumerate(ids))
        rows.append(Row(str(number), ids, labels, tuple(range(8))))
    return rows


def run_case(case: str, args: argparse.Namespace) -> dict[str, Any]:
    """Load and train in this process, under the case's limit of memory; running out of it is a result."""
    import torch

    on, _, card = case.partition("-")
    args.checkpointing, args.attention, args.limit = on == "on", None, None
    if card and torch.cuda.is_available():
        whole = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((float(card) - CONTEXT) * 2**30 / whole)
    vocabulary = json.loads((args.folder / "config.json").read_text())["vocab_size"]
    began = time.perf_counter()
    recipe = recipe_for(args.folder, args.window)
    rows = random_rows(64, args.window, vocabulary)
    try:
        figures = run_way(WAYS["ours"], recipe, rows, args, args.folder / "checkpoints")
    except torch.OutOfMemoryError:
        return {"out of memory": True, "allocated": torch.cuda.memory_allocated() / 2**30}
    return {**figures, "whole": time.perf_counter() - began}


def line(case: str, f: dict[str, Any]) -> str:
    if "out of memory" in f:
        return f"{CASES[case]}: OUT OF MEMORY with {f['allocated']:.1f} GiB allocated"
    text = f"{CASES[case]}: {f['computed_per_second']:,.0f} tokens/s in {f['steps']} steps of 4 rows, peak memory "
    text += f"{f['peak_gib']:.1f} GiB allocated, {f['reserved_gib']:.1f} GiB reserved by torch"
    need = f["reserved_gib"] + CONTEXT
    if "-" not in case:
        text += ", so with CUDA's own " + ", ".join(
            f"{'fits' if need < size else 'does not fit'} {size} GB" for size in (24, 40, 80)
        )
    return text + f" ({f['whole']:.0f} s with loading)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--window", type=int, default=4096)
    parser.add_argument("--tiny", action="store_true", help="two small layers, to try the script")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--out", type=Path, help="figures as JSON")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    result = args.folder / f"{args.case}.json"
    if args.case:
        result.write_text(json.dumps(run_case(args.case, args)))
        return
    if not (args.folder / "model.safetensors.index.json").exists():
        began = time.perf_counter()
        write_model(args.folder, TINY if args.tiny else QWEN3_8B)
        print(f"  written in {time.perf_counter() - began:.0f} s", flush=True)
    found = {}
    for case in args.cases:
        done = subprocess.run([sys.executable, *sys.argv, "--case", case], capture_output=True, text=True)
        if done.returncode:
            print(f"{case}: FAILED\n" + "\n".join(done.stderr.splitlines()[-15:]), flush=True)
            continue
        found[case] = json.loads((args.folder / f"{case}.json").read_text())
        print(line(case, found[case]), flush=True)
        if args.out:
            args.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
