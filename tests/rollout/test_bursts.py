"""Requests that come one by one go in together, and nobody waits while nothing is being done."""

from __future__ import annotations

import asyncio

from simstudent.rollout.engines.bursts import Bursts


async def visit(door: Bursts, name: str, log: list[str], stay: float, come: float = 0.0) -> None:
    await asyncio.sleep(come)
    async with door:
        log.append(f"{name} in")
        await asyncio.sleep(stay)
    log.append(f"{name} out")


def test_who_comes_while_others_are_inside_goes_in_with_those_who_come_soon_after() -> None:
    async def run() -> list[str]:
        door, log = Bursts(0.05), list[str]()
        await asyncio.gather(
            visit(door, "first", log, stay=0.3),
            visit(door, "second", log, stay=0.2, come=0.01),
            visit(door, "third", log, stay=0.2, come=0.03),
            _note(log, "nobody yet", 0.045),
        )
        return log

    log = asyncio.run(run())
    assert log[:4] == ["first in", "nobody yet", "second in", "third in"]


async def _note(log: list[str], text: str, after: float) -> None:
    await asyncio.sleep(after)
    log.append(text)


def test_the_door_opens_at_once_when_the_last_one_leaves() -> None:
    async def run() -> float:
        door, log = Bursts(60.0), list[str]()
        began = asyncio.get_running_loop().time()
        await asyncio.gather(visit(door, "first", log, stay=0.05), visit(door, "second", log, stay=0.0, come=0.01))
        assert log[0] == "first in"
        assert log[-1] == "second out"
        return asyncio.get_running_loop().time() - began

    assert asyncio.run(run()) < 5.0


def test_without_seconds_there_is_no_door_and_one_who_goes_away_holds_nobody_up() -> None:
    async def run() -> tuple[list[str], list[str]]:
        log, left = list[str](), list[str]()
        await asyncio.gather(*(visit(Bursts(0.0), name, log, stay=0.0) for name in "ab"))
        door = Bursts(60.0)
        inside = asyncio.create_task(visit(door, "inside", left, stay=0.05))
        await asyncio.sleep(0.01)
        impatient = asyncio.create_task(visit(door, "impatient", left, stay=0.0))
        patient = asyncio.create_task(visit(door, "patient", left, stay=0.0))
        await asyncio.sleep(0.01)
        impatient.cancel()
        await asyncio.wait_for(asyncio.gather(inside, patient), 5.0)
        return log, left

    log, left = asyncio.run(run())
    assert log[:2] == ["a in", "b in"]
    assert left == ["inside in", "inside out", "patient in", "patient out"]
