"""What is put on a host stands under its name whole, or not at all, and nowhere else."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import pytest

from spoolmw.model.agent import Launch
from spoolmw.model.ids import TaskId
from spoolmw.runner import hostfolder, wire
from spoolmw.runner.order import Element, lines
from tests.keeper.work import double, hold
from tests.support.attempts import Bench
from tests.support.farhost import FarHost, Line, packet

DATA = b"some bytes" * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()
TASK = "0193f3a1b2c44d0f8e7a6b5c4d3e2f10"


def all_files(host: FarHost) -> set[str]:
    found = (each for each in host.base.rglob("*") if each.is_file())
    return {
        str(each.relative_to(host.folder.parent))
        for each in found
        if host.folder.parent in each.parents
    }


def test_an_input_stands_under_its_digest(host: FarHost) -> None:
    line = host.client()
    line.put(f"inputs/{DIGEST}", DATA, sha256=DIGEST)
    line.settle()
    assert host.path(f"inputs/{DIGEST}").read_bytes() == DATA
    line.close()
    assert host.client().hello["inputs"] == [DIGEST]


def test_an_input_outlives_the_keeper_but_not_its_drop(host: FarHost) -> None:
    line = host.client()
    line.put(f"inputs/{DIGEST}", DATA, sha256=DIGEST)
    line.put(f"values/{TASK}", DATA)
    line.settle()
    host.reboot()
    again = host.client()
    assert (again.hello["inputs"], again.hello["values"]) == ([DIGEST], [])
    again.say("drop", inputs=[DIGEST])
    again.settle()
    assert host.listed("inputs") == []


def test_what_a_live_attempt_needs_is_not_dropped(host: FarHost, bench: Bench) -> None:
    line = host.client()
    line.put(f"inputs/{DIGEST}", DATA, sha256=DIGEST)
    work = bench.call(hold, str(bench.root / "never"))
    line.launch(bench.root, work, needs={str(work.attempt): [f"inputs/{DIGEST}"]})
    line.say("drop", inputs=[DIGEST], active=[work.path])
    line.settle()
    assert host.listed("inputs") == [DIGEST]
    assert host.path(work.path).exists()


def test_another_digest_is_refused_and_nothing_stands_there(host: FarHost) -> None:
    line = host.client()
    line.put(f"inputs/{DIGEST}", DATA[:-1] + b"?", sha256=DIGEST)
    [[place, why]] = line.until("refused")["places"]
    assert (place, "another digest" in why) == (f"inputs/{DIGEST}", True)
    line.settle()
    assert host.listed("inputs") == []
    assert host.listed("tmp/put") == []


def test_an_empty_file_can_be_put(host: FarHost) -> None:
    line = host.client()
    line.put(f"values/{TASK}", b"")
    line.settle()
    assert host.path(f"values/{TASK}").read_bytes() == b""


def test_many_small_files_come_in_one_frame(host: FarHost, bench: Bench) -> None:
    line = host.client()
    works = [bench.call(double, number) for number in range(20)]
    texts = [(bench.root / each.path).read_bytes() for each in works]
    files = [[each.path, len(text)] for each, text in zip(works, texts, strict=True)]
    line.say("puts", files=files, bytes=sum(map(len, texts)))
    line.bytes(b"".join(texts))
    line.say("launch", work=[[{}, [packet(each) for each in works]]])
    for each in works:
        assert line.report_of(each)[0]["outcome"] == "success"


def puts(line: Line, bench: Bench, *works: Launch) -> None:
    texts = [(bench.root / each.path).read_bytes() for each in works]
    files = [[each.path, len(text)] for each, text in zip(works, texts, strict=True)]
    line.say("puts", files=files, bytes=sum(map(len, texts)))
    line.bytes(b"".join(texts))


def test_files_that_came_together_leave_nothing(host: FarHost, bench: Bench) -> None:
    line = host.client()
    works = [bench.call(double, number) for number in range(20)]
    puts(line, bench, *works)
    puts(line, bench, *works[:3])
    line.say("launch", work=[[{}, [packet(each) for each in works]]])
    for each in works:
        line.report_of(each)
    again = host.client()
    assert again.hello["active"] == sorted(each.path for each in works)
    again.release(*works)
    again.settle()
    assert host.listed("packs") == []
    assert host.listed("active") == []


def test_elements_of_an_array_that_came_with_others(host: FarHost, bench: Bench) -> None:
    line = host.client()
    other = bench.call(double, 1)
    array = bench.script("#!/bin/sh\necho $SPOOLMW_ARRAY_INDEX\n")
    elements = [array.attempt._replace(task=TaskId(f"{number:032x}")) for number in range(3)]
    puts(line, bench, other, array)
    packets = [
        lines(str(each), array.token, array.path, Element(number, number + 10))
        for number, each in enumerate(elements)
    ]
    line.say("launch", work=[[{"command": True}, packets], [{}, [packet(other)]]])
    line.wait(lambda: len(line.reports()) == 4)
    printed = sorted(each["body"] for each in line.events if each["event"] == "files")
    assert printed == [b"10\n", b"11\n", b"12\n"]
    line.say("release", attempts=[*map(str, elements), str(other.attempt)])
    line.settle()
    assert host.listed("packs") == []
    assert not [each for each in host.path("active").rglob("*") if each.is_file()]


@pytest.mark.parametrize(
    "place",
    [
        "",
        "active",
        "active/ab",
        "active/../keeper.lock",
        f"active/ab/../../../{TASK}~~t.task",
        f"active/ab/sub/{TASK}~~t.task",
        f"/active/ab/{TASK}~~t.task",
        "active/ab/.hidden",
        f"active/ab/{TASK}~~" + 300 * "x",
        "inputs/x",
        f"inputs/{DIGEST}/x",
        f"inputs/../inputs/{DIGEST}",
        f"inputs/{DIGEST.upper()}",
        "values/..",
        f"values/{TASK}\n",
        f"checkpoints/{TASK}/0/1-1",
        f"checkpoints/{TASK}/0/../1-1/state",
        f"checkpoints/{TASK}/0/1-1/../../../../../escaped",
        f"checkpoints/{TASK}/0/1-1//state",
        f"checkpoints/{TASK}/0/1-1/a\0b",
        "stage/x",
        "outbox/000000001.log",
        "keeper.sock",
        "../escaped",
        f"values/{TASK}\ud800",
        None,
        7,
        ["inputs"],
    ],
)
def test_a_place_that_is_none_is_refused_with_the_connection(
    host: FarHost, place: object
) -> None:
    line = host.client()
    before = all_files(host) - {"spool/keeper.log"}
    line.say_raw({"do": "put", "place": place, "bytes": 3}, wire.frame(b"abc", wire.BYTES))
    assert "not the protocol" in line.until("error")["why"]
    line.until_closed()
    assert all_files(host) - {"spool/keeper.log"} == before
    line = host.client()
    told = {"do": "puts", "files": [[place, 3]], "bytes": 3}
    line.say_raw(told, wire.frame(b"abc", wire.BYTES))
    line.until_closed()
    assert all_files(host) - {"spool/keeper.log"} == before


@pytest.mark.parametrize("size", [-1, True, 1.5, "3", None, 1 << 60])
def test_a_length_that_is_none_ends_the_connection(host: FarHost, size: object) -> None:
    line = host.client()
    line.say_raw({"do": "put", "place": f"values/{TASK}", "bytes": size})
    line.until("error")
    line.until_closed()


def test_more_bytes_than_announced_end_the_connection(host: FarHost) -> None:
    line = host.client()
    line.say("put", place=f"values/{TASK}", bytes=5)
    line.bytes(b"123456")
    line.until_closed()
    again = host.client()
    assert again.hello["values"] == []
    assert host.listed("tmp/put") == []


def test_endless_bytes_end_the_connection(host: FarHost) -> None:
    line = host.client()
    line.say("puts", files=[[f"values/{TASK}", 5]], bytes=5)
    while line.listen(0.01):
        with contextlib.suppress(wire.Closed):
            line.send(wire.frame(bytes(1 << 20), wire.BYTES))
    host.client().settle()


def test_fewer_bytes_than_announced_end_the_connection(host: FarHost) -> None:
    line = host.client()
    line.say("put", place=f"values/{TASK}", bytes=50)
    line.bytes(b"12345")
    line.say("launch", work=[])
    assert "before all bytes" in line.until("error")["why"]
    line.until_closed()
    assert host.client().hello["values"] == []


def test_what_comes_in_part_before_the_connection_ends_is_removed(host: FarHost) -> None:
    line = host.client()
    line.say("put", place=f"inputs/{DIGEST}", bytes=50, sha256=DIGEST)
    line.bytes(b"12345")
    line.settle()
    line.close()
    assert host.client().hello["inputs"] == []
    assert host.listed("tmp/put") == []


def test_a_ping_may_stand_between_the_bytes(host: FarHost) -> None:
    line = host.client()
    line.say("put", place=f"inputs/{DIGEST}", bytes=len(DATA), sha256=DIGEST)
    line.bytes(DATA[:5000])
    line.settle()
    line.bytes(DATA[5000:])
    line.settle()
    assert host.listed("inputs") == [DIGEST]


def test_nothing_is_put_before_the_setup(host: FarHost) -> None:
    line = host.attach()
    line.put(f"inputs/{DIGEST}", DATA, sha256=DIGEST)
    line.until_closed()
    assert host.listed("inputs") == []


def test_planted_links_are_not_followed(host: FarHost, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    line = host.client()
    host.path("values").joinpath(TASK).symlink_to(victim)
    line.put(f"values/{TASK}", DATA)
    line.settle()
    assert victim.read_bytes() == b"mine"
    assert host.path(f"values/{TASK}").read_bytes() == DATA
    host.path("values").joinpath(TASK).unlink()
    host.path("values").joinpath(TASK).symlink_to(victim)
    line.say("puts", files=[[f"values/{TASK}", 3]], bytes=3)
    line.bytes(b"abc")
    line.until("refused")
    assert victim.read_bytes() == b"mine"


def test_names_that_are_not_utf8_arrive_as_they_are(host: FarHost) -> None:
    name = f"active/10/{TASK}~~t\udcff x.task"
    line = host.client()
    line.say_raw({"do": "put", "place": name, "bytes": 3})
    line.bytes(b"abc")
    line.settle()
    assert os.listdir(os.fsencode(host.path("active/10"))) == [
        f"{TASK}~~t".encode() + b"\xff x.task"
    ]


def test_every_place_that_the_spool_has_is_one() -> None:
    for name in (
        f"active/10/{TASK}~box~a name.task",
        f"active/10/{TASK}~~ünïcode ~ 名.sh",
        f"inputs/{DIGEST}",
        f"values/{TASK}",
        f"checkpoints/{TASK}/0/12-3/state.pickle",
        f"checkpoints/{TASK}/3/12-3/files/deep/down",
    ):
        hostfolder.place_of(name)
