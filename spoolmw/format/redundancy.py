"""Reads the section [redundancy]: its keys strictly, then whether together they can come true.

`check_redundancy` then sees whether it fits what else the header asks for.
"""

from __future__ import annotations

import math
import posixpath
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from spoolmw.format.keyed import Reader, Unfit, nearest, shown
from spoolmw.format.units import describe
from spoolmw.format.values import duration, one_of, whole, yes_or_no
from spoolmw.model.redundancy import (
    DEFAULT_LIMIT,
    DEFAULT_RTOL,
    LIMIT_PER_TARGET,
    Redundancy,
    Validator,
)
from spoolmw.model.spec import Body, Spec

#: Replicas of one task, at most.
MOST_REPLICAS: Final = 100
#: Codec of a body that has nothing but the functions of "python": a command's.
FUNCTIONS: Final = "functions"
_MOST_COMMAND: Final = 4096  #: characters
_KINDS: Final = ("exact", "close", "files", "python", "command")
_TOLERANCES: Final = ("rtol", "atol")
_PERCENT: Final = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)\s?%", re.ASCII)
_HOW_CLOSE: Final = 'write "close:rtol=1e-6,atol=0"'


def _validator(raw: object) -> object:
    if not isinstance(raw, str):
        raise Unfit(f"a validator was expected, not {describe(raw)}", "put it in double quotes")
    kind, colon, rest = raw.partition(":")
    match kind:
        case "close":
            rtol, atol = _tolerances(rest if colon else None)
            return Validator(kind=kind, rtol=rtol, atol=atol)
        case "command":
            return Validator(kind=kind, command=_words(rest))
        case "exact" | "files" | "python":
            if colon:
                raise Unfit(f'"{kind}" takes no parameters', f'write "{kind}"')
            return Validator(kind=kind)
        case _:
            near = nearest(kind, _KINDS)
            hint = f'did you mean "{near}"? ' if near else ""
            raise Unfit(
                f"{shown(kind)} is no validator", f"{hint}possible are {', '.join(_KINDS)}"
            )


def _tolerances(text: str | None) -> tuple[float, float]:
    found = {"rtol": DEFAULT_RTOL, "atol": 0.0}
    given: set[str] = set()
    for part in text.split(",") if text is not None else ():
        name, _, number = (each.strip() for each in part.partition("="))
        if name not in _TOLERANCES:
            near = nearest(name, _TOLERANCES)
            hint = f'did you mean "{near}"? ' if near else ""
            raise Unfit(f'"close" has no parameter {shown(name)}', hint + _HOW_CLOSE)
        if name in given:
            raise Unfit(f"{name} stands there twice", _HOW_CLOSE)
        given.add(name)
        found[name] = _tolerance(name, number)
    return found["rtol"], found["atol"]


def _tolerance(name: str, text: str) -> float:
    try:
        number = float(text) if len(text) <= 64 and text.isascii() else math.nan
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise Unfit(f"{name} must be a number that is not negative", _HOW_CLOSE)
    if name == "rtol" and number >= 1:
        raise Unfit("with an rtol of 1 or more any two numbers are close", _HOW_CLOSE)
    return number


