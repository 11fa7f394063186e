"""DAPO: ``simstudent dapo recipes/newcaledonia.yaml``, from the recipe's SFT run.

The policy writes G submissions to each prompt, the graders run them, and those beside what the student did next are
rewarded (rewards.py). TRL's GRPOTrainer with loss ``dapo``, clipping higher above than below, no KL, no scaling of
rewards, and completions that were cut off masked out. It departs from the paper's description in nothing but this:
prompts whose rewards do not vary are sampled once ahead and left out, where DAPO samples again during training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graders import Pool
from simstudent.data import regrade
from simstudent.data.split import position
from simstudent.dialogue.encode import Encoder, Ids
from simstudent.errors import SimstudentError, missing_extra
from simstudent.training.checks import check
from simstudent.training.examples import Examples, examples
from simstudent.training.ranks import free_port, once, quiet, world_size
from simstudent.training.reinforce import Judge, grade_early, guard, keep_varying, policy_trainer
from simstudent.training.rewards import Example
from simstudent.training.settings import shared_settings, steps_of
from simstudent.training.stages import begin, finish, identity, prepared, sft_run, unfinished_run

if TYPE_CHECKING:
    from simstudent.recipe import Recipe

SHOWN = {"reward": "reward", "varying": "varying", "repeats": "repeats", "full marks": "full_marks"}
ALSO = {
    "reward_std": "reward_std",
    "unscored": "unscored",
    "students_full_marks": "students_full_marks",
    "cut_off": "completions/clipped_ratio",
    "mean_length": "completions/mean_length",
    "entropy": "entropy",
    "grading_wait_share": "grading_wait_share",
    "samples_per_second": "samples_per_second",
    "step_seconds": "step_time",
}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A dialogue up to a submission of a student, and what came next. ``key``: student/assignment/t."""

    key: str
    ids: Ids
    example: Example


def prompts_of(made: Examples, *, positions: int, seed: int) -> tuple[list[Prompt], int]:
    """``positions`` prompts of each training trajectory, drawn by a seeded hash, and how many did not fit the window.

    A prompt holds at least one submission of the student's, so that there is something to go on from.
    """
    found, unfit = [], 0
    held = made.sides["train"]
    for t in held.trajectories:
        problem = made.assignments[t.assignment].problem
        if problem is None:
            raise SimstudentError(f"DAPO grades programs, and assignment {t.assignment} has no tests")
        dialogue, grades = held.dialogues[t.key], held.grades[t.key]
        places = sorted(range(1, len(t.submissions)), key=lambda n: position(seed, "dapo", t.key, str(n)))
        for n in sorted(places[:positions]):
            ids = made.encoder.prompt_before(dialogue, dialogue.turn_of(n))
            if ids is None:
                unfit += 1
                continue
            example = Example(problem, t.submissions[n].code, grades[n], t.submissions[n - 1].code)
            found.append(Prompt(f"{t.key}/{n}", ids, example))
    return found, unfit


