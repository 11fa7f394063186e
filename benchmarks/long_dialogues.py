"""Throughput and prefix-cache hits of vLLM with a random model of Qwen3-8B's shape, at dialogues of 4,096 tokens.

    python benchmarks/long_dialogues.py [--config CONFIG.json] [--dialogues 128] [--to FILE]

No weights are needed: vLLM fills a model of the exact configuration (bf16) with random numbers
(``load_format="dummy"``), and prompts are token ids. Speed does not depend on what they say. A dialogue grows to 4,096
tokens: a system prompt and statement that all of an assignment share, then turns of a program and its feedback; it is
simulated from every start as ``simstudent rollout`` does, five steps of up to ``--answer`` tokens. What is written goes
into the next prompt. There is no pause between steps (grading costs nothing here), so this is the engine's own speed
under this kind of load.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from simstudent.rollout.engine import Sampling
from simstudent.rollout.schedule import shard_of

# https://huggingface.co/Qwen/Qwen3-8B, config.json
QWEN3_8B = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 12288,
    "max_position_embeddings": 40960,
    "max_window_layers": 36,
    "model_type": "qwen3",
    "num_attention_heads": 32,
    "num_hidden_layers": 36,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}


def dialogue(number: int, args: argparse.Namespace, vocabulary: int) -> list[list[int]]:
    """Token ids: what an assignment's dialogues begin with, then one list a turn, ``--window`` tokens altogether."""
    opening = random.Random(f"assignment {number % args.assignments}")
    parts = [[opening.randrange(vocabulary) for _ in range(args.opening)]]
    draw = random.Random(f"dialogue {number}")
    left = args.window - args.answer - args.opening
    while left > 0:
        length = min(left, draw.randint(args.turn // 2, 3 * args.turn // 2))
        parts.append([draw.randrange(vocabulary) for _ in range(length)])
        left -= length
    return parts


async def run(args: argparse.Namespace, model: str, vocabulary: int) -> dict[str, Any]:
    from simstudent.rollout.engines.vllm import VllmEngine

    began = time.monotonic()
    options = {"load_format": "dummy"}
    async with VllmEngine(
        model, max_model_len=args.window, gpu_memory_utilization=0.9, gpus=args.gpus, options=options
    ) as engine:
        print(f"Engine started in {time.monotonic() - began:.1f} s", flush=True)
        room = asyncio.Semaphore(args.concurrency * args.gpus)

        async def rollout(number: int, parts: list[list[int]], start: int) -> None:
            copy = engine.on(shard_of(f"{number}", args.gpus))
            ids = [token for part in parts[: start + 1] for token in part]
            async with room:
                for step in range(min(args.steps, len(parts) - 1 - start)):
                    length = random.Random(f"{number} {start} {step}").randint(args.answer // 8, args.answer)
                    if len(ids) + length >= args.window:
                        return
                    done = await copy.generate(ids, Sampling((), max_tokens=length), seed=0, adapter=None)
                    ids = [*ids, *done.ids]

        found = [(number, dialogue(number, args, vocabulary)) for number in range(args.dialogues)]
        began = time.monotonic()
        tasks = [rollout(number, parts, start) for number, parts in found for start in range(1, len(parts) - 1)]
        await asyncio.gather(*tasks)
        seconds, counters = time.monotonic() - began, engine.counters
    return {
        "rollouts": len(tasks),
        "requests": counters.requests,
        "seconds": round(seconds, 2),
        "rollouts_per_second": round(len(tasks) / seconds, 2),
        "prompt_tokens": counters.prompt_tokens,
        "generated_tokens": counters.generated_tokens,
        "generated_tokens_per_second": round(counters.generated_tokens / seconds, 1),
        "prompt_tokens_per_second": round(counters.prompt_tokens / seconds, 1),
        "prefix_cache_hit_rate": round(counters.cached_tokens / counters.prompt_tokens, 4),
        "mean_prompt_tokens": round(counters.prompt_tokens / counters.requests, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="another model's config.json (Qwen3-8B's)")
    parser.add_argument("--dialogues", type=int, default=48)
    parser.add_argument("--assignments", type=int, default=16)
    parser.add_argument("--window", type=int, default=4096)
    parser.add_argument("--opening", type=int, default=400, help="tokens of system prompt and statement")
    parser.add_argument("--turn", type=int, default=300, help="tokens of a program and its feedback, on average")
    parser.add_argument("--answer", type=int, default=512, help="most tokens of an answer; the least are an eighth")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=512, help="rollouts under way on each GPU")
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--to", metavar="FILE", help="write the figures as JSON")
    args = parser.parse_args()
    config = json.loads(Path(args.config).read_text(encoding="utf-8")) if args.config else QWEN3_8B
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        facts = asyncio.run(run(args, folder, config["vocab_size"]))
    print(json.dumps(facts, indent=2))
    if args.to:
        Path(args.to).write_text(json.dumps(facts, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
