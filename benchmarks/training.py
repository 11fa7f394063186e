"""SFT of one recipe in several ways, on the same students, model and machine, in one run: tokens learnt per second.

    python benchmarks/training.py recipes/newcaledonia.yaml --seconds 25 --set model.quantization=none

* ``ours``: each trajectory once, several in a row of the window's length (``sft.packing``); ``ours-sdpa``: with a mask.
* ``trl``: the same token ids and labels, packed by TRL's SFTTrainer itself (best fit), one packed row a forward pass;
  ``trl-flat``: as many as ours in a forward pass, which TRL makes one long row; ``trl-flex``: the same with
  flex_attention in place of a mask; ``trl-varlen``: with our attention, as TRL would go with flash-attn installed.
* ``rows``: as in the paper's published code, a row for each submission, with the history before it and loss on the
  last answer only; rows of like length padded together. ``rows-packed``: those rows packed by TRL.
* ``unsloth``: as ours, with ``sft.backend: unsloth``, where it is installed (beside an older TRL for all ways).

What counts is tokens with loss: each way learns the same ones once an epoch, and makes about as many steps of an epoch.
Each way runs in a process of its own, without validation; its first steps (``--warmup``) are not counted. A forward
pass may hold at most ``sft.micro_batch_size`` rows of the window's length.
"""

from __future__ import annotations

import argparse
import json
import pickle
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from simstudent.dialogue.encode import IGNORED, Row
from simstudent.recipe import Recipe, load_recipe
from simstudent.training import unsloth, varlen
from simstudent.training.focus import label_runs
from simstudent.training.packing import pack, packed
from simstudent.training.sections import Backend
from simstudent.training.sft import collator_of, training_set


@dataclass(frozen=True, slots=True)
class Way:
    """``rows``: trajectories or single targets; ``packing``: whose; ``flat``: packed rows of a forward pass as ours."""

    rows: str = "trajectory"
    packing: str = "trl"
    attention: str | None = None
    flat: bool = False
    backend: Backend = "plain"


WAYS = {
    "ours": Way(packing="ours"),
    "ours-sdpa": Way(packing="ours", attention="sdpa"),
    "trl": Way(),
    "trl-flat": Way(flat=True),
    "trl-flex": Way(flat=True, attention="flex_attention"),
    "trl-varlen": Way(flat=True, attention=varlen.NAME),
    "rows": Way(rows="target", packing="none"),
    "rows-packed": Way(rows="target"),
    "unsloth": Way(packing="ours", backend="unsloth"),
}


def targets(row: Row) -> list[Row]:
    """A row for each answer learnt in ``row``: what stands before it, and the answer."""
    found = []
    for number, (begin, end) in zip(row.targets, label_runs(row.labels), strict=True):
        labels = (*[IGNORED] * begin, *row.labels[begin:end])
        found.append(Row(row.key, row.ids[:end], labels, (number,), row.first))
    return found


def trained(rows: list[Row]) -> int:
    return sum(label != IGNORED for row in rows for label in row.labels)


def single(rows: list[Row]) -> list[dict[str, list[int]]]:
    return [{"input_ids": list(r.ids), "labels": list(r.labels)} for r in rows]


