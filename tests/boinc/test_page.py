"""The page of a BOINC project in a real browser: it reads well, and nothing of strangers runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spoolmw.agents.boinclink.course import Progress
from spoolmw.agents.boinclink.pages import (
    HEADERS,
    HostLine,
    Results,
    Status,
    page,
    status_json,
)
from tests.support.boincsite import Crowd, Site
from tests.support.browser import corner, dom, needs_browser, read, screenshot, served
from tests.support.waiting import wait_until

pytestmark = needs_browser

NOW = 1_795_164_846.0
ATTACK = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
STATUS = Status(
    name="Lab grid",
    url="http://127.0.0.1:38123/grid/",
    scheduler="http://127.0.0.1:38123/grid/scheduler",
    now=NOW,
    platforms=("linux-x86_64",),
    hosts=(
        HostLine(label="desk-07-3", platform="linux-x86_64", cores=4, seen=NOW - 200, done=31),
        HostLine(label=ATTACK, platform="linux-x86_64", cores=8, seen=NOW - 90_000, failed=2),
    ),
    results=Results(waiting=7, sent=3, uploaded=1, done=120, lost=5),
    tasks=Progress(done=37, all=100),
)
HTML = {"Content-Type": "text/html; charset=utf-8"}
INTRUDER = b"<script>document.title='owned'</script></body>"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    bodies = {
        "/": (page(STATUS), {**HTML, **HEADERS}),
        "/bare": (page(STATUS), HTML),
        "/open": (page(STATUS).replace(b"</body>", INTRUDER), HTML),
        "/guarded": (page(STATUS).replace(b"</body>", INTRUDER), {**HTML, **HEADERS}),
        "/status.json": (status_json(STATUS), {"Content-Type": "application/json", **HEADERS}),
    }
    with served(bodies) as url:
        yield url


def test_the_browser_shows_what_is_there(address: str) -> None:
    shown = read(dom(address))
    assert shown.title == "Lab grid"
    assert shown.rows[1] == ["7", "3", "1", "120", "5"]
    assert shown.rows[3] == ["desk-07-3", "linux-x86_64", "4", "3 min ago", "31", "0"]
    assert shown.rows[4][3] == "1 day ago"
    assert "boinccmd --project_attach http://127.0.0.1:38123/grid/ KEY" in " ".join(shown.words)


def test_the_name_of_a_host_is_text_even_where_scripts_would_run(address: str) -> None:
    shown = read(dom(f"{address}bare"))
    assert shown.title == "Lab grid"
    assert shown.rows[4][0] == ATTACK[:77] + "..."
    assert not {"script", "img"} & set(shown.tags)


def test_what_slipped_in_all_the_same_would_not_run(address: str) -> None:
    assert read(dom(f"{address}open")).title == "owned"  # so this browser does run scripts
    assert read(dom(f"{address}guarded")).title == "Lab grid"


def test_the_page_is_dark_for_those_who_want_it(address: str, tmp_path: Path) -> None:
    colours = {
        scheme: corner(screenshot(address, tmp_path / f"{scheme}.png", scheme=scheme))
        for scheme in ("light", "dark")
    }
    assert colours == {"light": (0xFF, 0xFF, 0xFF), "dark": (0x15, 0x18, 0x1C)}


def test_programs_get_it_too(address: str) -> None:
    shown = read(dom(f"{address}status.json"))
    told = json.loads(" ".join(shown.words))
    assert told["results"]["done"] == 120
    assert replace(STATUS, hosts=()).name == told["project"]


def nothing() -> None:
    pass


def test_a_person_sees_who_computed_what(site: Site, crowd: Crowd) -> None:
    task = site.spool.options(quorum=2).submit(nothing)
    hosts = site.host(name="desk-a"), site.host(name=ATTACK, owner="mallory")
    crowd.live(*hosts)
    task.result(60)
    wait_until(lambda: site.standing()["results"]["done"] == 2, last=site.standing)
    shown = read(dom(site.url))
    [heads, *rows] = [row for row in shown.rows if len(row) == 6]
    assert heads[3:] == ["Last contact", "Done", "Failed"]
    assert [row[3:] for row in rows] == [["just now", "1", "0"]] * 2
    assert "desk-a-" in "".join(row[0] for row in rows)
    assert ["Waiting", "Sent", "Uploaded", "Done", "Lost"] in shown.rows
    assert f"boinccmd --project_attach {site.url} KEY" in " ".join(shown.words)
    assert not {"script", "img"} & set(shown.tags)
    assert all(host.authenticator not in dom(site.url) for host in hosts)
