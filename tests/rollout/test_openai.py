"""A chat server that misbehaves in every way we know: what is asked again, what fails, and that nobody is blamed."""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httpx2")

from simstudent.cli import main
from simstudent.errors import SimstudentError
from simstudent.recipe import recipe_from_dict
from simstudent.rollout.chat import cost
from simstudent.rollout.engine import EngineError
from simstudent.rollout.engines.openai import PATIENCE, ChatServer, Spending
from simstudent.rollout.engines.responses import Answer, waiting_time
from simstudent.rollout.folder import read_rollouts
from simstudent.rollout.sections import Prices, ServerSection
from tests.rollout.bad_server import BadServer, Plan, serving
from tests.tiny import save_tokenizer

PROBLEMS = ("later", "overloaded", "gone", "half", "rubbish", "no choices", "no content", "error in 200", "slow")


def ask(
    server: BadServer,
    folder: Path,
    do: Callable[[ChatServer], Awaitable[Any]],
    **options: Any,
) -> tuple[Any, Spending]:
    """What ``do`` makes of an open ChatServer, and what was spent."""
    section = ServerSection(url=server.url, **{"timeout": 0.15, "attempts": 2} | options)

    async def run() -> tuple[Any, Spending]:
        async with ChatServer(section, "tiny", folder=folder, pause=0.01) as chat:
            return await do(chat), chat.spending

    return asyncio.run(run())


def chat(text: str, *, seed: int = 1, temperature: float = 0.0) -> Callable[[ChatServer], Awaitable[Answer]]:
    messages = [{"role": "user", "content": text}]
    return lambda server: server.chat(messages, max_tokens=50, temperature=temperature, top_p=0.9, seed=seed)


def always(what: str) -> Plan:
    return lambda asked, before: what


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_passing_problem_is_asked_again(problem: str, tmp_path: Path) -> None:
    with serving(lambda asked, before: problem if before < 1 else "ok") as server:
        answer, spent = ask(server, tmp_path, chat("hi"))
        assert answer == Answer("hello", False, 100, 40, 7)
        assert (spent.requests, spent.repeated, spent.failed) == (1, 1, 0)
        assert server.done == {problem: 1, "ok": 1}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_lasting_problem_is_the_engines_failure_and_never_kept(problem: str, tmp_path: Path) -> None:
    with serving(always(problem)) as server:
        with pytest.raises(EngineError, match="2 attempts, the last"):
            ask(server, tmp_path, chat("hi"))
        assert server.done == {problem: 2}
        assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("filter", "content filter"),
        ("cut", r"after 4 tokens .* of 50"),
        ("tomorrow", "wait 86400 s"),
        ("strange", "unsupported parameter"),
    ],
)
def test_what_will_not_get_better_is_asked_once(what: str, message: str, tmp_path: Path) -> None:
    with serving(always(what)) as server:
        with pytest.raises(EngineError, match=message):
            ask(server, tmp_path, chat("hi"))
        assert server.done == {what: 1}


def test_an_answer_cut_at_our_own_limit_is_the_models_and_one_used_up_by_thinking_is_not(tmp_path: Path) -> None:
    with serving(lambda asked, before: asked["messages"][0]["content"]) as server:
        answer, _ = ask(server, tmp_path, chat("too long"))
        assert (answer.truncated, answer.reply_tokens) == (True, 50)
        with pytest.raises(EngineError, match=r"50 of thinking.*rollout\.server\.max_tokens"):
            ask(server, tmp_path, chat("thinking"))
        assert ask(server, tmp_path, chat("refusal"))[0].text == "I cannot help with that."


