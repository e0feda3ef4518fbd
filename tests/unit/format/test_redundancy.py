"""The section [redundancy]: what is read, and what is refused with which word."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from spoolmw.errors import BadTaskFile
from spoolmw.format import schema
from spoolmw.format.keyed import Unfit, dotted, read_table
from spoolmw.format.redundancy import REDUNDANCY, SECTION, redundancy
from spoolmw.format.taskfile import HEADER_BYTES, read_header
from spoolmw.model.redundancy import Redundancy, Validator


def read(text: str) -> Redundancy:
    """The wish in these lines of TOML."""
    values: dict[str, Any] = read_table(tomllib.loads(text), REDUNDANCY)
    return redundancy(**values)


def refusal(text: str) -> Unfit:
    with pytest.raises(Unfit) as caught:
        read(text)
    return caught.value


def test_a_quorum_alone_has_boincs_defaults() -> None:
    assert read("quorum = 2") == Redundancy(quorum=2, target=2, limit=6, max_errors=3)


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
        ("python", Validator(kind="python")),
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
        ("quorum = 2\ndeadline = 0.5", "deadline", "not between 1"),
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


# Until it is wired the section is refused; this is what switching it on comes to.


def test_switched_on_by_one_entry_the_section_is_read_with_lines_in_its_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(schema.SECTIONS, "redundancy", SECTION)  # type: ignore[arg-type]
    good = b"[run]\ncommand = ['a']\n[redundancy]\nquorum = 2\nclass = 'platform'\n"
    with pytest.raises(TypeError, match="redundancy"):  # `Spec` has no such field yet
        read_header(good[:HEADER_BYTES], size=len(good), dropped="a.toml")
    bad = b"[run]\ncommand = ['a']\n[redundancy]\nquorum = 3\ntarget = 2\n"
    with pytest.raises(BadTaskFile) as caught:
        read_header(bad[:HEADER_BYTES], size=len(bad), dropped="a.toml")
    assert dotted(("redundancy", "target")) in str(caught.value)
    assert "line 5" in str(caught.value)
