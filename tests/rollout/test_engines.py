"""The transformers engine against model.generate, and alone against in company."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from simstudent.errors import SimstudentError  # noqa: E402
from simstudent.rollout.engine import Completion, EngineError, Sampling  # noqa: E402
from simstudent.rollout.engines import rows  # noqa: E402
from simstudent.rollout.engines.prefixes import Prefixes, blocks_of  # noqa: E402
from simstudent.rollout.engines.transformers import TransformersEngine  # noqa: E402

GREEDY = Sampling(stop_ids=(2,), max_tokens=24)
SAMPLED = Sampling(stop_ids=(2,), max_tokens=24, temperature=1.0, top_p=0.9)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices gain nothing from more threads, and lose much when the machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def prompts(count: int, seed: int = 0, longest: int = 150) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(3, 384) for _ in range(draw.randint(1, longest))] for _ in range(count)]


def engine(model: Path, adapters: dict[str, Path] | None = None, **options: Any) -> TransformersEngine:
    options = {"dtype": "float32", "device": "cpu", "batch_size": 8} | options
    return TransformersEngine(str(model), adapters or {}, **options)


async def ask(
    engine: TransformersEngine, asked: Sequence[Sequence[int]], sampling: Sampling, adapter: str | None = None
) -> list[Completion]:
    answers = (engine.generate(ids, sampling, seed=n, adapter=adapter) for n, ids in enumerate(asked))
    return list(await asyncio.gather(*answers))


async def answers(model: Path, asked: Sequence[Sequence[int]], sampling: Sampling, **options: Any) -> list[Completion]:
    async with engine(model, **options) as opened:
        return await ask(opened, asked, sampling)


def expected(model: Any, ids: Sequence[int], sampling: Sampling) -> Completion:
    """What transformers' own generate gives for one greedy request."""
    with torch.inference_mode():
        whole = model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=sampling.max_tokens,
            do_sample=False,
            eos_token_id=list(sampling.stop_ids),
            pad_token_id=0,
        )
    out = whole[0, len(ids) :].tolist()
    stopped = out[-1] in sampling.stop_ids
    return Completion(tuple(out[:-1] if stopped else out), truncated=not stopped)


def reference(folder: Path, adapter: Path | None = None) -> Any:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    if adapter is None:
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, adapter).eval()


def test_greedy_is_what_generate_gives_for_prompts_of_any_length(tiny_model: Path) -> None:
    # Many stop ids, so that rows end at different steps and others take their places.
    sampling = Sampling(stop_ids=tuple(range(2, 30)), max_tokens=40)
    asked = [*prompts(30), *prompts(2, seed=1, longest=700)]
    found = asyncio.run(answers(tiny_model, asked, sampling))
    model = reference(tiny_model)
    assert found == [expected(model, ids, sampling) for ids in asked]
    assert {answer.truncated for answer in found} == {True, False}
    assert len({len(answer.ids) for answer in found}) > 5


def test_a_sampled_answer_depends_on_its_seed_and_not_on_its_company(tiny_model: Path) -> None:
    asked = prompts(24)
    together = asyncio.run(answers(tiny_model, asked, SAMPLED))
    alone = asyncio.run(answers(tiny_model, asked, SAMPLED, batch_size=1, prefix_cache_gib=0.0))
    assert together == alone

    async def other_seed() -> Completion:
        async with engine(tiny_model) as opened:
            return await opened.generate(asked[0], SAMPLED, seed=99, adapter=None)

    assert asyncio.run(other_seed()) != together[0]


def test_adapters_are_applied_to_their_own_requests_only(tiny_model: Path, tiny_adapter: Path) -> None:
    asked = prompts(6)

    async def both() -> tuple[list[Completion], list[Completion]]:
        async with engine(tiny_model, {"year.1": tiny_adapter}) as opened:
            base, tuned = await asyncio.gather(ask(opened, asked, GREEDY), ask(opened, asked, GREEDY, "year.1"))
            assert await ask(opened, asked, GREEDY) == base
            return base, tuned

    base, tuned = asyncio.run(both())
    plain, adapted = reference(tiny_model), reference(tiny_model, tiny_adapter)
    assert base == [expected(plain, ids, GREEDY) for ids in asked]
    assert tuned == [expected(adapted, ids, GREEDY) for ids in asked]
    assert base != tuned


def test_the_next_turn_of_a_dialogue_reuses_the_turns_before_it(tiny_model: Path) -> None:
    first, more = prompts(1, longest=150)[0] * 3, prompts(1, seed=5)[0]

    async def two_turns(**options: Any) -> tuple[Completion, int]:
        async with engine(tiny_model, **options) as opened:
            answer = (await ask(opened, [first], GREEDY))[0]
            again = (await ask(opened, [[*first, *answer.ids, *more]], GREEDY))[0]
            return again, opened.counters.cached_tokens

    with_cache, cached = asyncio.run(two_turns())
    without, none = asyncio.run(two_turns(prefix_cache_gib=0.0))
    assert with_cache == without
    assert cached > len(first) - 32
    assert none == 0


