"""What a tokenizer's chat template puts around each turn, learnt once by rendering a probe conversation.

A dialogue is then a concatenation: ``head + opening + [before answer] + answer + [after answer] + reaction + ...``,
each piece tokenised on its own. So every turn is tokenised once however often it is used, and the tokens before an
answer are the same in training and in rollout by construction. Where a template treats the last turn differently
from earlier ones (Qwen3's empty think block), every answer is treated like the one being generated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simstudent.errors import SimstudentError

SYSTEM, USER, ANSWER, USER2, ANSWER2, USER3 = (f"\u2203{name}\u2203" for name in ("Sy", "U1", "A1", "U2", "A2", "U3"))


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """Text around the turns. ``system_role``: whether the system prompt has a place of its own (else it is put
    before the first user message). ``end`` is the token that ends an answer, trained and stopped at.
    """

    head: str
    after_system: str
    before_answer: str
    end: str
    after_answer: str
    system_role: bool
    origin: str

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> ChatTemplate:
        return cls(**raw)

    @property
    def hash(self) -> str:
        """Twelve hex digits that change when any piece does."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]


def chat_template(tokenizer: Any, *, with_system: bool = True) -> ChatTemplate:
    """The pieces of this tokenizer's chat template; a plain one of our own where it has none.

    Raises SimstudentError when the template does not lay turns one after the other.
    """
    if not getattr(tokenizer, "chat_template", None):
        return _plain(tokenizer)
    if with_system:
        text = _render(tokenizer, _probe(SYSTEM))
        if text is not None and SYSTEM in text:
            return _pieces(tokenizer, text, True)
    text = _render(tokenizer, _probe(None))
    if text is None:
        raise SimstudentError("the tokenizer's chat template cannot render alternating user and assistant turns")
    return _pieces(tokenizer, text, False)


def jinja(template: ChatTemplate, system: str) -> str:
    """The same layout as a Jinja chat template, for servers and converters that know nothing of this package.

    ``system``: what stands where a conversation brings no system prompt, so that none is forgotten. Roles that do not
    alternate are refused: training never saw such a conversation.
    """
    t = template
    opening = f"{{{{ system + {t.after_system!r} }}}}"
    if not t.system_role:
        opening = "{% if system %}{{ system + '\\n\\n' }}{% endif %}"
    return (
        "{% if messages[0]['role'] == 'system' %}"
        "{% set system = messages[0]['content'] %}{% set turns = messages[1:] %}"
        f"{{% else %}}{{% set system = {system!r} %}}{{% set turns = messages %}}{{% endif %}}"
        f"{{{{ {t.head!r} }}}}{opening}"
        "{% for m in turns %}"
        "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('after the system prompt, user and assistant take turns') }}{% endif %}"
        f"{{% if m['role'] == 'assistant' %}}{{{{ {t.before_answer!r} + m['content'] + {t.end!r} }}}}"
        f"{{% if not loop.last %}}{{{{ {t.after_answer!r} }}}}{{% endif %}}"
        "{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
        f"{{% if add_generation_prompt %}}{{{{ {t.before_answer!r} }}}}{{% endif %}}"
    )


def _plain(tokenizer: Any) -> ChatTemplate:
    """For base models without a chat template: headings in plain text, the end-of-text token after an answer."""
    end = tokenizer.eos_token
    if end is None:
        raise SimstudentError("the tokenizer has neither a chat template nor an end-of-text token")
    return ChatTemplate(
        head=(tokenizer.bos_token or "") if adds_bos(tokenizer) else "",
        after_system="\n\n### Assignment\n",
        before_answer="\n\n### Submission\n",
        end=end,
        after_answer="\n\n### Autograder\n",
        system_role=True,
        origin="simstudent plain",
    )


def adds_bos(tokenizer: Any) -> bool:
    """Whether this tokenizer puts its begin-of-text token before every text."""
    ids = tokenizer("x")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]


def _probe(system: str | None) -> list[dict[str, str]]:
    turns = [("user", USER), ("assistant", ANSWER), ("user", USER2), ("assistant", ANSWER2), ("user", USER3)]
    head = [] if system is None else [("system", system)]
    return [{"role": role, "content": content} for role, content in head + turns]


def _render(tokenizer: Any, messages: list[dict[str, str]], *, generate: bool = False) -> str | None:
    """The rendered text, or None when the template raises (a role it does not have)."""
    from jinja2 import TemplateError

    try:
        text = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=generate, enable_thinking=False
        )
    except TemplateError:
        return None
    return str(text)


def _pieces(tokenizer: Any, text: str, system_role: bool) -> ChatTemplate:
    marks = ([SYSTEM] if system_role else []) + [USER, ANSWER, USER2, ANSWER2, USER3]
    parts = _cut(text, marks)
    head, after_system = (parts[0], parts[1]) if system_role else (parts[0], "")
    first = 2 if system_role else 1
    after_answer, later = parts[first + 1], parts[first + 3]
    if after_answer != later:
        raise SimstudentError(
            "the tokenizer's chat template writes something else after the first answer than after later ones: "
            f"{after_answer!r} and {later!r}"
        )
    opening = _probe(SYSTEM if system_role else None)[: 2 if system_role else 1]
    prompt = _render(tokenizer, opening, generate=True)
    if prompt is None or USER not in prompt:
        raise SimstudentError("the tokenizer's chat template has no generation prompt")
    generated, rendered = prompt.split(USER, 1)[1], parts[first]
    end, after = _end_of_turn(tokenizer, after_answer)
    return ChatTemplate(
        head=head,
        after_system=after_system,
        # Some templates (Llama 2) put a space before an answer that their generation prompt lacks.
        before_answer=rendered if rendered.startswith(generated) else generated,
        end=end,
        after_answer=after,
        system_role=system_role,
        origin="tokenizer",
    )


def _cut(text: str, marks: list[str]) -> list[str]:
    parts = []
    for mark in marks:
        if text.count(mark) != 1:
            raise SimstudentError(
                "the tokenizer's chat template does not keep the turns in order, each once; "
                f"it renders a probe conversation as {text!r}"
            )
        before, text = text.split(mark, 1)
        parts.append(before)
    return [*parts, text]


def _end_of_turn(tokenizer: Any, after_answer: str) -> tuple[str, str]:
    """The special token that the template writes right after an answer, and what follows it up to the next user.

    A template that writes none gets the tokenizer's end-of-text token: without one a model cannot learn to stop.
    """
    specials = {str(token) for token in tokenizer.get_added_vocab()} | set(tokenizer.all_special_tokens)
    lead = after_answer.lstrip()
    for token in sorted(specials, key=len, reverse=True):
        if token and lead.startswith(token):
            return token, lead[len(token) :]
    if tokenizer.eos_token is None:
        raise SimstudentError("the chat template ends an answer with no special token, and there is no end-of-text one")
    return tokenizer.eos_token, after_answer
