"""A tiny random Llama model and a tiny tokenizer, made on the spot: no network, about a second."""

from __future__ import annotations

import math
from pathlib import Path

STOP = "<|im_end|>"
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TEXT = (
    "def add(a, b):\n    return a + b\n\nfor i in range(10):\n    print(i)\n\nif x == 1:\n    x = x + 1\n",
    "Write a function that returns the sum of a list. Your program passed 2 of 3 tests.\n",
    "```python\nprint('hello')\n```\n",
)


def save_tokenizer(folder: Path, vocabulary: int = 384) -> None:
    """A byte-level BPE tokenizer (any text is encodable and comes back whole) with a ChatML template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|endoftext|>", "<|im_start|>", STOP],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=STOP, pad_token="<|endoftext|>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)


def save_model(folder: Path, *, seed: int = 0, head_dim: int = 32, vocabulary: int = 384) -> Path:
    """A model and tokenizer in ``folder``: 2 layers, 4 heads on 2 key heads, float32 weights, 8,192 positions.

    The weights are large enough for sharp, varied answers; with transformers' initial ones every answer is a tie.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    save_tokenizer(folder, vocabulary)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=4 * head_dim,
        intermediate_size=8 * head_dim,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=head_dim,
        max_position_embeddings=8192,
        initializer_range=0.15,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    return folder


WRITES = {
    "\n": {"x": 0.5, "```": 0.5},
    "```": {"python": 0.6, STOP: 0.4},
    "python": {"\n": 1.0},
    "x": {" =": 1.0},
    " =": {" ": 1.0},
    " ": dict.fromkeys("01234", 0.2),
    **{digit: {"\n": 1.0} for digit in "01234"},
}
"""What ``save_writer``'s model writes after a token, and how often."""


def save_writer(folder: Path) -> Path:
    """The tiny model as one that writes short answers, many with a program of lines such as ``x = 3``, and ends them.

    Its layers add nothing to a token's embedding, and the head reads off that what comes next (``WRITES``).
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    save_model(folder)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)

    def token(text: str) -> int:
        (found,) = tokenizer(text, add_special_tokens=False).input_ids
        return int(found)

    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        read = torch.nn.functional.normalize(model.model.embed_tokens.weight, dim=1) / model.config.hidden_size**0.5
        model.lm_head.weight.zero_()
        for before, after in WRITES.items():
            for text, share in after.items():
                model.lm_head.weight[token(text)] += (18 + math.log(share)) * read[token(before)]
    model.save_pretrained(folder)
    return folder


def save_adapter(folder: Path, model: Path, *, seed: int = 1, rank: int = 8) -> Path:
    """A LoRA adapter for ``model`` whose weights are random and large, so that answers differ from the base's."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tuned = get_peft_model(base, LoraConfig(r=rank, lora_alpha=16, target_modules=targets, task_type="CAUSAL_LM"))
        for name, weights in tuned.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(weights, std=0.15)
    tuned.save_pretrained(folder)
    return folder
