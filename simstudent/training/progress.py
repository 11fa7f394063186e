"""Progress that a person can follow, and the same numbers in ``metrics.jsonl``."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from simstudent.runs import append_line

if TYPE_CHECKING:
    from simstudent.dialogue.encode import Encoded


class Progress(TrainerCallback):  # type: ignore[misc]
    """Prints a line per log entry and writes it to ``metrics``; evaluates and saves at the very last step too.

    Speed is counted in real (unpadded) tokens of the training rows.
    """

    def __init__(self, metrics: Path, rows: Encoded, say: Callable[[str], None]) -> None:
        self.metrics, self.say = metrics, say
        self.tokens_per_row = rows.tokens / len(rows.rows)
        self.began, self.first_step, self.evaluating = 0.0, 0, 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began, self.first_step = time.monotonic(), state.global_step
        self.say(f"  {'step':>11}  {'loss':>7}  {'validation':>10}  {'tokens/s':>8}  {'elapsed':>8}  {'left':>8}")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_log = control.should_evaluate = control.should_save = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        logs = logs or {}
        if "loss" not in logs and "eval_loss" not in logs:
            return
        seconds = time.monotonic() - self.began
        done = state.global_step - self.first_step
        rows = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        speed = done * rows * self.tokens_per_row / seconds if seconds else 0.0
        left = seconds / done * (state.max_steps - state.global_step) if done else 0.0
        record = {
            "step": state.global_step,
            "steps": state.max_steps,
            "epoch": round(state.epoch or 0.0, 4),
            "loss": logs.get("loss"),
            "validation_loss": logs.get("eval_loss"),
            "learning_rate": logs.get("learning_rate"),
            "seconds": round(seconds, 2),
            "tokens_per_second": round(speed, 1),
        }
        append_line(self.metrics, {k: v for k, v in record.items() if v is not None})
        self.say(
            f"  {state.global_step:>5}/{state.max_steps:<5}  {_number(logs.get('loss')):>7}  "
            f"{_number(logs.get('eval_loss')):>10}  {speed:>8.0f}  {_clock(seconds):>8}  {_clock(left):>8}"
        )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
