"""Traces as text: what is written, what is learnt, what the window drops, and that reading gives it back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graders import FunctionTest, Problem
from simstudent.data.records import Assignment, Submission, Trajectory
from simstudent.data.trace_text import END, parse
from simstudent.dialogue.encode import IGNORED, Encoder, encode, encode_batches
from simstudent.dialogue.traces import block_header, trace, trace_template
from simstudent.errors import SimstudentError
from tests.tiny import save_tokenizer

TITLE = Assignment("my star", "Write a Pencil Code program called 'my star'.", "coffeescript")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


def encoder(tokenizer: Any, window: int = 4096) -> Encoder:
    return Encoder(tokenizer, window=window, answer_tokens=16, template=trace_template(tokenizer))


def trajectory(*codes: str, censored: bool = False) -> Trajectory:
    states = [Submission(code, f"2020-11-18T04:{n // 60:02d}:{n % 60:02d}+00:00") for n, code in enumerate(codes)]
    if censored:
        states[-1] = replace(states[-1], more={"censored": True})
    return Trajectory("s1", "my star", tuple(states))


def test_a_trace_is_written_as_published_and_all_of_it_is_learnt(tokenizer: Any) -> None:
    made = encoder(tokenizer)
    (row,) = made.rows(trace(trajectory("pen red", "pen red\nfd 100"), TITLE)).rows
    assert made.decode(row.ids) == (
        "my star\nCODE 1 (2020-11-18 04:00:00):\npen red\nCODE 2 (2020-11-18 04:00:01):\npen red\nfd 100\n<|im_end|>"
    )
    assert row.labels == row.ids
    assert made.stop_ids == (tokenizer.eos_token_id,)


def test_a_censored_trace_has_no_end(tokenizer: Any) -> None:
    (row,) = encoder(tokenizer).rows(trace(trajectory("pen red", censored=True), TITLE)).rows
    assert tokenizer.eos_token_id not in row.ids


def test_the_window_keeps_the_title_and_the_latest_blocks_and_each_state_is_learnt_once(tokenizer: Any) -> None:
    made = encoder(tokenizer, window=200)
    found = made.rows(trace(trajectory(*(f"fd {n}\nrt {n}\n" for n in range(12))), TITLE))
    assert len(found.rows) > 1
    assert not found.unfit
    assert [n for row in found.rows for n in row.targets] == list(range(13))
    learnt = "".join(
        made.decode(i for i, label in zip(r.ids, r.labels, strict=True) if label != IGNORED) for r in found.rows
    )
    assert learnt.count("my star") == 1
    assert [learnt.count(f"CODE {n} (") for n in range(1, 13)] == [1] * 12
    for row in found.rows:
        assert len(row.ids) <= 200
        assert made.decode(row.ids).startswith(f"my star\nCODE {row.first + 1} (")


def test_cut_off_at_the_window_nothing_is_seen_of_the_rest(tokenizer: Any) -> None:
    made = Encoder(tokenizer, window=200, answer_tokens=16, cut=True, template=trace_template(tokenizer))
    found = made.rows(trace(trajectory(*(f"fd {n}\nrt {n}\n" for n in range(12))), TITLE))
    (row,) = found.rows
    assert row.ids == row.labels
    assert tokenizer.eos_token_id not in row.ids
    assert [*row.targets, *(number for _, number in found.unfit)] == list(range(13))


def test_what_lies_behind_the_first_window_is_not_tokenised(tokenizer: Any) -> None:
    made = Encoder(tokenizer, window=200, answer_tokens=16, cut=True, template=trace_template(tokenizer))
    long = trace(trajectory(*(f"fd {n}\nrt {n}\n" for n in range(2000))), TITLE)
    found = encode(made, [long])
    assert not made._content._known.keys() & {turn.answer for turn in long.turns[200:-1]}
    assert (*found.rows[0].targets, *(number for _, number in found.unfit)) == tuple(range(2001))


@pytest.mark.parametrize("wide", [0, 6])  # 0: fewer texts are tokenised ahead than are needed
def test_the_first_window_holds_as_many_whole_blocks_as_fit(
    tokenizer: Any, wide: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simstudent.dialogue.encode._WIDE", wide)
    made = Encoder(tokenizer, window=200, answer_tokens=16, cut=True, template=trace_template(tokenizer))
    t = trace(trajectory(*(f"fd {n}" for n in range(40))), TITLE)
    (row,), (whole,) = encode(made, [t]).rows, encoder(tokenizer, window=10**6).rows(t).rows
    count = len(row.targets)
    assert row.ids == whole.ids[: len(row.ids)]
    assert 0 < len(row.ids) <= 200 < len(row.ids) + len(made.turn(t.turns[count]))


def test_long_dialogues_are_encoded_fewer_at_a_time(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [trace(trajectory(*(f"fd {n}\nrt {k}\n" for n in range(k))), TITLE) for k in (1, 20, 3, 30, 2)]
    together = encode(encoder(tokenizer), found)
    monkeypatch.setattr("simstudent.dialogue.encode.CHARACTERS", 300)
    made = encoder(tokenizer)
    assert len(list(encode_batches(made, found))) == 3
    assert encode(made, found) == together


def test_a_prompt_is_the_beginning_of_the_row(tokenizer: Any) -> None:
    made = encoder(tokenizer)
    dialogue = trace(trajectory("pen red", "pen red\nfd 100"), TITLE)
    (row,) = made.rows(dialogue).rows
    for count in range(3):
        prompt = made.prompt("", dialogue.opening, dialogue.turns[:count])
        assert prompt is not None
        assert row.ids[: len(prompt)] == prompt
        with_header = made.prompt("", dialogue.opening, dialogue.turns[:count], header=dialogue.turns[count].header)
        assert with_header is not None
        assert row.ids[: len(with_header)] == with_header


@settings(max_examples=30)
@given(st.lists(st.text("ab #\n", max_size=20).filter(str.strip), min_size=1, max_size=4))
def test_what_is_written_reads_back(codes: list[str]) -> None:
    made = trace(trajectory(*codes), TITLE)
    text = (
        made.opening + "".join(turn.header + turn.answer + "\n" for turn in made.turns if turn.kind == "program") + END
    )
    read = parse(text)
    assert read.programs == tuple(code.removesuffix("\n") for code in codes)
    assert (read.title, read.complete) == ("my star", True)
    assert read.numbers == tuple(range(1, len(codes) + 1))


def test_assignments_with_tests_begin_with_their_statement() -> None:
    problem = Problem(id="add", entry="add", tests=(FunctionTest("(1, 2)", "3"),))
    made = trace(trajectory("x"), Assignment("add", "Add\n  two numbers.", problem=problem))
    assert made.opening == "Add two numbers.\n"


def test_times_are_written_to_the_second_and_have_to_be_there() -> None:
    assert block_header(3, "2020-11-18T04:07:48.250+01:00") == "CODE 3 (2020-11-18 04:07:48):\n"
    with pytest.raises(SimstudentError, match="s1/my star: state 1 has no time"):
        trace(Trajectory("s1", "my star", (Submission("x"),)), TITLE)


def test_the_recipe_says_what_a_trace_cannot_hold(tmp_path: Path) -> None:
    from simstudent.recipe import load_recipe

    path = tmp_path / "r.yaml"
    text = "name: t\nmodel: {id: x}\ndata: {source: {kind: course}}\n"
    text += "dialogue: {format: trace, talk: true, feedback: none}\n"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SimstudentError, match=r"set talk: False"):
        load_recipe(path)