def test_a_stop_token_is_left_out_and_the_limit_is_reported(tiny_model: Path) -> None:
    ids = prompts(1)[0]
    free = asyncio.run(answers(tiny_model, [ids], Sampling(stop_ids=(), max_tokens=10)))[0]
    assert (len(free.ids), free.truncated) == (10, True)
    stop = free.ids[4]
    stopped = asyncio.run(answers(tiny_model, [ids], Sampling(stop_ids=(stop,), max_tokens=10)))[0]
    assert stopped == Completion(free.ids[: free.ids.index(stop)], truncated=False)


def test_what_was_done_is_counted(tiny_model: Path) -> None:
    ids = prompts(1)[0]

    async def once() -> TransformersEngine:
        async with engine(tiny_model) as opened:
            await ask(opened, [ids], Sampling(stop_ids=(), max_tokens=10))
            return opened

    counters = asyncio.run(once()).counters
    assert (counters.requests, counters.prompt_tokens, counters.generated_tokens) == (1, len(ids), 10)
    assert counters.busy_seconds > 0


def test_models_with_other_layers_run_row_by_row(tmp_path: Path) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(
        vocab_size=384,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=16,
        initializer_range=0.15,
    )
    torch.manual_seed(0)
    MistralForCausalLM(config).save_pretrained(tmp_path)
    asked = prompts(6, longest=60)

    async def ask_all() -> list[Completion]:
        async with engine(tmp_path) as opened:
            assert isinstance(opened._rows, rows.SeparateRows)
            return await ask(opened, asked, GREEDY)

    model = reference(tmp_path)
    assert asyncio.run(ask_all()) == [expected(model, ids, GREEDY) for ids in asked]


