"""A seccomp filter for programs that need no file, no process and no network: numbers, policy, assembler.

Used inside a worker, never by the caller. The filter is an allow list of some ninety system calls; the rest fail as
an ordinary error that a student can read. Nothing here opens anything: *no* call that takes a path is allowed, so
that a program finds the same (empty) world whatever else the machine offers.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Callable
from typing import NamedTuple

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_INSTRUCTION = struct.Struct("<HBBI")
_LOAD, _JUMP, _EQUAL, _AT_LEAST, _BITS, _RETURN = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_PID = 0x7E57C0DE  # stands for the process's own id until `Installer.patch` knows it
_X32 = 0x40000000

# Numbers: x86_64, aarch64. None where an architecture has no such call.
_ALLOWED = {
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67),
    "pwrite64": (18, 68), "lseek": (8, 62), "close": (3, 57), "close_range": (436, 436), "fstat": (5, 80),
    "ftruncate": (77, 46), "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24), "getcwd": (79, 17),
    "munmap": (11, 215), "mremap": (25, 216), "madvise": (28, 233), "brk": (12, 214), "membarrier": (324, 283),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133), "sigaltstack": (131, 132), "pause": (34, None),
    "alarm": (37, None), "setitimer": (38, 103), "getitimer": (36, 102), "restart_syscall": (219, 128),
    "getpid": (39, 172), "getppid": (110, 173), "gettid": (186, 178), "getuid": (102, 174), "geteuid": (107, 175),
    "getgid": (104, 176), "getegid": (108, 177), "getpgrp": (111, None), "getpgid": (121, 155), "getsid": (124, 156),
    "getrusage": (98, 165), "times": (100, 153), "getrlimit": (97, 163), "setrlimit": (160, 164),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "nanosleep": (35, 101),
    "gettimeofday": (96, 169), "time": (201, None), "getcpu": (309, 168), "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123), "futex": (202, 98), "set_robust_list": (273, 99), "set_tid_address": (218, 96),
    "rseq": (334, 293), "arch_prctl": (158, None), "getrandom": (318, 278), "poll": (7, None), "ppoll": (271, 73),
    "select": (23, None), "pselect6": (270, 72), "wait4": (61, 260), "waitid": (247, 95), "exit": (60, 93),
    "exit_group": (231, 94),
}  # fmt: skip
# A check is (argument, comparison, values): every one must hold, or the call fails with the errno.
_Check = tuple[int, str, tuple[int, ...]]
_CHECKED: dict[str, tuple[tuple[int, int | None], int, tuple[_Check, ...]]] = {
    "mmap": ((9, 222), errno.EPERM, ((2, "without", (4,)),)),  # PROT_EXEC
    "mprotect": ((10, 226), errno.EPERM, ((2, "without", (4,)),)),
    # Not the status flags: they belong to the open file, which the worker shares.
    "fcntl": ((72, 25), errno.EPERM, ((1, "in", (0, 1, 2, 3, 1030)),)),
    "prlimit64": ((302, 261), errno.EPERM, ((0, "in", (0,)),)),
    # Up to SIGTERM and to itself only: enough for abort(), and a program cannot stop instead of ending.
    # The worker under a shared filter kills its children with it.
    "tgkill": ((234, 131), errno.EPERM, ((0, "in", (_PID,)), (2, "below", (16,)))),
}
_FAILING: dict[int, dict[str, tuple[int | None, int | None]]] = {
    errno.ENOENT: {
        "open": (2, None), "openat": (257, 56), "openat2": (437, 437), "stat": (4, None), "lstat": (6, None),
        "newfstatat": (262, 79), "statx": (332, 291), "access": (21, None), "faccessat": (269, 48),
        "faccessat2": (439, 439), "readlink": (89, None), "readlinkat": (267, 78), "chdir": (80, 49),
        "statfs": (137, 43),
    },
    errno.EAGAIN: {"clone": (56, 220), "fork": (57, None), "vfork": (58, None)},
    errno.ENOSYS: {"clone3": (435, 435)},  # glibc then tries clone
    errno.ENOTTY: {"ioctl": (16, 29)},
}  # fmt: skip
# What the worker itself needs once it lives under the filter too. Harmless to the rest of its pid namespace.
_SHARED = {"sendfile": (40, 71)}
_FORK_FLAGS = (0x01200011, 0x11)  # glibc's and musl's fork, and no thread


class UnsupportedError(OSError):
    """This machine has no filter of the kind, or no table of numbers here."""


class Filter(NamedTuple):  # no dataclass: loading those costs a worker more pages than all the rest of this
    """Instructions, and where in them the process's own id is compared."""

    code: bytes
    pids: tuple[int, ...]


