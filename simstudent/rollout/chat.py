"""Students that a model behind a chat server plays, what that will take of it, and what it took."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from simstudent.dialogue.encode import Encoder
from simstudent.dialogue.serialize import opening_after, system_prompt
from simstudent.recipe import DialogueSection, Recipe
from simstudent.rollout.engines.openai import ChatServer, Spending
from simstudent.rollout.sections import Prices
from simstudent.rollout.simulate import (
    Past,
    Reply,
    RolloutError,
    Start,
    Student,
    past_of,
    read_reply,
    request_seed,
    too_long,
)
from simstudent.runs import read_json, write_json

TRIED = 40
"""Starts whose prompts are counted for the estimate."""
USAGE = "usage.json"
"""What a folder's rollouts took of a server."""
MANY = 500
"""Requests beyond which a first try with few starts is advised."""


def chat_model(
    server: ChatServer, encoder: Encoder, *, max_tokens: int, temperature: float, top_p: float, seed: int,
    look: DialogueSection,
) -> Student:  # fmt: skip
    """A simulated student that a hosted model plays: the same dialogue and window as `language_model`, as messages."""
    system = system_prompt(look)

    async def respond(start: Start, past: Past, k: int) -> Reply:
        first = opening_after(start.assignment, start.earlier)
        messages = encoder.messages(system, first, past.turns, earlier=start.earlier, header=past.header)
        if messages is None:
            raise RolloutError(too_long(encoder))
        done = await server.chat(
            messages,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=request_seed(seed, start.key, k),
        )
        tokens = done.prompt_tokens, done.reply_tokens
        return read_reply(done.text, encoder, past, look, tokens=tokens, truncated=done.truncated)

    return respond


def advice(recipe: Recipe, jobs: Sequence[tuple[Encoder, Sequence[Start], int]]) -> list[str]:
    """What these starts will ask of the server, to be read before anything is spent. Our tokenizer counts.

    A job: encoder, starts, and the tokens that examples add to each prompt.
    """
    r, look, server = recipe.rollout, recipe.dialogue, recipe.rollout.server
    requests = prompts = 0
    for encoder, starts, more in jobs:
        steps = [min(r.horizon, len(s.trajectory.submissions) - s.t) for s in starts]
        every = max(1, len(starts) // TRIED)
        # As long as the student's own history is between the first step and the last.
        lengths = [
            n * (_prompt_tokens(s, encoder, look) + _prompt_tokens(replace(s, t=s.t + n - 1), encoder, look)) / 2
            for s, n in zip(starts[::every], steps[::every], strict=True)
        ]
        requests += sum(steps)
        prompts += round(sum(steps) * (more + sum(lengths) / max(1, sum(steps[::every]))))
    answers = requests * (server.max_tokens or look.answer_tokens)
    text = (
        f"Up to {requests:,} requests to {server.url} (model {server.model or recipe.model.id}): about {prompts:,} "
        f"tokens of prompts, at most {answers:,} of answers"
    )
    if server.prices is not None:
        text += f", so at most about {cost(Spending(prompt_tokens=prompts, answer_tokens=answers), server.prices):,.2f}"
    lines = [f"{text}. What the answers' cache knows is not asked again."]
    if requests > MANY and r.limit is None:
        lines.append("Try it with a few starts first: --limit 20 (the same ones are not paid for twice).")
    return lines


def _prompt_tokens(start: Start, encoder: Encoder, look: DialogueSection) -> int:
    first = opening_after(start.assignment, start.earlier)
    return len(encoder.prompt(system_prompt(look), first, past_of(start, look).turns, earlier=start.earlier) or ())


def cost(spent: Spending, prices: Prices) -> float:
    """What the tokens cost."""
    cached = prices.prompt if prices.cached is None else prices.cached
    fresh = spent.prompt_tokens - spent.cached_prompt_tokens
    return (fresh * prices.prompt + spent.cached_prompt_tokens * cached + spent.answer_tokens * prices.answer) / 1e6


def account(spent: Spending, prices: Prices | None, folder: Path, say: Callable[[str], None]) -> None:
    """Tell what was spent, and add it to the folder's ``usage.json`` (which counts all sessions)."""
    if not any(spent.to_dict().values()):
        return
    path = folder / USAGE
    before = read_json(path) if path.is_file() else {}
    total = Spending(**{name: before.get(name, 0) + value for name, value in spent.to_dict().items()})
    priced = {} if prices is None else {"cost": cost(total, prices), "prices": prices.model_dump()}
    write_json(path, total.to_dict() | priced)
    text = (
        f"The server answered {spent.requests:,} requests ({spent.from_cache:,} more were known): "
        f"{spent.prompt_tokens:,} tokens of prompts ({spent.cached_prompt_tokens:,} cached there), "
        f"{spent.answer_tokens:,} of answers; {spent.repeated:,} attempts repeated, {spent.failed:,} requests failed"
    )
    if prices is not None:
        text += f"; cost {cost(spent, prices):,.4f}, in this folder so far {cost(total, prices):,.4f}"
    say(f"{text}. Attempts without an answer are not in it; they may have cost something too.")


def joined_usage(usages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What several folders took together; empty where no server was asked.

    The cost is there when all folders have one, and the prices when they are the same.
    """
    if not usages:
        return {}
    found: dict[str, Any] = {name: sum(usage.get(name, 0) for usage in usages) for name in Spending().to_dict()}
    if all("cost" in usage for usage in usages):
        found["cost"] = sum(usage["cost"] for usage in usages)
        if all(usage["prices"] == usages[0]["prices"] for usage in usages):
            found["prices"] = usages[0]["prices"]
    return found
