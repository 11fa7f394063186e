"""Several processes, one a GPU (``accelerate launch -m simstudent sft ...``): who speaks and writes, who waits."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this is the process that speaks and writes."""
    return int(os.environ.get("RANK", "0")) == 0


def quiet(say: Callable[[str], None]) -> Callable[[str], None]:
    """``say`` in the main process, silence in the others."""
    return say if is_main() else lambda text: None


def once(make: Callable[[], T]) -> T:
    """What ``make`` gives in the main process, in all of them. An error there is raised everywhere."""
    if world_size() == 1:
        return make()
    import accelerate
    import torch
    from accelerate.utils import broadcast_object_list

    # Opens the process group. Unless it is told that there is no GPU, it opens none there, and every process is alone.
    accelerate.PartialState(cpu=not torch.cuda.is_available())
    told: list[object] = [None, None]
    if is_main():
        try:
            told[0] = make()
        except Exception as error:
            told[1] = error
    broadcast_object_list(told, from_process=0)
    if isinstance(told[1], Exception):
        raise told[1]
    return told[0]  # type: ignore[return-value]


def same_order(trainer: Any) -> Any:
    """The trainer's class with rows of like length put together by whole steps, however many processes share a step.

    transformers puts them together by what one process takes of a step, so that two processes got other steps than one.
    """
    from transformers.trainer_pt_utils import LengthGroupedSampler

    class SameOrder(trainer):  # type: ignore[misc]
        def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
            sampler = super()._get_train_sampler(*args, **kwargs)
            if isinstance(sampler, LengthGroupedSampler):
                sampler.batch_size *= self.args.world_size
            return sampler

    return SameOrder


def free_port() -> None:
    """Let a process that trains alone meet itself on a free port: a fixed one may be another training's."""
    if world_size() > 1:
        return
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        os.environ["MASTER_PORT"] = str(probe.getsockname()[1])
    os.environ["MASTER_ADDR"] = "127.0.0.1"
