"""What a client asks is read as it means it; what is odd is left out, and every report is found."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from spoolmw.agents.boinclink import lenient
from spoolmw.agents.boinclink.request import (
    MOST_REPORTS,
    MOST_STDERR,
    MOST_TEXT,
    Asked,
    HostFacts,
    Output,
    Report,
    key_of,
    name_or_nothing,
    parse,
)
from tests.support import boincsaid
from tests.support.boincsaid import CPID, KEY, MD5, report, request

#: More by hand: SPOOLMW_FUZZ=100000 pytest tests/unit/agents/test_boinc_request.py
fuzz = settings(
    max_examples=int(os.environ.get("SPOOLMW_FUZZ", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

ATTEMPT = f"{'a' * 32}.0.1"
OTHER = f"{'b' * 32}.1.2"
DONE = Report(
    name=ATTEMPT,
    state=5,
    cpu_s=0.11,
    elapsed_s=4.011489,
    stderr="hello",
    outputs=(Output(name=f"out_{ATTEMPT}", nbytes=63, md5=MD5),),
)


def ask(text: str) -> Asked:
    return parse(text.encode())


def names(asked: Asked) -> list[str]:
    return [each.name for each in asked.reports]


def test_the_first_request_of_a_client() -> None:
    assert ask(request()) == Asked(
        authenticator=KEY,
        version=(7, 20, 5),
        platforms=("x86_64-pc-linux-gnu",),
        wants_work=True,
        seconds=1.0,
        cpid=CPID,
        host=HostFacts(
            name="desk-07",
            os="Linux Debian Debian GNU/Linux 12 (bookworm) [6.1.0|libc 2.36]",
            cpu="Intel(R) Xeon(R) Processor @ 2.80GHz [Family 6 Model 106 Stepping 6]",
            cores=4,
            memory_bytes=25276514304,
            disk_free_bytes=103079215104,
            flops=1e9,
        ),
        is_whole=True,
    )


def test_a_later_request_with_a_report_and_a_job_in_progress() -> None:
    key = "1024\n" + "ab" * 32 + "\n."
    asked = ask(
        request(
            report(ATTEMPT),
            in_progress=(OTHER,),
            host_id=7,
            seqno=3,
            code_sign_key=key,
            alternative="i686-pc-linux-gnu",
            seconds=0.0,
        )
    )
    assert (asked.host_id, asked.seqno, asked.code_sign_key) == (7, 3, key)
    assert asked.platforms == ("x86_64-pc-linux-gnu", "i686-pc-linux-gnu")
    assert asked.in_progress == (OTHER,)
    assert asked.reports == (DONE,)
    assert not asked.wants_work
    assert asked.is_whole


def test_a_job_that_failed() -> None:
    [failed] = ask(
        request(report(ATTEMPT, state=3, exit_status=-186, output=False, stderr="no"))
    ).reports
    assert (failed.state, failed.exit_status, failed.outputs) == (3, -186, ())


def test_what_the_client_says_of_a_failure_is_kept() -> None:
    said = report(ATTEMPT).replace(
        "<stderr_txt>", "<message>\nprocess exited with code 1\n</message>\n<stderr_txt>"
    )
    [failed] = ask(request(said)).reports
    assert failed.stderr.split() == ["process", "exited", "with", "code", "1", "hello"]


def test_a_user_who_wants_no_work_gets_none_and_an_idle_core_is_a_wish() -> None:
    refused = request().replace("<dont_send_work>0", "<dont_send_work>1")
    assert not ask(refused).wants_work
    idle = request(seconds=0).replace("instances>0.0", "instances>2.0")
    assert (ask(idle).wants_work, ask(idle).instances) == (True, 2.0)


def test_trickles_are_noticed() -> None:
    said = (
        f"<msg_from_host><result_name>{ATTEMPT}</result_name><hello>1</hello></msg_from_host>"
    )
    assert ask(request(said)).has_trickles
    assert not ask(request()).has_trickles


POISON = {
    "a control character": "\x01 and \x1b[31mred\x1b[0m",
    "the end of a section": "x ]]> y",
    "another section": "<![CDATA[ x",
    "its own end": "</stderr_out> goes on",
    "the end of its result": "</result>",
    "the end of the request": "</scheduler_request>",
    "many open tags": "<a><b><c>" * 100,
    "a name": "<name>evil</name>",
    "references": "&lt; &#1; &bogus; &#999999999;",
    "half a tag": "<stderr_out",
    "a beginning": "<stderr_out>",
    "nothing": "",
    "bytes as the client writes them": "&#195;&#188;",
}


@pytest.mark.parametrize("case", POISON)
def test_a_poisoned_stderr_hurts_neither_its_report_nor_others(case: str) -> None:
    asked = ask(
        request(report(ATTEMPT, stderr=POISON[case]), report(OTHER), in_progress=("x",))
    )
    assert names(asked) == [ATTEMPT, OTHER]
    assert asked.reports[0].outputs == DONE.outputs
    assert asked.reports[1].stderr == "hello"
    assert asked.in_progress == ("x",)
    assert asked.is_whole
    assert all(line.isprintable() for line in asked.reports[0].stderr.splitlines())


def test_a_whole_report_in_a_stderr_is_not_taken_for_one() -> None:
    inner = f"]]></stderr_out>{report('forged')}"
    asked = ask(request(report(ATTEMPT, stderr=inner.replace("</result>", "</result >"))))
    assert names(asked) == [ATTEMPT]


def test_letters_of_other_languages_survive() -> None:
    [told] = ask(request(report(ATTEMPT, stderr="gr&#195;&#188;n"))).reports
    assert told.stderr == "grün"
    assert ask(request().replace("desk-07", "büro")).host.name == "büro"
    assert ask(request().replace("desk-07", "b&#195;&#188;ro")).host.name == "büro"


def test_of_a_long_stderr_the_end_is_kept() -> None:
    [told] = ask(request(report(ATTEMPT, stderr="x" * 70_000 + "last words"))).reports
    assert told.stderr.endswith("xxlast words")
    assert len(told.stderr) == MOST_STDERR


def test_a_report_without_an_end_of_its_stderr_is_found_and_so_are_those_behind() -> None:
    said = report(ATTEMPT).replace("</stderr_out>", "")
    assert names(ask(request(said))) == [ATTEMPT]
    assert names(ask(request(said, report(OTHER)))) in ([ATTEMPT], [ATTEMPT, OTHER])
    assert names(ask(request(report(OTHER), said))) == [OTHER, ATTEMPT]


def test_reports_that_an_unclosed_tag_swallowed_are_found() -> None:
    said = request(report(ATTEMPT), report(OTHER)).replace("</host_info>", "")
    assert names(ask(said)) == [ATTEMPT, OTHER]


def test_what_was_cut_off_tells_what_came_before() -> None:
    text = request(report(ATTEMPT), report(OTHER))
    asked = ask(text[: text.index(OTHER) + 200])
    assert names(asked) == [ATTEMPT, OTHER]
    assert asked.authenticator == KEY
    assert not asked.is_whole


def test_of_two_the_first_counts() -> None:
    asked = ask(
        request(report(ATTEMPT), report(ATTEMPT, state=3), in_progress=("x", "x")).replace(
            "<hostid>0", "<hostid>1</hostid><hostid>2"
        )
    )
    assert asked.reports == (DONE,)
    assert asked.in_progress == ("x",)
    assert asked.host_id == 1


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "a..b",
        "a/b",
        "",
        " ",
        "a b",
        "x" * 201,
        "é",
        "a\0b",
        "a<b",
        "a\nb",
        "\u0663",
    ],
)
def test_names_that_could_not_be_ours_are_dropped(name: str) -> None:
    asked = ask(request(report(name), report(OTHER), in_progress=(name, "x")))
    assert names(asked) == [OTHER]
    assert asked.in_progress == ("x",)


def test_a_name_has_no_white_space_around_it() -> None:
    assert name_or_nothing("\n  x.1 \r\n") == "x.1"


@pytest.mark.parametrize(
    ("told", "cores"),
    [
        ("nan", 1), ("inf", 1), ("-inf", 1), ("-5", 1), ("1e400", 4096), ("9" * 5000, 1),
        ("1_000", 1), ("0x10", 1), ("\u0663", 1), ("", 1), ("four", 1), (" 8 ", 8), ("8.000000", 8),
    ],
)  # fmt: skip
def test_numbers_are_finite_and_within_bounds(told: str, cores: int) -> None:
    said = request().replace("<p_ncpus>4<", f"<p_ncpus>{told}<")
    assert ask(said).host.cores == cores


def test_what_ought_not_be_below_nothing_is_not() -> None:
    said = request(report(ATTEMPT).replace("<exit_status>0", "<exit_status>-1e99"))
    asked = ask(said.replace("<m_nbytes>", "<m_nbytes>-").replace("<hostid>", "<hostid>-7"))
    assert (asked.host.memory_bytes, asked.host_id) == (0, 0)
    assert asked.reports[0].exit_status == -(1 << 31)


def test_among_very_many_that_have_no_name_not_all_are_looked_at() -> None:
    nameless = "<result></result>"
    assert names(ask(request(nameless * 100, report(ATTEMPT)))) == [ATTEMPT]
    assert names(ask(request(nameless * 2 * MOST_REPORTS, report(ATTEMPT)))) == []


@pytest.mark.parametrize("key", ["", "x", "0" * 2000, "../..", "ABC", KEY + "\n" + KEY])
def test_what_is_no_key_is_none(key: str) -> None:
    assert ask(request().replace(KEY, key)).authenticator == ""
    assert key_of(request().replace(KEY, key).encode()) == ""


def test_a_key_is_read_without_the_rest() -> None:
    assert key_of(request().encode()) == KEY
    assert key_of(b"<authenticator>\n ab \n</authenticator>" + b"<" * 100) == "ab"
    assert key_of(b" " * 10_000 + request().encode()) == ""


def test_a_host_cannot_paint_on_terminals() -> None:
    named = request().replace("desk-07", "\x1b[31m&#27;&#155;x\u202e\u2028 &lt;b>" + "y" * 5000)
    name = ask(named).host.name
    assert name.isprintable()
    assert "<b>" in name
    assert len(name) == MOST_TEXT


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\0" * 1000, b"\xff\xfe<", b"<", b"</", b"<>", b"<scheduler_request>", b"hello=world",
        b"\x1f\x8b\x08\x00", request().encode("utf-16"), b"<?xml version='1.0'?>",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", b"</scheduler_request>",
    ],
)  # fmt: skip
def test_what_is_no_request_asks_for_nothing(body: bytes) -> None:
    assert parse(body) == Asked()


def test_a_request_in_another_encoding_is_read_as_far_as_it_goes() -> None:
    asked = parse(request(report(ATTEMPT, stderr="gr\xfcn")).encode("latin-1"))
    assert asked.reports[0].stderr == "gr\ufffdn"


def test_no_more_reports_than_can_be_handled_are_taken() -> None:
    said = "".join(f"<result><name>r{n}</name></result>" for n in range(MOST_REPORTS + 5))
    others = tuple(f"o{n}" for n in range(MOST_REPORTS + 5))
    asked = ask(request(said, in_progress=others))
    assert len(asked.reports) == len(asked.in_progress) == MOST_REPORTS


def test_what_is_too_large_is_not_whole() -> None:
    asked = ask(request(report(ATTEMPT), "x" * lenient.MOST_BYTES))
    assert names(asked) == [ATTEMPT]
    assert not asked.is_whole


FLOOD_BYTES = 512 << 10
FLOODS = {
    "open tags": b"<a>",
    "empty tags": b"<a/>",
    "elements": b"<a></a>",
    "results": b"<result>",
    "whole results": b"<result><name>a</name></result>",
    "starts of tags": b"<a",
    "brackets": b"<",
    "closed brackets": b">",
    "ends": b"</a>",
    "stderrs": b"<stderr_out>",
    "ends of stderrs": b"</stderr_out>",
    "whole stderrs": b"<stderr_out></stderr_out>",
    "sections": b"<![CDATA[",
    "whole sections": b"<![CDATA[]]>",
    "references": b"&#1;",
    "open references": b"&#",
    "spaces": b" ",
    "tags with spaces": b"<a" + b" " * 490,
    "tags with much space": b"<a" + b" " * 5000,
    "long names": b"<" + b"a" * 64,
    "names too long": b"<" + b"a" * 600,
    "ends with space": b"</stderr_out>" + b" " * 1000,
    "bytes": b"\xff",
    "zeros": b"\0",
}


@pytest.mark.parametrize("where", ["alone", "in a stderr", "as a name"])
@pytest.mark.parametrize("case", FLOODS)
def test_no_request_takes_long(case: str, where: str) -> None:
    flood = FLOODS[case] * (FLOOD_BYTES // len(FLOODS[case]))
    around = {
        "alone": ["", ""],
        "in a stderr": request(report(ATTEMPT, stderr="@@@")).split("@@@"),
        "as a name": request(report("@@@", output=False)).split("@@@"),
    }[where]
    body = around[0].encode() + flood + around[1].encode()
    before = time.process_time()
    parse(body)
    assert time.process_time() - before < 2


TAGS = ["scheduler_request", "result", "name", "stderr_out", "file_info", "host_info", "hostid",
        "other_results", "other_result", "p_ncpus", "authenticator", "d_free", "alt_platform",
        "code_sign_key", "platform_name", "state", "domain_name", "md5_cksum", "nbytes"]  # fmt: skip
PIECES = st.one_of(
    st.sampled_from([f"<{tag}>".encode() for tag in TAGS]),
    st.sampled_from([f"</{tag}>".encode() for tag in TAGS]),
    st.sampled_from([f"<{tag}/>".encode() for tag in TAGS]),
    st.sampled_from(
        [
            b"<![CDATA[",
            b"]]>",
            b"1",
            b"-1",
            b"1e999",
            b"nan",
            b"x",
            b"..",
            b"\n",
            b" ",
            b"&#27;",
            b"&lt;",
            b"&",
            b"<",
            b">",
            b"\0",
            b"\xff",
            b"\x1b",
            b"\xc2\x9b",
            b"<!--",
            b"-->",
        ]
    ),
    st.binary(max_size=6),
)
ODD = st.lists(PIECES, max_size=60).map(b"".join)


def check(asked: Asked) -> None:
    """The bounds that those behind rely on."""
    facts = asked.host
    for text in (facts.name, facts.os, facts.cpu):
        assert text.isprintable()
        assert len(text) <= 2 * MOST_TEXT + 1
    assert 1 <= facts.cores <= 4096
    assert 0 <= facts.memory_bytes <= 1 << 60
    assert 0 <= facts.disk_free_bytes <= 1 << 60
    assert 0 <= facts.flops <= 1e18
    assert 0 <= asked.seconds <= 1e11
    assert 0 <= asked.instances <= 4096
    assert 0 <= asked.host_id < 1 << 31
    for name in (*asked.in_progress, *names(asked), *asked.platforms):
        assert name == name_or_nothing(name) != ""
    assert len(set(names(asked))) == len(asked.reports) <= MOST_REPORTS
    for told in asked.reports:
        assert len(told.stderr) <= MOST_STDERR
        assert all(line.isprintable() for line in told.stderr.splitlines())
        assert 0 <= told.cpu_s <= 1e11
        assert all(output.name and 0 <= output.nbytes <= 1 << 60 for output in told.outputs)


@fuzz
@given(st.one_of(st.binary(max_size=300), ODD))
@example(b"<result><name>\n</name><result>")
def test_any_bytes_are_a_request_within_bounds(body: bytes) -> None:
    check(parse(body))


@fuzz
@given(ODD, st.integers(0, 10_000), st.integers(0, 200))
def test_a_damaged_request_is_one_within_bounds(odd: bytes, at: int, gone: int) -> None:
    body = request(report(ATTEMPT), report(OTHER), in_progress=("x",)).encode()
    at %= len(body)
    check(parse(body[:at] + odd + body[at + gone :]))


@fuzz
@given(ODD)
def test_whatever_a_program_writes_its_report_is_acknowledged(odd: bytes) -> None:
    before, after = request(report(ATTEMPT, stderr="@@@")).encode().split(b"@@@")
    asked = parse(before + odd + after)
    check(asked)
    assert asked.reports[0].name == ATTEMPT
    assert asked.authenticator == KEY


@fuzz
@given(st.text(max_size=200))
def test_any_text_of_a_program_comes_back_readable(text: str) -> None:
    said = "".join(sign for sign in text if sign.isalnum())
    [told] = ask(request(report(ATTEMPT, stderr=said))).reports
    assert said in told.stderr or not said.isprintable()


def test_the_recorded_upload_has_the_documents_form() -> None:
    assert boincsaid.upload("x", b"").endswith(b"<offset>0</offset>\n<data>\n")
