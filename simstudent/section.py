"""What every section of a recipe is made of."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationInfo


class Section(BaseModel):
    """A mapping in a recipe: unknown keys are refused, nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def expand(value: object, info: ValidationInfo) -> object:
    """Environment variables (``${NAME}`` or ``${NAME:-default}``) filled in; relative to the recipe's folder."""
    if not isinstance(value, str) or not value:
        return value

    def fill(match: re.Match[str]) -> str:
        found = os.environ.get(match["name"], match["default"])
        if found is None:
            raise ValueError(f"the environment variable {match['name']} is not set")
        return found

    filled = re.sub(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}", fill, value)
    folder = (info.context or {}).get("folder", Path())
    return Path(os.path.normpath(folder / Path(filled).expanduser()))
