"""Compares what replicas returned, as their task's validator says; runs in a process of its own.

A function or a program of the submitter's is asked about each pair both ways round, and about
each result and itself: one that contradicts itself is at fault, not a result.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

from . import closeness, grouping, results, safe, staged
from .grouping import Group
from .staged import Returned

#: What a program says by its exit status.
EQUAL, DIFFERENT, TRY_AGAIN = 0, 1, 3
_TRUTHS = ("bool", "bool_")  #: names of types: numpy has one of its own

Tell = Callable[[str], None]
"""Says what is being done, before it is done: should it crash or hang, that is known."""


class Wish(NamedTuple):
    """How to compare. `code` is a pickled pair (validate, check or None), of "python"."""

    kind: str = "exact"
    rtol: float = 1e-9
    atol: float = 0.0
    command: Tuple[str, ...] = ()
    code: bytes = b""
    folder: str = "."  #: where a program runs, with the task's inputs in it


class Fault(Exception):
    """The validator itself is at fault; no result is."""


class Later(Exception):
    """It cannot be said now, but perhaps another time."""


class Compared(NamedTuple):
    """The classes of the results, and those that are none, each with the reason."""

    groups: List[Group]
    unfit: Dict[int, str]


def compare(returned: Sequence[Returned], wish: Wish, tell: Tell) -> Compared:
    """Sort the results into classes; raises `Fault` or `Later`."""
    by_number = {each.replica: each for each in sorted(returned)}
    unfit: Dict[int, str] = {}
    if wish.kind in ("exact", "files"):
        keys = _each(by_number, _KEYS[wish.kind], "reading", tell, unfit)
        return Compared(grouping.by_key(_of_comparable(keys)), unfit)
    if wish.kind == "close":
        values = _each(by_number, _value, "reading", tell, unfit)
        return Compared(_by_closeness(values, wish, tell), unfit)
    if wish.kind == "python":
        validate, check = _functions(wish.code)
        values = _each(by_number, _value, "reading", tell, unfit)
        if check is not None:
            _check(values, check, tell, unfit)
        return Compared(_by_word(values, _Function(validate), "validate", tell), unfit)
    if wish.kind == "command":
        paths = _each(by_number, _Paths(wish.folder), "reading", tell, unfit)
        program = _Program(wish.command, wish.folder)
        return Compared(_by_word(paths, program, wish.command[0], tell), unfit)
    raise Fault(f"there is no validator {wish.kind!r}")


def _each(
    returned: Dict[int, Returned],
    read: Callable[[Returned], Any],
    verb: str,
    tell: Tell,
    unfit: Dict[int, str],
) -> Dict[int, Any]:
    """What `read` makes of each result; those of which it makes nothing are unfit."""
    found: Dict[int, Any] = {}
    for number, each in returned.items():
        tell(f"{verb} the result of replica {number}")
        try:
            found[number] = read(each)
        except staged.Unfit as problem:
            unfit[number] = str(problem)
        except staged.Unreadable as problem:
            raise Later(str(problem)) from None
    return found


class _Odd(NamedTuple):
    """The key of a result that cannot be compared: it equals no other one."""

    replica: int
    why: str


def _of_comparable(keys: Dict[int, Any]) -> Dict[int, Any]:
    """The same keys; raises `Fault` where not one result can be compared.

    Beside one that can, such a result is only different: a host that lies may return anything,
    and must not end the vote by it.
    """
    odd = [key for key in keys.values() if isinstance(key, _Odd)]
    if odd and len(odd) == len(keys):
        raise Fault(odd[0].why)
    return keys


def _value(returned: Returned) -> Any:
    return staged.value_of(returned, staged.read(returned))


def _files_key(returned: Returned) -> Any:
    staged.read(returned)
    if not staged.has_files(returned):
        why = '"files" compares the files of commands; this is a call: use "exact"'
        return _Odd(returned.replica, why)
    return staged.files_key(returned)


def _exact_key(returned: Returned) -> Any:
    if staged.has_files(returned):
        return _files_key(returned)
    value = _value(returned)
    try:
        return hashlib.sha256(safe.dumps(value)).digest()
    except safe.Unsafe as problem:
        why = f'"exact" cannot compare what the task returns: {problem}. A function can:'
        return _Odd(returned.replica, f'{why} validator = "python"')


_KEYS = {"exact": _exact_key, "files": _files_key}


def _by_closeness(values: Dict[int, Any], wish: Wish, tell: Tell) -> List[Group]:
    within = closeness.Tolerance(wish.rtol, wish.atol)

    def same(one: int, two: int) -> bool:
        tell(f"comparing replica {one} with {two}")
        try:
            return closeness.close(values[one], values[two], within)
        except closeness.Uncomparable as problem:
            if any(closeness.is_comparable(each, within) for each in values.values()):
                return False
            raise Fault(f'"close" cannot compare the values: {problem}') from None

    return grouping.by_pairs(list(values), same)


def _by_word(
    values: Dict[int, Any], ask: Callable[[Any, Any], bool], name: str, tell: Tell
) -> List[Group]:
    """Classes by the submitter's own word, asked both ways round."""
    for number, value in values.items():
        tell(f"comparing replica {number} with itself")
        if not ask(value, value):
            raise Fault(
                f"{name} contradicts itself: the result of replica {number} is not equal to"
                " itself (is there a NaN in it?)"
            )

    def same(one: int, two: int) -> bool:
        tell(f"comparing replica {one} with {two}")
        there = ask(values[one], values[two])
        tell(f"comparing replica {two} with {one}")
        if there is not ask(values[two], values[one]):
            a, b = (one, two) if there else (two, one)
            raise Fault(
                f"{name} contradicts itself: replica {a} equals {b}, but {b} does not equal {a}"
            )
        return there

    return grouping.by_pairs(list(values), same)


