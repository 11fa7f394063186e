"""The standard library in memory, for children that cannot open a file.

Used inside a worker, never by the caller. The modules' byte code lies in one mapping that is not copied at a fork.
"""

from __future__ import annotations

import _frozen_importlib as bootstrap
import _frozen_importlib_external as external
import ctypes
import marshal
import os
import sys
from types import CodeType, ModuleType
from typing import Any

# Not for programs: tests, tools, and what has no use without files, a screen or a compiler.
_LEFT_OUT = frozenset(
    ("site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip",
     "distutils", "pydoc_data", "lib-dynload", "__pycache__", "curses", "sqlite3", "dbm", "venv", "turtle.py")
)  # fmt: skip


class Archive:
    """An importer for every pure-Python module of the standard library, read once when it is made."""

    def __init__(self) -> None:
        self._index: dict[str, tuple[int, int, str]] = {}  # name: start, end, path
        self._size = 0
        fd = os.memfd_create("stdlib")
        try:
            root = os.path.dirname(os.__file__)  # noqa: PTH120 (pathlib is slow to load)
            self._collect(root, "", fd)
            self._data = _mapped(fd, self._size)
        finally:
            os.close(fd)

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        entry = self._index.get(name)
        if entry is None:
            return None
        loader: Any = self  # no base class of importlib's: loading that costs more than it gives
        spec = bootstrap.ModuleSpec(name, loader, origin=entry[2], is_package=entry[2].endswith("/__init__.py"))
        spec.has_location = True
        return spec

    def create_module(self, spec: object) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.get_code(module.__name__), module.__dict__)

    def get_code(self, name: str) -> CodeType:
        begin, end, path = self._index[name]
        data = self._data[begin:end]
        if bytes(data[:4]) == external.MAGIC_NUMBER:
            return marshal.loads(data[16:])  # type: ignore[no-any-return]
        return compile(bytes(data), path, "exec", dont_inherit=True)

    def _collect(self, folder: str, package: str, fd: int) -> None:
        for entry in os.scandir(folder):
            if entry.name in _LEFT_OUT:
                continue
            if entry.name.endswith(".py"):
                stem = entry.name[:-3]
                name = package.rstrip(".") if stem == "__init__" else package + stem
                end = self._size + _copy_code(entry.path, fd)
                self._index[sys.intern(name)] = (self._size, end, entry.path)
                self._size = end
            elif entry.name.isidentifier() and entry.is_dir():
                self._collect(entry.path, f"{package}{entry.name}.", fd)


def _copy_code(path: str, target: int) -> int:
    """Append a module's cached byte code, or its source where the cache is missing or stale; how many bytes.

    In the kernel: what once was in this process's heap would be copied at every fork.
    """
    status = os.stat(path)  # noqa: PTH116
    try:
        source = os.open(external.cache_from_source(path), os.O_RDONLY)
    except OSError:
        source = os.open(path, os.O_RDONLY)
    head = os.pread(source, 16, 0)
    if len(head) == 16 and head[:4] == external.MAGIC_NUMBER and not head[4] & 1:
        stamp = int.from_bytes(head[8:12], "little"), int.from_bytes(head[12:16], "little")
        if stamp != (int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF):
            os.close(source)
            source = os.open(path, os.O_RDONLY)
    size = os.fstat(source).st_size
    copied = 0
    while copied < size:
        copied += os.sendfile(target, source, copied, size - copied)
    os.close(source)
    return size


def _mapped(fd: int, size: int) -> memoryview:
    """The file in a private mapping: a fork copies nothing of it, and no child can change what another sees."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    address = libc.mmap(None, ctypes.c_size_t(size), 1, 2, fd, ctypes.c_long(0))  # PROT_READ, MAP_PRIVATE
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return memoryview((ctypes.c_char * size).from_address(address)).cast("B")
