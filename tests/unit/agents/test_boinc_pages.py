"""The page tells people how to join and how it stands, clients their scheduler, and nobody secrets."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoolmw.agents.boinclink.course import Progress
from spoolmw.agents.boinclink.pages import (
    MOST_HOSTS,
    HostLine,
    Results,
    Status,
    ago,
    page,
    status_json,
)
from tests.support.browser import read

NOW = 1_795_164_846.0
URL = "http://grid.lab.example:8765/"
DESK = HostLine(
    label="desk-07-3", platform="linux-x86_64", cores=4, seen=NOW - 200, done=31, failed=2
)
STATUS = Status(
    name="Lab grid",
    url=URL,
    scheduler=f"{URL}scheduler",
    now=NOW,
    platforms=("linux-x86_64", "linux-aarch64"),
    hosts=(DESK, HostLine(label="host-4")),
    results=Results(waiting=7, sent=3, uploaded=1, done=120, lost=5),
    tasks=Progress(done=37, all=100),
)
HOSTILE = (
    "<script>x</script>\"'&{name}</td></table><scheduler>http://evil/</scheduler>\x1b[31m\u202e"
)


def schedulers(document: bytes) -> tuple[list[str], list[str]]:
    """The schedulers that a stock client finds, in tags and in links.

    It reads line by line, and of a long line 255 bytes at a time.
    """
    tags: list[str] = []
    links: list[str] = []
    for line in document.splitlines(keepends=True):
        for at in range(0, len(line), 255):
            piece = line[at : at + 255].decode("utf-8", "replace")
            tags += re.findall(r"<scheduler>([^<]*)<", piece)
            links += re.findall(r'^<link rel="boinc_scheduler" href="([^"\s]*)', piece)
    return tags, links


ONE = ([f"{URL}scheduler"], [f"{URL}scheduler"])


def test_a_client_finds_one_scheduler() -> None:
    assert schedulers(page(STATUS)) == ONE


def test_people_read_how_to_join() -> None:
    text = page(STATUS).decode()
    assert f"<pre>boinccmd --project_attach {URL} KEY</pre>" in text
    assert "programs for linux-x86_64, linux-aarch64." in text
    assert "BOINC Manager" in text
    assert "programs for" not in page(replace(STATUS, platforms=())).decode()


def test_people_read_how_it_stands() -> None:
    shown = read(page(STATUS).decode())
    assert shown.title == "Lab grid"
    assert shown.rows == [
        ["Waiting", "Sent", "Uploaded", "Done", "Lost"],
        ["7", "3", "1", "120", "5"],
        ["Host", "Platform", "Cores", "Last contact", "Done", "Failed"],
        ["desk-07-3", "linux-x86_64", "4", "3 min ago", "31", "2"],
        ["host-4", "", "", "never", "0", "0"],
    ]
    assert "37 of 100 tasks done" in " ".join(shown.words)
    assert "2 hosts, 1 in contact within the last hour." in " ".join(shown.words)


def test_what_is_not_known_is_not_shown() -> None:
    bare = read(page(replace(STATUS, tasks=None, hosts=())).decode())
    assert "progress" not in bare.tags
    assert "None has called yet." in " ".join(bare.words)
    assert (
        "progress"
        not in read(page(replace(STATUS, tasks=Progress(done=0, all=0))).decode()).tags
    )


def test_the_bar_stays_within_its_bounds() -> None:
    shown = page(replace(STATUS, tasks=Progress(done=7, all=5))).decode()
    assert 'value="5" max="5"' in shown


def test_the_page_runs_and_fetches_nothing() -> None:
    shown = read(page(STATUS).decode())
    assert not {"script", "img", "iframe", "object", "form"} & set(shown.tags)
    assert "url(" not in page(STATUS).decode()


def test_no_text_breaks_out() -> None:
    hostile = replace(
        STATUS,
        name=HOSTILE,
        hosts=(replace(DESK, label=HOSTILE, platform=HOSTILE),),
        platforms=(HOSTILE,),
    )
    document = page(hostile)
    shown = read(document.decode())
    assert shown.tags == read(page(replace(STATUS, hosts=(DESK,))).decode()).tags
    assert schedulers(document) == ONE
    assert shown.rows[-1][0].startswith("<script>x</script>\"'&{name}")
    assert b"\x1b" not in document
    assert "\u202e" not in document.decode()
    assert json.loads(status_json(hostile))["hosts"][0]["label"].startswith("<script>")


def test_many_hosts_are_cut_to_those_heard_of_last() -> None:
    hosts = tuple(HostLine(label=f"h{n}", seen=NOW - 5000 + n) for n in range(MOST_HOSTS + 234))
    many = replace(STATUS, hosts=hosts)
    shown = read(page(many).decode())
    assert len(shown.rows) == 3 + MOST_HOSTS
    assert shown.rows[3][0] == f"h{MOST_HOSTS + 233}"
    assert "and 234 more" in " ".join(shown.words)
    told = json.loads(status_json(many))
    assert (len(told["hosts"]), told["hosts_in_all"]) == (MOST_HOSTS, MOST_HOSTS + 234)
    assert "more" not in read(page(replace(STATUS, hosts=hosts[:MOST_HOSTS])).decode()).words


def test_a_long_name_is_cut() -> None:
    long = replace(STATUS, hosts=(replace(DESK, label="x" * 500),))
    assert json.loads(status_json(long))["hosts"][0]["label"] == "x" * 77 + "..."
    assert read(page(long).decode()).rows[3][0] == "x" * 77 + "..."


def test_programs_read_the_same() -> None:
    assert json.loads(status_json(STATUS)) == {
        "format": 1,
        "project": "Lab grid",
        "url": URL,
        "now": NOW,
        "platforms": ["linux-x86_64", "linux-aarch64"],
        "hosts_in_all": 2,
        "hosts": [
            {"label": "desk-07-3", "platform": "linux-x86_64", "cores": 4, "seen": NOW - 200,
             "done": 31, "failed": 2},
            {"label": "host-4", "platform": "", "cores": 0, "seen": 0.0, "done": 0, "failed": 0},
        ],
        "results": {"waiting": 7, "sent": 3, "uploaded": 1, "done": 120, "lost": 5},
        "tasks": {"done": 37, "all": 100},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1e9, "just now"), (0, "just now"), (9.9, "just now"), (10, "10 s ago"),
        (59.9, "59 s ago"), (60, "1 min ago"), (200, "3 min ago"), (3599, "59 min ago"),
        (3600, "1 h ago"), (86399, "23 h ago"), (86400, "1 day ago"), (3 * 86400, "3 days ago"),
        (1e300, "99999 days ago"),
    ],
)  # fmt: skip
def test_times_are_told_in_one_unit(seconds: float, words: str) -> None:
    assert ago(seconds) == words


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=100), st.integers(-5, 10**12), st.floats(0, 1e12))
def test_any_host_is_one_row(text: str, number: int, seen: float) -> None:
    host = HostLine(label=text, platform=text, cores=number, seen=seen, done=number)
    status = replace(STATUS, name=text, hosts=(host,))
    shown = read(page(status).decode())
    assert len(shown.rows) == 4
    assert len(shown.rows[3]) == 6
    assert schedulers(page(status)) == ONE
    json.loads(status_json(status))


def test_a_page_of_many_hosts_is_made_quickly() -> None:
    many = replace(
        STATUS, hosts=tuple(replace(DESK, label=f"h{n}", seen=n) for n in range(5000))
    )
    before = time.process_time()
    page(many)
    assert time.process_time() - before < 0.2
