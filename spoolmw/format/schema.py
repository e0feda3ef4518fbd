"""Turns a header's tree of keys into a `Spec`, strictly.

Sections are interned in a bounded cache: tasks that ask for the same share one record, and
the second reading of an equal section is one look-up.
"""

from __future__ import annotations

import marshal
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

from spoolmw.format.arrayheader import ACCEPTED_ARRAY, ARRAY, check_array, named_input
from spoolmw.format.ids import is_task_id
from spoolmw.format.keyed import Reader, Unfit, nearest, read_table, shown, unknown_key
from spoolmw.format.names import path_problem
from spoolmw.format.redundancy import SECTION, check_redundancy
from spoolmw.format.units import describe
from spoolmw.format.values import (
    checked,
    duration,
    list_of,
    matching,
    one_of,
    size,
    text,
    whole,
    yes_or_no,
)
from spoolmw.model.spec import (
    MOST_PRIORITY,
    Checkpoint,
    Files,
    Input,
    Limits,
    Place,
    Resources,
    Retry,
    Run,
    Spec,
)

#: Tasks that one task may wait for by itself; a header has 64 KiB. More are joined in steps.
MOST_PREDECESSORS = 1000

#: Sections kept; beyond that the cache starts afresh, so nobody can fill memory with it.
_MOST_CACHED = 4096
#: Larger sections are not kept.
_MOST_CACHED_BYTES = 8192

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_RETRY_WORDS = ("exit:N", "exit", "exception", "signal", "timeout", "memory")
_EXIT = re.compile(r"exit:([1-9]\d{0,2})", re.ASCII)
_MOST_PATTERN_TEXT = 4096  #: they travel in the packet that a worker gets
_DIGEST = r"[0-9a-f]{64}"


def _argument(raw: object) -> object:
    if not isinstance(raw, str):
        raise Unfit(f"a text was expected, not {describe(raw)}", "put it in double quotes")
    if "\0" in raw:
        raise Unfit("a text that a program is given cannot have a NUL in it")
    return raw


def _command(raw: object) -> object:
    words = list_of(_argument, hint='write the words apart: command = ["./fold", "17"]')(raw)
    if not words or not words[0]:  # type: ignore[index]
        raise Unfit("the command is empty", 'write it as command = ["./fold", "17"]')
    return words


def _environment(raw: object) -> object:
    if not isinstance(raw, dict):
        raise Unfit(f"a section was expected, not {describe(raw)}", 'env = { NAME = "value" }')
    for name, value in raw.items():
        if not _ENV_NAME.fullmatch(name):
            raise Unfit("this is no name of a variable", path=(name,))
        if name.startswith("SPOOLMW_"):
            raise Unfit("variables named SPOOLMW_ are set by spoolmw itself", path=(name,))
        try:
            _argument(value)
        except Unfit as problem:
            raise problem.below(name) from None
    return tuple(raw.items())


def _retry_word(raw: object) -> object:
    if not isinstance(raw, str):
        raise Unfit(f"a text was expected, not {describe(raw)}")
    match = _EXIT.fullmatch(raw)
    if raw in _RETRY_WORDS[1:] or (match and int(match[1]) < 256):
        return raw
    near = nearest(raw, _RETRY_WORDS)
    hint = f'did you mean "{near}"? ' if near else ""
    raise Unfit(
        f"{shown(raw)} is not possible here",
        f"{hint}possible are {', '.join(_RETRY_WORDS)} with N from 1 to 255",
    )


def _factor(raw: object) -> object:
    if isinstance(raw, str) and re.fullmatch(r"x\d{1,3}(\.\d{1,3})?", raw, re.ASCII):
        factor = float(raw[1:])
        if 1 <= factor <= 100:
            return factor
    raise Unfit(f"a factor from x1 to x100 was expected, not {shown(raw)}", 'write "x2"')


def _digested_input(raw: object) -> object:
    if isinstance(raw, str):
        return named_input(raw)  # of a file that was claimed, and then its daemon died
    values: dict[str, Any] = read_table(
        raw,
        {
            "name": checked(path_problem, "a relative path"),
            "sha256": matching(_DIGEST, "a sha256"),
            "bytes": whole(0, 2**62),
            "executable": lambda value: value is True,
        },
    )
    if not {"name", "sha256", "bytes"} <= values.keys():
        raise Unfit("an accepted input has a name, bytes and sha256")
    return Input(
        values["name"], values["sha256"], values["bytes"], values.get("executable", False)
    )


def _state_files(raw: object) -> object:
    patterns = cast(
        tuple[str, ...], list_of(checked(path_problem, "a pattern of files"), most=64)(raw)
    )
    if sum(map(len, patterns)) > _MOST_PATTERN_TEXT:
        raise Unfit(
            f"the patterns have more than {_MOST_PATTERN_TEXT} characters in all",
            'name many files by one pattern, as "state.*"',
        )
    return patterns


def _predecessor(raw: object) -> object:
    return sys.intern(cast(str, text(most=512)(raw)))


def _task_id(raw: object) -> object:
    if isinstance(raw, str) and is_task_id(raw):
        return sys.intern(raw)
    raise Unfit(f"the id of a task was expected, not {shown(raw)}")


def _once(reader: Reader, hint: str = "") -> Reader:
    """A list in which nothing is said twice."""
    several = list_of(reader, most=MOST_PREDECESSORS, hint=hint)
    return lambda raw: tuple(dict.fromkeys(cast(tuple[str, ...], several(raw))))


