"""Chat templates of several families, written small for these tests: what matters is how they lay out turns."""

from __future__ import annotations

from typing import Any

CHATML_DEFAULT_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

# As Qwen3: the turn being generated gets an empty think block, earlier answers do not.
THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if loop.last and m['role'] == 'assistant' %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)

# As Gemma: no system role, the answer's role is called model, roles must alternate.
NO_SYSTEM = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)

# As Llama 3.
HEADERS = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)

# As Llama 2 and Mistral: the system prompt sits inside the first user turn, answers end with the end-of-text token.
INST = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set sys = messages[0]['content'] + '\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set sys = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if m['role'] == 'user' %}{{ '[INST] ' + (sys if loop.first else '') + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)

NONE = None

FAMILIES = {
    "chatml with a default system prompt": CHATML_DEFAULT_SYSTEM,
    "thinking": THINKING,
    "no system role": NO_SYSTEM,
    "headers": HEADERS,
    "inst": INST,
    "no chat template": NONE,
}

SPECIALS = [
    "<|im_start|>",
    "<|im_end|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
]

TOKENIZERS = ("bytes", "merges", "pieces")


def with_template(kind: str, family: str) -> Any:
    """A tokenizer made here, with the special tokens of all families and the chat template of one.

    ``bytes``: byte-level, no merges. ``merges``: byte-level BPE, as Qwen's, Llama 3's and SmolLM2's. ``pieces``: with
    a space put before each text and bytes to fall back on, as Gemma's and Llama 2's.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    letters = pre_tokenizers.ByteLevel.alphabet()
    if kind == "bytes":
        inner = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(sorted(letters))}, merges=[]))
    elif kind == "merges":
        inner = Tokenizer(models.BPE())
    else:
        inner = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    if kind == "pieces":
        inner.pre_tokenizer = pre_tokenizers.Metaspace()
        inner.decoder = decoders.Sequence([decoders.Metaspace(), decoders.ByteFallback(), decoders.Fuse()])
        letters = ["<unk>", *(f"<0x{n:02X}>" for n in range(256))]
    else:
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
    if kind != "bytes":
        text = ["def f(n):\n    return x\n```python\nx = 1\n```\n", "tests passed. You are a student. Write f.\n"] * 3
        special = letters if kind == "pieces" else []
        alphabet = [] if kind == "pieces" else letters
        trainer = trainers.BpeTrainer(
            vocab_size=420, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
        inner.train_from_iterator(text, trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    made.add_special_tokens({"additional_special_tokens": SPECIALS})
    made.chat_template = FAMILIES[family]
    return made
