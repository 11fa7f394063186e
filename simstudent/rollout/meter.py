"""What a run of rollouts is doing, and for how long its engine had nothing to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from simstudent.rollout.records import Rollout


class Meter:
    """Counts of the rollouts that a model plays, and times by what was under way. The clock runs from ``start``.

    At any moment the engine has requests (``generating``), or it *waits*: all unfinished rollouts are being graded, or
    their next prompts built. Grading is *hidden* while the engine has requests.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self.ended = self.failed = self.steps = 0
        self.prompt_tokens = self.reply_tokens = 0
        self.queue = self.peak_queue = 0  # programs handed to the graders and not yet back
        self._clock = clock
        self._began = self._last = clock()
        self._requests = 0
        self._times = {"generating": 0.0, "hidden": 0.0, "exposed": 0.0, "neither": 0.0}

    def start(self) -> None:
        """Begin to count time: the engine is open."""
        self._began = self._last = self._clock()

    def add(self, rollout: Rollout) -> None:
        """Count a rollout that has ended."""
        self.ended += 1
        self.failed += rollout.error is not None
        self.steps += len(rollout.steps)
        self.prompt_tokens += sum(step.prompt_tokens for step in rollout.steps)
        self.reply_tokens += sum(step.reply_tokens for step in rollout.steps)

    @contextmanager
    def generating(self) -> Iterator[None]:
        """While the engine works on a request."""
        self._pass()
        self._requests += 1
        try:
            yield
        finally:
            self._pass()
            self._requests -= 1

    @contextmanager
    def grading(self) -> Iterator[None]:
        """While a program waits for its grade."""
        self._pass()
        self.queue += 1
        self.peak_queue = max(self.peak_queue, self.queue)
        try:
            yield
        finally:
            self._pass()
            self.queue -= 1

    def _pass(self) -> None:
        now = self._clock()
        state = ("hidden" if self.queue else "generating") if self._requests else "exposed" if self.queue else "neither"
        self._times[state] += now - self._last
        self._last = now

    @property
    def seconds(self) -> float:
        """Since ``start``."""
        return self._clock() - self._began

    def wait_share(self) -> float:
        """The share of the time in which the engine had no request. 0 before any time has passed."""
        self._pass()
        whole = sum(self._times.values())
        return (self._times["exposed"] + self._times["neither"]) / whole if whole else 0.0

    def hidden_share(self) -> float | None:
        """Of the time in which anything was being graded, the share in which the engine had requests."""
        self._pass()
        graded = self._times["hidden"] + self._times["exposed"]
        return self._times["hidden"] / graded if graded else None

    def line(self) -> str:
        """One line for somebody who waits."""
        seconds = self.seconds
        speed = f", {self.reply_tokens / seconds:,.0f} tokens/s" if self.reply_tokens and seconds else ""
        left = f", {_time(seconds / self.ended * (self.total - self.ended))} left" if self.ended else ""
        waited = f", the engine waited {self.wait_share():.0%}"
        return f"{self.ended:,}/{self.total:,} rollouts{speed}, {self.queue} being graded{waited}{left}"

    def facts(self) -> dict[str, Any]:
        """For ``facts.json``: counts, seconds, tokens per second, shares of the time."""
        seconds, hidden = self.seconds, self.hidden_share()
        return {
            "rollouts": self.ended,
            "failed": self.failed,
            "steps": self.steps,
            "seconds": round(seconds, 3),
            "rollouts_per_second": round(self.ended / seconds, 3) if seconds else None,
            "prompt_tokens": self.prompt_tokens,
            "reply_tokens": self.reply_tokens,
            "reply_tokens_per_second": round(self.reply_tokens / seconds, 1) if seconds else None,
            "engine_wait_share": round(self.wait_share(), 4),
            "grading_hidden_share": None if hidden is None else round(hidden, 4),
            "grading_queue_peak": self.peak_queue,
        }


def _time(seconds: float) -> str:
    minutes = round(seconds) // 60
    return f"{round(seconds)} s" if seconds < 100 else f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"
