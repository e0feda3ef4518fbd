"""A reply says what it was given, in lines that a client reads, and nobody can break out of it."""

from __future__ import annotations

import os
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoolmw.agents.boinclink.reply import (
    MOST_MESSAGE_BYTES,
    MOST_WORD_BYTES,
    AppFile,
    AppVersion,
    InputFile,
    Job,
    OutputFile,
    Project,
    Reply,
    fitting,
    refusal,
    workunit_name,
    write,
)
from spoolmw.agents.boinclink.signing import KeyPair, upload_token

#: More by hand: SPOOLMW_FUZZ=100000 pytest tests/unit/agents/test_boinc_reply.py
fuzz = settings(max_examples=int(os.environ.get("SPOOLMW_FUZZ", "150")), deadline=None)

PROJECT = Project(url="http://127.0.0.1:38123/grid/", name="SpoolMW lab grid")
PLATFORM = "x86_64-pc-linux-gnu"
ATTEMPT = f"{'a' * 32}.0.1"
MD5 = "8681451ae7629cb01da54a9778da1674"
KEYS = KeyPair.generate()
SECRET = b"0" * 32
BASE = "http://127.0.0.1:38123/grid/"

PROGRAM = AppFile(
    name="spoolmw_100.sh",
    url=f"{BASE}download/spoolmw_100.sh",
    md5=MD5,
    nbytes=5695,
    signature=KEYS.sign(MD5),
    is_main=True,
)
BUNDLE = replace(
    PROGRAM, name="python_1.tgz", is_main=False, open_name="python.tgz", is_copied=False
)
VERSION = AppVersion(number=100, platform=PLATFORM, flops=2.5e9, files=(PROGRAM,))
SHARED = InputFile(
    name=f"c_{'0' * 64}", url=f"{BASE}download/c", md5=MD5, nbytes=15, open_name="task"
)
LARGE = replace(SHARED, name=f"c_{'1' * 64}", open_name="files/1", is_copied=False)


def a_job(name: str = ATTEMPT, **changes: object) -> Job:
    output = OutputFile(
        name=f"out_{name}",
        open_name="out.bin",
        max_nbytes=1000000,
        upload_url=f"{BASE}upload/file_upload_handler",
        token=upload_token(SECRET, f"out_{name}"),
    )
    job = Job(
        name=name,
        version=100,
        platform=PLATFORM,
        inputs=(SHARED, LARGE),
        output=output,
        est_fpops=5e9,
        bound_fpops=1e13,
        memory_bytes=10**8,
        disk_bytes=10**8,
        deadline=1795424018.25,
    )
    return replace(job, **changes)  # type: ignore[arg-type]


FULL = Reply(
    project=PROJECT,
    host_id=17,
    user="lab",
    user_id=1,
    code_sign_key=KEYS.public_text(),
    messages=(("low", "hello & <welcome>"), ("notice", "second")),
    delay_s=2.5,
    next_rpc_s=5,
    app_versions=(VERSION, replace(VERSION, plan_class="python", files=(PROGRAM, BUNDLE))),
    jobs=(a_job(), a_job("b", plan_class="python", command_line="boinc 'x' \"y\"")),
    acks=("done-1", "done-2"),
    aborts=("stop-1",),
    preferences=(("suspend_cpu_usage", "0"), ("run_if_user_active", "1")),
    acks_trickles=True,
)


def tree(reply: Reply) -> ElementTree.Element:
    return ElementTree.fromstring(write(reply).decode())


def text_of(element: ElementTree.Element, path: str) -> str | None:
    found = element.find(path)
    return None if found is None else found.text or ""


def test_an_empty_reply_says_who_answers_and_no_more() -> None:
    assert write(Reply(project=PROJECT)).decode() == (
        "<scheduler_reply>\n"
        "<scheduler_version>720</scheduler_version>\n"
        "<master_url>http://127.0.0.1:38123/grid/</master_url>\n"
        "<project_name>SpoolMW lab grid</project_name>\n"
        "<dont_use_dcf/>\n"
        "</scheduler_reply>\n"
    )


def test_a_reply_with_a_job_is_the_one_that_a_stock_client_took() -> None:
    """The order and words of the reply that was recorded; what is optional may stand beside it."""
    reply = replace(FULL, app_versions=(VERSION,), jobs=(a_job(inputs=(SHARED,)),))
    lines = write(reply).decode().splitlines()
    recorded = [
        "<scheduler_reply>", "<hostid>17</hostid>", "<code_sign_key>", "1024", "</code_sign_key>",
        "<app>", "<name>spoolmw</name>", "</app>", "<file_info>", "<executable/>",
        "<file_signature>", ".", "</file_signature>", "</file_info>", "<app_version>",
        "<app_name>spoolmw</app_name>", "<version_num>100</version_num>",
        f"<platform>{PLATFORM}</platform>", "<api_version>7.20.5</api_version>", "<file_ref>",
        "<main_program/>", "</file_ref>", "</app_version>", "<file_info>",
        f"<md5_cksum>{MD5}</md5_cksum>", "<nbytes>15</nbytes>", "</file_info>", "<workunit>",
        "<rsc_fpops_bound>10000000000000</rsc_fpops_bound>", "<open_name>task</open_name>",
        "<copy_file/>", "</workunit>", "<file_info>", "<generated_locally/>",
        "<upload_when_present/>", "<max_nbytes>1000000</max_nbytes>", "<xml_signature>",
        "</xml_signature>", "</file_info>", "<result>", "<report_deadline>1795424018.25</report_deadline>",
        "<report_immediately/>", "<copy_file/>", "</result>", "</scheduler_reply>",
    ]  # fmt: skip
    rest = iter(lines)
    assert [line for line in recorded if line not in rest] == []