# A function of the submitter's


def _functions(code: bytes) -> Tuple[Any, Any]:
    try:
        validate, check = pickle.loads(code)  # noqa: S301  the submitter's own, as the submitter
    except Exception as error:  # noqa: BLE001  whatever its classes and modules raise
        raise Fault(
            f"the validator cannot be decoded here: {type(error).__name__}: {error}"
        ) from None
    if not callable(validate) or not (check is None or callable(check)):
        raise Fault("the validator is not a function")
    return validate, check


class _Function:
    """`validate(a, b)`, whose answer is True or False and nothing else."""

    def __init__(self, validate: Any) -> None:
        self._validate = validate

    def __call__(self, one: Any, two: Any) -> bool:
        return _asked("validate", self._validate, one, two)


def _asked(name: str, function: Any, *values: Any) -> bool:
    try:
        answer = function(*values)
    except Exception as error:  # noqa: BLE001  the validator's exception is its fault
        text = results.one_line(f"{type(error).__name__}: {error}")
        raise Fault(f"{name} raised {text}") from None
    if type(answer).__name__ not in _TRUTHS:
        kind = type(answer).__name__
        raise Fault(f"{name} returned a {kind}; it must return True or False")
    return bool(answer)


def _check(values: Dict[int, Any], check: Any, tell: Tell, unfit: Dict[int, str]) -> None:
    for number in list(values):
        tell(f"checking the result of replica {number}")
        if not _asked("check", check, values[number]):
            del values[number]
            unfit[number] = "check said that it is no result"


# A program of the submitter's


class _Paths:
    """Where a program finds a result: a command's folder of files, or a file with the value."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __call__(self, returned: Returned) -> str:
        found = staged.read(returned)
        if staged.has_files(returned):
            return os.path.abspath(staged.folder_of(returned))
        path = os.path.abspath(os.path.join(self._folder, f".result-{returned.replica}"))
        try:
            with open(path, "wb") as file:
                file.write(found.value)
        except OSError as error:
            raise Later(f"the value could not be written: {error.strerror}") from None
        return path


class _Program:
    """A program that is given two paths; its exit status is its word."""

    def __init__(self, command: Sequence[str], folder: str) -> None:
        self._command = list(command)
        self._folder = folder

    def __call__(self, one: str, two: str) -> bool:
        name = self._command[0]
        try:
            done = subprocess.run(
                [*self._command, one, two],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except OSError as error:
            raise Fault(f"{name} could not be started: {error.strerror}") from None
        if done.returncode == TRY_AGAIN:
            raise Later(f"{name} said that it cannot tell now (exit code {TRY_AGAIN})")
        if done.returncode not in (EQUAL, DIFFERENT):
            how = f"exit code {done.returncode}"
            if done.returncode < 0:
                how = f"it died of signal {-done.returncode}"
            raise Fault(f"{name} failed: {how}; 0 means equal, 1 different, 3 try again")
        return done.returncode == EQUAL