def assemble(*, shared: bool, machine: str | None = None) -> Filter:
    """The filter: for a child alone, or ``shared`` by the worker that installs it and all its children.

    The shared one lets the worker fork; RLIMIT_NPROC, which it sets to 0 in every child, stops a child's own
    forks. It is safe only in a pid namespace of the worker's own and under a uid other than 0. Raises
    UnsupportedError for a machine without a table.
    """
    machine = machine or os.uname().machine
    column = {"x86_64": 0, "amd64": 0, "aarch64": 1, "arm64": 1}.get(machine.lower())
    if column is None or sys.byteorder != "little":
        raise UnsupportedError(errno.ENOSYS, f"no table of system calls for {machine}")
    blocks = _rules(column, shared)
    architecture = (0xC000003E, 0xC00000B7)[column]
    code = [_op(_LOAD, _ARCHITECTURE), _op(_EQUAL, architecture, 1, 0), _op(_RETURN, KILL), _op(_LOAD, _NUMBER)]
    if column == 0:
        code += [_op(_AT_LEAST, _X32, 0, 1), _op(_RETURN, ERRNO | errno.ENOSYS)]
    other = (_op(_RETURN, ERRNO | errno.EPERM),)
    ranges: list[tuple[int, tuple[bytes, ...]]] = [(0, other)]
    for number in sorted(blocks):
        if ranges[-1][0] == number:
            ranges.pop()
        if not ranges or ranges[-1][1] != blocks[number]:
            ranges.append((number, blocks[number]))
        ranges.append((number + 1, other))
    merged = [r for i, r in enumerate(ranges) if i == 0 or r[1] != ranges[i - 1][1]]
    program = b"".join(code + _tree(merged))
    size = _INSTRUCTION.size
    pids = tuple(at + 4 for at in range(0, len(program), size) if program[at + 4 : at + 8] == struct.pack("<I", _PID))
    return Filter(program, pids)


def _rules(column: int, shared: bool) -> dict[int, tuple[bytes, ...]]:
    """What to do for every number that is not simply refused."""
    blocks: dict[int, tuple[bytes, ...]] = {}

    def put(numbers: tuple[int | None, int | None], block: tuple[bytes, ...]) -> None:
        number = numbers[column]
        if number is not None:
            blocks[number] = block

    for numbers in (_ALLOWED | _SHARED if shared else _ALLOWED).values():
        put(numbers, (_op(_RETURN, ALLOW),))
    for failure, calls in _FAILING.items():
        for refused in calls.values():
            put(refused, (_op(_RETURN, ERRNO | failure),))
    for call, failure, checks in _CHECKED.values():
        # The shared filter cannot know a child's id. There, a child can reach none but itself and its init.
        kept = tuple(c for c in checks if not shared or _PID not in c[2])
        put(call, _checked(kept, failure))
    if shared:
        put(_FAILING[errno.EAGAIN]["clone"], _checked(((0, "in", _FORK_FLAGS),), errno.EAGAIN))
    return blocks


def _checked(checks: tuple[_Check, ...], failure: int) -> tuple[bytes, ...]:
    """Instructions that allow a call whose arguments pass. Only the low halves: the kernel reads no more of these."""
    refuse = _op(_RETURN, ERRNO | failure)
    code: list[bytes] = []
    for argument, comparison, values in checks:
        code.append(_op(_LOAD, _ARGUMENTS + 8 * argument))
        if comparison == "in":
            for left, value in zip(range(len(values) - 1, -1, -1), values, strict=True):
                code.append(_op(_EQUAL, value, left + 1, 0))
            code.append(refuse)
        else:
            code += [_op(_BITS if comparison == "without" else _AT_LEAST, values[0], 0, 1), refuse]
    return (*code, _op(_RETURN, ALLOW))


def _tree(ranges: list[tuple[int, tuple[bytes, ...]]]) -> list[bytes]:
    """A binary search over ranges of numbers: the kernel runs a filter once for each number when it is installed."""
    if len(ranges) == 1:
        return list(ranges[0][1])
    middle = len(ranges) // 2
    left, right = _tree(ranges[:middle]), _tree(ranges[middle:])
    pivot = ranges[middle][0]
    if len(left) <= 255:
        return [_op(_AT_LEAST, pivot, len(left), 0), *left, *right]
    return [_op(_AT_LEAST, pivot, 0, 1), _op(_JUMP, len(left)), *left, *right]


def _op(code: int, value: int, true: int = 0, false: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, true, false, value)


def killer() -> Callable[[int], None]:
    """A function that ends a child by its id in the one way that the shared filter leaves."""
    import ctypes

    column = 1 if os.uname().machine in ("aarch64", "arm64") else 0
    number = ctypes.c_long(_CHECKED["tgkill"][0][column] or 0)
    call = ctypes.CDLL(None).syscall

    def kill(pid: int) -> None:
        call(number, pid, pid, 9)

    return kill


class Installer:
    """A filter ready to be installed by one call, in a forked child where every import and allocation costs."""

    def __init__(self, program: Filter, *, threads: bool = False) -> None:
        """``threads``: the filter is for every thread that the process has, not only for the one that installs it."""
        import ctypes

        code = program.code

        class Header(ctypes.Structure):
            _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

        self._pids = program.pids
        self._code = ctypes.create_string_buffer(code, len(code))
        self._bytes = memoryview(self._code).cast("B")
        self._header = Header(len(code) // _INSTRUCTION.size, ctypes.addressof(self._code))
        self._reference = ctypes.byref(self._header)
        libc = ctypes.CDLL(None, use_errno=True)
        self._prctl = libc.prctl
        self._syscall = libc.syscall if threads else None
        self._numbers = [ctypes.c_long(n) for n in (277 if os.uname().machine in ("aarch64", "arm64") else 317, 1, 1)]
        self._errno = ctypes.get_errno

    def __call__(self) -> None:
        """Put the filter on this process and all it will fork. Raises OSError; needs no_new_privs."""
        if self._syscall is not None:
            failed = self._syscall(*self._numbers, self._reference)  # seccomp: SET_MODE_FILTER, FILTER_FLAG_TSYNC
        else:
            failed = self._prctl(22, 2, self._reference, 0, 0)  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        if failed:
            number = self._errno()
            raise OSError(number, os.strerror(number))

    def patch(self, pid: int) -> None:
        """Write the process's own id where the filter compares it."""
        for at in self._pids:
            self._bytes[at : at + 4] = pid.to_bytes(4, "little")
