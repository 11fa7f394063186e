"""What DAPO puts into TRL's GRPOTrainer: prompts that are windowed ids already, graded rewards, and guards.

TRL tokenises texts itself and never shortens a prompt; here the encoder's ids go in as they are, so that the policy
sees what it was trained on and will see in rollouts. TRL calls for rewards when the last completion is written; vLLM's
completions are handed to the graders one by one as they end, while the others are being written.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from graders import Grade, Pool, Problem
from graders.compare import ast_equal
from simstudent.dialogue.encode import Encoder, Ids
from simstudent.errors import SimstudentError
from simstudent.runs import write_json
from simstudent.training.ranks import is_main
from simstudent.training.rewards import Example, reward

CUT_OFF_STEPS = 3
"""Steps in a row with every completion cut off, after which training stops: it has no loss at all then."""


class Judge:
    """TRL's reward function: completions to rewards through the graders, None where one cannot be scored.

    Between two logs it collects ``varying`` (share of prompts whose completions differ in reward), ``repeats``
    (completions that are the student's previous program again), ``full_marks`` beside ``students_full_marks``,
    ``unscored``, ``samples_per_second`` and ``grading_wait_share``: the share of the time that the trainer waited for
    graders.
    """

    __name__ = "reward"

    def __init__(self, encoder: Encoder, examples: Mapping[str, Example], pool: Pool, weights: Mapping[str, float]):
        self.encoder, self.examples, self.pool = encoder, examples, pool
        try:
            self.rewards = [(weight, reward(name)) for name, weight in weights.items()]
        except ValueError as error:
            raise SimstudentError(f"dapo.rewards: {error}") from None
        self.sums: Counter[str] = Counter()
        self.since = time.monotonic()
        self.cut_off = 0
        self.constant = 0
        self.begun: dict[tuple[str | None, Problem], Future[Grade]] = {}

    def begin(self, key: str, completion: Ids) -> None:
        """Hand a completion to the graders, before its reward is asked for with those of all others."""
        example = self.examples[key]
        self._soon(self._code(completion, example), example.problem)

    def _soon(self, code: str | None, problem: Problem) -> Future[Grade]:
        """The grade of a program, under way once between two calls."""
        future = self.begun.get((code, problem))
        if future is None:
            future = self.begun[code, problem] = self.pool.grade_soon(code, problem)
        return future

    def __call__(self, prompts: Sequence[str], completion_ids: Sequence[Ids], **unused: Any) -> list[float | None]:
        began = time.monotonic()
        found = [self.examples[key] for key in prompts]
        codes = [self._code(ids, e) for ids, e in zip(completion_ids, found, strict=True)]
        grades = [self._soon(code, e.problem) for code, e in zip(codes, found, strict=True)]
        worth = [self._worth(code, e, grade.result()) for code, e, grade in zip(codes, found, grades, strict=True)]
        self.begun.clear()
        self._count(prompts, found, codes, completion_ids, worth)
        self.sums["seconds"] += time.monotonic() - began  # type: ignore[assignment]
        return worth

    def _code(self, ids: Ids, example: Example) -> str | None:
        """The program of an answer, read as a rollout reads it."""
        answer = [i for i in ids if i not in self.encoder.stop_ids]
        return self.encoder.read(self.encoder.decode(answer), example.previous_code).code

    def _worth(self, code: str | None, example: Example, grade: Grade) -> float | None:
        total = 0.0
        for weight, worth in self.rewards:
            value = worth(code, example, grade)
            if value is None:
                return None
            total += weight * value
        self.sums["full_marks"] += grade.score >= 1.0
        return total

    def _count(
        self,
        prompts: Sequence[str],
        found: Sequence[Example],
        codes: Sequence[str | None],
        completion_ids: Sequence[Ids],
        worth: Sequence[float | None],
    ) -> None:
        groups: dict[str, set[float | None]] = {}
        for key, value in zip(prompts, worth, strict=True):
            groups.setdefault(key, set()).add(value)
        varying = sum(len(values - {None}) > 1 for values in groups.values())
        self.sums["groups"] += len(groups)
        self.sums["varying"] += varying
        self.sums["completions"] += len(codes)
        self.sums["unscored"] += sum(value is None for value in worth)
        self.sums["students_full_marks"] += sum(e.next_grade.score >= 1.0 for e in found)
        self.sums["repeats"] += sum(
            code is not None and e.previous_code is not None and ast_equal(code, e.previous_code)
            for code, e in zip(codes, found, strict=True)
        )
        ended = any(ids and ids[-1] in self.encoder.stop_ids for ids in completion_ids)
        self.cut_off = 0 if ended else self.cut_off + 1
        self.constant = 0 if varying else self.constant + 1

    def drain(self) -> dict[str, float]:
        """The shares since the last call, and a new beginning."""
        sums, seconds = self.sums, time.monotonic() - self.since
        self.sums, self.since = Counter(), time.monotonic()
        if not sums["completions"]:
            return {}
        names = ("unscored", "students_full_marks", "repeats", "full_marks")
        shares = {name: sums[name] / sums["completions"] for name in names}
        return shares | {
            "varying": sums["varying"] / sums["groups"],
            "grading_wait_share": sums["seconds"] / seconds,
            "samples_per_second": sums["completions"] / seconds,
        }


def policy_trainer(prompts: Mapping[str, Ids], judge: Judge, stop_ids: Sequence[int]) -> Any:
    """TRL's GRPOTrainer for a dataset whose ``prompt`` is a key of ``prompts``."""
    from trl import GRPOTrainer

    class PolicyTrainer(GRPOTrainer):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.eos_token_ids = list(stop_ids)  # the template's end of turn, whatever the tokenizer calls its end

        def _tokenize_prompts(self, keys: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
            return [list(prompts[key]) for key in keys], None, {}

        def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
            if "loss" in logs:
                logs.update(judge.drain())
            super().log(logs, *args, **kwargs)

    return PolicyTrainer


def grade_early(engine: Any, prompts: Mapping[str, Ids], judge: Judge) -> None:
    """Have ``judge`` begin with every completion that vLLM's engine ends, while it goes on writing the others.

    Prompts are known by their ids: of those that are equal any will do, since the assignment and the student's last
    program stand in them. What is begun under the wrong one costs a grading and changes no reward.
    """
    keys = {tuple(ids): key for key, ids in prompts.items()}
    step = engine.step

    def step_and_begin() -> Any:
        outputs = step()
        for output in outputs:
            key = keys.get(tuple(output.prompt_token_ids)) if output.finished else None
            if key is not None:
                for completion in output.outputs:
                    judge.begin(key, tuple(completion.token_ids))
        return outputs

    engine.step = step_and_begin


def keep_varying(trainer: Any, judge: Judge, path: Path, say: Callable[[str], None]) -> None:
    """Sample every prompt once and leave out those whose completions all get the same reward: they teach nothing.

    What is kept stands in ``path``, which a resumed run reads. Raises SimstudentError when nothing is left.
    """
    from accelerate.utils import gather_object
    from datasets import Dataset

    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        trainer.train_dataset = Dataset.from_dict({"prompt": kept})
        return
    count = trainer.num_generations
    state = trainer.accelerator
    keys = trainer.train_dataset["prompt"][:]
    mine = keys[state.process_index :: state.num_processes]
    varying: list[str] = []
    at_once = max(1, trainer.args.generation_batch_size // count)
    for first in range(0, len(mine), at_once):
        repeated = [key for key in mine[first : first + at_once] for _ in range(count)]
        ids, images, fields = trainer._tokenize_prompts(repeated)
        completions, _ = trainer._generate_single_turn(ids, images, fields, count)
        worth = judge(repeated, completions)
        groups = [worth[n : n + count] for n in range(0, len(worth), count)]
        names = repeated[::count]
        varying += [key for key, values in zip(names, groups, strict=True) if len(set(values) - {None}) > 1]
    found = set(gather_object(varying))
    kept = [key for key in keys if key in found]
    judge.drain()
    judge.cut_off = judge.constant = 0
    share = f"{len(kept)} of {len(keys)} prompts ({100 * len(kept) / len(keys):.0f} %)"
    say(f"  rewards vary in {share}; the others are left out")
    if not kept:
        raise SimstudentError(
            "dapo.filter left no prompt: every prompt's completions all got the same reward. Raise dapo.temperature or "
            "dapo.generations, or choose other dapo.rewards"
        )
    if len(kept) < (batch := trainer.args.generation_batch_size // count):
        raise SimstudentError(
            f"dapo.filter left {len(kept)} prompts, which are no batch of {batch}: raise dapo.limit or dapo.positions, "
            "or set dapo.batch_size to fewer"
        )
    if is_main():
        write_json(path, kept)
    trainer.train_dataset = Dataset.from_dict({"prompt": kept})


def guard(judge: Judge, say: Callable[[str], None]) -> Any:
    """A callback that stops a training without loss, and tells of rewards that are being gamed."""
    from transformers import TrainerCallback

    class Guard(TrainerCallback):  # type: ignore[misc]
        told: frozenset[str] = frozenset()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if judge.cut_off >= CUT_OFF_STEPS:
                raise SimstudentError(
                    f"every completion of {CUT_OFF_STEPS} steps was cut off at dialogue.answer_tokens = "
                    f"{args.max_completion_length}: they are masked, so nothing is learnt. Raise it, or train SFT more"
                )

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            for sign in signs(logs or {}, judge.constant):
                if sign not in self.told:
                    self.told |= {sign}
                    say(f"  WARNING at step {state.global_step}: {sign}")

    return Guard()


def signs(logs: Mapping[str, float], constant: int) -> list[str]:
    """What a log says of rewards that do not vary any more, or that are had without simulating anybody."""
    found = []
    if constant >= 10:
        found.append("no prompt's rewards varied in ten steps: there is nothing left to learn from them")
    if logs.get("repeats", 0.0) > 0.9:
        found.append("more than nine in ten completions repeat the student's previous program")
    if logs.get("full_marks", 0.0) > logs.get("students_full_marks", 1.0) + 0.3:
        found.append("the policy solves far more than the students do next")
    return found
