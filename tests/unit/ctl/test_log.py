"""A call's output is kept as its last part: what was followed before is not printed twice."""

from __future__ import annotations

import pytest

from spoolmw.ctl.log import _beyond, _shown


@pytest.mark.parametrize(
    ("printed", "kept", "rest"),
    [
        (b"", b"one\ntwo\n", b"one\ntwo\n"),
        (b"one\n", b"one\ntwo\n", b"two\n"),
        (b"one\ntwo\n", b"one\ntwo\n", b""),
        (b"zero\none\n", b"one\ntwo\n", b"two\n"),
        (b"zero\n", b"nine\nten\n", b"nine\nten\n"),
    ],
)
def test_what_comes_after_what_was_printed(printed: bytes, kept: bytes, rest: bytes) -> None:
    assert _beyond(printed, kept) == rest


def test_a_line_on_a_terminal_is_escaped_and_keeps_its_end() -> None:
    assert _shown("a\x1b[1m\n") == "a\\x1b[1m\n"
    assert _shown("no end") == "no end"
