"""The same function of many items, on all cores.

Processes are executed afresh, never forked: whoever evaluates may hold threads and a GPU. Results come in the order of
the items and do not depend on the number of processes.
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

WORTH_A_PROCESS = 10_000
"""Items from which on further processes save more time than they take to start."""
_COMMAND = "from simstudent.evaluation.spread import serve; serve()"


def spread(function: Callable[[Item], Result], items: Sequence[Item], workers: int | None = None) -> list[Result]:
    """``function`` of each item. ``function`` is one of a module; ``workers`` None: one a core, here if there are few.

    Raises RuntimeError with what a process wrote when it failed.
    """
    if workers is None:
        workers = min(cores(), len(items) // WORTH_A_PROCESS)
    if workers < 2:
        return [function(item) for item in items]
    # Each takes every n-th item: long programs are often neighbours.
    with ThreadPoolExecutor(workers) as threads:
        parts = list(threads.map(lambda n: _elsewhere(function, items[n::workers]), range(workers)))
    results: list[Any] = [None] * len(items)
    for n, part in enumerate(parts):
        results[n::workers] = part
    return results


def _elsewhere(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    path = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    process = subprocess.run(
        [sys.executable, "-P", "-c", _COMMAND],
        input=pickle.dumps((function.__module__, function.__qualname__, list(items))),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        capture_output=True,
        check=False,
    )
    if process.returncode:
        words = process.stderr.decode(errors="replace").strip()[-2000:]
        raise RuntimeError(f"a process that compares programs failed (exit code {process.returncode}): {words}")
    return list(pickle.loads(process.stdout))


def serve() -> None:
    """What such a process does: items from standard input, results to standard output."""
    gc.disable()  # syntax trees are many objects and no cycles
    warnings.simplefilter("ignore")  # nobody reads what Python says of students' programs
    module, name, items = pickle.load(sys.stdin.buffer)
    function = getattr(importlib.import_module(module), name)
    pickle.dump([function(item) for item in items], sys.stdout.buffer)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
