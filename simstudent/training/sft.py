"""Supervised fine-tuning: ``simstudent sft recipes/demo.yaml``.

All submissions of a trajectory are learnt in one row, the first included, with loss on the student's turns and
their end-of-turn token only (the published code re-encodes the history for every target and skips the first).
Build the rows, configure TRL's SFTTrainer, train, keep the checkpoint with the lowest validation loss.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simstudent.data import regrade, report
from simstudent.data.load import Data, prepare
from simstudent.data.split import position
from simstudent.dialogue.encode import Encoded, Encoder, Row, encode, make_encoder
from simstudent.dialogue.serialize import dialogues
from simstudent.errors import SimstudentError, missing_extra
from simstudent.runs import (
    create_run,
    differences,
    newest_run,
    read_lines,
    read_manifest,
    read_recipe,
    write_json,
    write_lines,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from simstudent.recipe import Recipe


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What the trainer gets: rows to learn from, rows to validate on, and the encoder that made them."""

    train: Encoded
    validation: Encoded
    encoder: Encoder
    data: Data


def training_set(recipe: Recipe, say: Callable[[str], None]) -> TrainingSet:
    """Load, grade and encode the recipe's training and validation students, reporting each stage."""
    from simstudent.training.models import load_tokenizer

    encoder = make_encoder(recipe, load_tokenizer(recipe.model.id, recipe.model.revision))
    data = prepare(recipe.data, recipe.seed, say, recipe.grader)
    say(f"Data ({recipe.data.source.kind}):\n{report.terminal(data.attrition, data.division)}")
    for line in data.skips.text():
        say(line)
    encoded = {}
    assignments = regrade.limited(data.assignments, recipe.grader)
    with regrade.open_pool(recipe.grader) as pool:
        for side in ("train", "validation"):
            held = data.sides[side]
            if recipe.sft.limit is not None:
                count = recipe.sft.limit if side == "train" else math.ceil(recipe.sft.limit / 4)
                held = tuple(sorted(held, key=lambda t: position(recipe.seed, "sft", t.key))[:count])
            grades = regrade.regrade(held, assignments, pool)
            wrong = len(regrade.disagreements(held, grades))
            made = dialogues(held, assignments, grades, level=recipe.dialogue.feedback, system=recipe.dialogue.system)
            encoded[side] = encode(encoder, made)
            say(_side_text(side, held, encoded[side], wrong, recipe.dialogue.window))
    for side, rows in encoded.items():
        if not rows.rows:
            raise SimstudentError(f"no {side} dialogue fits dialogue.window = {recipe.dialogue.window} tokens")
    return TrainingSet(encoded["train"], encoded["validation"], encoder, data)


def _side_text(side: str, held: Any, encoded: Encoded, wrong: int, window: int) -> str:
    submissions = sum(len(t.submissions) for t in held)
    text = (
        f"  {side}: {len({t.student for t in held})} students, {len(held)} trajectories, {submissions} submissions; "
        f"{len(encoded.rows)} rows, {encoded.tokens:,} tokens, {encoded.trained_tokens:,} of them trained"
    )
    if wrong:
        text += f"; {wrong} logged grades differ from the graders' (the graders' are used)"
    if encoded.unfit:
        text += f"; {len(encoded.unfit)} submissions do not fit the {window}-token window and are left out"
    return text


def steps_of(recipe: Recipe, rows: int) -> int:
    """Optimiser steps of the whole training."""
    return max(1, math.ceil(math.ceil(rows / recipe.sft.batch_size) * recipe.sft.epochs))


def plan(recipe: Recipe, rows: TrainingSet) -> str:
    """What would be trained, in words."""
    steps = steps_of(recipe, len(rows.train.rows))
    longest = max(len(r.ids) for r in rows.train.rows)
    return (
        f"Plan: {recipe.model.id}, LoRA r={recipe.sft.lora.r} alpha={recipe.sft.lora.alpha}, {steps} steps of "
        f"{recipe.sft.batch_size} rows ({recipe.sft.epochs:g} epochs), longest row {longest} tokens, "
        f"feedback {recipe.dialogue.feedback}, template {rows.encoder.template.origin} "
        f"({rows.encoder.template.hash})"
    )


def run_sft(
    recipe: Recipe,
    *,
    root: Path,
    say: Callable[[str], None] = print,
    dry_run: bool = False,
    resume: bool = False,
) -> Path | None:
    """Train and return the run folder (None for a dry run, which loads no model and writes nothing).

    ``resume`` goes on with the newest unfinished run of this recipe's name, from its last whole checkpoint.
    Raises SimstudentError when it has none, or when recipe or data have changed since.
    """
    unfinished = _unfinished(recipe, root) if resume else None
    rows = training_set(recipe, say)
    say(plan(recipe, rows))
    if dry_run:
        say("Dry run: nothing was trained, nothing written.")
        return None
    facts = {
        "data_hash": rows.data.hash,
        "template_hash": rows.encoder.template.hash,
        "train": {"rows": len(rows.train.rows), "tokens": rows.train.tokens, "trained": rows.train.trained_tokens},
    }
    if unfinished is None:
        run = create_run(root, recipe, facts)
        write_json(run / "template.json", rows.encoder.template.to_dict())
        for name in ("attrition.csv", "data.md"):
            report.write(run / name, rows.data.attrition, rows.data.division)
    else:
        run = unfinished
        _check_unchanged(run, facts)
    say(f"Run folder: {run}")
    _train(recipe, rows, run, say)
    say(f"Adapter: {run / 'adapter'}")
    return run


