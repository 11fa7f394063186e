"""V8 through mini-racer's shared library, without the event loop and threads of its Python classes.

Used in a worker only. Those classes start a thread and a loop for every isolate and need sockets at run time, which a
locked-in process has not. The library's functions, as its `init_mini_racer` declares them, are called directly:
an isolate has one thread of its own, made in the constructor, and this one waits for it.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any, Literal, NamedTuple

# No machine code is made at run time, so that no memory need be executable; and there is then one way in which a
# program runs, however long it runs. Without weak references and shared memory a program sees neither the garbage
# collector nor real time.
FLAGS = (
    "--single-threaded",
    "--jitless",
    "--stack-size=800",
    "--random-seed=1",
    "--hash-seed=1",
)
_TEXT, _FUNCTION, _UNDEFINED = 5, 100, 11  # types of values in mini_racer's C++ code
_FAILURES: dict[int, Literal["error", "syntax", "memory"]] = {200: "error", 201: "syntax", 202: "memory"}


class Value(NamedTuple):
    """What JavaScript gave: text, or a failure's kind and text. ``handle``: the library's, while the isolate lives."""

    kind: Literal["text", "other", "error", "syntax", "memory"]
    text: str
    handle: Any


def load() -> ctypes.CDLL:
    """Initialise V8, once, before anything is locked in and before any fork: it reads a file, and starts no thread."""
    from py_mini_racer import init_mini_racer

    library: ctypes.CDLL = init_mini_racer(flags=FLAGS)
    return library


class Maker(NamedTuple):
    """What every child makes its isolates from: the library, the stub of a page, the compiler, both as scripts."""

    library: ctypes.CDLL
    world: str
    compiler_text: str

    def compiler(self) -> tuple[Isolate, Value]:
        """An isolate with the compiler in it, and the compiler's function."""
        isolate = Isolate(self.library)
        return isolate, isolate.eval(self.compiler_text)


class Isolate:
    """One JavaScript world with a thread of its own."""

    def __init__(self, library: ctypes.CDLL) -> None:
        from py_mini_racer._dll import MR_CALLBACK

        self._library = library
        self._done = threading.Lock()
        self._done.acquire()
        self._result: Any = None
        self._callback = MR_CALLBACK(self._receive)
        self._context = library.mr_init_context(self._callback)

    def limit(self, heap_bytes: int) -> None:
        """End what runs, as ``memory``, when its heap grows beyond this."""
        self._library.mr_set_hard_memory_limit(self._context, heap_bytes)

    def eval(self, source: str) -> Value:
        """Run a script; its value."""
        code = self._text(source)
        value = self._wait(lambda: self._library.mr_eval(self._context, code, 0))
        self._library.mr_free_value(self._context, code)
        return value

    def call(self, function: Value, argument: str | None = None) -> Value:
        """Call a function with one text or nothing; its value."""
        arguments = self.eval("[]").handle
        if argument is not None:
            text = self._text(argument)
            self._library.mr_array_push(self._context, arguments, text)
            self._library.mr_free_value(self._context, text)
        value = self._wait(
            lambda: self._library.mr_call_function(self._context, function.handle, function.handle, arguments, 0)
        )
        self._library.mr_free_value(self._context, arguments)
        return value

    def free(self, value: Value) -> None:
        """Let go of a value."""
        self._library.mr_free_value(self._context, value.handle)

    def _text(self, text: str) -> Any:
        data = text.encode("utf-8", "replace")
        return self._library.mr_alloc_string_val(self._context, data, len(data), _TEXT)

    def _receive(self, number: int, raw: Any) -> None:
        self._result = raw
        self._done.release()

    def _wait(self, start: Any) -> Value:
        start()
        self._done.acquire()
        raw = self._result
        content = raw.contents
        kind = int(content.type)
        text = ""
        if kind == _TEXT or kind >= 200:
            text = ctypes.string_at(content.value.bytes_val, content.len).decode("utf-8", "replace")
        if kind == _TEXT:
            return Value("text", text, raw)
        if kind < 200:
            return Value("other", text, raw)
        if self._library.mr_hard_memory_limit_reached(self._context):  # a call that this ended says only "null"
            return Value("memory", text, raw)
        return Value(_FAILURES.get(kind, "error"), text, raw)
