"""Where logs come from: one file a kind, each with its section of a recipe and the functions that read it.

A log is read by three functions: ``assignments(source)`` gives those that are described ahead; ``units(source)``
the parts that can be read on their own; ``pieces(source, unit, known, skips)`` what a part holds, adding to
``known`` the assignments that it meets. ``blocks``, of the same arguments, gives the same, whole traces as columns
(`simstudent.data.columns`) where that can be; only an import uses it. Sources of finished trajectories (a dataset,
the made-up course, a function of yours) have ``corpus(source)`` instead.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Annotated

from pydantic import Field

from simstudent.data.dataset import DatasetSource
from simstudent.data.sources.corpora import CourseSource, FunctionSource
from simstudent.data.sources.falconcode import FalconCodeSource
from simstudent.data.sources.pencilcode import PencilCodeSource
from simstudent.data.sources.progfeed import ProgFeedSource
from simstudent.data.sources.progsnap2 import ProgSnap2Source
from simstudent.data.sources.table import TableSource
from simstudent.data.sources.tutoring import TutoringSource

LogSource = TableSource | FalconCodeSource | PencilCodeSource | ProgSnap2Source | ProgFeedSource | TutoringSource
Source = Annotated[LogSource | DatasetSource | CourseSource | FunctionSource, Field(discriminator="kind")]


def module(source: LogSource) -> ModuleType:
    """The module that reads a log."""
    return importlib.import_module(f"simstudent.data.sources.{source.kind}")
