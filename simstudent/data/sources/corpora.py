"""Sources of finished trajectories: the made-up course of this package, and functions of yours."""

from __future__ import annotations

import importlib
from typing import Any, Literal

from pydantic import Field

from simstudent.data.records import Corpus
from simstudent.errors import SimstudentError
from simstudent.section import Section


class CourseSource(Section):
    """The made-up course that ships with the package."""

    kind: Literal["course"]


class FunctionSource(Section):
    """A function of yours, ``package.module:name``, that returns a `simstudent.data.records.Corpus`.

    ``options`` are its keyword arguments. Students' ids and texts pass through ``data.privacy`` as any log's do.
    """

    kind: Literal["function"]
    function: str = Field(pattern=r"^[\w.]+:\w+$")
    options: dict[str, Any] = Field(default_factory=dict)


def corpus(source: CourseSource | FunctionSource) -> Corpus:
    """All of its trajectories. Raises SimstudentError when a function cannot be imported or returns something else."""
    if isinstance(source, CourseSource):
        from simstudent.data import course

        return course.load()
    name, _, attribute = source.function.partition(":")
    try:
        function = getattr(importlib.import_module(name), attribute)
    except (ImportError, AttributeError) as error:
        raise SimstudentError(f"data.source.function: {source.function} cannot be imported ({error})") from error
    made = function(**source.options)
    if not isinstance(made, Corpus):
        raise SimstudentError(
            f"data.source.function: {source.function} returned {type(made).__name__}, "
            "not a simstudent.data.records.Corpus"
        )
    return made