def _unfinished(recipe: Recipe, root: Path) -> Path:
    run = newest_run(root, name=recipe.name, finished=False)
    if run is None:
        raise SimstudentError(f"nothing to resume: no unfinished run of '{recipe.name}' in {root}")
    changed = differences(read_recipe(run).to_dict(), recipe.to_dict())
    changed = [c for c in changed if not c.startswith("rollout.")]
    if changed:
        raise SimstudentError(
            f"{run} cannot be resumed, the recipe has changed since (undo this, or start anew without --resume):\n  "
            + "\n  ".join(changed)
        )
    return run


def _check_unchanged(run: Path, facts: dict[str, Any]) -> None:
    manifest = read_manifest(run)
    changed = differences({k: manifest.get(k) for k in facts}, facts)
    if changed:
        raise SimstudentError(
            f"{run} cannot be resumed, data or template have changed since (start anew without --resume):\n  "
            + "\n  ".join(changed)
        )


def _train(recipe: Recipe, rows: TrainingSet, run: Path, say: Callable[[str], None]) -> None:
    try:
        from peft import LoraConfig
        from trl import SFTTrainer
    except ImportError as error:
        raise missing_extra(error.name or "trl", "train") from None
    import transformers

    from simstudent.training.models import best_device, load_model
    from simstudent.training.progress import Progress

    device = best_device()
    quantization = recipe.model.quantization
    if quantization == "auto":
        quantization = "nf4" if device == "cuda" else "none"
    transformers.set_seed(recipe.seed)
    transformers.utils.logging.set_verbosity_error()
    model = load_model(recipe.model.id, revision=recipe.model.revision, quantization=quantization)
    lora = recipe.sft.lora
    say(f"Training on {device}, base weights {'NF4 (QLoRA)' if quantization == 'nf4' else 'bfloat16 (LoRA)'}")
    checkpoint = _last_checkpoint(run / "checkpoints")
    if checkpoint is not None:
        say(f"Going on from {checkpoint.name}")
    _forget_after(run / "metrics.jsonl", checkpoint)
    trainer = SFTTrainer(
        model=model,
        args=_settings(recipe, len(rows.train.rows), run, device),
        train_dataset=_dataset(rows.train.rows),
        eval_dataset=_dataset(rows.validation.rows),
        processing_class=rows.encoder.tokenizer,
        peft_config=LoraConfig(
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=lora.target if isinstance(lora.target, str) else list(lora.target),
            task_type="CAUSAL_LM",
        ),
        callbacks=[Progress(run / "metrics.jsonl", rows.train, say)],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    partial = run / "adapter.partial"
    shutil.rmtree(partial, ignore_errors=True)
    trainer.model.save_pretrained(str(partial))
    write_json(partial / "training.json", _outcome(trainer, device, quantization))
    partial.replace(run / "adapter")


def _outcome(trainer: Any, device: str, quantization: str) -> dict[str, Any]:
    import torch

    state = trainer.state
    name = torch.cuda.get_device_name() if device == "cuda" else device
    return {
        "device": name,
        "quantization": quantization,
        "steps": state.global_step,
        "best_checkpoint": state.best_model_checkpoint and Path(state.best_model_checkpoint).name,
        "best_validation_loss": state.best_metric,
        "peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if device == "cuda" else None,
    }


def _dataset(rows: tuple[Row, ...]) -> Any:
    from datasets import Dataset

    return Dataset.from_dict({"input_ids": [list(r.ids) for r in rows], "labels": [list(r.labels) for r in rows]})


def _settings(recipe: Recipe, rows: int, run: Path, device: str) -> Any:
    from trl import SFTConfig

    s = recipe.sft
    steps = steps_of(recipe, rows)
    every = math.ceil(steps / s.evaluations)
    settings: dict[str, Any] = {
        "output_dir": str(run / "checkpoints"),
        "max_length": None,  # the encoder's window already holds; a row must never be cut here
        "num_train_epochs": s.epochs,
        "per_device_train_batch_size": s.micro_batch_size,
        "per_device_eval_batch_size": s.micro_batch_size,
        "gradient_accumulation_steps": s.batch_size // s.micro_batch_size,
        "learning_rate": s.learning_rate,
        "lr_scheduler_type": s.schedule,
        "warmup_steps": s.warmup,
        "gradient_checkpointing": s.gradient_checkpointing,
        "train_sampling_strategy": "group_by_length" if s.micro_batch_size > 1 else "random",
        "bf16": True,
        "use_cpu": device == "cpu",
        "seed": recipe.seed,
        "eval_strategy": "steps",
        "eval_steps": every,
        "save_strategy": "steps",
        "save_steps": every,
        "save_total_limit": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "logging_steps": max(1, min(10, steps // 20)),
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": device == "cuda",
    }
    return SFTConfig(**{**settings, **s.trainer})


WHOLE = ("adapter_config.json", "optimizer.pt", "scheduler.pt", "trainer_state.json")
"""What a checkpoint folder holds once it is complete; trainer_state.json is written last."""


def _last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint; a half-written one (the process was killed) is removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    for checkpoint in reversed(found):
        if all((checkpoint / name).is_file() for name in WHOLE) and _readable(checkpoint / "trainer_state.json"):
            return checkpoint
        shutil.rmtree(checkpoint)
    return None


def _readable(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def _forget_after(metrics: Path, checkpoint: Path | None) -> None:
    """Drop the logged lines of steps that will be trained again."""
    step = 0 if checkpoint is None else int(checkpoint.name.split("-")[1])
    kept = [line for line in read_lines(metrics) if line["step"] <= step]
    write_lines(metrics, kept)
