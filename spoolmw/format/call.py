"""Packs a Python call into a task's body, and unpacks a result's value.

A body is one pickle of (function, arguments, keyword arguments). It is unpacked on hosts
only; the daemon never loads this module.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import cloudpickle

from spoolmw.errors import BadResultFile, SpoolmwError
from spoolmw.format.byvalue import let_own_code_travel
from spoolmw.format.functions import PLAIN_TYPES, remembered, travels_by_name
from spoolmw.format.names import escape
from spoolmw.runner import safe

_PROTOCOL = 5

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
StandIn = Callable[[object], object]
"""The persistent id of what stands for a task's value; None for everything else."""


class NotPicklable(SpoolmwError):
    """A function or an argument cannot travel to another process."""


class StandsForTask(TypeError):
    """Raised by what stands for another task's value: only `stand_in` lets it travel."""


def dump_call(
    function: Callable[..., Any],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    stand_in: StandIn | None = None,
) -> bytes:
    """The body of a task that calls `function`; raises `NotPicklable`, naming the culprit.

    Where arguments stand for the values of other tasks, at whatever depth, `stand_in` gives the
    persistent id that `runner.arguments` reads; without it `StandsForTask` is raised.
    """
    let_own_code_travel()
    call = (function, tuple(args), dict(kwargs or {}))
    try:
        if stand_in is not None:
            packed = Packed(_pickle(function))  # apart: its own parts do not stand for anything
            return _with_stand_ins((packed, *call[1:]), stand_in)
        return _quickly(call) or _pickle(call)
    except StandsForTask:
        if stand_in is None:
            raise
        raise _uses_a_task(function) from None
    except SpoolmwError:
        raise  # of `stand_in`
    except Exception as problem:  # an object's own __reduce__ may raise anything
        raise _not_picklable(call, problem, stand_in) from problem


def dump_function(function: Callable[..., Any]) -> bytes:
    """The function of an array of calls; raises `NotPicklable`."""
    let_own_code_travel()
    try:
        if travels_by_name(function):
            return pickle.dumps(function, _PROTOCOL)
        return remembered(function, _pickle) or _pickle(function)
    except StandsForTask:
        raise _uses_a_task(function) from None
    except Exception as problem:  # as above
        raise _not_picklable((function, (), {}), problem, None) from problem


def dump_args(function: Callable[..., Any], args: Sequence[Any]) -> bytes:
    """The arguments of one of its calls; raises `NotPicklable`, naming the culprit.

    `StandsForTask` where one stands for the value of another task: such a call travels alone.
    """
    try:
        if all(map(_is_plain, args)):
            return pickle.dumps(tuple(args), _PROTOCOL)
        return _pickle(tuple(args))
    except StandsForTask:
        raise
    except Exception as problem:  # as above
        raise _not_picklable((function, tuple(args), {}), problem, None) from problem


def dump_functions(validate: Callable[..., Any], check: Callable[..., Any] | None) -> bytes:
    """What compares results, as a validation reads it; raises `NotPicklable`."""
    let_own_code_travel()
    try:
        return _pickle((validate, check))
    except Exception as problem:  # as above
        culprit = _not_picklable((validate, (), {}), problem, None)
        if check is not None and culprit.what.startswith("the call of"):
            culprit = _not_picklable((check, (), {}), problem, None)
        raise culprit from problem


class Packed:
    """Stands for a function whose pickle is known; unpickled, it is the function."""

    __slots__ = ("_pickled",)

    def __init__(self, pickled: bytes) -> None:
        self._pickled = pickled

    def __reduce__(self) -> tuple[Any, ...]:
        return (pickle.loads, (self._pickled,))


def _quickly(call: Call) -> bytes | None:
    # Without cloudpickle, which takes four times as long: plain arguments to a known function.
    function, args, kwargs = call
    if not (_all_plain(args) and _all_plain(kwargs.values())):
        return None
    if (pickled := remembered(function, _pickle)) is not None:
        if kwargs:
            return pickle.dumps((Packed(pickled), args, kwargs), _PROTOCOL)
        return _of_known(pickled, args)
    return pickle.dumps(call, _PROTOCOL) if travels_by_name(function) else None


#: The opcodes of a pickle around those of the arguments, as the module `pickletools` lists them:
#: PROTO 5, GLOBAL pickle.loads, BINBYTES ..., TUPLE1, REDUCE; and EMPTY_DICT, TUPLE3, STOP.
_LOADS, _CALLED, _END = b"\x80\x05cpickle\nloads\nB", b"\x85R", b"}\x87."
_PROTO_BYTES = 2  #: of what `dumps` puts before a value; behind it stands STOP


