"""Supervised fine-tuning: ``simstudent sft recipes/demo.yaml``.

All submissions of a trajectory are learnt in one row, the first included, with loss on the student's turns and
their end-of-turn token only (the published code re-encodes the history for every target and skips the first).
Build the rows, configure TRL's SFTTrainer, train, keep the best checkpoint. With ``dialogue.feedback: none`` this is
the PARA baseline.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simstudent.data.load import Data
from simstudent.data.records import Trajectory
from simstudent.data.split import Side, position
from simstudent.dialogue.encode import Encoded, Encoder, Row, encode
from simstudent.errors import SimstudentError, missing_extra
from simstudent.runs import write_json
from simstudent.training import unsloth, varlen
from simstudent.training.best import keep_most_skilful
from simstudent.training.checks import check
from simstudent.training.examples import Held, examples
from simstudent.training.focus import focused
from simstudent.training.packing import Collator, packed
from simstudent.training.ranks import is_main, once, quiet, same_order, world_size
from simstudent.training.settings import shared_settings, steps_of, validated_settings
from simstudent.training.sharded import exact_sums
from simstudent.training.stages import begin, finish, prepared, unfinished_run
from simstudent.training.students import attach, new_students, roster_of, with_students

if TYPE_CHECKING:
    from simstudent.recipe import Recipe
    from simstudent.training.policy import Policy


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What the trainer gets: rows to learn from, rows to validate on, and the encoder that made them."""

    train: Encoded
    validation: Encoded
    encoder: Encoder
    data: Data


def training_set(recipe: Recipe, say: Callable[[str], None]) -> TrainingSet:
    """Load, grade and encode the recipe's training and validation students, reporting each stage."""

    def choose(side: Side, held: tuple[Trajectory, ...]) -> tuple[Trajectory, ...]:
        if recipe.sft.limit is None:
            return held
        count = recipe.sft.limit if side == "train" else math.ceil(recipe.sft.limit / 4)
        return tuple(sorted(held, key=lambda t: position(recipe.seed, "sft", t.key))[:count])

    made = examples(recipe, say, choose)
    window = recipe.dialogue.window
    encoded: dict[Side, Encoded] = {}
    for side, held in made.sides.items():
        encoded[side] = encode(made.encoder, held.dialogues.values())
        if side == "train" and recipe.sft.copied_lines < 1:
            encoded[side] = focused(encoded[side], held.dialogues, made.encoder, recipe.sft.copied_lines, recipe.seed)
        if recipe.students.kind != "none":
            encoded[side] = with_students(encoded[side], roster_of(made.data), held.students)
        say(_side_text(side, held, encoded[side], window))
        if not encoded[side].rows:
            raise SimstudentError(f"no {side} dialogue fits dialogue.window = {window} tokens")
    return TrainingSet(encoded["train"], encoded["validation"], made.encoder, made.data)


def _side_text(side: Side, held: Held, encoded: Encoded, window: int) -> str:
    text = (
        f"  {side}: {held.text}; {len(encoded.rows)} rows, {encoded.tokens:,} tokens, "
        f"{encoded.trained_tokens:,} of them trained"
    )
    if encoded.unfit:
        text += f"; {len(encoded.unfit)} submissions do not fit the {window}-token window and are left out"
    return text


def trainer_rows(recipe: Recipe, rows: tuple[Row, ...]) -> list[dict[str, list[int]]]:
    """Rows as the collator takes them: packed to the window's length, or one by one."""
    if recipe.sft.packing:
        return packed(rows, recipe.dialogue.window)
    if recipe.sft.backend == "unsloth":  # its batches are one row of several segments, packed ahead or not
        return [made for row in rows for made in packed([row], recipe.dialogue.window)]
    return [{"input_ids": list(r.ids), "labels": list(r.labels)} for r in rows]


def plan(recipe: Recipe, rows: TrainingSet, count: int) -> str:
    """What would be trained, in words. ``count``: rows after packing."""
    s = recipe.sft
    steps = steps_of(count, s.batch_size, s.epochs)
    longest = max(len(r.ids) for r in rows.train.rows)
    tuned = "all weights" if s.lora is None else f"LoRA r={s.lora.r} alpha={s.lora.alpha}"
    text = (
        f"Plan: {recipe.model.id}, {tuned}, {steps} steps of {s.batch_size} rows "
        f"({s.epochs:g} epochs), longest row {longest} tokens, feedback {recipe.dialogue.feedback}, template "
        f"{rows.encoder.template.origin} ({rows.encoder.template.hash})"
    )
    if s.packing:
        share = rows.train.tokens / (count * recipe.dialogue.window)
        text += (
            f"; packed: {len(rows.train.rows)} rows in {count} of {recipe.dialogue.window}, {100 * share:.0f} % full"
        )
    return text


