"""Whatever is dropped: a task or a refusal, within the time a tick can spare, never a crash."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from spoolmw.config import parse
from spoolmw.errors import BadConfig, BadTaskFile, SpoolmwError
from spoolmw.format import knownheaders, schema
from spoolmw.format.schema import KNOWN, SECTIONS
from spoolmw.format.taskfile import (
    HEADER_BYTES,
    MAGIC,
    TaskFile,
    canonical,
    read_header,
    write,
)
from spoolmw.model.ids import TaskId

ID = TaskId("0" * 32)

#: More by hand: SPOOLMW_FUZZ=100000 pytest tests/unit/format/test_header_fuzz.py
fuzz = settings(
    max_examples=int(os.environ.get("SPOOLMW_FUZZ", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

WORDS = [*KNOWN, *(key for _, _, keys in SECTIONS.values() for key in keys), "id",
         "body", "codec", "bytes", "sha256", "submitted_at", "result_name", "pickle"]  # fmt: skip
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=10),
        st.sampled_from(["2GB", "6h", "x2", "auto", "exit:3", "3.11", "/bin/sh", ID, *WORDS]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.sampled_from(WORDS), st.text(max_size=5)), inner, max_size=5
        ),
    ),
    max_leaves=20,
)
VALID = st.fixed_dictionaries(
    {"run": st.fixed_dictionaries(
        {"command": st.lists(st.text(min_size=1).filter(lambda word: "\0" not in word), min_size=1)},
        optional={"env": st.dictionaries(st.sampled_from("ABC"), st.sampled_from(["", "1", "\n"]))},
    )},
    optional={
        "name": st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20),
        "key": st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20),
        "priority": st.integers(-100, 100),
        "resources": st.fixed_dictionaries(
            {}, optional={"cpus": st.integers(1, 64), "memory": st.just("2GB")}
        ),
        "limits": st.fixed_dictionaries({}, optional={"time": st.integers(1, 10**6)}),
        "retry": st.fixed_dictionaries({}, optional={"on": st.just(["exit:3"])}),
        "place": st.fixed_dictionaries({}, optional={"agents": st.just(["a", "b"])}),
    },
)  # fmt: skip
HEADERS = st.dictionaries(st.sampled_from(WORDS), JSON, max_size=6)
PIECES = st.sampled_from(
    [b"\n", b"#!/bin/sh\n", b"#SPOOLMW ", b" = ", b'"', b"'", b"[", b"]", b"{", b"}", b",", b".",
     b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r", b"#", b"6h", b"2GB", b"1", b"-", b"e9", b"true",
     MAGIC, *(word.encode() for word in WORDS)]
)  # fmt: skip
RUBBISH = st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=30).map(b"".join))
NAMES = st.sampled_from(["x.task", "x.toml", "x.sh"])


def read_or_refuse(data: bytes, dropped: str, *, accepted: bool = False) -> TaskFile | None:
    try:
        return read_header(
            data[:HEADER_BYTES], size=len(data), dropped=dropped, accepted=accepted
        )
    except BadTaskFile as error:
        check_text(error)
        return None


def check_text(error: SpoolmwError) -> None:
    text = str(error)
    assert text.replace("\n", "").isprintable()
    assert error.what
    assert len(text) < 2000


@fuzz
@given(RUBBISH, NAMES, st.booleans())
def test_any_bytes_are_a_task_or_refused(data: bytes, dropped: str, accepted: bool) -> None:
    read_or_refuse(data, dropped, accepted=accepted)


@fuzz
@given(RUBBISH)
def test_any_header_line_is_a_task_or_refused(line: bytes) -> None:
    read_or_refuse(MAGIC + line + b"\n", "x.task")
    read_or_refuse(b"#!/bin/sh\n#SPOOLMW " + line, "x.sh")


@fuzz
@given(HEADERS, st.booleans())
def test_any_tree_is_a_task_or_refused(tree: dict[str, Any], accepted: bool) -> None:
    read_or_refuse(MAGIC + json.dumps(tree).encode() + b"\n", "x.task", accepted=accepted)


@fuzz
@given(RUBBISH)
def test_any_configuration_is_one_or_refused(data: bytes) -> None:
    try:
        parse(data, Path("spoolmw.toml"))
    except BadConfig as error:
        check_text(error)


@fuzz
@given(st.data())
def test_a_damaged_header_is_a_task_or_refused(data: st.DataObject) -> None:
    raw = bytearray(
        write({"id": ID, "name": "n", "limits": {"time": "6h"}, "key": "k"}, b"body")
    )
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    read_or_refuse(bytes(raw), "x.task")


@fuzz
@given(st.one_of(VALID, HEADERS), NAMES)
@example({"name": "n", "run": {"command": ["a"]}, "limits": {"time": "6h"}}, "x.task")
@example({"run": {"command": ["a", "\n"], "env": {"A": "\u2028"}}, "key": "k"}, "x.task")
def test_what_was_accepted_is_read_again_from_active(
    tree: dict[str, Any], dropped: str
) -> None:
    first = read_or_refuse(MAGIC + json.dumps(tree).encode() + b"\n", "x.task")
    if first is None:
        return
    head = canonical(
        first, task_id=ID, name=first.spec.name, submitted_at=1.5, result_name="other"
    )
    again = read_header(head, size=len(head), dropped=dropped, accepted=True)
    assert again.id == ID
    assert again.result_name == "other"
    for part in ("name", "key", "priority", "run", "resources", "limits", "retry", "place"):
        assert getattr(again.spec, part) == getattr(first.spec, part)


LONG = 64_000
HOSTILE = {
    "dotted keys": (b"a" + b".a" * 30_000 + b" = 1\n", "x.toml"),
    "some dotted keys": (b"".join(b"a%d" % n + b".a" * 490 + b"=1\n" for n in range(1)), "x.toml"),
    "quoted dotted keys": (b"".join(b'"a%d".' % n for n in range(499)) + b"b = 1\n", "x.toml"),
    "tables": (b"[[a]]\n" * 10_000, "x.toml"),
    "keys": (b"".join(b"a%d = 1\n" % n for n in range(6000)), "x.toml"),
    "spaces before nothing": (b"a" + b" " * LONG + b"\n", "x.toml"),
    "spaces in a heading": (b"[run]\ncommand = 1\n[" + b" " * LONG + b"\n", "x.toml"),
    "an open quote": (b'"' + b'\\"' * 32_000 + b"\n", "x.toml"),
    "quotes in a comment": (b"# " + b'\\"' * 32_000 + b"\n", "x.toml"),
    "arrays": (b"x = " + b"[" * LONG, "x.toml"),
    "inline tables": (b"x = " + b"{a=" * 20_000, "x.toml"),
    "empty lines": (b"\n" * LONG, "x.toml"),
    "spaces in a setting": (b"#!/bin/sh\n#SPOOLMW time = a" + b" " * 30_000 + b"b\n", "x.sh"),
    "no equals sign": (b"#!/bin/sh\n#SPOOLMW time " + b" " * 30_000 + b"b\n", "x.sh"),
    "many settings": (b"#!/bin/sh\n" + b"".join(b"#SPOOLMW env.A%d = '1'\n" % n for n in range(1200)),
                      "x.sh"),
    "a dotted value": (b"#!/bin/sh\n#SPOOLMW env = {" + b"a." * 15_000 + b"b = 1}\n", "x.sh"),
    "many keys": (MAGIC + json.dumps({f"a{n}": 1 for n in range(5000)}).encode() + b"\n", "x.task"),
    "brackets": (MAGIC + b"[" * LONG + b"\n", "x.task"),
    "a long number": (MAGIC + b'{"priority": ' + b"9" * LONG + b"}\n", "x.task"),
    "a long text": (MAGIC + b'{"name": "' + b"\\u001b" * 10_000 + b'"}\n', "x.task"),
    "a long size": (MAGIC + b'{"resources": {"memory": "' + b"9" * LONG + b'"}}\n', "x.task"),
    "a long time": (MAGIC + b'{"limits": {"time": "' + b"1s " * 20_000 + b'"}}\n', "x.task"),
    "a long key": (MAGIC + b'{"' + b"comand" * 10_000 + b'": 1}\n', "x.task"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_no_header_takes_long(case: str) -> None:
    data, dropped = HOSTILE[case]
    before = time.process_time()
    read_or_refuse(data, dropped)
    assert time.process_time() - before < 0.5


def test_hostile_submitters_cannot_fill_the_memory_with_sections() -> None:
    for number in range(10_000):
        head = write({"id": ID, "name": "n", "run": {"env": {"A": str(number)}}}, b"x")
        read_header(head, size=len(head), dropped="x.task")
    assert len(schema._cache) <= 4096
    assert len(knownheaders._specs) <= 1024
