"""How well programs are shut in on this machine: levels, and the least that is accepted."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from graders.layers import LAYERS


class IsolationError(RuntimeError):
    """This machine, or the layers asked for, cannot shut programs in as well as required."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """What shuts programs in. ``missing`` gives the reason for every layer that is not ``active``.

    ``level`` 4: a system-call filter, Landlock, and namespaces with an empty file system; 3: the filter, and
    Landlock or those namespaces; 2: the filter alone, which lets no file be opened; 1: a process of its own with
    resource limits, otherwise free to do what its user may; 0: not even those.
    """

    level: int
    active: tuple[str, ...]
    missing: Mapping[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, active: Iterable[str], missing: Mapping[str, str]) -> Isolation:
        """The isolation that these layers make."""
        names = tuple(active)
        if not {"seccomp", "no_new_privs", "rlimits"} <= set(names):
            return cls(int("rlimits" in names), names, missing)
        return cls(2 + ("landlock" in names) + ({"pid", "mount"} <= set(names)), names, missing)

    def __str__(self) -> str:
        reasons = "".join(f"\n  not {name}: {why}" for name, why in self.missing.items())
        return f"isolation level {self.level} ({', '.join(self.active) or 'nothing'}){reasons}"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a pool asks of its workers. ``layers`` None: all there are."""

    least: int
    allow_unsafe: bool = False
    layers: tuple[str, ...] = LAYERS

    @classmethod
    def of(cls, least: int | None, allow_unsafe: bool, layers: Iterable[str] | None) -> Policy:
        """Check a caller's wishes. Raises ValueError for a level or layer there is not.

        ``least`` None is 2 on Linux and, where there is no more to be had, 1 elsewhere.
        """
        wanted = LAYERS if layers is None else tuple(dict.fromkeys(("rlimits", *layers)))
        unknown = [name for name in wanted if name not in LAYERS]
        if unknown:
            raise ValueError(f"unknown layers {unknown}; there are {', '.join(LAYERS)}")
        if least is not None and not 0 <= least <= 4:
            raise ValueError(f"min_isolation must be 0 to 4, not {least}")
        default = 2 if sys.platform == "linux" else 1
        return cls(default if least is None else least, allow_unsafe, wanted)

    def check(self, isolation: Isolation) -> None:
        """Raises IsolationError when that is less than was asked for."""
        if isolation.level < self.least and not self.allow_unsafe:
            raise IsolationError(
                f"programs would run at isolation level {isolation.level}, below min_isolation={self.least}; pass "
                f"allow_unsafe=True to run them all the same, in a container or with programs you trust: {isolation}"
            )
