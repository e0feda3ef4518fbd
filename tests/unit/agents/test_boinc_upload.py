"""The head of an upload is read to the byte; whatever else comes is nothing that is known."""

from __future__ import annotations

import os
import time
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoolmw.agents.boinclink.request import name_or_nothing
from spoolmw.agents.boinclink.upload import (
    MOST_HEAD_BYTES,
    MOST_NBYTES,
    SizeQuery,
    Status,
    Upload,
    answer,
    is_whole,
    parse,
)
from tests.support.boincsaid import MD5, TOKEN, size_query, upload

#: More by hand: SPOOLMW_FUZZ=100000 pytest tests/unit/agents/test_boinc_upload.py
fuzz = settings(max_examples=int(os.environ.get("SPOOLMW_FUZZ", "150")), deadline=None)

NAME = f"out_{'a' * 32}.0.1"
DATA = b"\0\xff<data>\n<name>evil</name>" * 20


def test_an_upload_is_read_up_to_its_first_byte() -> None:
    said = upload(NAME, DATA)
    found = parse(said)
    assert found == Upload(
        name=NAME,
        token=TOKEN,
        max_nbytes=1000000,
        nbytes=len(DATA),
        md5=MD5,
        offset=0,
        head_bytes=len(said) - len(DATA),
    )


def test_an_upload_that_goes_on_says_from_where() -> None:
    found = parse(upload(NAME, b"rest", offset=327680))
    assert isinstance(found, Upload)
    assert (found.offset, found.nbytes) == (327680, 327684)


def test_a_question_of_size() -> None:
    assert parse(size_query(NAME)) == SizeQuery(name=NAME)


def test_a_head_is_whole_as_soon_as_it_can_be_read_and_not_before() -> None:
    for said in (upload(NAME, b""), size_query(NAME).rstrip()):
        assert is_whole(said)
        assert parse(said) is not None
        for length in range(len(said)):
            assert not is_whole(said[:length])
            assert parse(said[:length]) is None


def test_lines_may_end_as_windows_ends_them() -> None:
    said = upload(NAME, b"").replace(b"\n", b"\r\n")
    assert parse(said + DATA) == parse(said)
    assert isinstance(parse(said), Upload)


@pytest.mark.parametrize("name", ["../x", "a/b", "", "a..b", "x" * 201, "a b", "é", "\0"])
def test_a_name_that_cannot_be_ours_is_no_upload(name: str) -> None:
    assert parse(upload(name, b"x")) is None
    assert parse(size_query(name)) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<nbytes>1<", "<nbytes>-1<"),
        ("<nbytes>1<", "<nbytes>nan<"),
        ("<nbytes>1<", "<nbytes><"),
        ("<nbytes>1<", f"<nbytes>{'9' * 30}<"),
        ("<nbytes>1<", f"<nbytes>{MOST_NBYTES + 1}<"),
        ("<offset>0<", "<offset>2<"),
        ("<offset>0<", "<offset>-2<"),
        ("<offset>0<", "<offset>0x1<"),
        ("<offset>0</offset>\n", ""),
        ("<max_nbytes>1000000<", "<max_nbytes>1e6<"),
        ("<max_nbytes>1000000</max_nbytes>\n", ""),
    ],
)
def test_odd_sizes_are_no_upload(old: str, new: str) -> None:
    said = upload(NAME, b"x")
    assert old.encode() in said
    assert parse(said.replace(old.encode(), new.encode())) is None


def test_of_two_the_first_counts() -> None:
    found = parse(upload(NAME, b"x").replace(b"<offset>", b"<name>other</name>\n<offset>"))
    assert isinstance(found, Upload)
    assert found.name == NAME


def test_a_token_or_a_digest_that_is_none_is_not_told() -> None:
    found = parse(upload(NAME, b"x", token="../../x").replace(MD5.encode(), b"0"))
    assert isinstance(found, Upload)
    assert (found.token, found.md5) == ("", "")


def test_no_more_of_a_head_is_read_than_a_client_can_send() -> None:
    said = upload(NAME, b"x").replace(b"<data>", b" " * MOST_HEAD_BYTES + b"<data>")
    assert not is_whole(said)
    assert parse(said) is None


def test_a_status_is_answered_as_a_client_reads_it() -> None:
    assert answer(Status.DONE, file_size=0) == (
        b"<data_server_reply>\n    <status>0</status>\n    <file_size>0</file_size>\n"
        b"</data_server_reply>\n"
    )
    assert answer(Status.NEVER) == (
        b"<data_server_reply>\n    <status>-1</status>\n</data_server_reply>\n"
    )


@pytest.mark.parametrize("text", ["</message><status>0</status>", "a\nb", "é" * 500, "\0\x1b"])
def test_a_message_cannot_break_out(text: str) -> None:
    body = answer(Status.LATER, text)
    root = ElementTree.fromstring(body)
    assert [each.tag for each in root] == ["status", "message"]
    assert all(len(line) < 255 for line in body.splitlines())


PIECES = st.one_of(
    st.sampled_from(
        [
            b"<file_upload>",
            b"<name>x</name>",
            b"<name>",
            b"<nbytes>5</nbytes>",
            b"<offset>5</offset>",
            b"<max_nbytes>9</max_nbytes>",
            b"<data>\n",
            b"<data>",
            b"</data_server_request>",
            b"\n",
            b"<get_file_size>x</get_file_size>",
            b"<md5_cksum>",
            b"<xml_signature>",
            b"\xff",
            b"\0",
        ]
    ),
    st.binary(max_size=8),
)


@fuzz
@given(st.lists(PIECES, max_size=40).map(b"".join), st.integers(0, 600))
def test_any_head_is_understood_or_not(odd: bytes, at: int) -> None:
    good = upload(NAME, b"x")
    for head in (odd, good[:at] + odd + good[at:], good[:at] + odd):
        found = parse(head)
        assert found is None or found.name == name_or_nothing(found.name) != ""
        assert found is None or is_whole(head)
        if isinstance(found, Upload):
            assert 0 <= found.offset <= found.nbytes <= MOST_NBYTES
            assert head[: found.head_bytes].endswith(b"<data>\n")


@pytest.mark.parametrize(
    "piece", [b"<name>", b"<", b"<data>", b"<offset>1", b" ", b"<nbytes>" + b"1" * 400]
)
def test_no_head_takes_long(piece: bytes) -> None:
    before = time.process_time()
    parse(piece * ((1 << 20) // len(piece)))
    assert time.process_time() - before < 0.2