def _words(text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as problem:
        raise Unfit(f"the command cannot be read: {problem}", "close its quotes") from None
    if not words or not words[0]:
        raise Unfit("the command is missing", 'write "command:./cmp"')
    if len(text) > _MOST_COMMAND or not text.isprintable():
        raise Unfit("the command is too long, or has a control character in it")
    return words


def _share(raw: object) -> object:
    share = math.nan
    if isinstance(raw, str) and (found := _PERCENT.fullmatch(raw.strip())):
        share = float(found[1]) / 100
    elif isinstance(raw, int | float) and not isinstance(raw, bool):
        share = float(raw)
    if not 0 <= share <= 1:
        raise Unfit(f"a share was expected, not {shown(raw)}", 'write "2%", or 0.02')
    return share


REDUNDANCY: Mapping[str, Reader] = {
    "quorum": whole(1, MOST_REPLICAS),
    "target": whole(1, MOST_REPLICAS),
    "limit": whole(1, MOST_REPLICAS),
    "max_errors": whole(0, MOST_REPLICAS),
    "deadline": duration(least=1),
    "distinct": one_of("host", "owner", "slot"),
    "validator": _validator,
    "adaptive": yes_or_no,
    "audit": _share,
    "class": one_of("platform"),
    "code": whole(1, 2**50),
}


def redundancy(**values: Any) -> Redundancy:
    """The wish that the values of the section make; what is left out has its default.

    Raises `Unfit` where it could never come true.
    """
    if "quorum" not in values:
        _refuse("quorum", "it is missing", "say how many results must agree: quorum = 2")
    quorum = values["quorum"]
    target = values.get("target", quorum)
    limit = values.get(
        "limit", min(max(DEFAULT_LIMIT, LIMIT_PER_TARGET * target), MOST_REPLICAS)
    )
    if target < quorum:
        _refuse(
            "target",
            f"{target} replicas cannot give {quorum} results that agree",
            f"leave target out, or make it {quorum} or more",
        )
    if limit < target:
        _refuse(
            "limit",
            f"{target} replicas are made at first, which is more than the limit of {limit}",
            f"make limit {target} or more",
        )
    _check_errors(values, limit)
    _check_trust(values, quorum)
    _check_code(values)
    return Redundancy(
        quorum=quorum,
        target=target,
        limit=limit,
        max_errors=values.get("max_errors", quorum - 1),
        deadline_s=values.get("deadline", 0.0),
        distinct=values.get("distinct", "host"),
        validator=values.get("validator", Validator()),
        adaptive=values.get("adaptive", False),
        audit=values.get("audit", 0.0),
        alike=values.get("class", ""),
        code_bytes=values.get("code", 0),
    )


def check_redundancy(spec: Spec) -> None:
    """Refuse what the section cannot mean beside the rest of the header. Raises `Unfit`."""
    wish = spec.redundancy
    if spec.array is not None and wish.is_wished:
        _refuse(
            "quorum",
            "an array whose elements are compared is not built yet",
            "drop its elements as tasks of their own",
        )


def check_body(spec: Spec, body: Body) -> None:
    """Refuse what the validator cannot mean beside the body. Raises `Unfit`."""
    if spec.redundancy.validator.kind == "files" and body.codec == "pickle":
        _refuse("validator", "a call leaves no files that could be compared", 'write "exact"')
    size = spec.redundancy.code_bytes
    if not size and body.codec != FUNCTIONS:
        return
    own_bytes = body.size_bytes - size
    if body.codec == "pickle" and own_bytes > 0:
        return
    if body.codec == FUNCTIONS and own_bytes == 0 and spec.run.command:
        return
    why = "the body does not end with so many bytes of functions behind the call"
    raise Unfit(
        why, "write it with spool.options(validator=f).submit()", ("redundancy", "code")
    )


def missing_program(spec: Spec) -> str:
    """The comparing program that should be among the task's inputs, and is not; "" is all well."""
    validator = spec.redundancy.validator
    if validator.kind != "command":
        return ""
    program = validator.command[0]
    if "/" not in program or program.startswith("/"):
        return ""  # of the host
    there = {posixpath.normpath(each.name) for each in spec.files.inputs}
    return "" if posixpath.normpath(program) in there else program


def _check_code(values: Mapping[str, Any]) -> None:
    by_function = values.get("validator", Validator()).kind == "python"
    if by_function and "code" not in values:
        _refuse(
            "validator",
            "the function that compares is missing",
            "send it with the helper, options(validator=f), or name a program: command:./cmp",
        )
    if "code" in values and not by_function:
        _refuse("code", "no validator uses it", 'write validator = "python", or leave it out')


def _check_errors(values: Mapping[str, Any], limit: int) -> None:
    if values.get("max_errors", 0) > limit:
        _refuse(
            "max_errors",
            f"of {limit} replicas no more than {limit} can fail",
            f"make max_errors {limit} or less, or raise limit",
        )


def _check_trust(values: Mapping[str, Any], quorum: int) -> None:
    if values.get("adaptive") and quorum < 2:
        _refuse(
            "adaptive",
            "with a quorum of 1 there is no replica to spare",
            "make quorum 2 or more, or leave adaptive out",
        )
    if values.get("audit") and not values.get("adaptive"):
        _refuse(
            "audit",
            "without adaptive every result is compared anyway",
            "write adaptive = true beside it, or leave audit out",
        )


def _refuse(key: str, why: str, fix: str) -> NoReturn:
    raise Unfit(why, fix, ("redundancy", key))


#: The entry in `schema.SECTIONS`: what makes the record, the empty record, the readers.
SECTION: tuple[Callable[..., Redundancy], Redundancy, Mapping[str, Reader]] = (
    redundancy,
    Redundancy(),
    REDUNDANCY,
)