def run_sft(
    recipe: Recipe,
    *,
    root: Path,
    say: Callable[[str], None] = print,
    dry_run: bool = False,
    resume: bool = False,
    max_minutes: float | None = None,
) -> Path | None:
    """Train and return the run folder (None for a dry run, which loads no model and writes nothing).

    ``resume`` goes on with the newest unfinished run of this recipe's name, from its last whole checkpoint.
    ``max_minutes`` stops with a checkpoint after that time; the run is then unfinished.
    Raises SimstudentError when it has none, or when recipe or data have changed since.
    """
    say = quiet(say)
    check(recipe, "sft")
    if not dry_run:
        unsloth.begin(recipe, recipe.sft.backend)
    unfinished = once(lambda: unfinished_run(recipe, "sft", root) if resume else None)
    rows = training_set(recipe, say)
    train = trainer_rows(recipe, rows.train.rows)
    say(plan(recipe, rows, len(train)))
    if dry_run:
        say("Dry run: nothing was trained, nothing written.")
        return None
    counts = {"rows": len(rows.train.rows), "tokens": rows.train.tokens, "trained": rows.train.trained_tokens}
    template = rows.encoder.template
    run = once(lambda: begin(recipe, "sft", rows.data, template, {"train": counts}, root=root, unfinished=unfinished))
    say(f"Run folder: {run}")
    _train(recipe, rows, train, run, say, max_minutes)
    if recipe.sft.best == "skill" and (run / "adapter").is_dir() and is_main():
        best = keep_most_skilful(recipe, run, say)
        for path in [*best.glob("adapter_*"), *best.glob("students.*")]:
            partial = run / "adapter" / f"{path.name}.partial"
            shutil.copyfile(path, partial)
            partial.replace(run / "adapter" / path.name)
        facts = json.loads((run / "adapter" / "training.json").read_text(encoding="utf-8"))
        write_json(run / "adapter" / "training.json", facts | {"best_checkpoint": best.name})
        say(f"Kept {best.name}, the most skilful")
    return run


def _train(
    recipe: Recipe,
    rows: TrainingSet,
    train: list[dict[str, list[int]]],
    run: Path,
    say: Callable[[str], None],
    max_minutes: float | None,
) -> None:
    try:
        from datasets import Dataset
        from trl import SFTTrainer
    except ImportError as error:
        raise missing_extra(error.name or "trl", "train") from None
    import transformers

    from simstudent.training.learn_students import STATE, TrainStudents
    from simstudent.training.models import best_device
    from simstudent.training.policy import load_policy, lora_config, outcome
    from simstudent.training.progress import Progress, TimeLimit

    s = recipe.sft
    validation = trainer_rows(recipe, rows.validation.rows)
    longest = max(len(r["input_ids"]) for r in [*train, *validation])
    policy = load_policy(
        recipe,
        say,
        tokens=longest * s.micro_batch_size,
        checkpointing=s.gradient_checkpointing,
        backend=s.backend,
        attention=None if s.backend == "unsloth" else varlen.attention_for(recipe, best_device()),
    )
    learner = _learner(recipe, rows.data, policy.model, say)
    checkpoint = once(lambda: prepared(run, () if learner is None else (STATE,)))
    if checkpoint is not None:
        say(f"Going on from {checkpoint.name}")
    steps = steps_of(len(train), s.batch_size, s.epochs)
    collator = collator_of(recipe, rows.encoder.tokenizer, policy.attention)
    trainer = same_order(SFTTrainer)(
        model=policy.model,
        args=_settings(recipe, run, policy, collator, steps),
        train_dataset=Dataset.from_list(train),
        eval_dataset=Dataset.from_list(validation),
        processing_class=rows.encoder.tokenizer,
        peft_config=lora_config(recipe) if s.backend == "plain" else None,
        data_collator=collator,
        callbacks=[Progress(run / "metrics.jsonl", rows.train.tokens / len(train), say), TimeLimit(max_minutes)],
    )
    if s.backend == "unsloth":
        unsloth.check_rows(trainer, train)
    if learner is not None:
        trainer.add_callback(TrainStudents(learner, checkpoint))
    if s.patience is not None:
        trainer.add_callback(transformers.EarlyStoppingCallback(s.patience))
    trainer.remove_callback(transformers.PrinterCallback)
    exact_sums(trainer)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    beside = None if learner is None else learner.students.save
    finish(trainer, run, say, lambda: outcome(trainer, policy), max_minutes, beside)


def _learner(recipe: Recipe, data: Data, model: Any, say: Callable[[str], None]) -> Any:
    """The students' vectors, read by the model from now on; None where the recipe has none."""
    from simstudent.training.learn_students import Learner

    if recipe.students.kind == "none":
        return None
    students = new_students(recipe.students, roster_of(data), model, recipe.seed)
    say(students.text)
    learner = Learner(students, learning_rate=recipe.students.learning_rate, dropout=recipe.students.dropout)
    attach(model, learner.lookup)
    return learner


def collator_of(recipe: Recipe, tokenizer: Any, attention: str | None) -> Collator | None:
    """Ours for packed rows and for unsloth, in one row where attention needs no mask; None: TRL's own, which pads."""
    if not recipe.sft.packing and recipe.sft.backend == "plain":
        return None
    flat = recipe.sft.backend == "unsloth" or attention == varlen.NAME or (attention or "").startswith("flash")
    return Collator(pad_id(tokenizer), flat=flat)


def pad_id(tokenizer: Any) -> int:
    return int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)


def _settings(recipe: Recipe, run: Path, policy: Policy, collator: Collator | None, steps: int) -> Any:
    from trl import SFTConfig

    s = recipe.sft
    settings = {
        **shared_settings(recipe, s, run, device=policy.device, steps=steps, saves=s.evaluations, world=world_size()),
        **validated_settings(steps, s.evaluations),
        "max_length": None,  # the encoder's window already holds; a row must never be cut here
        "gradient_checkpointing": policy.checkpointing,
        "train_sampling_strategy": "group_by_length" if s.micro_batch_size > 1 and collator is None else "random",
    }
    if collator is not None and collator.flat:
        # The trainer weighs the losses of validation batches by their rows, and a flat batch is one row.
        settings["per_device_eval_batch_size"] = 1
    if s.backend == "unsloth":  # else it takes rows with labels for its own to collate
        settings["dataset_kwargs"] = {"skip_prepare_dataset": True}
    if s.best != "loss":
        settings["load_best_model_at_end"] = False
    if s.best == "skill":
        settings["save_total_limit"] = None  # all are rolled out
    return SFTConfig(**{**settings, **s.trainer})
