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
from simstudent.recipe_words import (
    allowed,
    annotation_of,
    choices,
    given,
    is_section,
    is_tagged,
    is_text,
    members,
    plain,
    tags,
)

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


@dataclass(frozen=True)
class Place:
    """Where pydantic found a mistake: the keys of the file that lead there, and the type of what may stand there.

    ``section``: the section that the last key belongs to. ``union`` and ``choice``: keys and type of the outermost
    place on the way that takes several kinds of values, each of which pydantic tried in vain.
    """

    keys: Keys
    type: Any
    section: Any
    union: Keys | None
    choice: Any


def describe(error: ValidationError, model: type[BaseModel], lines: Lines) -> list[str]:
    """One message per mistake, in the order of the file."""
    found: list[tuple[Keys, str]] = []
    tried: dict[Keys, list[tuple[Place, Any]]] = {}
    for item in error.errors():
        place = _place(item["loc"], model)
        if place.union is not None:
            tried.setdefault(place.union, []).append((place, item))
        else:
            tag = item["type"] in ("union_tag_invalid", "union_tag_not_found")
            found.append(((*place.keys, "kind") if tag else place.keys, _message(item, place)))
    for keys, items in tried.items():
        # Of a value of the right kind, what is wrong inside of it is the mistake; else, that it is of no right kind.
        inside = [(place.keys, _message(item, place)) for place, item in items if place.keys != keys]
        (first, item), *_ = items
        found += inside or [(keys, _not_allowed(item["input"], first.choice))]
    found.sort(key=lambda pair: lines.of.get(pair[0], 10**9))
    return [lines.at(keys) + text for keys, text in found]


def _place(loc: Keys, model: type[BaseModel]) -> Place:
    """Pydantic's location without the tags that it adds for the kinds of a union."""
    here: Any = model
    section, union, choice = None, None, None
    keys: Keys = ()
    for key in loc:
        kinds = members(here)
        if len(kinds) > 1:
            if union is None and not is_tagged(kinds):
                union, choice = keys, here
            here = _named(kinds, str(key))
            continue
        kind, keys, section = plain(kinds[0]), (*keys, key), None
        if is_section(kind):
            section, field = kind, kind.model_fields.get(str(key))
            here = object if field is None else annotation_of(field)
        else:  # an entry of a list, or a value of a mapping
            inner = typing.get_args(kind) or (object,)
            here = inner[-1] if typing.get_origin(kind) is dict else inner[0]
    return Place(keys, here, section, union, choice)


def _named(kinds: list[Any], tag: str) -> Any:
    """The kind of a union that pydantic calls so."""
    if is_tagged(kinds):
        return next((kind for kind in kinds if tag in tags(kind)), object)
    names = [getattr(typing.get_origin(plain(kind)) or plain(kind), "__name__", "literal") for kind in kinds]
    fits = [kind for kind, name in zip(kinds, names, strict=True) if tag.removeprefix("constrained-").startswith(name)]
    return fits[0] if fits else object


def _message(item: Any, place: Place) -> str:
    kind, value = item["type"], item.get("input")
    if kind == "extra_forbidden":
        return f"unknown key; {closest(str(place.keys[-1]), place.section.model_fields)}"
    if kind == "missing":
        return "missing; this key is required"
    if kind == "union_tag_invalid":
        return f"{given(item['ctx']['tag'])} is not one of the choices; {closest(item['ctx']['tag'], SOURCE_KINDS)}"
    if kind == "union_tag_not_found":
        return f"missing; known: {', '.join(SOURCE_KINDS)}"
    if kind in ("value_error", "assertion_error"):
        message = item["msg"].partition(", ")[2]  # "Value error, "
        shown = "" if isinstance(value, dict) else f" (given: {given(value)})"
        return f"{message[0].lower()}{message[1:]}{shown}"
    return _not_allowed(value, place.type)


def _not_allowed(value: Any, annotation: Any) -> str:
    """What was given and what is allowed. A word that is nearly one of the choices is taken for a slip."""
    words = choices(annotation)
    if isinstance(value, str) and difflib.get_close_matches(value, words, n=1, cutoff=0.6):
        return f"{given(value)} is not one of the choices; {closest(value, words)}"
    quoted = is_text(annotation) and not isinstance(value, str | list | dict | None)
    hint = f' (as a text: "{value}")' if quoted else ""
    return f"{given(value)} is not allowed; give {allowed(annotation)}{hint}"
