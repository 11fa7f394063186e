"""CodeBLEU in processes of its own: plain child processes that are executed afresh.

Not multiprocessing: forking after torch or threads have started can hang, and spawning would import the user's main
script again. A thread of the caller stands behind each; texts go there and scores come back as lines of JSON.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple
from pathlib import Path
from queue import SimpleQueue
from typing import TextIO

from graders.codebleu import CodeBleu, known, pair_key, remember, score
from graders.codebleu.analysis import CodeBleuError, Tools, tools

_COMMAND = "import sys; from graders.codebleu.processes import serve; serve(sys.argv[1])"
_CHUNK = 64  # pairs a process is sent at once: neighbours, which often share a reference

_Pairs = dict[bytes, tuple[str, str]]
_Scores = dict[bytes, CodeBleu | None]


def score_in_processes(
    pairs: Iterator[tuple[str, str]], tools: Tools, workers: int | None
) -> Iterator[CodeBleu | None]:
    """The scores of a stream of pairs, in its order. No more than three chunks a process are under way.

    Raises CodeBleuError when a process fails.
    """
    workers = workers or _cores()
    processes = [_Process(tools.language) for _ in range(workers)]
    idle: SimpleQueue[_Process] = SimpleQueue()
    for process in processes:
        idle.put(process)

    def answer(todo: _Pairs) -> _Scores:
        process = idle.get()
        try:
            return process.score(todo)
        finally:
            idle.put(process)

    threads = ThreadPoolExecutor(workers)
    waiting: deque[tuple[list[bytes], _Scores, Future[_Scores]]] = deque()
    try:
        while (chunk := list(itertools.islice(pairs, _CHUNK))) or waiting:
            if chunk:
                keys = [pair_key(tools.language, *pair) for pair in chunk]
                found = known(keys)
                todo = {key: pair for key, pair in zip(keys, chunk, strict=True) if key not in found}
                waiting.append((keys, found, threads.submit(answer, todo)))
            if not chunk or len(waiting) >= 3 * workers:
                keys, found, future = waiting.popleft()
                new = future.result()
                remember(new)
                yield from ((found | new)[key] for key in keys)
    finally:
        threads.shutdown(cancel_futures=True)
        for process in processes:
            process.close()


class _Process:
    """One process, started at its first pairs."""

    def __init__(self, language: str) -> None:
        self._language = language
        self._process: subprocess.Popen[str] | None = None

    def score(self, pairs: _Pairs) -> _Scores:
        if not pairs:
            return {}
        process = self._process = self._process or _start(self._language)
        line = ""
        if process.stdin is not None and process.stdout is not None:
            with contextlib.suppress(OSError):
                process.stdin.write(json.dumps(list(pairs.values())) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
        if not line.endswith("\n"):
            process.kill()
            words = process.communicate()[1].strip()[-2000:]
            raise CodeBleuError(f"a process that computes CodeBLEU failed (exit code {process.returncode}): {words}")
        scores = (None if parts is None else CodeBleu(*parts) for parts in json.loads(line))
        return dict(zip(pairs, scores, strict=True))

    def close(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ValueError):  # closed already, the process having failed
                self._process.communicate()


def _start(language: str) -> subprocess.Popen[str]:
    path = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _COMMAND, language],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def serve(language: str, source: TextIO = sys.stdin, sink: TextIO = sys.stdout) -> None:
    """What such a process does: a line of pairs in, a line of scores out, until there are no more."""
    gc.disable()  # programs are held in many small tuples and no cycles: collecting costs a quarter of the time
    ours = tools(language)
    for line in source:
        scores = [score(ours, *pair) for pair in json.loads(line)]
        print(json.dumps([None if one is None else astuple(one) for one in scores]), file=sink, flush=True)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
