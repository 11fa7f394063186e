"""Direct preference optimisation: ``simstudent dpo recipes/newcaledonia.yaml``, from the recipe's SFT run.

The student's next submission is preferred over another one (pairs.py). The reference is the SFT policy, as in
the paper: its log-probabilities are computed once ahead, or come from a frozen copy of the SFT adapter, never from the
base model with the adapter off.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simstudent.data.split import Side, position
from simstudent.errors import SimstudentError, missing_extra
from simstudent.training import unsloth
from simstudent.training.checks import check
from simstudent.training.examples import Examples, examples
from simstudent.training.pairs import PairRow, PairSet, encode_pairs, pairs_of, summary
from simstudent.training.ranks import is_main, once, quiet, same_order, world_size
from simstudent.training.settings import shared_settings, steps_of, validated_settings
from simstudent.training.sharded import exact_sums
from simstudent.training.stages import begin, finish, identity, prepared, sft_run, unfinished_run

if TYPE_CHECKING:
    from simstudent.recipe import Recipe

SHOWN = {"margin": "rewards/margins", "accuracy": "rewards/accuracies"}
"""Columns of the progress line: the implicit reward of chosen over rejected, and how often it is above 0."""
LENGTH = "length"
"""Column by which the trainer puts pairs of about the same length into a batch."""
ALSO = {"validation margin": "eval_rewards/margins", "validation accuracy": "eval_rewards/accuracies"}


def pair_sets(recipe: Recipe, made: Examples, say: Callable[[str], None]) -> dict[Side, PairSet]:
    """The recipe's pairs of training and validation students. Raises SimstudentError when a side has none."""
    d = recipe.dpo
    found: dict[Side, PairSet] = {}
    for side, held in made.sides.items():
        pairs = [
            pair
            for t in held.trajectories
            for pair in pairs_of(t, held.grades[t.key], d.pairs, first=d.first, seed=recipe.seed)
        ]
        if d.limit is not None:
            count = d.limit if side == "train" else math.ceil(d.limit / 4)
            pairs = sorted(pairs, key=lambda p: position(recipe.seed, "dpo", p.mode, p.key, str(p.t)))[:count]
        found[side] = encode_pairs(made.encoder, pairs, held.dialogues)
        say("\n".join([f"  {side}: {held.text}; {len(found[side].rows)} pairs", *summary(found[side])]))
        if not found[side].rows:
            raise SimstudentError(f"no {side} pair: dpo.pairs {d.pairs} finds none in these trajectories")
    return found


def run_dpo(
    recipe: Recipe,
    *,
    root: Path,
    say: Callable[[str], None] = print,
    start: Path | None = None,
    dry_run: bool = False,
    resume: bool = False,
    max_minutes: float | None = None,
) -> Path | None:
    """Train from an SFT run (``start``, or the newest that fits the recipe) and return the new run folder.

    The rest is as for ``run_sft``.
    """
    say = quiet(say)
    check(recipe, "dpo")
    if not dry_run:
        unsloth.begin(recipe, recipe.dpo.backend)
    unfinished = once(lambda: unfinished_run(recipe, "dpo", root) if resume else None)
    made = examples(recipe, say)
    pairs = pair_sets(recipe, made, say)
    d = recipe.dpo
    steps = steps_of(len(pairs["train"].rows), d.batch_size, d.epochs)
    say(f"Plan: DPO, beta {d.beta:g}, {steps} steps of {d.batch_size} pairs ({d.epochs:g} epochs)")
    if dry_run:
        say("Dry run: nothing was trained, nothing written.")
        return None
    template = made.encoder.template
    facts = {"pairs": {side: found.counts for side, found in pairs.items()}}
    sft = once(lambda: sft_run(recipe, root, start, identity(made.data, template)))
    run = once(lambda: begin(recipe, "dpo", made.data, template, facts, root=root, unfinished=unfinished, start=sft))
    say(f"Run folder: {run}, from {sft}")
    _train(recipe, made, pairs, sft / "adapter", run, say, max_minutes)
    return run


