"""Processes that train together take the steps that one would."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from simstudent.training.ranks import same_order

pytest.importorskip("trl")


def order(processes: int) -> list[int]:
    """Rows in the order that a trainer of 8 rows a step takes them in, with as many processes."""
    import torch
    from transformers.trainer_pt_utils import LengthGroupedSampler

    class Trainer:
        args = SimpleNamespace(world_size=processes)

        def _get_train_sampler(self) -> Any:
            return LengthGroupedSampler(8 // processes, lengths=[(7 * n) % 31 for n in range(100)])

    torch.manual_seed(0)
    return list(same_order(Trainer)()._get_train_sampler())


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_rows_of_like_length_stand_together_in_whole_steps(processes: int) -> None:
    assert order(processes) == order(1)
    assert sorted(order(1)) == list(range(100))
