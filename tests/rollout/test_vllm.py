"""The vLLM engine: its errors without starting it, then one real start whose answers several tests look at."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from simstudent.errors import SimstudentError
from simstudent.rollout.engine import Completion, EngineError, Sampling
from simstudent.rollout.engines import Counters
from simstudent.rollout.engines.vllm import VllmEngine, prepare_environment

GREEDY = Sampling(stop_ids=tuple(range(2, 30)), max_tokens=24)
SAMPLED = Sampling(stop_ids=(2,), max_tokens=24, temperature=1.0, top_p=0.9)


async def opening(engine: VllmEngine) -> None:
    async with engine:
        pass


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "vllm" else find(name))
    with pytest.raises(SimstudentError, match=r"simstudent\[vllm\]"):
        asyncio.run(opening(VllmEngine("owner/name")))


def test_an_adapter_that_is_not_there_is_found_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    with pytest.raises(SimstudentError, match=r"adapter 'a': no readable adapter_config\.json"):
        asyncio.run(opening(VllmEngine("owner/name", {"a": tmp_path})))


def test_room_is_made_for_the_largest_adapter(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"r": 12, "rank_pattern": {"q_proj": 40}}')
    options = VllmEngine("owner/name", {"a": tmp_path})._adapter_options()
    assert (options["max_lora_rank"], options["max_loras"]) == (64, 1)
    assert VllmEngine("owner/name")._adapter_options() == {}


def test_nothing_is_asked_of_a_closed_engine() -> None:
    with pytest.raises(EngineError, match="not open"):
        asyncio.run(VllmEngine("owner/name").generate([5], GREEDY, seed=0, adapter=None))


def test_the_environment_keeps_what_the_user_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("VLLM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VLLM_WORKER_MULTIPROC_METHOD", "fork")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "7")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    prepare_environment()
    assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"
    assert os.environ["VLLM_CPU_KVCACHE_SPACE"] == "7"
    assert os.environ["VLLM_USE_FLASHINFER_SAMPLER"] == "0"
    for name in [name for name in os.environ if name.startswith("VLLM_")]:
        monkeypatch.delenv(name)


def prompts(count: int) -> list[list[int]]:
    draw = random.Random(0)
    return [[draw.randrange(3, 384) for _ in range(draw.randint(1, 150))] for _ in range(count)]


@dataclass
class Served:
    """What one engine answered, and then how it ended."""

    base: list[Completion]
    tuned: list[Completion]
    sampled: list[Completion]
    sampled_alone: list[Completion]
    crowd: list[Completion]
    too_long: BaseException | Completion
    unknown: BaseException | Completion
    counters: Counters
    cached_again: list[int]
    after_death: list[BaseException | Completion]
    seconds_to_notice: float


@pytest.fixture(scope="module")
def served(tiny_model: Path, tiny_adapter: Path) -> Served:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("needs the package vllm or vllm-cpu")
    before = dict(os.environ)
    try:
        return asyncio.run(serve(str(tiny_model), tiny_adapter))
    finally:
        os.environ.clear()
        os.environ.update(before)


async def serve(model: str, adapter: Path) -> Served:
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    # Two copies of the model, as on two GPUs.
    options = {"max_model_len": 8192, "dtype": "float32", "enforce_eager": True, "gpus": 2}
    async with VllmEngine(model, {"year.1": adapter}, **options) as engine:  # type: ignore[arg-type]

        async def ask(asked: Sequence[Sequence[int]], sampling: Sampling, adapter: str | None) -> list[Completion]:
            answers = (engine.generate(ids, sampling, seed=n, adapter=adapter) for n, ids in enumerate(asked))
            return list(await asyncio.gather(*answers))

        async def failing(ids: Sequence[int], adapter: str | None) -> BaseException | Completion:
            answer = engine.generate(ids, GREEDY, seed=0, adapter=adapter)
            return (await asyncio.gather(answer, return_exceptions=True))[0]

        asked = prompts(32)
        # Together, since both kinds in one batch are what goes wrong in vLLM on a CPU without a spare slot.
        base, tuned = await asyncio.gather(ask(asked, GREEDY, None), ask(asked, GREEDY, "year.1"))
        sampled = await ask(asked, SAMPLED, None)
        alone = [await engine.generate(ids, SAMPLED, seed=n, adapter=None) for n, ids in enumerate(asked[:8])]
        # More than one step takes: some of these would be read in pieces.
        crowd = await ask([[3 + n] * 3000 for n in range(12)], SAMPLED, None)
        too_long, unknown = await failing([5] * 8192, None), await failing([5], "nobody")
        counters = replace(engine.counters)
        again = [5 + n % 300 for n in range(600)]
        cached = []
        for gpu in (0, 1, 1, 0):
            before = engine.counters.cached_tokens
            await engine.on(gpu).generate(again, GREEDY, seed=0, adapter=None)
            cached.append(engine.counters.cached_tokens - before)

        long = Sampling(stop_ids=(), max_tokens=8000)
        tasks = [asyncio.create_task(engine.generate([n], long, seed=0, adapter=None)) for n in range(50, 60)]
        await asyncio.sleep(0.5)
        assert engines()
        for process in engines():
            os.kill(process, signal.SIGKILL)
        killed = time.monotonic()
        ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
        seconds = time.monotonic() - killed
        ended.append(await asyncio.wait_for(failing([5], None), 60))
    return Served(base, tuned, sampled, alone, crowd, too_long, unknown, counters, cached, ended, seconds)


def engines() -> list[int]:
    """The engine's processes among this one's children; vLLM renames them once they run."""
    import psutil

    return [child.pid for child in psutil.Process().children() if "EngineCore" in " ".join(child.cmdline())]


@pytest.mark.vllm
def test_greedy_answers_agree_with_transformers(served: Served, tiny_model: Path, tiny_adapter: Path) -> None:
    from simstudent.rollout.engines.transformers import TransformersEngine

    async def reference(adapter: str | None) -> list[Completion]:
        options = {"dtype": "float32", "device": "cpu"}
        async with TransformersEngine(str(tiny_model), {"year.1": tiny_adapter}, **options) as engine:  # type: ignore[arg-type]
            asks = (engine.generate(ids, GREEDY, seed=0, adapter=adapter) for ids in prompts(32))
            return list(await asyncio.gather(*asks))

    # In float32 the two differ where a tie is nearer than rounding, which is seldom.
    for answers, adapter in ((served.base, None), (served.tuned, "year.1")):
        expected = asyncio.run(reference(adapter))
        assert sum(a == b for a, b in zip(answers, expected, strict=True)) >= 30
    assert sum(a == b for a, b in zip(served.base, served.tuned, strict=True)) < 10
    assert {answer.truncated for answer in served.base} == {True, False}


@pytest.mark.vllm
def test_a_seed_decides_a_sampled_answer(served: Served) -> None:
    assert sum(a == b for a, b in zip(served.sampled, served.sampled_alone, strict=False)) >= 7
    assert len({answer.ids for answer in served.sampled}) == 32


@pytest.mark.vllm
def test_long_prompts_with_seeds_are_all_answered(served: Served) -> None:
    assert len(served.crowd) == 12  # on a CPU, vLLM ended at the first that it read in pieces


@pytest.mark.vllm
def test_what_cannot_be_asked_is_an_engine_error(served: Served) -> None:
    assert isinstance(served.too_long, EngineError)
    assert isinstance(served.unknown, EngineError)
    assert "no adapter 'nobody'" in str(served.unknown)


@pytest.mark.vllm
def test_tokens_are_counted(served: Served) -> None:
    assert served.counters.requests == 32 * 3 + 8 + 12
    assert served.counters.prompt_tokens > 3 * sum(len(ids) for ids in prompts(32))
    assert served.counters.cached_tokens > 0
    assert 0 < served.counters.generated_tokens <= 116 * 24
    assert served.counters.busy_seconds > 0


@pytest.mark.vllm
def test_each_copy_has_a_prefix_cache_of_its_own(served: Served) -> None:
    assert served.cached_again[:2] == [0, 0]
    assert min(served.cached_again[2:]) >= 256


@pytest.mark.vllm
def test_a_dead_engine_fails_what_is_pending_and_what_comes_after(served: Served) -> None:
    assert len(served.after_death) == 11
    assert all(isinstance(answer, EngineError) for answer in served.after_death)
    assert served.seconds_to_notice < 30
