"""The text engine over transformers: one thread that runs torch, and a queue in front of it.

Requests join and leave the running batch at every token, so nothing waits for the slowest of a batch. Rows of one
adapter run together. Keys and values of recent rows are kept: the next turn of a dialogue starts with all of the
turns before it, and only the new turn is computed. Requests that can use them go first.
"""

from __future__ import annotations

import asyncio
import heapq
import queue
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from simstudent.errors import SimstudentError, missing_extra
from simstudent.rollout.engine import Completion, EngineError, Sampling
from simstudent.rollout.engines import Counters
from simstudent.rollout.engines.prefixes import Prefixes, blocks_of
from simstudent.rollout.engines.rows import Rows, choose, new_rows
from simstudent.training.models import best_device, fastest_dtype, free_device, load_model, resolve_model
from simstudent.training.students import FIRST, Students, attach, check_size, students_beside, unknown_student


@dataclass(eq=False, slots=True)
class _Request:
    ids: tuple[int, ...]
    sampling: Sampling
    seed: int
    adapter: str | None
    answer: asyncio.Future[Completion]  # done before it has one: nobody waits for it any more
    blocks: list[int] = field(default_factory=list)
    out: list[int] = field(default_factory=list)
    draws: random.Random = field(default_factory=random.Random)

    def restart(self) -> None:
        self.out.clear()
        self.draws.seed(self.seed)