def dpo_trainer() -> Any:
    """TRL's DPOTrainer over pairs that are token ids already: it has no such entrance of its own."""
    import torch
    from accelerate.utils import convert_outputs_to_fp32
    from packaging.version import Version
    from trl import DPOTrainer

    exact = Version(version("trl")) >= Version("1.15")

    class PairTrainer(DPOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
            return dataset

        def compute_ref_log_probs(self, model: Any, inputs: Any) -> Any:
            if exact:
                return super().compute_ref_log_probs(model, inputs)
            # Up to TRL 1.14 these are added up in bfloat16, which keeps two or three digits of a sum. As in training:
            forward, mixed = model.forward, torch.autocast(self.accelerator.device.type, torch.bfloat16)
            model.forward = convert_outputs_to_fp32(mixed(forward))
            try:
                return super().compute_ref_log_probs(model, inputs)
            finally:
                model.forward = forward

    return PairTrainer


def dataset_of(pairs: PairSet) -> Any:
    """The pairs with the columns that TRL's collator reads, and their lengths.

    The longest come first: where rows are read in order (reference, validation) a batch then holds rows of about the
    same length, and the first batch shows whether the memory is enough.
    """
    from datasets import Dataset

    rows = sorted(pairs.rows, key=_tokens, reverse=True)
    return Dataset.from_list(
        [
            {
                "prompt_ids": list(r.prompt),
                "chosen_ids": list(r.chosen),
                "rejected_ids": list(r.rejected),
                LENGTH: _tokens(r),
            }
            for r in rows
        ]
    )


def shared_dataset(dataset: Any, folder: Path) -> Any:
    """The same rows for all processes, from one file: TRL puts the reference's log-probabilities beside it for all."""
    from datasets import load_from_disk

    def write() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        dataset.save_to_disk(str(folder))

    once(write)
    return load_from_disk(str(folder))


def _tokens(row: PairRow) -> int:
    """The pair's tokens, prompt and longer side: rows of a batch are padded to its longest."""
    return len(row.prompt) + max(len(row.chosen), len(row.rejected))


def _train(
    recipe: Recipe,
    made: Examples,
    pairs: dict[Side, PairSet],
    adapter: Path,
    run: Path,
    say: Callable[[str], None],
    max_minutes: float | None,
) -> None:
    try:
        import trl
    except ImportError as error:
        raise missing_extra(error.name or "trl", "train") from None
    import datasets
    import transformers

    from simstudent.training.policy import load_policy, outcome
    from simstudent.training.progress import Progress, TimeLimit

    os.environ.setdefault("TQDM_DISABLE", "1")  # TRL's own bars, for the reference's log-probabilities
    datasets.disable_progress_bars()
    d = recipe.dpo
    longest = max(_tokens(r) for p in pairs.values() for r in p.rows)
    policy = load_policy(
        recipe,
        say,
        tokens=2 * longest * d.micro_batch_size,
        checkpointing=d.gradient_checkpointing,
        adapter=adapter,
        backend=d.backend,
    )
    checkpoint = once(lambda: prepared(run))
    steps = steps_of(len(pairs["train"].rows), d.batch_size, d.epochs)
    settings = {
        **shared_settings(recipe, d, run, device=policy.device, steps=steps, saves=d.evaluations, world=world_size()),
        **validated_settings(steps, d.evaluations),
        "beta": d.beta,
        "max_length": None,  # the window already holds
        "train_sampling_strategy": "group_by_length" if d.micro_batch_size > 1 else "random",
        "length_column_name": LENGTH,
        "precompute_ref_log_probs": d.reference == "precomputed",
        # Nothing is kept for a backward pass there, and a small model waits for launches rather than for the GPU.
        "precompute_ref_batch_size": 4 * d.micro_batch_size,
        "gradient_checkpointing": policy.checkpointing,
    }
    rows = {side: dataset_of(found) for side, found in pairs.items()}
    together = run / "reference"
    if world_size() > 1 and d.reference == "precomputed":
        rows = {side: shared_dataset(dataset, together / side) for side, dataset in rows.items()}
    trainer = same_order(dpo_trainer())(
        model=policy.model,
        args=trl.DPOConfig(**{**settings, **d.trainer}),
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        processing_class=made.encoder.tokenizer,
        callbacks=[
            Progress(
                run / "metrics.jsonl", pairs["train"].tokens / len(pairs["train"].rows), say, shown=SHOWN, also=ALSO
            ),
            TimeLimit(max_minutes),
        ],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    exact_sums(trainer)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    finish(trainer, run, say, lambda: outcome(trainer, policy), max_minutes)
    if is_main():
        shutil.rmtree(together, ignore_errors=True)
