"""Linux namespaces and identity: a world of the worker's own, without files, processes or a network.

Used inside a worker, never by the caller. Every function raises OSError with the kernel's reason.
"""

from __future__ import annotations

import ctypes
import os
import struct

FLAGS = {
    "user": 0x10000000, "mount": 0x00020000, "pid": 0x20000000, "ipc": 0x08000000, "uts": 0x04000000,
    "net": 0x40000000,
}  # fmt: skip
_PRIVATE_UIDS = ((1_900_000_000, 1 << 23), (60_600, 500))  # first uid, how many: beyond accounts; for small mappings
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_NOSUID, _NODEV, _NOEXEC, _READ_ONLY, _REMOUNT = 2, 4, 8, 1, 32
_RECURSIVE, _MAKE_PRIVATE, _BIND = 0x4000, 0x40000, 0x1000


def unshare(names: list[str]) -> None:
    """Leave the caller's namespaces of these names. A new pid namespace begins with the next fork."""
    flags = 0
    for name in names:
        flags |= FLAGS[name]
    _checked(_libc().unshare(flags))


def enter_user() -> None:
    """A user namespace in which this process, under its own uid, may do the rest."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(["user"])
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def empty_root() -> None:
    """Make an empty, read-only file system the root. Needs a mount namespace of its own."""
    libc = _libc()
    target = b"/tmp" if os.path.isdir("/tmp") else b"/usr"  # noqa: PTH112 (pathlib is slow to load)
    _checked(libc.mount(None, b"/", None, ctypes.c_ulong(_RECURSIVE | _MAKE_PRIVATE), None))
    flags = _NOSUID | _NODEV | _NOEXEC
    _checked(libc.mount(b"none", target, b"tmpfs", ctypes.c_ulong(flags), b"size=4k,nr_inodes=2,mode=555"))
    os.chdir(target)
    _checked(libc.syscall(ctypes.c_long(_PIVOT_ROOT[os.uname().machine]), b".", b"."))
    _checked(libc.umount2(b".", 2))  # MNT_DETACH: everything that was there
    os.chdir("/")
    _checked(libc.mount(None, b"/", None, ctypes.c_ulong(_REMOUNT | _BIND | _READ_ONLY | flags), None))


def become_nobody(pid: int) -> None:
    """From root to a uid that no other process has; ``pid``, as the caller's namespace knows it, makes it so."""
    os.setgroups([])
    for first, count in _PRIVATE_UIDS:
        uid = first + pid % count
        try:
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        except OSError as error:
            last = error  # a user namespace may know few uids
        else:
            return
    raise last


def drop_capabilities() -> None:
    """Give up what root or a user namespace gave."""
    libc = _libc()
    for number in range(64):
        if libc.prctl(24, number, 0, 0, 0):  # PR_CAPBSET_DROP; fails beyond the last, or without CAP_SETPCAP
            break
    libc.prctl(47, 4, 0, 0, 0)  # PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL
    _checked(libc.capset(struct.pack("<II", 0x20080522, 0), struct.pack("<6I", *[0] * 6)))


def no_new_privileges() -> None:
    _checked(_libc().prctl(38, 1, 0, 0, 0))


def die_with_parent() -> None:
    """Be killed when the parent ends, and out of reach of debuggers. A change of uid undoes both: call it after."""
    libc = _libc()
    _checked(libc.prctl(1, 9, 0, 0, 0))  # PR_SET_PDEATHSIG, SIGKILL
    _checked(libc.prctl(4, 0, 0, 0, 0))  # PR_SET_DUMPABLE


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