class TransformersEngine:
    """A model and its LoRA adapters (name -> folder) behind ``generate``. Open it with ``async with``.

    ``batch_size``: rows that run at once; halved for good whenever the GPU's memory runs out. ``prefix_cache_gib``:
    memory for the keys and values of recent rows, 0 for none. ``dtype`` "auto" is bfloat16, but float32 on a CPU that
    has no bfloat16 arithmetic. The rest is as for ``load_model``.

    Answers are the same whatever else runs, up to numerics: in bfloat16 a near tie may fall differently when a prompt's
    beginning was kept or the batch is larger; in float32 that is rare. Opening raises SimstudentError for a model or
    an adapter that cannot be loaded.
    """

    def __init__(
        self,
        model: str,
        adapters: Mapping[str, Path] | None = None,
        *,
        revision: str | None = None,
        batch_size: int = 16,
        prefix_cache_gib: float = 1.0,
        dtype: str = "auto",
        quantization: Literal["none", "nf4"] = "none",
        device: str | None = None,
    ) -> None:
        self.counters = Counters()
        self._source = (model, revision, dtype, quantization, device)
        # PEFT's own names may hold no dots, so adapters are numbered there.
        self._adapters = {
            name: (f"adapter{index}", Path(path)) for index, (name, path) in enumerate((adapters or {}).items())
        }
        self._limit = batch_size
        self._prefixes = Prefixes(int(prefix_cache_gib * 2**30))
        self._pending: set[_Request] = set()
        self._incoming: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._broken: str | None = "the engine is not open"
        # The thread's own: nothing else touches these while it runs.
        self._model: Any = None
        self._students: dict[str | None, Students] = {}
        self._tuned: Any = None  # the model again, as PEFT sees it
        self._rows: Rows | None = None
        self._waiting: dict[str | None, list[tuple[int, int, _Request]]] = {}
        self._arrivals = 0
        self._active: list[_Request] = []
        self._adapter: str | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._open)
        self._broken = None
        self._thread = threading.Thread(target=self._work, name="transformers-engine", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._incoming.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        self._fail_all("the engine was closed")
        self._model = self._tuned = self._rows = None
        self._prefixes.clear()
        free_device()

    async def generate(self, ids: Sequence[int], sampling: Sampling, *, seed: int, adapter: str | None) -> Completion:
        """See ``Engine.generate``."""
        self._check(ids, adapter)
        request = _Request(tuple(ids), sampling, seed, adapter, self._loop.create_future())
        self._pending.add(request)
        self._incoming.put(request)
        try:
            return await request.answer
        finally:
            self._pending.discard(request)

    def _check(self, ids: Sequence[int], adapter: str | None) -> None:
        """What cannot be computed fails here; on a GPU an id outside the vocabulary would end the whole process."""
        if self._broken:
            raise EngineError(self._broken)
        if adapter is not None and adapter not in self._adapters:
            raise EngineError(f"no adapter '{adapter}'; the engine was opened with: {sorted(self._adapters) or 'none'}")
        if wrong := unknown_student(ids, self._students.get(adapter)):
            raise EngineError(wrong)
        words = [i for i in ids if i < FIRST]
        if not ids or min(ids) < 0 or max(words, default=0) >= self._vocabulary:
            raise EngineError(f"a prompt needs at least one id, and all of them from 0 to {self._vocabulary - 1}")
        if len(ids) >= self._context:
            raise EngineError(f"a prompt of {len(ids)} tokens leaves no room in the model's context of {self._context}")

    # Opening: in a thread, before the worker's.

    def _open(self) -> None:
        import torch

        id, revision, dtype, quantization, device = self._source
        for name, (_, path) in self._adapters.items():
            if not (path / "adapter_config.json").is_file():
                raise SimstudentError(
                    f"adapter '{name}': no adapter_config.json in {path}. Fix: give a trained adapter's folder"
                )
        device = device or best_device()
        if dtype == "auto":
            dtype = fastest_dtype(device)
        self._model = load_model(id, revision=revision, quantization=quantization, dtype=dtype, device=device)
        self._tuned = self._load_adapters() if self._adapters else None
        self._context = int(getattr(self._model.config.get_text_config(), "max_position_embeddings", None) or 2**31)
        self._vocabulary = int(self._model.get_input_embeddings().num_embeddings)
        folders = {name: path for name, (_, path) in self._adapters.items()}
        self._students = students_beside(resolve_model(id), folders)
        if self._students:
            for owner, students in self._students.items():
                check_size(students, self._model, f"{folders.get(owner or '', id)}")
                self._students[owner] = students.to(self._model.device)
            attach(self._model, lambda numbers: self._students[self._adapter].vectors(numbers))
        self._rows = new_rows(self._model, self._limit)
        self._memory_error = torch.OutOfMemoryError

    def _load_adapters(self) -> Any:
        try:
            from peft import PeftModel
            from safetensors import SafetensorError
        except ImportError as error:
            raise missing_extra("peft", "train") from error
        tuned: Any = None
        for name, (inner, path) in self._adapters.items():
            options = {"adapter_name": inner, "torch_device": str(self._model.device), "autocast_adapter_dtype": False}
            try:
                if tuned is None:
                    tuned = PeftModel.from_pretrained(self._model, path, **options)
                else:
                    tuned.load_adapter(path, **options)
            except (RuntimeError, ValueError, OSError, KeyError, SafetensorError) as error:
                raise SimstudentError(
                    f"adapter '{name}' in {path} does not fit the model {self._source[0]}: {error}"
                ) from error
        tuned.eval()
        tuned.base_model.disable_adapter_layers()
        return tuned

    # The worker's thread.

    def _work(self) -> None:
        import torch

        try:
            with torch.inference_mode():
                while self._receive():
                    started = time.monotonic()
                    self._round()
                    self.counters.busy_seconds += time.monotonic() - started
        except BaseException as error:
            self._loop.call_soon_threadsafe(self._fail_all, f"the engine's thread died: {error!r}")
            raise

    def _receive(self) -> bool:
        """Take in what has arrived; wait when there is nothing else to do. False when the engine closes."""
        idle = not self._active and not any(self._waiting.values())
        while idle or not self._incoming.empty():
            request = self._incoming.get()
            if request is None:
                return False
            self._queue(request)
            idle = False
        return True

    def _queue(self, request: _Request) -> None:
        request.restart()
        request.blocks = blocks_of(request.ids, request.adapter) if self._prefixes.capacity else []
        self._arrivals += 1
        entry = (-self._prefixes.known(request.blocks), self._arrivals, request)
        heapq.heappush(self._waiting.setdefault(request.adapter, []), entry)

    def _round(self) -> None:
        """One token for every row, after filling the free places."""
        beginning: _Request | None = None
        failure: Exception | None = None
        try:
            while len(self._active) < self._limit and (beginning := self._next()):
                self._begin(beginning)
            beginning = None
            if self._active:
                self._step()
        except self._memory_error as error:
            # Without its traceback, whose frames would hold on to the tensors that must go now.
            failure = error.with_traceback(None)
        except Exception as error:
            if beginning is not None and beginning not in self._active:
                self._finish(beginning, error)
            else:
                self._end_all(self._active, error)
        if failure is not None:
            self._retreat(beginning, failure)

    def _next(self) -> _Request | None:
        """The next request for the running adapter; for another one once no row of this one is left."""
        waiting = self._waiting.get(self._adapter)
        if not waiting:
            if self._active:
                return None
            self._waiting.pop(self._adapter, None)
            if not self._waiting:
                return None
            self._adapter, waiting = next(iter(self._waiting.items()))
            self._switch()
        return heapq.heappop(waiting)[-1]

    def _switch(self) -> None:
        if self._tuned is None:
            return
        if self._adapter is None:
            self._tuned.base_model.disable_adapter_layers()
        else:
            self._tuned.base_model.enable_adapter_layers()
            self._tuned.set_adapter(self._adapters[self._adapter][0], inference_mode=True)

    def _begin(self, request: _Request) -> None:
        if request.answer.done():
            return
        assert self._rows is not None
        kept, length = self._prefixes.find(request.ids, request.blocks) if self._rows.reusable else (None, 0)
        scores, computed = self._rows.add(request.ids, kept)
        self.counters.requests += 1
        self.counters.prompt_tokens += len(request.ids)
        self.counters.cached_tokens += length
        self._active.append(request)
        self._prefixes.keep(request.ids, request.blocks, computed)
        self._append(len(self._active) - 1, choose(scores[None], [request.sampling], [request.draws])[0])

    def _step(self) -> None:
        assert self._rows is not None
        scores = self._rows.step([request.out[-1] for request in self._active])
        tokens = choose(scores, [r.sampling for r in self._active], [r.draws for r in self._active])
        # From the last to the first: the row that moves into a gap has had its token by then.
        for index in range(len(tokens) - 1, -1, -1):
            self._append(index, tokens[index])

    def _append(self, index: int, token: int) -> None:
        """Give row ``index`` its token, and end the row if that was its last."""
        request = self._active[index]
        self.counters.generated_tokens += 1
        stopped = token in request.sampling.stop_ids
        if not stopped:
            request.out.append(token)
        room = min(request.sampling.max_tokens, self._context - len(request.ids))
        if not stopped and len(request.out) < room and not request.answer.done():
            return
        assert self._rows is not None
        kept = self._rows.remove(index)
        self._active[index] = self._active[-1]
        self._active.pop()
        if kept and self._prefixes.capacity:
            ids = (request.ids + tuple(request.out))[: kept[0][0].shape[2]]
            self._prefixes.keep(ids, blocks_of(ids, request.adapter), kept)
        self._finish(request, Completion(tuple(request.out), truncated=not stopped))

    def _retreat(self, beginning: _Request | None, failure: Exception) -> None:
        """Out of memory: give all of it back and start the rows again, half as many at a time."""
        again = [*self._active, *([beginning] if beginning and beginning not in self._active else [])]
        freed = self._prefixes.clear()
        if len(again) == 1 and not freed:
            self._end_all(again, failure)
            return
        self._limit = max(1, len(again) // 2)
        self._new_rows()
        for request in again:
            self._queue(request)

    def _end_all(self, requests: Sequence[_Request], error: Exception) -> None:
        for request in requests:
            self._finish(request, error)
        self._new_rows()

    def _new_rows(self) -> None:
        self._active = []
        self._rows = None
        free_device()
        self._rows = new_rows(self._model, self._limit)

    def _finish(self, request: _Request, result: Completion | Exception) -> None:
        self._loop.call_soon_threadsafe(self._deliver, request, result)

    # Back in the event loop.

    def _deliver(self, request: _Request, result: Completion | Exception) -> None:
        if request.answer.done():
            return
        if isinstance(result, Completion):
            request.answer.set_result(result)
        else:
            error = EngineError(f"{type(result).__name__}: {result}")
            error.__cause__ = result
            request.answer.set_exception(error)

    def _fail_all(self, reason: str) -> None:
        self._broken = reason
        for request in list(self._pending):
            self._deliver(request, EngineError(reason))
