"""``simstudent`` with accelerate made to shard on a CPU, where it would train by DDP and not say so: for the tests.

torch's FSDP2 itself works there, over gloo.
"""

from __future__ import annotations

import sys
from typing import Any

from accelerate import state
from accelerate.utils import DistributedType

from simstudent.cli import main
from simstudent.training import sharded

init = state.AcceleratorState.__init__


def sharding(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
    """What accelerate does for several GPUs, for several CPU processes too."""
    init(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
    if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
        fsdp_plugin.set_mixed_precision(self._mixed_precision)
        self.fsdp_plugin = fsdp_plugin
        self.distributed_type = state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP


if __name__ == "__main__":
    state.AcceleratorState.__init__ = sharding
    sharded.can_shard = lambda: True
    sys.exit(main())
