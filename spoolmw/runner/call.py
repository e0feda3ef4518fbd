"""Runs a Python call: decodes it, calls it, encodes what it returned or raised.

Here, in a worker process with the submitter's rights, is the only place where a call is unpickled.
"""

from __future__ import annotations

import errno
import importlib
import pickle
import sys
import traceback
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple, Union

from . import arguments, results, safe
from .limits import Around
from .order import Element
from .results import Ended

_PROTOCOL = 5
#: A wish of the agent's, not of the task's: nobody unpickles what comes from its hosts. So a value
#: travels in the safe codec or not at all, and an exception as text only.
GUARDED = "guarded"

_WHY_GUARDED = "volunteers' hosts may return nothing else; other agents may: [place] agents"

Body = Union[bytes, bytearray]
Load = Callable[[Body], Any]


class Packed(NamedTuple):
    """A call as it travelled: a pickle of function and arguments, or of an array's arguments only."""

    body: Body
    function: bytes = b""  #: a pickle, where the body has the arguments only
    element: Optional[Element] = None  #: the function gets its line or index as first argument
    unpack: Load = pickle.loads  #: puts in what stands for the values of other tasks

    def load(self) -> Tuple[Callable[..., Any], Sequence[Any], Dict[str, Any]]:
        """Function, arguments and keyword arguments; raises whatever the submitter's classes do."""
        if self.function:
            return pickle.loads(self.function), pickle.loads(self.body), {}  # noqa: S301  our trade
        function, args, kwargs = self.unpack(self.body)
        if self.element is not None:
            line = self.element.line
            args = (self.element.index if line is None else line, *args)
        return function, args, kwargs


def run(packed: Packed, wish: str, around: Around) -> Ended:
    """Run a call; the value is encoded as `wish` says ("auto", "safe", "pickle", GUARDED)."""
    try:
        function, args, kwargs = packed.load()
    except arguments.Gone as error:
        return results.failed("gone", str(error))
    except BaseException as error:  # noqa: BLE001  whatever the submitter's own classes raise
        return _not_decoded(error)
    try:
        with around:
            value = function(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001  the task's exception is its result
        ended = _raised(error, memory_limited=around.memory_limited)
        if wish == GUARDED:
            ended.codec, ended.value = "", ()
        return ended
    return encode(value, wish)


def encode(value: Any, wish: str) -> Ended:
    """A success with this value, or a failure that says why the value cannot travel."""
    ended = Ended()
    try:
        if wish in ("safe", GUARDED):
            ended.codec, ended.value = "safe", safe.parts(value)
            return ended
        pieces = safe.parts_if_unchanged(value) if wish == "auto" else None
        if pieces is None:
            ended.codec, ended.value = "pickle", [_pickle(value)]
        else:
            ended.codec, ended.value = "safe", pieces
    except BaseException as error:  # noqa: BLE001  the value's own __reduce__ may raise anything
        if wish == GUARDED:
            return results.failed("codec", f"{error}; {_WHY_GUARDED}")
        kind = type(value).__name__
        return results.failed(
            "codec",
            f"the value that the function returned (a {kind}) cannot be encoded: "
            f"{type(error).__name__}: {error}",
        )
    return ended


def _pickle(value: Any) -> bytes:
    try:
        return pickle.dumps(value, _PROTOCOL)
    except Exception:  # noqa: BLE001  a lambda, a class that travelled by value: cloudpickle's turn
        cloudpickle: Any = importlib.import_module("cloudpickle")
        encoded: bytes = cloudpickle.dumps(value, protocol=_PROTOCOL)
        return encoded


def _not_decoded(error: BaseException) -> Ended:
    text = f"the call could not be decoded here: {type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError):
        text = (
            f"the call needs the module {error.name!r}, which {sys.executable} does not have: "
            "install it there, or submit from an environment that has it"
        )
    ended = results.failed("codec", text)
    ended.exception = _told(error)
    return ended


def _raised(error: BaseException, *, memory_limited: bool) -> Ended:
    if isinstance(error, SystemExit):
        return _exited(error)
    if isinstance(error, MemoryError) and memory_limited:
        ended = results.failed("memory", "the task ran out of the memory that it asked for")
    elif isinstance(error, OSError) and error.errno == errno.EFBIG:
        ended = results.failed("output", "the task wrote more than its [limits] output")
    else:
        ended = results.failed("exception", results.one_line(_last_line(error)))
    ended.exception = _told(error)
    if isinstance(error, Exception):
        encoded = _pickled_exception(error)
        if encoded is not None:
            ended.codec, ended.value = "pickle-exception", [encoded]
    return ended


def _exited(error: SystemExit) -> Ended:
    code = error.code
    number = code if isinstance(code, int) else 0 if code is None else 1
    said = f": {code}" if isinstance(code, str) else ""
    ended = results.failed(
        "exit",
        f"the function called sys.exit({number}) instead of returning{said}",
        exit_code=number,
    )
    ended.exception = _told(error)
    return ended


def _pickled_exception(error: Exception) -> Optional[bytes]:
    """The exception pickled, if what comes out of the pickle is one of the same type again."""
    try:
        encoded = _pickle(error)
        again = pickle.loads(encoded)  # noqa: S301  our own bytes
    except BaseException:  # noqa: BLE001  many exceptions cannot: their text travels anyway
        return None
    return encoded if type(again).__name__ == type(error).__name__ else None


def _told(error: BaseException) -> Dict[str, str]:
    kind = type(error)
    return {
        "type": kind.__qualname__,
        "module": kind.__module__,
        "message": _guarded(lambda: str(error))[: results.MAX_TEXT],
        "traceback": _guarded(lambda: _traceback(error))[-results.MAX_TEXT :],
    }


def _traceback(error: BaseException) -> str:
    frames = error.__traceback__
    own = frames.tb_next if frames is not None else None  # the first frame is ours
    return "".join(traceback.format_exception(type(error), error, own))


def _last_line(error: BaseException) -> str:
    text = _guarded(lambda: str(error))
    kind = type(error).__name__
    return f"{kind}: {text}" if text else kind


def _guarded(text: Callable[[], str]) -> str:
    """A text made by the task's own code, which may raise."""
    try:
        return text()
    except BaseException as error:  # noqa: BLE001  a broken __str__ must not hide the exception
        return f"<no text: {type(error).__name__}>"