def test_a_failing_request_is_an_engine_error_of_its_own(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = [7] * 33
    add = rows.SlotRows.add

    def failing(self: Any, ids: Sequence[int], kept: Any) -> Any:
        if list(ids) == bad:
            raise ValueError("made to fail")
        return add(self, ids, kept)

    monkeypatch.setattr(rows.SlotRows, "add", failing)
    asked = [*prompts(4), bad]

    async def ask_all() -> list[Completion | BaseException]:
        async with engine(tiny_model) as opened:
            asks = (opened.generate(ids, GREEDY, seed=0, adapter=None) for ids in asked)
            return await asyncio.gather(*asks, return_exceptions=True)

    *good, error = asyncio.run(ask_all())
    assert all(isinstance(answer, Completion) for answer in good)
    assert isinstance(error, EngineError)
    assert "ValueError: made to fail" in str(error)


def test_a_failing_step_ends_its_rows_and_no_others(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, calls = rows.SlotRows.step, iter(range(1000))

    def failing(self: Any, tokens: Sequence[int]) -> Any:
        if next(calls) == 3:
            raise RuntimeError("made to fail")
        return step(self, tokens)

    monkeypatch.setattr(rows.SlotRows, "step", failing)

    async def ask_all() -> list[Completion | BaseException]:
        async with engine(tiny_model, batch_size=2) as opened:
            sampling = Sampling(stop_ids=(), max_tokens=10)
            asks = (opened.generate(ids, sampling, seed=0, adapter=None) for ids in prompts(6))
            return await asyncio.gather(*asks, return_exceptions=True)

    found = asyncio.run(ask_all())
    assert [isinstance(answer, EngineError) for answer in found] == [True, True, False, False, False, False]


@pytest.mark.slow
def test_out_of_memory_halves_the_batch_and_tries_again(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = rows.SlotRows.step

    def cramped(self: Any, tokens: Sequence[int]) -> Any:
        if len(tokens) > 2:
            raise torch.OutOfMemoryError("made to fail")
        return step(self, tokens)

    asked = prompts(12)
    for sampling in (GREEDY, SAMPLED):
        roomy = asyncio.run(answers(tiny_model, asked, sampling))
        with monkeypatch.context() as patch:
            patch.setattr(rows.SlotRows, "step", cramped)
            assert asyncio.run(answers(tiny_model, asked, sampling)) == roomy


def test_out_of_memory_with_one_row_is_an_engine_error(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, ids: Sequence[int], kept: Any) -> Any:
        raise torch.OutOfMemoryError("made to fail")

    monkeypatch.setattr(rows.SlotRows, "add", full)
    with pytest.raises(EngineError, match="OutOfMemoryError"):
        asyncio.run(answers(tiny_model, prompts(1), GREEDY))


def test_what_cannot_be_asked(tiny_model: Path) -> None:
    async def ask_badly() -> None:
        opened = engine(tiny_model)
        with pytest.raises(EngineError, match="not open"):
            await opened.generate([5], GREEDY, seed=0, adapter=None)
        async with opened:
            with pytest.raises(EngineError, match="no adapter 'nobody'"):
                await opened.generate([5], GREEDY, seed=0, adapter="nobody")
            with pytest.raises(EngineError, match="0 to 383"):
                await opened.generate([384], GREEDY, seed=0, adapter=None)
            with pytest.raises(EngineError, match="context of 8192"):
                await opened.generate([5] * 8192, GREEDY, seed=0, adapter=None)
        with pytest.raises(EngineError, match="closed"):
            await opened.generate([5], GREEDY, seed=0, adapter=None)

    asyncio.run(ask_badly())


def test_closing_ends_what_is_pending(tiny_model: Path) -> None:
    async def close_early() -> list[Completion | BaseException]:
        async with engine(tiny_model) as opened:
            sampling = Sampling(stop_ids=(), max_tokens=4000)
            tasks = [asyncio.create_task(opened.generate(ids, sampling, seed=0, adapter=None)) for ids in prompts(10)]
            await asyncio.sleep(0.2)
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(close_early())
    assert all(isinstance(error, EngineError) for error in found)
    assert not any(thread.name == "transformers-engine" for thread in threading.enumerate())


def test_a_cancelled_request_leaves_the_batch(tiny_model: Path) -> None:
    async def cancel() -> tuple[int, Completion]:
        async with engine(tiny_model, batch_size=1) as opened:
            long = Sampling(stop_ids=(), max_tokens=4000)
            task = asyncio.create_task(opened.generate([5, 6, 7], long, seed=0, adapter=None))
            await asyncio.sleep(0.1)
            task.cancel()
            answer = await opened.generate([8, 9], GREEDY, seed=0, adapter=None)
            return opened.counters.generated_tokens, answer

    generated, answer = asyncio.run(cancel())
    assert generated < 4000
    assert answer.ids


def test_opening_says_what_is_wrong(tiny_model: Path, tmp_path: Path) -> None:
    async def opening(model: Path, adapters: dict[str, Path]) -> None:
        async with engine(model, adapters):
            pass

    with pytest.raises(SimstudentError, match=r"no config\.json"):
        asyncio.run(opening(tmp_path, {}))
    with pytest.raises(SimstudentError, match=r"adapter 'a': no adapter_config\.json"):
        asyncio.run(opening(tiny_model, {"a": tmp_path}))


def test_choose_follows_the_probabilities_inside_top_p() -> None:
    scores = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    draw = random.Random(0)

    def shares(sampling: Sampling) -> list[float]:
        chosen = rows.choose(scores.expand(20000, 4), [sampling] * 20000, [draw] * 20000)
        return [chosen.count(token) / 20000 for token in range(4)]

    assert shares(Sampling((), temperature=0.0)) == [1, 0, 0, 0]
    assert shares(Sampling((), temperature=1.0)) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.02)
    assert shares(Sampling((), temperature=1.0, top_p=0.7)) == pytest.approx([0.625, 0.375, 0, 0], abs=0.02)
    assert shares(Sampling((), temperature=1.0, top_p=0.1)) == [1, 0, 0, 0]
    assert shares(Sampling((), temperature=0.5))[0] == pytest.approx(0.25 / 0.365, abs=0.02)


def test_top_p_over_a_flat_vocabulary_looks_past_the_likeliest() -> None:
    scores, draw = torch.zeros(500, 1000), random.Random(0)
    scores[:, 990:] = -1.0
    chosen = rows.choose(scores, [Sampling((), temperature=1.0, top_p=0.99)] * 500, [draw] * 500)
    assert len(set(chosen)) > 300
    assert max(chosen) < 990


def test_prefixes_forget_the_least_recently_used_first() -> None:
    def kept(length: int) -> rows.KeysValues:
        return [(torch.zeros(1, 1, length, 4), torch.zeros(1, 1, length, 4))]

    def add(store: Prefixes, ids: tuple[int, ...]) -> None:
        store.keep(ids, blocks_of(ids, None), kept(len(ids)))

    def found(store: Prefixes, ids: tuple[int, ...], adapter: str | None = None) -> int:
        return store.find(ids, blocks_of(ids, adapter))[1]

    a, b, c = ((number,) * 96 for number in (1, 2, 3))
    store = Prefixes(capacity=2 * 96 * 4 * 4 * 2)
    add(store, a)
    add(store, b)
    assert found(store, (*a, 9)) == 96
    assert found(store, a) == 64, "the last token is never taken from what is kept"
    assert found(store, (*a, 9), "other") == 0
    add(store, c)
    assert [found(store, (*ids, 9)) for ids in (a, b, c)] == [96, 0, 96]
    add(store, (*a, *a[:64]))
    assert found(store, (*a, *a[:64], 9)) == 160
