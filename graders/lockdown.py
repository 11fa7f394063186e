"""A worker locks itself in: which layers this machine offers, tried out first, and then the real thing.

Used inside a worker, never by the caller. What can be inherited is installed once, in the worker; its children cost
nothing more. A layer is tried in a process that is thrown away: some systems let a user namespace be entered and
then refuse every use of it, which could not be undone.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from typing import NamedTuple

from graders import landlock, namespaces, seccomp
from graders.layers import LAYERS

_SPACES = ("pid", "mount", "ipc", "uts", "net")  # that need either root or a user namespace first
_LIMITS = {"CORE": 0, "NOFILE": 32, "MEMLOCK": 0, "MSGQUEUE": 0, "STACK": 8 << 20}


class Plan(NamedTuple):
    """Layers that work here, and the reason for each that does not."""

    active: tuple[str, ...]
    missing: dict[str, str]


class Locked(NamedTuple):
    """``arm`` is what a child still has to do, None when it inherits everything; ``kill`` ends a child by its id."""

    arm: Callable[[], None] | None
    kill: Callable[[int], None]


def plan(wanted: tuple[str, ...]) -> Plan:
    """Try every wanted layer out. Layers that nobody wants are missing for that reason."""
    found = {name: "switched off" for name in LAYERS if name not in wanted}
    if sys.platform != "linux":
        found |= dict.fromkeys([n for n in LAYERS[1:] if n not in found], "only on Linux")
        return Plan(tuple(n for n in LAYERS if n not in found), found)

    def missing(name: str, *steps: Callable[[], None]) -> bool:
        if name not in found and (reason := _try(*steps)) is not None:
            found[name] = reason
        return name in found

    missing("no_new_privs", namespaces.no_new_privileges)
    missing("capabilities", namespaces.drop_capabilities)
    missing("landlock", namespaces.no_new_privileges, landlock.restrict)
    missing("seccomp", namespaces.no_new_privileges, lambda: seccomp.Installer(seccomp.assemble(shared=False))())
    if os.geteuid() == 0:
        missing("uid", lambda: namespaces.become_nobody(os.getpid()))
    else:
        found.setdefault("uid", "not root, who alone can change it")
    spaces = [name for name in _SPACES if name not in found]
    if not spaces or _try(lambda: namespaces.unshare(["pid", "mount"])) is None:
        found.setdefault("user", "not needed")
    elif missing("user", namespaces.enter_user, lambda: namespaces.unshare(["pid", "mount"])):
        found |= dict.fromkeys(spaces, f"needs root or a user namespace ({found['user']})")
    enter = () if "user" in found else (namespaces.enter_user,)
    for name in spaces:
        missing(name, *enter, lambda name=name: _enter_space(name))  # type: ignore[misc]
    return Plan(tuple(n for n in LAYERS if n not in found), found)


def _enter_space(name: str) -> None:
    namespaces.unshare([name])
    if name == "mount":
        namespaces.empty_root()


def _try(*steps: Callable[[], None]) -> str | None:
    """Take steps in a process of its own; None when they worked, else why not."""
    for _ in range(3):
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                for step in steps:
                    step()
            except BaseException as error:
                os.write(writer, str(error).encode()[:500] or b"failed")
            os._exit(0)
        os.close(writer)
        reason = os.read(reader, 500).decode("utf-8", "replace")
        os.close(reader)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status != -9:  # killed by hand, or for want of memory: that says nothing about the layer
            break
    return reason or (f"killed by signal {-status}" if status else None)


def lock(layers: Plan, *, threads: bool = False) -> Locked:
    """Lock this process in for good. With a pid namespace it is another process that returns from here.

    ``threads``: children start threads before they arm themselves, so each installs the filter, for all of them.

    Raises OSError when a layer that worked a moment ago does not now.
    """
    active = layers.active
    number = os.getpid()
    if "user" in active:
        namespaces.enter_user()
    spaces = [name for name in _SPACES if name in active]
    if spaces:
        namespaces.unshare(spaces)
    if "pid" in active:
        _stand_guard()
    if "mount" in active:
        namespaces.empty_root()
    if "uid" in active:
        namespaces.become_nobody(number)
    if "capabilities" in active:
        namespaces.drop_capabilities()
    for name, value in _LIMITS.items():
        _limit(getattr(resource, f"RLIMIT_{name}", None), value)
    if sys.platform == "linux":
        namespaces.die_with_parent()
    if "no_new_privs" in active:
        namespaces.no_new_privileges()
    if "landlock" in active:
        landlock.restrict()
    if "seccomp" not in active:
        return Locked(namespaces.die_with_parent if sys.platform == "linux" else None, _kill_group)
    # Sharing one filter leaves fork in it. What then stops a child's forks does not bind root, and what
    # makes its signals harmless is that nobody else lives in its pid namespace.
    if "pid" in active and os.getuid() != 0 and not threads:
        seccomp.Installer(seccomp.assemble(shared=True))()
        return Locked(None, seccomp.killer())
    return Locked(_Arm(seccomp.Installer(seccomp.assemble(shared=False), threads=threads)), _kill_one)


class _Arm:
    """What a child of an unfiltered worker does before it runs a program."""

    def __init__(self, filter: seccomp.Installer) -> None:
        self._filter = filter
        self._parent = os.getpid()

    def __call__(self) -> None:
        namespaces.die_with_parent()
        if os.getppid() != self._parent:
            os._exit(1)  # it died before it could take us along
        self._filter.patch(os.getpid())
        self._filter()


def _stand_guard() -> None:
    """Fork the first process of a new pid namespace; this one waits outside, and each ends with the other."""
    pid = os.fork()
    if pid:
        namespaces.die_with_parent()
        for fd in range(16):
            if fd != 2:
                try:  # noqa: SIM105 (contextlib is not loaded here)
                    os.close(fd)  # above all the socket: its end is how the caller learns of a death
                except OSError:
                    pass
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)


def _kill_one(pid: int) -> None:
    os.kill(pid, 9)


def _kill_group(pid: int) -> None:
    kill_rest(pid)
    _kill_one(pid)


def kill_rest(pid: int) -> None:
    """End what a child that could fork has left behind; its own id may be somebody else's by now."""
    try:  # noqa: SIM105 (contextlib is not loaded here)
        os.killpg(pid, 9)
    except OSError:
        pass


def _limit(kind: int | None, value: int) -> None:
    if kind is not None:
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
