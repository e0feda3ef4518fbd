"""The section [redundancy]: what is read, and what is refused with which word."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from spoolmw.errors import BadTaskFile
from spoolmw.format.keyed import Unfit, read_table
from spoolmw.format.redundancy import REDUNDANCY, missing_program, redundancy
from spoolmw.format.taskfile import HEADER_BYTES, TaskFile, Template, read_header
from spoolmw.model.redundancy import Redundancy, Validator
from spoolmw.model.spec import Files, Input, Spec


def read(text: str) -> Redundancy:
    """The wish in these lines of TOML."""
    values: dict[str, Any] = read_table(tomllib.loads(text), REDUNDANCY)
    return redundancy(**values)


def refusal(text: str) -> Unfit:
    with pytest.raises(Unfit) as caught:
        read(text)
    return caught.value


def test_a_quorum_alone_has_boincs_defaults() -> None:
    assert read("quorum = 2") == Redundancy(quorum=2, target=2, limit=6, max_errors=1)


def test_the_limit_grows_with_the_target() -> None:
    assert read("quorum = 3").limit == 9
    assert read("quorum = 2\ntarget = 5").limit == 15
    assert read("quorum = 100").limit == 100


def test_everything_can_be_said() -> None:
    text = """
        quorum = 2
        target = 3
        limit = 7
        max_errors = 1
        deadline = "3d"
        distinct = "owner"
        validator = "close:rtol=1e-6,atol=1e-12"
        adaptive = true
        audit = "2%"
        class = "platform"
    """
    assert read(text) == Redundancy(
        quorum=2,
        target=3,
        limit=7,
        max_errors=1,
        deadline_s=259200.0,
        distinct="owner",
        validator=Validator(kind="close", rtol=1e-6, atol=1e-12),
        adaptive=True,
        audit=0.02,
        alike="platform",
    )


@pytest.mark.parametrize(
    ("text", "validator"),
    [
        ("exact", Validator()),
        ("files", Validator(kind="files")),
        ("close", Validator(kind="close", rtol=1e-9, atol=0.0)),
        ("close:atol=0.5", Validator(kind="close", rtol=1e-9, atol=0.5)),
        ("close: rtol = 0 , atol = 1e-3", Validator(kind="close", rtol=0.0, atol=1e-3)),
        ("command:./cmp", Validator(kind="command", command=("./cmp",))),
        (
            "command:./cmp --columns '1 2'",
            Validator(kind="command", command=("./cmp", "--columns", "1 2")),
        ),
    ],
)
def test_a_validator_is_read_with_its_parameters(text: str, validator: Validator) -> None:
    assert read(f'quorum = 2\nvalidator = "{text}"').validator == validator


@pytest.mark.parametrize(
    ("lines", "key", "words"),
    [
        ("target = 2", "quorum", "it is missing"),
        ("qourum = 2", "qourum", 'did you mean "quorum"'),
        ("quorum = 0", "quorum", "not between 1 and 100"),
        ("quorum = true", "quorum", "a whole number was expected"),
        ("quorum = 3\ntarget = 2", "target", "cannot give 3 results that agree"),
        ("quorum = 3\ntarget = 5\nlimit = 4", "limit", "more than the limit of 4"),
        ("quorum = 2\nlimit = 4\nmax_errors = 5", "max_errors", "no more than 4 can fail"),
        ('quorum = 2\ndeadline = "3 days"', "deadline", "known are"),
        ("quorum = 2\ndeadline = 0.5", "deadline", "1 s or more"),
        ('quorum = 2\ndistinct = "hosts"', "distinct", 'did you mean "host"'),
        ('quorum = 2\nclass = "plattform"', "class", 'did you mean "platform"'),
        ("quorum = 1\nadaptive = true", "adaptive", "no replica to spare"),
        ('quorum = 2\naudit = "2%"', "audit", "adaptive = true"),
        ('quorum = 2\nadaptive = true\naudit = "200%"', "audit", "a share was expected"),
        ("quorum = 2\nadaptive = true\naudit = true", "audit", "a share was expected"),
        ("quorum = 2\nadaptive = true\naudit = nan", "audit", "a share was expected"),
        ("quorum = 2\nvalidator = 3", "validator", "a validator was expected"),
        ('quorum = 2\nvalidator = "exactly"', "validator", 'did you mean "exact"'),
        ('quorum = 2\nvalidator = "exact:1"', "validator", "takes no parameters"),
        ('quorum = 2\nvalidator = "close:rtl=1"', "validator", 'did you mean "rtol"'),
        ('quorum = 2\nvalidator = "close:"', "validator", "has no parameter"),
        ('quorum = 2\nvalidator = "close:rtol=x"', "validator", "not negative"),
        ('quorum = 2\nvalidator = "close:atol=-1"', "validator", "not negative"),
        ('quorum = 2\nvalidator = "close:atol=inf"', "validator", "not negative"),
        ('quorum = 2\nvalidator = "close:rtol=1"', "validator", "any two numbers are close"),
        ('quorum = 2\nvalidator = "close:atol=1,atol=2"', "validator", "twice"),
        ('quorum = 2\nvalidator = "command:"', "validator", "the command is missing"),
        ('quorum = 2\nvalidator = "command:\'./cmp"', "validator", "cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_with_the_key_and_what_to_do(
    lines: str, key: str, words: str
) -> None:
    problem = refusal(lines)
    assert problem.path[-1] == key
    assert words in f"{problem.why} {problem.fix}"


def test_with_a_deadline_one_replica_may_be_replaced() -> None:
    assert not read("quorum = 1").is_wished
    assert read('quorum = 1\ndeadline = "3d"').is_wished


def test_a_function_needs_its_code_and_code_a_function() -> None:
    found = read('quorum = 1\nvalidator = "python"\ncode = 17')
    assert (found.validator.kind, found.code_bytes) == ("python", 17)
    assert found.is_wished
    assert refusal('quorum = 2\nvalidator = "python"').path[-1] == "validator"
    assert refusal("quorum = 2\ncode = 17").path[-1] == "code"


def a_file(header: dict[str, Any], body: bytes, codec: str) -> TaskFile:
    data = Template({"id": "0" * 32, "name": "t", **header}).fill("0" * 32, body, codec=codec)
    return read_header(data[:HEADER_BYTES], size=len(data), dropped="t.task")


def by_function(size: int) -> dict[str, Any]:
    return {"redundancy": {"quorum": 2, "validator": "python", "code": size}}


def test_the_functions_stand_behind_the_call_in_the_body() -> None:
    parsed = a_file(by_function(9), b"the call" + b"functions", "pickle")
    assert parsed.spec.redundancy.code_bytes == 9
    assert parsed.body.size_bytes == 17


def test_of_a_command_they_are_the_whole_body() -> None:
    command = {"run": {"command": ["./fold"]}}
    assert a_file({**command, **by_function(9)}, b"functions", "functions").spec.run.command
    with pytest.raises(BadTaskFile, match="does not end with so many bytes"):
        a_file({**command, **by_function(8)}, b"functions", "functions")


@pytest.mark.parametrize(("body", "codec"), [(b"functions", "pickle"), (b"f", "functions")])
def test_a_call_is_more_than_its_functions(body: bytes, codec: str) -> None:
    with pytest.raises(BadTaskFile, match=r"\[redundancy\] code"):
        a_file(by_function(9), body, codec)


def test_a_second_file_of_the_helper_has_the_same_wish() -> None:
    for _ in range(2):  # the second header is recognised, not read
        assert (
            a_file({"redundancy": {"quorum": 2}}, b"call", "pickle").spec.redundancy.quorum == 2
        )
    other = Template({"id": "0" * 32, "name": "u", "redundancy": {"quorum": 2}})
    data = other.fill("1" * 32, b"call")
    parsed = read_header(data, size=len(data), dropped="u.task")
    assert (parsed.spec.name, parsed.spec.redundancy.quorum) == ("u", 2)


def test_a_script_keeps_its_wish() -> None:
    script = b"#!/bin/sh\n#SPOOLMW quorum = 2\n#SPOOLMW validator = 'files'\n"
    spec = read_header(script, size=len(script), dropped="a.sh").spec
    assert (spec.redundancy.quorum, spec.redundancy.validator.kind) == (2, "files")


def test_an_error_in_the_section_has_its_line() -> None:
    bad = b"[run]\ncommand = ['a']\n[redundancy]\nquorum = 3\ntarget = 2\n"
    with pytest.raises(BadTaskFile, match=r"line 5: \[redundancy\] target"):
        read_header(bad, size=len(bad), dropped="a.toml")


@pytest.mark.parametrize(
    ("words", "inputs", "missing"),
    [
        ("./same -q", ["same"], ""),
        ("bin/same", ["bin/same"], ""),
        ("./same", ["sane"], "./same"),
        ("same", [], ""),
        ("/opt/same", [], ""),
    ],
)
def test_a_comparing_program_of_the_users_own_must_be_an_input(
    words: str, inputs: list[str], missing: str
) -> None:
    wish = read(f'quorum = 2\nvalidator = "command:{words}"')
    files = Files(inputs=tuple(Input(name) for name in inputs))
    assert missing_program(Spec(name="t", files=files, redundancy=wish)) == missing
