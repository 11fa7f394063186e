"""Examples in the prompt: whose they are, that they are whole, and where they stand."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from graders import FunctionTest, Grade, Pool, Problem, TestOutcome
from simstudent.data.records import Assignment, Submission, Trajectory
from simstudent.dialogue.encode import Encoder
from simstudent.recipe import DialogueSection
from simstudent.rollout.engine import Completion, Sampling
from simstudent.rollout.fewshot import Example, examples, few_shot, roomy, with_examples
from simstudent.rollout.sections import FewShotSection
from simstudent.rollout.simulate import Start, language_model, past_of
from tests.dialogue.templates import with_template

PROBLEM = Problem("one", (FunctionTest("()", "1"),), entry="one")
WRONG = Grade(0.0, "graded", (TestOutcome("wrong"),))
ASSIGNMENTS = {
    "one": Assignment("one", "Return one.", problem=PROBLEM),
    "two": Assignment("two", "Return 1 as well.", problem=PROBLEM),
    "new": Assignment("new", "Return something new.", problem=PROBLEM),
}


def work(student: str, assignment: str, *values: int) -> Trajectory:
    return Trajectory(student, assignment, tuple(Submission(f"def one():\n    return {v}\n") for v in values))


TRAINING = [*(work(f"s{n}", "one", n + 10, 1) for n in range(6)), work("t", "two", 99), work("me", "one", 77)]


@pytest.fixture(scope="module")
def pool() -> Any:
    with Pool(1) as made:
        yield made


@pytest.fixture(scope="module")
def known(pool: Pool) -> list[Example]:
    return examples(TRAINING, ASSIGNMENTS, {"one", "new"}, pool, DialogueSection())


def encoder(tokens: int = 3000) -> Encoder:
    return Encoder(with_template("bytes", "headers"), window=tokens, answer_tokens=100)


def titles(found: tuple[Any, ...]) -> list[str]:
    return [work.title.split(":")[0] for work in found]


def test_examples_are_whole_trajectories_of_other_students(known: list[Example]) -> None:
    choose = few_shot(known, FewShotSection(examples=20, tokens=100_000), encoder(300_000), 1)
    shown = choose(work("me", "one", 5))
    assert len(shown) == 6
    assert set(titles(shown)) == {"How another student worked on this assignment"}
    assert all(len(w.states) == 2 and "1 of 1 test passed" in w.states[1] for w in shown)
    assert "77" not in "".join(text for w in shown for text in w.states)


def test_other_assignments_serve_only_where_there_is_nothing_else(known: list[Example]) -> None:
    choose = few_shot(known, FewShotSection(examples=20, tokens=100_000), encoder(300_000), 1)
    shown = choose(work("me", "new", 5))
    assert set(titles(shown)) == {"How another student worked on another assignment"}
    assert "Return 1 as well." in "".join(w.title for w in shown)


def test_the_choice_is_drawn_by_seed_and_trajectory(known: list[Example]) -> None:
    section = FewShotSection(examples=2, tokens=100_000)
    of = [few_shot(known, section, encoder(), seed)(work(who, "one", 5)) for seed in (1, 2) for who in "ab"]
    assert len(set(of)) > 1
    assert of[0] == few_shot(known[::-1], section, encoder(), 1)(work("a", "one", 6, 7))


def test_what_does_not_fit_is_left_out_whole_and_the_rest_is_in_the_prompt(known: list[Example]) -> None:
    own, look = encoder(), DialogueSection()
    size = own.size(known[0].shown("one"))
    section = FewShotSection(examples=5, tokens=2 * size + 10)
    choose, wide = few_shot(known, section, own, 1), roomy(own, section)
    assert wide.history_tokens == section.tokens
    assert own.history_tokens == 0
    assert roomy(encoder(500), FewShotSection(tokens=450)).history_tokens == 200, "half of what the answer leaves"
    seen: list[str] = []

    class Engine:
        async def generate(self, ids: Any, sampling: Sampling, *, seed: int, adapter: str | None) -> Completion:
            seen.append(own.decode(ids))
            return Completion((), False)

    t = work("me", "one", 5, 6)
    start = Start(t, ASSIGNMENTS["one"], (WRONG,) * 2, 1)
    student = language_model(Engine(), wide, Sampling((0,)), adapter=None, seed=1, look=look)
    asyncio.run(with_examples(student, choose)(start, past_of(start, look), 1))
    assert seen[0].count("How another student worked on this assignment") == 2
    assert seen[0].count("Submission:\n") == 4
    assert seen[0].index("How another student") < seen[0].index("This assignment:\nReturn one.")
    assert seen[0].index("return 5") > seen[0].index("This assignment:")


def test_messages_show_what_the_prompt_shows() -> None:
    own, look = encoder(400), DialogueSection(feedback="summary")
    t = work("you", "one", *range(30, 50))
    start = Start(t, ASSIGNMENTS["one"], (WRONG,) * 20, 19)
    turns = past_of(start, look).turns
    ids = own.prompt("Be a student.", "Return one.", turns, header="\n\n[9 s later]")
    messages = own.messages("Be a student.", "Return one.", turns, header="\n\n[9 s later]")
    assert ids is not None
    assert messages is not None
    text = own.decode(ids)
    roles = [m["role"] for m in messages]
    assert roles == ["system", *["user", "assistant"] * (len(roles) // 2 - 1), "user"]
    assert 3 < len(roles) < 40, "the window has cut"
    assert all(m["content"] in text for m in messages)
    assert text.count("return") == sum(m["content"].count("return") for m in messages)
    assert own.messages("x" * 500, "Return one.", turns) is None