def run_dapo(
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
    check(recipe, "dapo")
    unfinished = once(lambda: unfinished_run(recipe, "dapo", root) if resume else None)
    made = examples(recipe, say)
    d = recipe.dapo
    prompts, unfit = prompts_of(made, positions=d.positions, seed=recipe.seed)
    if d.limit is not None:
        prompts = sorted(prompts, key=lambda p: position(recipe.seed, "dapo-limit", p.key))[: d.limit]
    if not prompts:
        raise SimstudentError("no prompt: no training trajectory has two submissions that fit the window")
    if len(prompts) < d.batch_size:
        raise SimstudentError(f"{len(prompts)} prompts are no batch of {d.batch_size}: set dapo.batch_size to fewer")
    say(f"  {len(prompts)} prompts" + (f"; {unfit} do not fit the window" if unfit else ""))
    say(f"Plan: DAPO, G={d.generations}, {d.batch_size} prompts a step, rewards {_named(d.rewards)}")
    if dry_run:
        say("Dry run: nothing was trained, nothing written.")
        return None
    template, facts = made.encoder.template, {"prompts": len(prompts)}
    sft = once(lambda: sft_run(recipe, root, start, identity(made.data, template)))
    run = once(lambda: begin(recipe, "dapo", made.data, template, facts, root=root, unfinished=unfinished, start=sft))
    say(f"Run folder: {run}, from {sft}")
    with regrade.open_pool(recipe.grader) as pool:
        _train(recipe, made.encoder, prompts, pool, sft / "adapter", run, say, max_minutes)
    return run


def _named(rewards: Mapping[str, float]) -> str:
    return " + ".join(f"{weight:g} {name}" for name, weight in rewards.items())


def _train(
    recipe: Recipe,
    encoder: Encoder,
    prompts: Sequence[Prompt],
    pool: Pool,
    adapter: Path,
    run: Path,
    say: Callable[[str], None],
    max_minutes: float | None,
) -> None:
    try:
        import trl  # noqa: F401
        from accelerate.utils import set_seed
        from datasets import Dataset
    except ImportError as error:
        raise missing_extra(error.name or "trl", "train") from None
    import transformers

    from simstudent.training.models import best_device
    from simstudent.training.policy import load_policy, outcome
    from simstudent.training.progress import Progress, TimeLimit

    d = recipe.dapo
    device = best_device()
    vllm = uses_vllm(recipe, device)
    longest = max(len(p.ids) for p in prompts) + recipe.dialogue.answer_tokens
    policy = load_policy(
        recipe,
        say,
        tokens=longest * d.micro_batch_size,
        checkpointing=d.gradient_checkpointing,
        adapter=adapter,
        quantization=base_quantization(recipe, vllm),
        reserved=d.vllm_memory if vllm else 0.0,
    )
    if vllm:
        free_port()
    checkpoint = once(lambda: prepared(run))
    judge = Judge(encoder, {p.key: p.example for p in prompts}, pool, d.rewards)
    ids = {p.key: p.ids for p in prompts}
    trainer = policy_trainer(ids, judge, encoder.stop_ids)(
        model=policy.model,
        reward_funcs=[judge],
        args=_settings(recipe, encoder, run, policy, steps_of(len(prompts), d.batch_size, d.epochs), vllm),
        train_dataset=Dataset.from_dict({"prompt": [p.key for p in prompts]}),
        processing_class=encoder.tokenizer,
        callbacks=[
            Progress(run / "metrics.jsonl", None, say, shown=SHOWN, also=ALSO),
            TimeLimit(max_minutes),
            guard(judge, say),
        ],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    if vllm and trainer.vllm_generation.mode == "colocate":
        grade_early(trainer.vllm_generation.llm.llm_engine, ids, judge)
    if d.filter:
        keep_varying(trainer, judge, run / "prompts.json", say)
        # A run that is resumed before its first checkpoint filters no prompts again. As TRL: another seed per process.
        set_seed(recipe.seed, device_specific=True)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    finish(trainer, run, say, lambda: outcome(trainer, policy), max_minutes)


def uses_vllm(recipe: Recipe, device: str) -> bool:
    """Whether vLLM writes the completions. Raises SimstudentError when it is asked for and not there."""
    import importlib.util

    there = importlib.util.find_spec("vllm") is not None
    if recipe.dapo.vllm == "colocate" and not (there and device == "cuda"):
        raise SimstudentError("dapo.vllm: colocate needs an NVIDIA GPU and the extra 'vllm'; set it to auto or off")
    return recipe.dapo.vllm != "off" and there and device == "cuda"


def base_quantization(recipe: Recipe, vllm: bool) -> str | None:
    """The base's weights: bfloat16 beside vLLM unless the recipe insists on NF4. None: as the recipe says.

    Raises SimstudentError when it does so without saying that it knows the price.
    """
    if not vllm or recipe.model.quantization == "none":
        return None
    if recipe.model.quantization == "auto":
        return "none"
    if not recipe.dapo.merge_quantized:
        raise SimstudentError(
            "model.quantization: nf4 beside vLLM merges the adapter into 4-bit weights at each step, which loses most "
            "of what a step learnt. Set model.quantization: none (bf16 LoRA), dapo.vllm: off, or accept it with "
            "dapo.merge_quantized: true"
        )
    return None


def _settings(recipe: Recipe, encoder: Encoder, run: Path, policy: Any, steps: int, vllm: bool) -> Any:
    from trl import GRPOConfig

    d = recipe.dapo
    world = world_size()
    completions = d.batch_size * d.generations
    stops = list(encoder.stop_ids)
    settings = {
        **shared_settings(recipe, d, run, device=policy.device, steps=steps, saves=d.checkpoints, world=world),
        "gradient_accumulation_steps": completions // (d.micro_batch_size * world),
        "gradient_checkpointing": policy.checkpointing,
        "logging_steps": 1,
        "loss_type": "dapo",
        "num_generations": d.generations,
        "max_completion_length": recipe.dialogue.answer_tokens,
        "temperature": d.temperature,
        "top_p": d.top_p,
        "epsilon": d.epsilon,
        "epsilon_high": d.epsilon_high,
        "beta": d.beta,
        "scale_rewards": "none",
        "mask_truncated_completions": True,
        "use_vllm": vllm,
        "generation_kwargs": {"stop_token_ids": stops} if vllm else {"eos_token_id": stops},
    }
    if vllm:
        settings |= {
            "vllm_mode": "colocate",
            "vllm_gpu_memory_utilization": d.vllm_memory,
            "vllm_max_model_length": recipe.dialogue.window,
        }
    return GRPOConfig(**{**settings, **d.trainer})
