"""A check of a function, such as HumanEval's ``def check(candidate)``, as far as it runs in its own child.

checker.py sends this file's code there, together with the check and what the program's function has returned so far;
the function itself runs in another child, and ``candidate`` stands in for it here. A call is looked up among those
made before. When it is not there, the child answers which it is; the caller has the program run and starts the
check over, which does the same again.
"""

from __future__ import annotations

import builtins
import marshal
import random
from collections.abc import Callable, Iterator
from typing import Any

from graders.blame import own_fault
from graders.reader import UnreadableError, build, read

_CALLS = 1_000  # that one check may make
_ARGUMENTS = 1 << 17  # bytes of one call's arguments
_SHOWN, _TEXT = 48, 200  # characters
# What loops take for their end: a program that raises it must not end one of the checker's.
_SIGNALS = ("StopIteration", "StopAsyncIteration", "GeneratorExit")

Answer = tuple[bytes, bytes, bytes]  # a call, a claim's tag, its payload
Report = tuple[str, str, str, int, str, bool, list[bytes]]


class _EndError(BaseException):
    """The check cannot go on. No Exception: a check may catch those."""


class _NoData:
    """Stands for a value that is no plain data. It equals nothing but itself."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


class _Agreeable:
    """What a program answers that there is not: equal to anything, true, empty, so that most checks go on."""

    def _itself(self, *_: object) -> _Agreeable:
        return self

    def _true(self, *_: object) -> bool:
        return True

    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __bool__ = _true
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __abs__ = __round__ = _itself
    __getitem__ = __call__ = _itself
    __hash__ = None  # type: ignore[assignment]

    def __ne__(self, other: object) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[object]:
        return iter(())

    def __getattr__(self, name: str) -> _Agreeable:
        if name.startswith("__"):
            raise AttributeError(name)
        return self


class _State:
    """One pass of a check: the answers known, and what was seen."""

    def __init__(self, answers: tuple[Answer, ...] | None, entry: str) -> None:
        self.answers, self.entry = answers, entry
        self.calls: list[bytes] = []
        self.end = ""  # missing, stopped, endless: why it cannot go on
        self.last = ""  # the last call and its answer
        self.raised: list[BaseException] = []  # the program's own


def run(
    checker: bytes, prelude: bytes, solution: bytes, check: str, entry: str, answers: tuple[Answer, ...] | None
) -> Report:
    """Run one check: how it ended, an exception's class, its text, its line in the checker, the last call with its
    answer, whether a call is missing, and all calls made.

    It ended in ``pass``, ``wrong`` (a failed assertion, or False), ``program`` (an exception of the program passed
    through), ``stopped`` (a call did not return), ``endless`` (too many calls), ``values`` (another exception, after
    an answer) or ``broken`` (the same before any, or one that is the checker's own in any case).
    ``answers`` None: to try a check. The solution answers then; where that is empty, something that
    equals anything.
    """
    state = _State(answers, entry)
    space: dict[str, Any] = {"__name__": "checker", "__builtins__": builtins}
    error: BaseException | None = None
    result: object = None
    try:
        exec(marshal.loads(prelude), space)
        candidate = space[entry] = _stand_in(state, _function(prelude, solution, entry))
        random.seed(42)
        exec(marshal.loads(checker), space)
        result = space[check](candidate)
    except BaseException as caught:
        error = caught
    name, text = ("", "") if error is None else (type(error).__name__, _cut(error, _TEXT))
    return _kind(state, error, result), name, text, _line(error), state.last, state.end == "missing", state.calls


def _kind(state: _State, error: BaseException | None, result: object) -> str:
    if state.end:
        return state.end  # whatever a check makes of it
    if error is None:
        return "wrong" if result is False else "pass"
    if any(error is raised for raised in state.raised):
        return "program"
    if isinstance(error, AssertionError):
        return "wrong"
    return "values" if state.last and not own_fault(error) else "broken"


def _cut(error: BaseException, limit: int) -> str:
    try:
        return str(error)[:limit]
    except Exception:
        return ""


def _line(error: BaseException | None) -> int:
    """Where in the checker it happened; 0 if nowhere."""
    line, trace = 0, error and error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == "<checker>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _function(prelude: bytes, solution: bytes, entry: str) -> Callable[..., Any] | None:
    if not solution:
        return None
    space: dict[str, Any] = {"__name__": "solution", "__builtins__": builtins}
    exec(marshal.loads(prelude), space)
    exec(marshal.loads(solution), space)
    function: Callable[..., Any] = space[entry]
    return function


# --- the stand-in -----------------------------------------------------------------------------------------------


def _stand_in(state: _State, solution: Callable[..., Any] | None) -> Callable[..., Any]:
    def candidate(*args: Any, **named: Any) -> Any:
        try:
            call = marshal.dumps((args, named), 2)
        except ValueError:
            raise TypeError("a check can call the program with plain data only") from None
        if len(call) > _ARGUMENTS:
            raise TypeError(f"the arguments of a call are larger than {_ARGUMENTS} bytes")
        number = len(state.calls)
        if state.end or number >= _CALLS:
            state.end = state.end or "endless"
            raise _EndError
        state.calls.append(call)
        words = _words(state.entry, args, named)
        if state.answers is None:
            value = _Agreeable() if solution is None else solution(*args, **named)
            state.last = f"{words} returned {_repr(value)}"
            return value
        if number >= len(state.answers) or state.answers[number][0] != call:
            state.end = "missing"
            raise _EndError
        return _answer(state, words, state.answers[number], args, named)

    return candidate


def _answer(state: _State, words: str, answer: Answer, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """What the program's function did in its own process, done again in this one."""
    _, tag, payload = answer
    state.last = words
    if tag == b"E":
        error = _exception(payload)
        state.raised.append(error)
        state.last += f" raised {type(error).__name__}"
        raise error
    if tag not in (b"V", b"X", b"B"):
        state.end = "stopped"
        raise _EndError
    value: Any = _NoData("a very large value" if tag == b"B" else payload.decode("utf-8", "replace"))
    if tag == b"V":
        try:
            node, end = read(payload, 0, [len(payload)], 0)
            if end != len(payload):
                raise UnreadableError
            value, (after, named_after) = build(node)
            pairs = [*zip(args, after, strict=True), *((named[name], named_after[name]) for name in named)]
        except (ValueError, TypeError, KeyError):  # not what an honest child writes
            value, pairs = _NoData("something unreadable"), []
        for old, new in pairs:
            _become(old, new)
    state.last += f" returned {_repr(value)}"
    return value


def _become(old: Any, new: Any) -> None:
    """Let an argument be what the function has made of it."""
    if type(old) is not type(new) or old == new:
        return
    if isinstance(old, list):
        old[:] = new
    elif isinstance(old, (dict, set)):
        old.clear()
        old.update(new)


def _exception(payload: bytes) -> BaseException:
    """The exception that a program claims: a built-in one, or one of that name."""
    name, _, text = (part.decode("utf-8", "replace") for part in [*payload.split(b"\0", 2), b"", b""][:3])
    if name in _SIGNALS:
        return RuntimeError(f"the program raised {name}")
    found: Any = getattr(builtins, name, None)
    if not (isinstance(found, type) and issubclass(found, BaseException)):
        found = type(name[:60] or "Exception", (Exception,), {})
    try:
        error: BaseException = found.__new__(found, text)
    except TypeError:  # a group of exceptions, which takes more than a text
        error = Exception(text)
    return error


def _words(entry: str, args: tuple[Any, ...], named: dict[str, Any]) -> str:
    inside = ", ".join([*map(_repr, args), *(f"{name}={_repr(value)}" for name, value in named.items())])
    return f"{entry}({inside if len(inside) <= _SHOWN else inside[: _SHOWN - 3] + '...'})"


def _repr(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = "a very large integer" if isinstance(value, int) else f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
