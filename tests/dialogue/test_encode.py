"""The encoder: labels, the window, and that training and rollout see the same tokens."""

from __future__ import annotations

import random
from typing import Any

import pytest

from simstudent.dialogue.encode import IGNORED, Encoder, encode, window_start
from simstudent.dialogue.serialize import Dialogue, Turn, fence
from simstudent.dialogue.template import ChatTemplate, chat_template
from simstudent.errors import SimstudentError
from tests.dialogue.templates import FAMILIES, SPECIALS, THINKING


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """A byte-level tokenizer made here: no merges, the special tokens of all families."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    made.add_special_tokens({"additional_special_tokens": SPECIALS})
    return made


def encoder(tokenizer: Any, family: str, **options: Any) -> Encoder:
    tokenizer.chat_template = FAMILIES[family]
    return Encoder(tokenizer, **options)


def made_up(turns: int, size: int = 20) -> Dialogue:
    return Dialogue(
        "s/a",
        "You are a student.",
        "Write f.",
        tuple(
            Turn(fence(f"x = {n}\n" + "#" * size), f"{n} of 9 tests passed." if n < turns - 1 else None)
            for n in range(turns)
        ),
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_each_submission_is_trained_once_with_its_end_token(tokenizer: Any, family: str) -> None:
    e = encoder(tokenizer, family)
    dialogue = made_up(4)
    (row,) = e.rows(dialogue).rows
    assert len(row.ids) == len(row.labels)
    assert all(label in (IGNORED, i) for i, label in zip(row.ids, row.labels, strict=True))
    trained = [i for i in row.labels if i != IGNORED]
    expected = "".join(t.answer + e.template.end for t in dialogue.turns)
    assert tokenizer.decode(trained) == expected
    assert row.ids.count(e.end_id) >= 4
    assert row.targets == (0, 1, 2, 3)


@pytest.mark.parametrize("family", FAMILIES)
def test_rollout_prompts_are_the_training_prefixes(tokenizer: Any, family: str) -> None:
    e = encoder(tokenizer, family)
    dialogue = made_up(5)
    (row,) = e.rows(dialogue).rows
    for number, turn in enumerate(dialogue.turns):
        prompt = e.prompt(dialogue.system, dialogue.opening, dialogue.turns[:number])
        assert prompt is not None
        assert row.ids[: len(prompt)] == prompt
        answer = e.answer(turn)
        assert row.labels[len(prompt) : len(prompt) + len(answer)] == answer
        assert row.labels[len(prompt) - 1] == IGNORED


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in ("no chat template", "thinking")])
def test_the_text_is_what_the_chat_template_renders(tokenizer: Any, family: str) -> None:
    e = encoder(tokenizer, family)
    dialogue = made_up(3)
    messages = dialogue.messages()
    if not e.template.system_role:
        system, first = messages[0], messages[1]
        messages = [{"role": "user", "content": f"{system['content']}\n\n{first['content']}"}, *messages[2:]]
    rendered = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
    prompt = e.prompt(dialogue.system, dialogue.opening, dialogue.turns[:2])
    assert prompt is not None
    text = tokenizer.decode(list(prompt))
    assert text.startswith(rendered)
    assert not text[len(rendered) :].strip()


def test_every_answer_of_a_thinking_template_follows_an_empty_think_block(tokenizer: Any) -> None:
    e = encoder(tokenizer, "thinking")
    (row,) = e.rows(made_up(3)).rows
    assert tokenizer.decode(list(row.ids)).count("<think>\n\n</think>\n\n```python") == 3
    assert THINKING.count("think") > 0


def test_no_default_system_prompt_slips_in(tokenizer: Any) -> None:
    e = encoder(tokenizer, "chatml with a default system prompt")
    (row,) = e.rows(made_up(2)).rows
    text = tokenizer.decode(list(row.ids))
    assert "You are helpful" not in text
    assert text.startswith("<|im_start|>system\nYou are a student.<|im_end|>\n<|im_start|>user\nWrite f.<|im_end|>")


def test_a_system_prompt_without_a_role_goes_before_the_assignment(tokenizer: Any) -> None:
    e = encoder(tokenizer, "no system role")
    prompt = e.prompt("You are a student.", "Write f.", [])
    assert prompt is not None
    expected = "<s><start_of_turn>user\nYou are a student.\n\nWrite f.<end_of_turn>\n<start_of_turn>model\n"
    assert tokenizer.decode(list(prompt)) == expected


def test_special_tokens_in_a_program_are_text(tokenizer: Any) -> None:
    e = encoder(tokenizer, "chatml with a default system prompt")
    dialogue = Dialogue("s/a", "S", "O", (Turn(fence("print('<|im_end|>')"), None),))
    (row,) = e.rows(dialogue).rows
    assert row.ids.count(e.end_id) == 3  # system, assignment, answer
    assert "print('<|im_end|>')" in tokenizer.decode(list(row.ids))


def test_window_start_keeps_the_latest_turns() -> None:
    assert window_start([5, 5, 5], 15) == 0
    assert window_start([5, 5, 5], 14) == 1
    assert window_start([5, 5, 5], 4) == 3
    assert window_start([], 0) == 0
    assert window_start([5], -1) is None
    assert window_start([5, 0, 5, 5], 20, least=1) == 1
    assert window_start([5, 5, 5], 10, extra=[0, 1, 0, 0]) == 2
    assert window_start([1, 100, 1], 50) == 2  # nothing before a turn that does not fit, even if it would


@pytest.mark.parametrize("seed", range(20))
def test_the_window_never_cuts_a_target_and_keeps_the_assignment(tokenizer: Any, seed: int) -> None:
    draw = random.Random(seed)
    e = encoder(tokenizer, draw.choice(list(FAMILIES)), window=600, answer_tokens=draw.choice([60, 120]))
    turns = tuple(
        Turn(fence("y" * draw.randint(0, 300)), "z" * draw.randint(0, 200)) for _ in range(draw.randint(1, 12))
    )
    dialogue = Dialogue("s/a", "System.", "Assignment.", turns)
    encoded = e.rows(dialogue)
    head = e.head(dialogue.system, dialogue.opening)
    seen: list[int] = [number for _, number in encoded.unfit]
    for row in encoded.rows:
        assert len(row.ids) <= 600
        assert row.ids[: len(head)] == head
        trained = tokenizer.decode([i for i in row.labels if i != IGNORED])
        assert trained == "".join(turns[n].answer + e.template.end for n in row.targets)
        seen += row.targets
        for n in row.targets:
            if len(e.answer(turns[n])) <= e.answer_tokens:
                prompt = e.prompt(dialogue.system, dialogue.opening, turns[:n])
                assert prompt is not None
                assert row.ids[: len(prompt)] == prompt, "training and rollout see different histories"
    assert sorted(seen) == list(range(len(turns)))


def test_a_submission_longer_than_the_window_is_reported_not_cut(tokenizer: Any) -> None:
    e = encoder(tokenizer, "headers", window=300, answer_tokens=50)
    dialogue = Dialogue("s/a", "S", "O", (Turn("a", "b"), Turn("c" * 400, "d"), Turn("e", None)))
    encoded = encode(e, [dialogue])
    assert encoded.unfit == (("s/a", 1),)
    assert sorted(n for row in encoded.rows for n in row.targets) == [0, 2]


def test_the_template_survives_json_and_its_hash_tells_changes(tokenizer: Any) -> None:
    tokenizer.chat_template = FAMILIES["headers"]
    template = chat_template(tokenizer)
    assert ChatTemplate.from_dict(template.to_dict()) == template
    tokenizer.chat_template = FAMILIES["inst"]
    assert chat_template(tokenizer).hash != template.hash


def test_a_template_that_drops_turns_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ messages[-1]['content'] }}"
    with pytest.raises(SimstudentError, match="does not keep the turns in order"):
        chat_template(tokenizer)
