"""What may stand in a place of a recipe, in words: read off the types of its sections."""

from __future__ import annotations

import json
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
_LIMITS = (
    ("ge", "of at least"),
    ("gt", "greater than"),
    ("le", "of at most"),
    ("lt", "less than"),
    ("pattern", "that matches"),
    ("min_length", "of length at least"),
)


def is_section(annotation: Any) -> bool:
    """Whether it is a section, a mapping of known keys."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def annotation_of(field: FieldInfo) -> Any:
    """The type of a section's field with its limits."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def plain(annotation: Any) -> Any:
    """The type without its limits."""
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is Annotated else annotation


def members(annotation: Any) -> list[Any]:
    """The kinds of values that a type allows, one or several; null is none of them."""
    bare = plain(annotation)
    if typing.get_origin(bare) not in (typing.Union, types.UnionType):
        return [annotation]
    kinds = [kind for kind in typing.get_args(bare) if kind is not type(None)]
    limits = [] if bare is annotation else typing.get_args(annotation)[1:]
    return [Annotated[kind, *limits] for kind in kinds] if limits else kinds


def is_tagged(kinds: list[Any]) -> bool:
    """Whether they are sections that tell which one they are by their ``kind``."""
    return len(kinds) > 1 and all(is_section(plain(k)) and "kind" in plain(k).model_fields for k in kinds)


def tags(section: Any) -> tuple[str, ...]:
    """What ``kind`` may be in a section."""
    return typing.get_args(plain(section).model_fields["kind"].annotation)


def is_text(annotation: Any) -> bool:
    """Whether any text may stand there."""
    return str in [plain(kind) for kind in members(annotation)]


def choices(annotation: Any) -> list[str]:
    """The words among what is allowed."""
    kinds = [plain(kind) for kind in members(annotation)]
    return [str(value) for kind in kinds if typing.get_origin(kind) is Literal for value in typing.get_args(kind)]


def allowed(annotation: Any) -> str:
    """What may be given, to be read after "give": ``a whole number of at least 1, or auto``."""
    kinds = members(annotation)
    if is_tagged(kinds):
        found = [
            f"a mapping with kind ({', '.join(tag for kind in kinds for tag in tags(kind))}) and the keys of that kind"
        ]
    else:
        words = choices(annotation)
        found = [_one(kind) for kind in kinds if typing.get_origin(plain(kind)) is not Literal]
        found += [words[0] if len(words) == 1 else f"one of {', '.join(words)}"] if words else []
    if type(None) in typing.get_args(plain(annotation)):
        found.append("null")
    return found[0] if len(found) == 1 else ", ".join(found[:-1]) + f", or {found[-1]}"


def _one(annotation: Any) -> str:
    """One kind of values, with its limits."""
    kind, limits = plain(annotation), _limits(annotation)
    if is_section(kind):
        return f"a mapping of {', '.join(kind.model_fields)}"
    if typing.get_origin(kind) in (tuple, list):
        few = f" of at least {limits['min_length']}" if "min_length" in limits else ""
        return f"a list{few} (each entry: {allowed(typing.get_args(kind)[0])})"
    if typing.get_origin(kind) is dict or kind is dict:
        return "a mapping"
    name = _KINDS.get(kind, "something else")
    said = [f"{words} {limits[limit]}" for limit, words in _LIMITS if limit in limits]
    return " ".join([name, " and ".join(said)]).strip()


def _limits(annotation: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    given = list(typing.get_args(annotation)[1:]) if typing.get_origin(annotation) is Annotated else []
    for limit in given:
        for one in limit.metadata if isinstance(limit, FieldInfo) else [limit]:
            found |= {name: getattr(one, name) for name, _ in _LIMITS if getattr(one, name, None) is not None}
    return found


def given(value: Any) -> str:
    """A value as YAML has it, cut where it is long."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:79]}…"
