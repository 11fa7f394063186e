"""What the first requests to a vLLM engine with adapters wait for, before and after our settings.

    python benchmarks/first_requests.py --model MODEL [--adapter FOLDER] [--to FILE]

Starts the engine twice, each time with an empty cache of Triton kernels: with what AsyncLLM does by itself (128
sequences and 2,048 tokens a step, nothing warmed up), and as ``VllmEngine`` does it now. Each time: bursts of requests
to the base model and two adapters, every burst twice, and one long answer alone. vLLM's own warnings about kernels
that it compiles while requests wait ("JIT compilation during inference") go to the terminal with their times.
Without --adapter two random ones are made.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from simstudent.rollout.engine import Engine, Sampling

BEFORE = {"max_num_seqs": 128, "max_num_batched_tokens": 2048}


def prompts(count: int, seed: int, longest: int) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(3, 300) for _ in range(draw.randint(longest // 5, longest))] for _ in range(count)]


async def burst(engine: Engine, args: argparse.Namespace, adapter: str | None, seed: int) -> dict[str, Any]:
    asked = prompts(args.requests, seed, args.longest)
    sampling = Sampling((), max_tokens=args.tokens)
    began = time.monotonic()
    first: list[float] = []

    async def one(ids: list[int]) -> int:
        done = await engine.generate(ids, sampling, seed=0, adapter=adapter)
        first.append(time.monotonic() - began)
        return len(done.ids)

    written = sum(await asyncio.gather(*(one(ids) for ids in asked)))
    seconds = time.monotonic() - began
    return {"seconds": round(seconds, 2), "first_answer": round(min(first), 2), "tokens_per_second": written / seconds}


async def alone(engine: Engine, args: argparse.Namespace, adapter: str | None) -> float:
    """Milliseconds for each token of one answer, nothing else running."""
    began = time.monotonic()
    done = await engine.generate(prompts(1, 99, 200)[0], Sampling((), max_tokens=256), seed=0, adapter=adapter)
    return 1000 * (time.monotonic() - began) / len(done.ids)


async def measure(args: argparse.Namespace, adapters: dict[str, Path], ours: bool) -> list[dict[str, Any]]:
    from simstudent.rollout.engines.vllm import VllmEngine

    found = []
    began = time.monotonic()
    options = {"jit_monitor_verbose": True} if args.verbose else {}
    async with VllmEngine(
        args.model, adapters, max_model_len=4096, warm_up=ours, options=options if ours else options | BEFORE
    ) as engine:
        label = "ours" if ours else "AsyncLLM by itself"
        print(f"{label}: started in {time.monotonic() - began:.1f} s", flush=True)
        for adapter in (None, *adapters):
            for turn in (1, 2):
                facts = await burst(engine, args, adapter, seed=turn)
                print(
                    f"  {adapter or 'base':10} burst {turn}: {facts['seconds']:6.2f} s, first answer after "
                    f"{facts['first_answer']:6.2f} s, {facts['tokens_per_second']:8,.0f} tokens/s",
                    flush=True,
                )
                found.append({"settings": label, "adapter": adapter, "burst": turn, **facts})
            latency = await alone(engine, args, adapter)
            print(f"  {adapter or 'base':10} alone: {latency:.2f} ms a token", flush=True)
            found.append({"settings": label, "adapter": adapter, "alone_ms_per_token": latency})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--adapter", help="folder of a real one, used twice")
    parser.add_argument("--requests", type=int, default=512)
    parser.add_argument("--longest", type=int, default=1500, help="tokens of the longest prompt")
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    parser.add_argument("--verbose", action="store_true", help="vLLM tells of every kernel that it compiles")
    parser.add_argument("--to", metavar="FILE", help="write all figures as JSON")
    args = parser.parse_args()
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(args.adapter)] * 2 if args.adapter else [Path(scratch) / name for name in ("a", "b")]
        if not args.adapter:
            sys.path.insert(0, str(Path(__file__).parent.parent))
            from tests.tiny import save_adapter

            for seed, folder in enumerate(folders):
                save_adapter(folder, Path(args.model), seed=seed)
        adapters = dict(zip(("adapter a", "adapter b"), folders, strict=True))
        found = []
        for ours in (False, True):
            os.environ["TRITON_CACHE_DIR"] = f"{scratch}/triton-{ours}"
            found += asyncio.run(measure(args, adapters, ours))
    if args.to:
        Path(args.to).write_text(json.dumps(found, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