def test_what_was_given_is_found_by_a_strict_parser() -> None:
    root = tree(FULL)
    single = ("project_name", "master_url", "user_name", "userid", "hostid", "next_rpc_delay",
              "request_delay")  # fmt: skip
    assert [text_of(root, tag) for tag in single] == [
        PROJECT.name, PROJECT.url, "lab", "1", "17", "5", "2.5"
    ]  # fmt: skip
    assert [(each.get("priority"), each.text) for each in root.findall("message")] == [
        *FULL.messages
    ]
    assert [text_of(each, "name") for each in root.findall("result_ack")] == [
        "done-1",
        "done-2",
    ]
    assert [text_of(each, "name") for each in root.findall("result_abort")] == ["stop-1"]
    assert text_of(root, "global_preferences/suspend_cpu_usage") == "0"
    assert root.find("message_ack") is not None
    assert (text_of(root, "code_sign_key") or "").strip() == KEYS.public_text().strip()


def test_each_job_finds_its_workunit_its_version_and_its_files() -> None:
    root = tree(FULL)
    files = {text_of(each, "name") for each in root.findall("file_info")}
    workunits = {text_of(each, "name"): each for each in root.findall("workunit")}
    versions = {
        (text_of(each, "platform"), text_of(each, "version_num"), text_of(each, "plan_class"))
        for each in root.findall("app_version")
    }
    assert len(root.findall("result")) == 2
    for result in root.findall("result"):
        workunit = workunits[text_of(result, "wu_name")]
        assert (text_of(result, "platform"), text_of(result, "version_num"),
                text_of(result, "plan_class")) in versions  # fmt: skip
        refs = [*result.findall("file_ref"), *workunit.findall("file_ref")]
        assert {text_of(each, "file_name") for each in refs} <= files
        assert result.find("file_ref/copy_file") is not None
    assert text_of(workunits[workunit_name("b")], "command_line") == "boinc 'x' \"y\""


def test_a_file_that_many_use_is_told_once() -> None:
    names = [text_of(each, "name") for each in tree(FULL).findall("file_info")]
    assert len(names) == len(set(names))
    assert names.count(SHARED.name) == 1


def test_every_file_of_an_application_is_signed_and_only_the_program_runs() -> None:
    for each in tree(FULL).findall("file_info"):
        signature = text_of(each, "file_signature")
        of_the_application = text_of(each, "name") in (PROGRAM.name, BUNDLE.name)
        assert (signature is not None) == of_the_application
        assert (each.find("executable") is not None) == (text_of(each, "name") == PROGRAM.name)
        if signature is not None:
            assert KEYS.verify(text_of(each, "md5_cksum") or "", signature)


def test_a_large_input_is_linked_and_a_small_one_copied() -> None:
    refs = tree(FULL).findall("workunit/file_ref")
    copied = {text_of(each, "file_name"): each.find("copy_file") is not None for each in refs}
    assert copied == {SHARED.name: True, LARGE.name: False}


def is_well_set(body: bytes) -> None:
    """One element a line, none longer than a client's buffer for lines, every line ended."""
    assert body.endswith(b"</scheduler_reply>\n")
    for line in body.splitlines():
        assert line.count(b"<") <= 2, line
        assert b"<message" in line or len(line) <= 254, line
        assert line == line.strip()


def test_every_element_has_its_own_line_and_no_line_is_too_long() -> None:
    is_well_set(write(FULL))


def test_a_refusal_acknowledges_all_the_same() -> None:
    root = ElementTree.fromstring(refusal(PROJECT, "no <key>", delay_s=60, acks=["x"]))
    assert text_of(root, "message") == "no <key>"
    assert text_of(root, "request_delay") == "60"
    assert text_of(root, "result_ack/name") == "x"
    assert root.find("result") is None


HOSTILE = [
    "</message></scheduler_reply>", "a\nb", "\x1b[31m", "]]>", "&amp;", "\0", "\u2028", '"',
    "é" * 2000, "<" * 2000, "\U0001f600" * 500, "\ud800", "\x85",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_breaks_out(text: str) -> None:
    reply = Reply(
        project=replace(PROJECT, name=text),
        user=text,
        messages=(("notice", text),),
        acks=(text,),
    )
    body = write(reply)
    root = ElementTree.fromstring(body)
    assert [each.tag for each in root] == [
        "scheduler_version", "master_url", "project_name", "message", "user_name", "dont_use_dcf",
        "result_ack",
    ]  # fmt: skip
    for line in body.splitlines():
        if line.startswith((b"<project_name", b"<user_name")):
            assert len(line) < 255
        assert len(line) < 1000 or line.startswith(b"<name>")


@fuzz
@given(st.text(max_size=300))
def test_any_text_is_told_on_one_line_within_its_bound(text: str) -> None:
    for most in (MOST_WORD_BYTES, MOST_MESSAGE_BYTES):
        shown = fitting(text, most)
        assert len(shown.encode()) <= most
        assert len(shown.splitlines()) <= 1
        assert ElementTree.fromstring(f"<a>{shown}</a>").tag == "a"
    if text.isprintable() and len(text) < 30:
        meant = ElementTree.fromstring(f"<a>{fitting(text, MOST_WORD_BYTES)}</a>").text or ""
        assert meant == " ".join(text.split())


@fuzz
@given(st.text(max_size=100), st.floats(0, 1e300), st.integers(0, 2**62))
def test_any_job_is_told_in_good_lines(text: str, number: float, size: int) -> None:
    job = a_job(
        command_line=text[:20],
        est_fpops=number,
        bound_fpops=number,
        memory_bytes=size,
        disk_bytes=size,
        deadline=number,
    )
    body = write(replace(FULL, jobs=(job,), user=text))
    is_well_set(body)
    ElementTree.fromstring(body)
