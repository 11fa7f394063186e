"""Which modules a worker has loaded before it forks: every page of them costs every program a little.

Most novices' programs import next to nothing, and run in a ``slim`` worker. One that imports anything else gets a
``full`` one, which has the standard library's extension modules too: those cannot be loaded once a worker is
locked in. Pure-Python modules can, from memory.
"""

from __future__ import annotations

import re

SLIM = (
    "abc", "bisect", "collections", "copy", "datetime", "enum", "functools", "heapq", "itertools", "math",
    "operator", "random", "re", "string", "time", "typing",
    "unicodedata",  # the compiler itself imports it for a name like "âge"
)  # fmt: skip
FULL = (
    *SLIM, "_asyncio", "_bz2", "_contextvars", "_csv", "_ctypes", "_decimal", "_elementtree", "_hashlib", "_json",
    "_lzma", "_md5", "_multiprocessing", "_opcode", "_pickle", "_posixshmem", "_posixsubprocess",
    "_queue", "_sha1", "_sha256", "_sha512", "_sha3", "_blake2", "_socket", "_statistics", "_struct", "_uuid",
    "_zoneinfo", "array", "binascii", "cmath", "fcntl", "grp", "mmap", "pyexpat", "resource", "select", "termios",
    "zlib", "contextlib", "dataclasses", "decimal", "fractions", "json", "signal", "statistics",
    "textwrap", "traceback", "warnings",
)  # fmt: skip
_LIGHT = frozenset((
    *SLIM, "__future__", "autograder", "builtins", "calendar", "cs110", "io", "numbers", "os", "sys", "textwrap",
    "warnings",
))  # fmt: skip
_IMPORT = re.compile(r"""(?:^|[;:\r\n'\"])[ \t]*(?:from[ \t]+([\w.]+)|import[ \t]+([^;#\r\n]+))""")
# Text that may import something unseen, or needs an extension module by itself: \N{...} does.
_UNSEEN = re.compile(r"__import__|importlib|\\N\{|pickle")


def flavour(*texts: str) -> str:
    """The worker these texts need together: "slim" or "full"."""
    for text in texts:
        if _UNSEEN.search(text):
            return "full"
        for package, names in _IMPORT.findall(text):
            for name in (package,) if package else names.split(","):
                if name.strip().partition(" ")[0].partition(".")[0] not in _LIGHT:
                    return "full"
    return "slim"
