"""Landlock with no rule at all: no file can be opened, no TCP port reached, no abstract socket, no foreign process.

Used inside a worker, never by the caller. What the running kernel's version cannot restrict is left out.
"""

from __future__ import annotations

import ctypes
import os
import struct

_CREATE, _RESTRICT = 444, 446  # the same numbers on every architecture
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # version: how many kinds of access can be restricted


def version() -> int:
    """The kernel's version of Landlock. Raises OSError where there is none."""
    return _call(_CREATE, None, 0, 1)


def restrict() -> None:
    """Shut this process and all it will fork off. Raises OSError; needs no_new_privs or CAP_SYS_ADMIN."""
    known = version()
    files = (1 << _FILE_RIGHTS[min(known, 5)]) - 1
    network = 3 if known >= 4 else 0  # bind and connect
    scopes = 3 if known >= 6 else 0  # abstract sockets and signals
    size = 24 if known >= 6 else 16 if known >= 4 else 8
    rules = _call(_CREATE, struct.pack("<QQQ", files, network, scopes)[:size], size, 0)
    try:
        _call(_RESTRICT, rules, 0)
    finally:
        os.close(rules)


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)