RUN: Mapping[str, Reader] = {
    "command": _command,
    "env": _environment,
    "result": one_of("auto", "safe", "pickle"),
}
FILES: Mapping[str, Reader] = {
    "inputs": list_of(named_input),
    "outputs": list_of(checked(path_problem, "an output pattern")),
}
ACCEPTED_FILES: Mapping[str, Reader] = {**FILES, "inputs": list_of(_digested_input)}
RESOURCES: Mapping[str, Reader] = {
    "cpus": whole(1, 4096),
    "memory": size(),
    "gpus": whole(0, 1024),
}
LIMITS: Mapping[str, Reader] = {"time": duration(), "output": size()}
RETRY: Mapping[str, Reader] = {
    "max": whole(0, 1000),
    "backoff": duration(least=0, most=3600),
    "memory": _factor,
    "on": list_of(_retry_word),
}
CHECKPOINT: Mapping[str, Reader] = {
    "every": duration(least=0, most=31_622_400),
    "exit_code": whole(1, 255),
    "files": _state_files,
    "keep": yes_or_no,
}
#: A section's, or with a colon one host's of it.
AGENT_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,254})?"
PLACE: Mapping[str, Reader] = {
    "agents": list_of(matching(AGENT_NAME, "an agent's name")),
    "interpreter": matching(r"/[^\x00-\x1f\x7f]+", "an absolute path"),
    "python": matching(r"3\.\d{1,2}", 'a minor version such as "3.11"'),
    "platform": matching(r"[a-z0-9]+-[a-z0-9_]+", 'a platform such as "linux-x86_64"'),
}

#: What the model calls a key, where that is another word.
_FIELD_NAMES = {
    ("resources", "memory"): "memory_bytes",
    ("limits", "time"): "time_s",
    ("limits", "output"): "output_bytes",
    ("retry", "backoff"): "backoff_s",
    ("retry", "memory"): "memory_factor",
    ("checkpoint", "every"): "every_s",
}

#: Every section: its record, its empty record, the readers of its keys.
SECTIONS: dict[str, tuple[Callable[..., object], object, Mapping[str, Reader]]] = {
    "run": (Run, Run(), RUN),
    "files": (Files, Files(), FILES),
    "resources": (Resources, Resources(), RESOURCES),
    "limits": (Limits, Limits(), LIMITS),
    "retry": (Retry, Retry(), RETRY),
    "checkpoint": (partial(Checkpoint, asked=True), Checkpoint(), CHECKPOINT),
    "place": (Place, Place(), PLACE),
    "redundancy": SECTION,
}
#: Keys that stand in no section.
PLAIN: Mapping[str, Reader] = {
    "name": text(most=128),
    "key": text(most=512),
    "priority": whole(-MOST_PRIORITY, MOST_PRIORITY),
    "after": _once(_predecessor, 'write it as after = ["fold-16"]'),
    "after_failed": one_of("fail", "hold"),
    "takes": _once(_task_id),
}
KNOWN = (*PLAIN, *ARRAY, *SECTIONS)


def _short_forms() -> dict[str, str]:
    sections = [(key, name) for name, (_, _, keys) in SECTIONS.items() for key in keys]
    times = Counter(key for key, _ in sections)
    short = {key: name for key, name in sections if times[key] == 1 and key not in KNOWN}
    return {**short, "memory": "resources"}  # [retry] has one too, but nobody means that


#: Keys that may be written without their section.
SHORT = _short_forms()

_EMPTY = {key: empty for key, (_, empty, _) in SECTIONS.items()}
_cache: dict[tuple[str, bytes], object] = {}


def read_spec(tree: Mapping[str, object], *, name: str, accepted: bool = False) -> Spec:
    """The `Spec` that `tree` asks for; `name` is taken where it says none.

    `accepted`: the tree is of a file in `active/`, where inputs have digests, or names until the
    file's own are taken. Raises `Unfit`.
    """
    fields: dict[str, Any] = {**_EMPTY, "name": name}
    for key, raw in tree.items():
        if key in SECTIONS:
            fields[key] = _section(key, raw, accepted=accepted)
            continue
        readers = PLAIN if key in PLAIN else ACCEPTED_ARRAY if accepted else ARRAY
        if key not in readers:
            raise _unknown(key)
        try:
            value = readers[key](raw)
        except Unfit as problem:
            raise problem.below(key) from None
        fields["array" if key in ARRAY else key] = value
    spec = Spec(**fields)
    if spec.array is not None:
        check_array(spec, tree)
    if "redundancy" in tree:
        check_redundancy(spec)
    return spec


def _section(key: str, raw: object, *, accepted: bool) -> object:
    record, _, readers = SECTIONS[key]
    label = key
    if accepted and key == "files":
        readers, label = ACCEPTED_FILES, "accepted files"
    kept_as = _cache_key(label, raw)
    if kept_as is not None and (known := _cache.get(kept_as)) is not None:
        return known
    try:
        values = read_table(raw, readers)
    except Unfit as problem:
        raise problem.below(key) from None
    section = record(**{_FIELD_NAMES.get((key, each), each): values[each] for each in values})
    if kept_as is not None:
        if len(_cache) >= _MOST_CACHED:
            _cache.clear()
        _cache[kept_as] = section
    return section


def _cache_key(label: str, raw: object) -> tuple[str, bytes] | None:
    try:
        # Version 2 has no references in it: equal trees have equal bytes, 1 and True do not.
        dumped = marshal.dumps(cast(Any, raw), 2)
    except ValueError:  # too deep, or a date: the reader will say so
        return None
    return (label, dumped) if len(dumped) <= _MOST_CACHED_BYTES else None


def _unknown(key: str) -> Unfit:
    if key in SHORT:
        section = SHORT[key]
        return Unfit(f'"{key}" stands in a section', f"write it into [{section}]", (key,))
    near = nearest(key, (*KNOWN, *SHORT))
    return unknown_key(key, (near,) if near else KNOWN)