def run_way(way: Way, recipe: Recipe, rows: list[Row], args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Train a while in this process; figures of what was timed."""
    unsloth.begin(recipe, way.backend)
    from datasets import Dataset, disable_progress_bars
    from trl import SFTConfig, SFTTrainer

    from simstudent.training.models import best_device, load_tokenizer
    from simstudent.training.policy import lora_config, quantization_of
    from simstudent.training.settings import shared_settings

    disable_progress_bars()
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.set_seed(recipe.seed)
    device = best_device()
    s, window = recipe.sft, recipe.dialogue.window
    tokenizer = load_tokenizer(recipe.model.id)
    packs = len(pack([len(r.ids) for r in rows], window))  # of whole trajectories: what a step of the recipe counts
    chosen = rows if way.rows == "trajectory" else [t for row in rows for t in targets(row)]
    data = packed(chosen, window) if way.packing == "ours" else single(chosen)
    lengths = sorted(len(row["input_ids"]) for row in data)
    if way.packing == "none":
        micro = max(1, s.micro_batch_size * window // lengths[len(lengths) * 9 // 10])
        count = len(data)
    else:
        micro = s.micro_batch_size if way.packing == "ours" or way.flat else 1
        count = len(pack([len(r.ids) for r in chosen], window))
    accumulate = max(1, round(s.batch_size * count / packs / micro))
    settings = {
        **shared_settings(recipe, s, out, device=device, steps=100, saves=1),
        "max_steps": args.warmup + args.steps,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": accumulate,
        "gradient_checkpointing": args.checkpointing,
        "save_strategy": "no",
        "logging_steps": 1,
        "max_length": window if way.packing == "trl" else None,
        "packing": way.packing == "trl",
        "train_sampling_strategy": "group_by_length" if way.packing == "none" else "random",
    }
    plain = way.backend == "plain"
    if not plain:
        settings["dataset_kwargs"] = {"skip_prepare_dataset": True}
    asked = way.attention or args.attention or ("auto" if way.packing == "ours" and plain else None)
    packing = {"packing": True, "backend": way.backend, "attention": asked or "auto"}
    ours = recipe.model_copy(update={"sft": s.model_copy(update=packing)})
    attention = None if asked is None else varlen.attention_for(ours, device)
    model = load(way, recipe, quantization_of(recipe, device), device, args.checkpointing, attention)
    trainer = counting(SFTTrainer)(
        model=model,
        args=SFTConfig(**settings),
        train_dataset=Dataset.from_list(data),
        processing_class=tokenizer,
        peft_config=lora_config(recipe) if plain else None,
        data_collator=collator_of(ours, tokenizer, attention) if way.packing == "ours" else None,
    )
    if not plain:
        unsloth.check_rows(trainer, data)
    trainer.remove_callback(transformers.PrinterCallback)
    clock = stopwatch(trainer, args.warmup, args.seconds, device)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        **clock(),
        "device": device_name(device),
        "versions": {name: version(name) for name in ("torch", "transformers", "trl", "peft")},
        "attention": str(model.config._attn_implementation),
        "rows": len(data),
        "micro": micro,
        "accumulate": accumulate,
        "real": sum(lengths) / trained(chosen),
        "first loss": losses[0],
        "last loss": losses[-1],
    }


def load(way: Way, recipe: Recipe, quantization: str, device: str, checkpointing: bool, attention: str | None) -> Any:
    """The base model; through unsloth with its adapter."""
    from simstudent.training.models import load_model, resolve_model

    if way.backend == "unsloth":
        base = unsloth.load_base(recipe, resolve_model(recipe.model.id), quantization=quantization, device=device)
        return unsloth.add_adapter(recipe, base, checkpointing=checkpointing, adapter=None)
    return load_model(recipe.model.id, quantization=quantization, device=device, attention=attention)  # type: ignore[arg-type]


def counting(trainer_class: Any) -> Any:
    """The trainer, adding up tokens that it computes and tokens that carry loss."""

    class Counting(trainer_class):  # type: ignore[misc]
        computed = learnt = 0

        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            labels = inputs["labels"]
            self.computed += labels.numel()
            self.learnt += (labels[..., 1:] != IGNORED).sum()  # on the device: no waiting for it here
            return super().training_step(model, inputs, *args, **kwargs)

    return Counting


def stopwatch(trainer: Any, warmup: int, seconds: float, device: str) -> Any:
    """Times the steps after ``warmup`` and ends the training after ``seconds`` of them; call it for the figures."""
    import torch
    import transformers

    began: list[float] = []

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    class Watch(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == warmup:
                wait()
                trainer.computed = trainer.learnt = 0
                began.append(time.perf_counter())
            elif began and time.perf_counter() - began[0] > seconds:
                control.should_training_stop = True

    trainer.add_callback(Watch())

    def figures() -> dict[str, Any]:
        wait()
        took = time.perf_counter() - began[0]
        if device == "cuda":
            peak, reserved = torch.cuda.max_memory_allocated() / 2**30, torch.cuda.max_memory_reserved() / 2**30
        else:
            peak = reserved = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        return {
            "seconds": took,
            "steps": trainer.state.global_step - warmup,
            "trained_per_second": float(trainer.learnt) / took,
            "computed_per_second": trainer.computed / took,
            "peak_gib": peak,
            "reserved_gib": reserved,
        }

    return figures


def device_name(device: str) -> str:
    import torch

    return str(torch.cuda.get_device_name()) if device == "cuda" else device


def table(found: dict[str, dict[str, Any]]) -> str:
    """A line for each way, and what ``ours`` is beside the fastest of the others."""
    heads = (
        "way",
        "attention",
        "rows a pass",
        "passes a step",
        "steps",
        "trained tok/s",
        "all tok/s",
        "computed tok/s",
    )
    lines = ["  ".join(f"{h:>14}" for h in (*heads, "peak GiB", "loss first", "last"))]
    for name, f in found.items():
        cells = (name, f["attention"], f["micro"], f["accumulate"], f["steps"], f"{f['trained_per_second']:,.0f}")
        cells += (f"{f['trained_per_second'] * f['real']:,.0f}", f"{f['computed_per_second']:,.0f}")
        cells += (f"{f['peak_gib']:.2f}", f"{f['first loss']:.3f}", f"{f['last loss']:.3f}")
        lines.append("  ".join(f"{c:>14}" for c in cells))
    if "ours" in found:
        kinds = (("trl", "TRL with packing"), ("rows", "a row per target"), ("unsloth", "unsloth"))
        for prefix, title in kinds:
            others = {name: f["trained_per_second"] for name, f in found.items() if name.startswith(prefix)}
            for name, speed in others.items():
                ratio = found["ours"]["trained_per_second"] / speed
                best = " (the fastest of its kind)" if speed == max(others.values()) and len(others) > 1 else ""
                lines.append(f"ours / {title}, {name}: {ratio:.2f}{best}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[name for name in WAYS if name != "unsloth"])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="dotted keys of the recipe")
    parser.add_argument("--seconds", type=float, default=30, help="of timed steps for each way")
    parser.add_argument("--steps", type=int, default=1000, help="timed steps at most")
    parser.add_argument("--warmup", type=int, default=3, help="steps before the clock starts")
    parser.add_argument("--limit-seconds", type=float, default=150, help="for each way, loading and all")
    parser.add_argument("--total-seconds", type=float, default=3600, help="for all ways; what does not fit is left out")
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing, in all ways")
    parser.add_argument("--attention", help="attention implementation of all ways but trl-flex")
    parser.add_argument("--out", type=Path, help="figures as JSON")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    pairs = (item.partition("=") for item in args.set)
    recipe = load_recipe(args.recipe, {key: yaml.safe_load(value) for key, _, value in pairs})
    if args.way:
        rows = pickle.loads((args.folder / "rows.pickle").read_bytes())
        figures = run_way(WAYS[args.way], recipe, rows, args, args.folder / args.way)
        (args.folder / f"{args.way}.json").write_text(json.dumps(figures))
        return
    with tempfile.TemporaryDirectory() as scratch:
        compare(recipe, args, Path(scratch))


def compare(recipe: Recipe, args: argparse.Namespace, folder: Path) -> None:
    """Encode once, run each way in a process of its own, print what came out."""
    rows = list(training_set(recipe, lambda line: print(line, flush=True)).train.rows)
    (folder / "rows.pickle").write_bytes(pickle.dumps(rows))
    per_target = [t for row in rows for t in targets(row)]
    assert trained(per_target) == trained(rows), "every way must learn the same tokens"
    for title, made in (("a row per trajectory", rows), ("a row per target", per_target)):
        lengths = [len(r.ids) for r in made]
        mean = statistics.mean(lengths)
        print(f"{title}: {len(made):,} rows, {sum(lengths):,} tokens, {trained(made):,} trained, mean row {mean:.0f}")
    found: dict[str, dict[str, Any]] = {}
    started = time.perf_counter()
    for name in args.ways:
        left = min(args.limit_seconds, args.total_seconds - (time.perf_counter() - started))
        if left < 20:
            print(f"{name}: left out, the time is over", flush=True)
            continue
        command = [sys.executable, *sys.argv, "--way", name, "--folder", str(folder)]
        began = time.perf_counter()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=left)
            failure = "\n".join((done.stdout + done.stderr).splitlines()[-15:]) if done.returncode else ""
        except subprocess.TimeoutExpired:
            failure = f"not done within {left:.0f} s"
        if failure:
            print(f"{name}: FAILED\n{failure}", flush=True)
            continue
        found[name] = json.loads((folder / f"{name}.json").read_text())
        speed = found[name]["trained_per_second"]
        print(f"{name}: {speed:,.0f} trained tokens/s ({time.perf_counter() - began:.0f} s in all)", flush=True)
        if args.out:
            args.out.write_text(json.dumps({"recipe": recipe.name, "model": recipe.model.id, "ways": found}, indent=1))
    if found:
        print(f"{recipe.name}, {recipe.model.id} on {next(iter(found.values()))['device']}:")
        print(table(found))


if __name__ == "__main__":
    main()
