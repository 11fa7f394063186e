"""Pencil Code programs: run them without a browser, see whether they work and what they draw.

Needs mini-racer (extra ``pencilcode``) and the compiler (``python -m graders.pencilcode install``).
"""

from graders.pencilcode.install import InstallError, NotInstalledError, compiler_path, install, missing
from graders.pencilcode.runs import Compiled, Drawing, Limits, Mark, Pose, Run, Status, compile, run, run_many

__all__ = [
    "Compiled",
    "Drawing",
    "InstallError",
    "Limits",
    "Mark",
    "NotInstalledError",
    "Pose",
    "Run",
    "Status",
    "compile",
    "compiler_path",
    "install",
    "missing",
    "run",
    "run_many",
]
