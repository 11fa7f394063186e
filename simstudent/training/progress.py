"""Progress that a person can follow, and the same numbers in ``metrics.jsonl``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from simstudent.runs import append_line
from simstudent.training.ranks import is_main, once


class Progress(TrainerCallback):  # type: ignore[misc]
    """Prints a line per log entry and writes it to ``metrics``; evaluates and saves at the very last step too.

    ``tokens``: real (unpadded) tokens of a training row, on average; None where rows are written while training goes
    on, which then logs its own speed. ``shown``: further entries of TRL's log that become columns, by heading;
    ``also``: those that only ``metrics`` gets.
    """

    def __init__(
        self,
        metrics: Path,
        tokens: float | None,
        say: Callable[[str], None],
        shown: Mapping[str, str] | None = None,
        also: Mapping[str, str] | None = None,
    ) -> None:
        self.metrics, self.say, self.tokens = metrics, say, tokens
        self.shown, self.also = dict(shown or {}), dict(also or {})
        self.began, self.first_step = 0.0, 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began, self.first_step = time.monotonic(), state.global_step
        headings = "".join(f"  {name:>10}" for name in self.shown)
        self.say(
            f"  {'step':>11}  {'loss':>7}  {'validation':>10}  {'tokens/s':>8}  {'elapsed':>8}  {'left':>8}{headings}"
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_log = control.should_save = True
            control.should_evaluate = str(getattr(args.eval_strategy, "value", args.eval_strategy)) != "no"

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        logs = logs or {}
        if "loss" not in logs and "eval_loss" not in logs:
            return
        seconds = time.monotonic() - self.began
        done = state.global_step - self.first_step
        rows = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        speed = done * rows * (self.tokens or 0) / seconds if seconds else 0.0
        left = seconds / done * (state.max_steps - state.global_step) if done else 0.0
        record = {
            "step": state.global_step,
            "steps": state.max_steps,
            "epoch": round(state.epoch or 0.0, 4),
            "loss": logs.get("loss"),
            "validation_loss": logs.get("eval_loss"),
            "learning_rate": logs.get("learning_rate"),
            "seconds": round(seconds, 2),
            "tokens_per_second": round(speed, 1) if self.tokens else None,
            **{name: logs[entry] for name, entry in {**self.shown, **self.also}.items() if entry in logs},
        }
        if is_main():
            append_line(self.metrics, {k: v for k, v in record.items() if v is not None})
        more = "".join(f"  {_number(logs.get(entry)):>10}" for entry in self.shown.values())
        self.say(
            f"  {state.global_step:>5}/{state.max_steps:<5}  {_number(logs.get('loss')):>7}  "
            f"{_number(logs.get('eval_loss')):>10}  {speed:>8.0f}  {_clock(seconds):>8}  {_clock(left):>8}{more}"
        )


class TimeLimit(TrainerCallback):  # type: ignore[misc]
    """Stops with a checkpoint once ``minutes`` are over; None never does."""

    def __init__(self, minutes: float | None) -> None:
        self.minutes, self.ran_out = minutes, False
        self.began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        minutes = self.minutes
        # One clock for all processes, or one of them would stop and the others wait for it.
        if minutes is not None and once(lambda: time.monotonic() - self.began > 60 * minutes):
            if state.global_step < state.max_steps:
                self.ran_out = True
            control.should_save = control.should_training_stop = True


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