@pytest.mark.parametrize(("what", "message"), [("key", "does not accept the key"), ("quota", "quota is used up")])
def test_what_every_request_would_meet_stops_the_run_and_no_message_tells_the_key(
    what: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    with serving(always(what)) as server:
        with pytest.raises(SimstudentError, match=message) as caught:
            ask(server, tmp_path, chat("hi"), key_variable="MY_KEY")
        assert server.keys == {"Bearer sk-very-secret"}
        assert "sk-very" not in str(caught.value)
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(SimstudentError, match="MY_KEY"):
        ask(server, tmp_path, chat("hi"), key_variable="MY_KEY")


def test_a_server_that_is_down_ends_the_run_after_a_while(tmp_path: Path) -> None:
    async def many(server: ChatServer) -> list[BaseException | Answer]:
        asked = (chat(f"question {n}")(server) for n in range(2 * PATIENCE))
        return await asyncio.gather(*asked, return_exceptions=True)

    with serving(always("overloaded")) as server:
        found, spent = ask(server, tmp_path, many, attempts=1)
    assert Counter(map(type, found)) == {EngineError: PATIENCE - 1, SimstudentError: PATIENCE + 1}
    assert spent.failed == 2 * PATIENCE


def test_retry_after_holds_everybody_back(tmp_path: Path) -> None:
    async def many(server: ChatServer) -> None:
        await asyncio.gather(*(chat(f"question {n}")(server) for n in range(4)))

    with serving(lambda asked, before: "later" if not before else "ok") as server:
        ask(server, tmp_path, many)
        first, last = server.moments[3], server.moments[4]
        assert last - first >= 0.15


def test_no_more_requests_at_once_than_allowed_and_equal_ones_once(tmp_path: Path) -> None:
    async def many(server: ChatServer) -> list[Answer]:
        return await asyncio.gather(*(chat(f"question {n % 8}")(server) for n in range(40)))

    with serving(lambda asked, before: "slow") as server:
        found, spent = ask(server, tmp_path, many, concurrency=3, timeout=5)
        assert len(found) == 40
        assert server.most == 3
        assert server.done == {"slow": 8}
        assert spent.requests == 8


def test_answers_are_kept_by_everything_that_decides_them(tmp_path: Path) -> None:
    with serving(always("ok")) as server:
        for _ in range(2):
            ask(server, tmp_path, chat("hi"))
            ask(server, tmp_path, chat("ho"))
            ask(server, tmp_path, chat("hi", temperature=0.5))
            ask(server, tmp_path, chat("hi", temperature=0.5, seed=2))
            ask(server, tmp_path, chat("hi"), model="other")
            ask(server, tmp_path, chat("hi"), body={"reasoning_effort": "low", "seed": None})
        assert server.done == {"ok": 6}
        assert ask(server, tmp_path, chat("hi", seed=9))[1].from_cache == 1, "greedy: no seed"
        assert "hi" not in "".join(p.read_text() for p in tmp_path.rglob("*.json")), "no question is kept"
        ask(server, tmp_path, chat("hi"), cache=False)
        assert server.done == {"ok": 7}
        for path in tmp_path.rglob("*.json"):
            path.write_text(path.read_text()[:20])
        assert ask(server, tmp_path, chat("hi"))[0].text == "hello", "a damaged answer is asked for again"


def test_what_is_sent(tmp_path: Path) -> None:
    with serving(always("ok")) as server:
        ask(server, tmp_path, chat("hi"))
        ask(server, tmp_path, chat("hi", temperature=0.5, seed=7))
        options = {"limit_field": "max_completion_tokens", "max_tokens": 400}
        ask(server, tmp_path, chat("hi"), body={"temperature": None, "x": 1}, **options)
        messages = [{"role": "user", "content": "hi"}]
        assert server.requests == [
            {"model": "tiny", "messages": messages, "max_tokens": 50, "temperature": 0.0},
            {"model": "tiny", "messages": messages, "max_tokens": 50, "temperature": 0.5, "top_p": 0.9, "seed": 7},
            {"model": "tiny", "messages": messages, "max_completion_tokens": 400, "x": 1},
        ]
        assert server.keys == {None}


def test_waiting_times_in_seconds_milliseconds_and_as_a_date() -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
    assert waiting_time({"retry-after": "2.5"}) == 2.5
    assert waiting_time({"retry-after": "9", "retry-after-ms": "1500"}) == 1.5
    assert 20 < (waiting_time({"retry-after": email.utils.format_datetime(soon)}) or 0) <= 30
    assert waiting_time({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert waiting_time({}) is None
    assert waiting_time({"retry-after": "soon"}) is None


def test_cost_is_per_million_tokens() -> None:
    spent = Spending(prompt_tokens=3_000_000, cached_prompt_tokens=1_000_000, answer_tokens=500_000)
    assert cost(spent, Prices(prompt=2, answer=8)) == 10
    assert cost(spent, Prices(prompt=2, answer=8, cached=0.5)) == 8.5


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ({"url": "https://api.example.com/v1"}, "send_data: true"),
        ({"url": "localhost:8000"}, "no address"),
        ({"url": "http://me:secret@localhost/v1"}, "credentials"),
        ({"key_variable": "sk-not-a-name"}, "never write the key itself"),
        ({"body": {"api_key": "sk-not-here"}}, "no key may stand there"),
    ],
)
def test_recipes_do_not_leak_keys_or_data(server: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE.format(model="x/y", server=json.dumps(server)))
    from simstudent.recipe import load_recipe

    with pytest.raises(SimstudentError, match=message) as caught:
        load_recipe(path)
    assert "sk-not" not in str(caught.value)
    assert "secret" not in str(caught.value)


RECIPE = """
name: hosted
model: {{id: "{model}"}}
data:
  source: {{kind: course}}
  select: [min_submissions: 2, max_submissions: 4]
rollout:
  engine: openai
  server: {server}
  methods: [repeat-last, base]
  steps: 2
  limit: 12
  resamples: 100
dialogue: {{window: 3000}}
"""


def test_every_rollout_is_recorded_and_only_failures_of_the_server_are_redone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tokenizer(tmp_path / "tokenizer")
    (tmp_path / "tokenizer" / "config.json").write_text('{"model_type": "llama"}')
    monkeypatch.setenv("SIMSTUDENT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("simstudent.rollout.engines.openai.PAUSE", 0.01)
    broken = {"now": True}
    seen: list[str] = []

    def plan(asked: dict[str, Any], before: int) -> str:
        text = json.dumps(asked["messages"])
        if text not in seen:
            seen.append(text)
        number = seen.index(text)
        if number % 3 == 0:  # for a while nothing works for these
            return (*PROBLEMS, "cut", "filter")[number // 3 % (len(PROBLEMS) + 2)] if broken["now"] else "ok"
        return PROBLEMS[number % len(PROBLEMS)] if before == 0 else "ok"

    def text(asked: dict[str, Any]) -> str:
        return "no program" if len(asked["messages"]) % 4 == 0 else "```python\nprint(1)\n```"

    with serving(plan, text) as server:
        options = {"url": server.url, "timeout": 0.15, "attempts": 2, "prices": {"prompt": 1, "answer": 4}}
        path = tmp_path / "r.yaml"
        path.write_text(RECIPE.format(model=tmp_path / "tokenizer", server=json.dumps(options)))
        command = ["rollout", str(path), "--runs", str(tmp_path / "runs")]
        assert main(command) == 0
        told = capsys.readouterr().out
        assert "requests to http://127.0.0.1" in told
        assert "FAILED" in told
        (folder,) = (tmp_path / "runs").glob("*/rollouts/*")
        first = [r for r in read_rollouts(folder) if r.method == "base"]
        failed = [r for r in first if r.error]
        assert len(first) == 12
        assert 0 < len(failed) < 12
        assert all("EngineError" in str(r.error) and r.stop == "error" for r in failed)
        usage = json.loads((folder / "usage.json").read_text())
        assert usage["failed"] == len(failed)
        assert usage["cost"] == pytest.approx((100 * usage["requests"] + 4 * 7 * usage["requests"]) / 1e6)
        figures = json.loads((folder / "metrics.json").read_text())
        (counts,) = (m["counts"] for m in figures["methods"] if m["method"] == "base")
        assert (counts["rollouts"], counts["errors"]) == (12, len(failed))

        broken["now"] = False
        run = str(folder.parent.parent)
        assert main([*command, "--run", run, "--resume"]) == 0
        second = {r.key: r for r in read_rollouts(folder) if r.method == "base"}
        assert len(second) == 12
        assert not [r for r in second.values() if r.error]
        assert all(second[r.key] == r for r in first if not r.error), "what was done is not done again"
        assert json.loads((folder / "usage.json").read_text())["requests"] > usage["requests"]


def test_a_server_plays_no_adapters() -> None:
    recipe = recipe_from_dict(
        {
            "name": "x",
            "model": {"id": "x/y"},
            "data": {"source": {"kind": "course"}},
            "rollout": {"engine": "openai", "methods": ["base", "sft"]},
        }
    )
    from simstudent.rollout.run import run_rollouts

    with pytest.raises(SimstudentError, match="adapters such as sft are not sent"):
        run_rollouts(recipe, None, root=Path("nowhere"))


def test_a_class_of_a_server_is_not_said_to_be_an_adapters() -> None:
    recipe = recipe_from_dict(
        {
            "name": "x",
            "model": {"id": "x/y"},
            "data": {"source": {"kind": "course"}},
            "rollout": {"engine": "openai", "temperature": 1.0},
        }
    )
    from simstudent.rollout.synthetic import make_class

    with pytest.raises(SimstudentError, match="adapters such as sft are not sent"):
        make_class(recipe, None, Path("nowhere"), students=1, method="sft", root=Path("nowhere"))


def test_a_key_that_stands_in_a_program_is_no_secret_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of one's own take any key, such as x or EMPTY."""
    monkeypatch.setenv("A_KEY", "x")
    program = "x = 1\nprint(x)"
    with serving(always("ok"), lambda asked: program) as server:
        answer, _ = ask(server, tmp_path, chat("hi"), key_variable="A_KEY")
    assert answer.text == program
