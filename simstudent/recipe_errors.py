"""Turning a wrong recipe into messages that a person can act on: the line, the key, what was probably meant."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from simstudent.errors import SimstudentError

Keys = tuple[str | int, ...]

SOURCE_KINDS = (
    "table",
    "falconcode",
    "pencilcode",
    "progsnap2",
    "progfeed",
    "tutoring",
    "dataset",
    "course",
    "function",
)
"""What ``data.source.kind`` may be."""


@dataclass
class Lines:
    """Where each key of the YAML file stands."""

    of: dict[Keys, int] = field(default_factory=dict)

    def at(self, keys: Keys) -> str:
        """``line 12: a.b.c: `` for the key, or for the nearest enclosing one that the file holds."""
        dotted = ".".join(str(k) for k in keys) or "recipe"
        for end in range(len(keys), 0, -1):
            if keys[:end] in self.of:
                return f"line {self.of[keys[:end]]}: {dotted}: "
        return f"{dotted}: "


def parse_yaml(text: str, path: Path) -> tuple[dict[str, Any], Lines]:
    """The mapping in the file and its lines. Raises SimstudentError on broken YAML and on keys given twice."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        raise SimstudentError(f"{path}:{where} not valid YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(raw, dict):
        raise SimstudentError(f"{path}: a recipe is a mapping of sections (name, model, data, ...), this is not")
    lines = Lines()
    doubled = list(_walk(node, (), lines))
    if doubled:
        raise SimstudentError(f"{path}: " + "; ".join(doubled))
    return raw, lines


def _walk(node: yaml.Node | None, keys: Keys, lines: Lines) -> Iterable[str]:
    if isinstance(node, yaml.MappingNode):
        for key_node, value in node.value:
            here = (*keys, str(key_node.value))
            if here in lines.of:
                again = key_node.start_mark.line + 1
                yield f"line {again}: '{key_node.value}' is given twice (first at line {lines.of[here]})"
            lines.of[here] = key_node.start_mark.line + 1
            yield from _walk(value, here, lines)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            lines.of[(*keys, number)] = value.start_mark.line + 1
            yield from _walk(value, (*keys, number), lines)


def closest(word: str, options: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` when an option is near, else the options themselves."""
    options = list(options)
    near = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(options)}"


def describe(error: ValidationError, model: type[BaseModel], lines: Lines) -> list[str]:
    """One message per mistake, in the order of the file."""
    found = []
    for item in error.errors():
        keys = _file_keys(item)
        found.append((lines.of.get(keys, 10**9), lines.at(keys) + _message(item, model)))
    return [text for _, text in sorted(found, key=lambda pair: pair[0])]


def _file_keys(item: Any) -> Keys:
    """Where the mistake stands in the file: pydantic's location less the tags it adds for unions."""
    loc: Keys = item["loc"]
    keys: Keys = ()
    for before, key in zip(("", *loc), loc, strict=False):
        is_tag = before == "source" and key in SOURCE_KINDS
        is_member = isinstance(before, int) and (key == "str" or str(key).startswith("dict["))
        if not is_tag and not is_member:
            keys = (*keys, key)
    return (*keys, "kind") if item["type"] in ("union_tag_invalid", "union_tag_not_found") else keys


def _message(item: Any, model: type[BaseModel]) -> str:
    kind, given = item["type"], item.get("input")
    if kind == "extra_forbidden":
        return f"unknown key; {closest(str(item['loc'][-1]), _fields(model, item['loc'][:-1]))}"
    if kind == "missing":
        return "missing; this key is required"
    if kind in ("literal_error", "union_tag_invalid"):
        expected = item["ctx"].get("expected") or item["ctx"]["expected_tags"]
        options = [o.strip().strip("'") for o in expected.replace(" or ", ", ").split(",")]
        word = item["ctx"].get("tag", given)
        return f"{word!r} is not one of the choices; {closest(str(word), options)}"
    if kind == "union_tag_not_found":
        return f"missing; known: {', '.join(SOURCE_KINDS)}"
    message = item["msg"].removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]} (given: {given!r})" if not isinstance(given, dict) else message


def _fields(model: type[BaseModel], loc: Keys) -> list[str]:
    """Field names of the section at ``loc``."""
    here: Any = model
    for key in loc:
        if isinstance(here, type) and issubclass(here, BaseModel) and key in here.model_fields:
            here = here.model_fields[str(key)].annotation
        else:
            here = _member(here, str(key))
    return list(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else []


def _member(annotation: Any, tag: str) -> Any:
    """The member of a tagged union that ``tag`` names."""
    for member in typing.get_args(annotation):
        for option in (member, *typing.get_args(member)):
            if isinstance(option, type) and issubclass(option, BaseModel):
                kind = option.model_fields.get("kind")
                if kind is not None and tag in typing.get_args(kind.annotation):
                    return option
    return annotation
