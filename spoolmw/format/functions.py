"""Remembers the pickle of a function for as long as nothing that it is made of has changed.

Pickling a function by value takes ten times as long as looking at its parts. Rule: a function
is remembered only if every part is a plain value that cannot change, something that travels
by name, or another such function; the parts are compared by identity before each use.
Closures, attributes, and globals that can change (lists, own classes) are pickled afresh.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from operator import is_
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from spoolmw.format.byvalue import is_own

#: Types whose values cannot change and hold nothing that can.
PLAIN_TYPES = frozenset({type(None), bool, int, float, complex, str, bytes})

_MOST_KEPT = 256
_MOST_KEPT_BYTES = 64 * 1024
_NOTHING = object()
#: Globals that cloudpickle takes along with every function.
_ALWAYS = ("__name__", "__package__", "__file__")


class _Changeable(Exception):
    """A part of the function may change without our seeing it."""


class _Parts(NamedTuple):
    """What the pickle of one function is made of."""

    function: FunctionType
    own: tuple[object, ...]
    annotations: dict[str, object]
    names: tuple[str, ...]  #: of globals
    values: tuple[object, ...]  #: theirs, or _NOTHING


class _Kept(NamedTuple):
    parts: list[_Parts]  #: of the function and of those that it calls; keeps their ids theirs
    modules: int  #: how many were loaded: submodules that appear later are in the pickle too
    pickled: bytes


_kept: dict[int, _Kept] = {}


def remembered(
    function: Callable[..., Any], pickle: Callable[[Callable[..., Any]], bytes]
) -> bytes | None:
    """The pickle of `function`, made by `pickle` or known; None where it cannot be remembered."""
    if type(function) is not FunctionType:
        return None
    known = _kept.get(id(function))
    if known is not None:
        if known.modules == len(sys.modules) and all(map(_unchanged, known.parts)):
            return known.pickled
        _kept.pop(id(function), None)
    parts: list[_Parts] = []
    try:
        _take_apart(function, parts)
    except _Changeable:
        return None
    pickled = pickle(function)
    if len(pickled) > _MOST_KEPT_BYTES:
        return None
    if len(_kept) >= _MOST_KEPT:
        _kept.clear()
    _kept[id(function)] = _Kept(parts, len(sys.modules), pickled)
    return pickled


def _own(function: FunctionType) -> tuple[object, ...]:
    return (
        function.__code__,
        function.__defaults__,
        function.__kwdefaults__,
        function.__closure__,
        function.__name__,
        function.__qualname__,
        function.__module__,
        function.__doc__,
    )


def _unchanged(parts: _Parts) -> bool:
    function, own, annotations, names, values = parts
    held = function.__globals__
    return (
        all(map(is_, own, _own(function)))
        and not function.__dict__
        and function.__annotations__ == annotations
        and all(map(is_, values, [held.get(name, _NOTHING) for name in names]))
    )


def _take_apart(function: FunctionType, found: list[_Parts]) -> None:
    held = function.__globals__
    if (
        function.__closure__
        or function.__kwdefaults__
        or function.__dict__
        or getattr(function, "__type_params__", None)
        or "__path__" in held
        or not all(type(value) in PLAIN_TYPES for value in function.__defaults__ or ())
    ):
        raise _Changeable
    names = (*_ALWAYS, *_names(function.__code__))
    values = tuple(held.get(name, _NOTHING) for name in names)
    annotations = dict(function.__annotations__)
    found.append(_Parts(function, _own(function), annotations, names, values))
    for value in (*values, *annotations.values()):
        _check_steady(value, found)


def _names(code: CodeType) -> Iterator[str]:
    # Names of attributes are among them: that can only make us more careful.
    yield from code.co_names
    for constant in code.co_consts:
        if type(constant) is CodeType:
            yield from _names(constant)


def _check_steady(value: object, found: list[_Parts]) -> None:
    if type(value) in PLAIN_TYPES or value is _NOTHING or travels_by_name(value):
        return
    if type(value) is not FunctionType:
        raise _Changeable
    if all(id(value) != id(parts.function) for parts in found):
        _take_apart(value, found)


def travels_by_name(value: object) -> bool:
    """Whether a pickle says only the name of `value`: a module, class or function, installed."""
    if isinstance(value, ModuleType):
        name = value.__name__
        return sys.modules.get(name) is value and not is_own(name, value)
    if not isinstance(value, (type, FunctionType, BuiltinFunctionType)):
        return False
    module = sys.modules.get(value.__module__ or "")
    if module is None or module.__name__ == "__main__" or is_own(module.__name__, module):
        return False
    return getattr(module, value.__qualname__, None) is value
