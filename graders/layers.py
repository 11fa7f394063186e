"""The names of the layers that shut a program in, outermost concerns first."""

from __future__ import annotations

LAYERS = (
    "rlimits", "capabilities", "no_new_privs", "uid", "user", "pid", "mount", "ipc", "uts", "net", "landlock",
    "seccomp",
)  # fmt: skip
"""Resource limits, no capabilities, no way to regain privileges, a uid of its own (from root), namespaces (``user``
to ``net``), Landlock, a system-call filter. All go into a worker once."""