def _of_known(pickled: bytes, args: tuple[Any, ...]) -> bytes:
    """As the pickle of `(Packed(pickled), args, {})`, in half the time.

    Nothing before the arguments is memoized, so what they refer to keeps its numbers.
    """
    packed = memoryview(pickle.dumps(args, _PROTOCOL))[_PROTO_BYTES:-1]
    size = len(pickled).to_bytes(4, "little")
    return b"".join((_LOADS, size, pickled, _CALLED, packed, _END))


def _pickle(value: object) -> bytes:
    return bytes(cloudpickle.dumps(value, protocol=_PROTOCOL))


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    stand_in: StandIn

    def persistent_id(self, obj: Any) -> object:
        return self.stand_in(obj)


def _with_stand_ins(value: object, stand_in: StandIn) -> bytes:
    file = io.BytesIO()
    pickler = _Pickler(file, protocol=_PROTOCOL)
    pickler.stand_in = stand_in
    pickler.dump(value)
    return file.getvalue()


def _uses_a_task(function: Callable[..., Any]) -> NotPicklable:
    name = getattr(function, "__qualname__", type(function).__name__)
    return NotPicklable(
        f"the function {name} cannot be sent to another process.",
        why="it uses a task of the spool, which exists only here",
        fix="pass the task as an argument: the function then gets its value",
    )


def _all_plain(values: Iterable[object]) -> bool:
    return all(type(value) in PLAIN_TYPES for value in values)


def _is_plain(value: object, depth: int = 3) -> bool:
    """A plain value, or a list or tuple of such: the standard pickle does as well as cloudpickle."""
    if type(value) in PLAIN_TYPES:
        return True
    if depth and type(value) in (list, tuple):
        return all(_is_plain(each, depth - 1) for each in value)  # type: ignore[attr-defined]
    return False


def _not_picklable(call: Call, problem: Exception, stand_in: StandIn | None) -> NotPicklable:
    function, args, kwargs = call
    name = getattr(function, "__qualname__", type(function).__name__)
    parts: list[tuple[str, object]] = [(f"the function {name}", function)]
    parts += [(f"argument {number} of {name}", arg) for number, arg in enumerate(args, 1)]
    parts += [(f"argument {key} of {name}", arg) for key, arg in kwargs.items()]
    for what, part in parts:
        try:
            _with_stand_ins(part, stand_in or (lambda _: None))
        except Exception as inner:  # noqa: BLE001  # as above
            return _named(what, part, inner)
    return _named(f"the call of {name}", call, problem)


def _named(what: str, part: object, problem: Exception) -> NotPicklable:
    kind = type(part)
    fix = "open files, connections and locks inside the function; pass names or plain data"
    if "recursion" in str(problem):
        fix = "pass it in a flatter form; it is nested too deeply"
    return NotPicklable(
        f"{what} cannot be sent to another process.",
        why=f"{type(problem).__name__}: {escape(str(problem), 300)}"
        f" (it is a {kind.__module__}.{kind.__qualname__})",
        fix=fix,
    )


def load_value(header: Mapping[str, Any], value: bytes | memoryview, *, trusted: bool) -> Any:
    """The value of a result; with codec "pickle-exception", the exception.

    From a host that is not trusted only the `safe` codec is decoded, ever.
    """
    codec = header.get("codec", "")
    if codec == "":
        return None
    if codec == "safe":
        try:
            return safe.loads(value)
        except safe.Unsafe as problem:
            raise BadResultFile("the value cannot be read.", why=str(problem)) from None
    if codec not in ("pickle", "pickle-exception"):
        raise BadResultFile(
            f"the value has the codec {escape(str(codec), 40)!r}.",
            why="this version reads safe and pickle",
            fix="install a newer spoolmw",
        )
    if not trusted:
        raise BadResultFile(
            "the value was not decoded.",
            why="it is a pickle from a host that is not trusted, and a pickle can run anything",
            fix='submit with result="safe"',
        )
    return _unpickle(value)


def _unpickle(value: bytes | memoryview) -> Any:
    try:
        return pickle.loads(value)  # noqa: S301  # of trusted agents only: `load_value` saw to it
    except Exception as problem:
        raise BadResultFile(
            "the value cannot be unpickled here.",
            why=f"{type(problem).__name__}: {escape(str(problem), 300)}",
            fix="read it with the same packages and the same Python that made it",
        ) from problem
