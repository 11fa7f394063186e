"""Where things that can be made again are kept between runs: verdicts of the graders, converted models."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """SIMSTUDENT_CACHE, by default ~/.cache/simstudent."""
    return Path(os.environ.get("SIMSTUDENT_CACHE") or "~/.cache/simstudent").expanduser()
