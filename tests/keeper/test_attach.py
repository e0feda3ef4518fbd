"""Connections come and go: work goes on, and there is one keeper, which is found again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spoolmw.runner import wire
from tests.keeper.work import double, hold
from tests.support.attempts import Bench
from tests.support.farhost import FarHost, kill
from tests.support.waiting import wait_until


def test_the_hello_says_what_the_host_has(host: FarHost) -> None:
    before = time.time()
    told = host.client().hello
    assert told["protocol"] == 1
    assert told["keeper_pid"] == host.keeper_pid()
    assert told["cores"] >= 1
    assert before - 1 <= told["clock"] <= time.time() + 1
    assert f"{sys.version_info[0]}.{sys.version_info[1]}" in told["pythons"]
    assert (told["live"], told["outbox"], told["inputs"], told["checkpoints"]) == (
        [],
        [],
        [],
        {},
    )


def test_work_goes_on_without_a_client_and_is_adopted(host: FarHost, bench: Bench) -> None:
    flag = bench.root / "flag"
    line = host.client()
    running, ended = bench.call(hold, str(flag)), bench.call(double, 4)
    line.launch(bench.root, running, ended)
    line.until("started")
    line.report_of(ended)
    line.close()
    again = host.client()
    assert again.hello["live"] == [str(running.attempt)]
    assert again.hello["outbox"] == [str(ended.attempt)]
    assert again.until("started")["attempts"][0]["attempt"] == str(running.attempt)
    again.until("told")
    again.report_of(ended)
    flag.touch()
    assert again.report_of(running)[0]["outcome"] == "success"


def test_what_ends_while_nobody_listens_is_told_to_the_next(
    host: FarHost, bench: Bench
) -> None:
    flag = bench.root / "flag"
    line = host.client()
    work = bench.call(hold, str(flag))
    line.launch(bench.root, work)
    line.until("started")
    line.close()
    flag.touch()
    wait_until(lambda: host.path("outbox").stat() and any(host.path("outbox").iterdir()))
    again = host.client()
    _, body = again.report_of(work)
    bench.staged(work).write_bytes(body)
    assert bench.value(work) == "let go"


def test_launching_again_what_ended_tells_it_again(host: FarHost, bench: Bench) -> None:
    line = host.client()
    work = bench.call(double, 4)
    line.launch(bench.root, work)
    first = line.report_of(work)
    line.events.clear()
    line.launch(bench.root, work)
    assert line.report_of(work) == first


def test_launching_again_what_runs_runs_it_once(host: FarHost, bench: Bench) -> None:
    flag, trace = bench.root / "flag", bench.root / "trace"
    text = f"#!/bin/sh\necho x >> {trace}\nwhile [ ! -e {flag} ]; do sleep 0.01; done\n"
    line = host.client()
    work = bench.script(text)
    line.launch(bench.root, work)
    line.until("started")
    line.launch(bench.root, work)
    flag.touch()
    line.report_of(work)
    line.settle()
    assert trace.read_text() == "x\n"


def test_the_death_of_attach_is_only_the_connections(host: FarHost, bench: Bench) -> None:
    flag = bench.root / "flag"
    line = host.client()
    work = bench.call(hold, str(flag))
    line.launch(bench.root, work)
    line.until("started")
    keeper = host.keeper_pid()
    assert line.child is not None
    kill(line.child.pid)
    line.until_closed()
    again = host.client()
    assert host.keeper_pid() == keeper
    flag.touch()
    again.report_of(work)


def test_the_keeper_belongs_to_nobody(host: FarHost) -> None:
    line = host.client()
    pid = host.keeper_pid()
    assert line.child is not None
    assert os.getsid(pid) not in (os.getsid(0), os.getsid(line.child.pid))
    os.killpg(line.child.pid, signal.SIGHUP)
    line.child.wait(10)
    assert host.client().hello["keeper_pid"] == pid


def test_many_that_attach_at_once_find_one_keeper(host: FarHost) -> None:
    lines = [host.attach() for _ in range(5)]
    lines[-1].set_up()
    # Several may have been started: who comes second goes when it has seen the lock.
    wait_until(lambda: len(host.processes("keeper")) == 1)


def test_a_second_client_replaces_the_first(host: FarHost, bench: Bench) -> None:
    first = host.client()
    second = host.client()
    first.until("replaced")
    first.until_closed()
    work = bench.call(double, 1)
    second.launch(bench.root, work)
    second.report_of(work)


def test_who_is_silent_is_cut_off(host: FarHost) -> None:
    line = host.attach()
    line.is_patient = False
    began = time.monotonic()
    line.set_up()
    line.until_closed()
    assert 7 < time.monotonic() - began < 20


def test_who_says_something_else_is_cut_off_and_others_are_served(host: FarHost) -> None:
    host.client()
    for data in (
        b"GET / HTTP/1.0\r\n\r\n",
        wire.frame(b"{}"),
        wire.frame(b"[1]"),
        wire.frame(b'{"do":"dance"}'),
        wire.frame(b'{"do":"setup","protocol":99,"agent":"a"}'),
        wire.frame(b'{"do":"launch","work":[]}'),
        wire.frame(b"bytes", wire.BYTES),
        wire.frame(b"\xff\xfe"),
        wire.frame(b"[" * 100_000),
        wire.frame(b'{"do":"ping"}'),
    ):
        line = host.attach()
        line.send(data)
        line.until_closed()
    host.client().settle()


@pytest.mark.parametrize(
    "told",
    [
        {"do": "launch", "work": [[{}, ["no attempt\nt\nactive/ab/x"]]]},
        {"do": "launch", "work": [[{}, ["short"]]]},
        {"do": "launch", "work": 7},
        {"do": "stop"},
        {"do": "release", "attempts": 7},
        {"do": "drop", "inputs": ["../../etc/passwd"]},
        {"do": "tail", "ask": 1, "attempt": "../x", "offset": 0, "stream": "stdout"},
        {"do": "slots", "slots": "many"},
        {"do": "slots", "slots": float("inf")},
        {"do": "close"},
    ],
    ids=lambda told: told["do"],
)
def test_orders_that_are_none_end_the_connection_only(
    host: FarHost, bench: Bench, told: dict[str, object]
) -> None:
    line = host.client()
    line.send(wire.json_frame(told))
    assert "not the protocol" in line.until("error")["why"]
    line.until_closed()
    again = host.client()
    work = bench.call(double, 1)
    again.launch(bench.root, work)
    again.report_of(work)


def test_close_ends_keeper_and_runner(host: FarHost, bench: Bench) -> None:
    line = host.client()
    work = bench.call(hold, str(bench.root / "never"))
    line.launch(bench.root, work)
    line.until("started")
    line.say("close", grace_s=0.2)
    assert line.report_of(work)[0]["cause"] == "shutdown"
    line.until_closed()
    wait_until(lambda: not host.processes("keeper") and not host.processes("runner"))
    assert not host.path("keeper.sock").exists()


def test_a_keeper_that_nobody_needs_ends(host: FarHost, bench: Bench) -> None:
    line = host.client(linger=0.5)
    line.close()
    wait_until(lambda: not host.processes("keeper") and not host.processes("runner"))
    assert host.client().hello["live"] == []


def test_a_keeper_whose_folder_was_removed_ends(host: FarHost, bench: Bench) -> None:
    line = host.client()
    work = bench.call(hold, str(bench.root / "never"))
    line.launch(bench.root, work)
    line.until("started")
    subprocess.run(["/bin/rm", "-rf", str(host.folder)], check=True)
    line.until_closed()
    again = host.client()
    assert again.hello["live"] == []
    wait_until(lambda: len(host.processes("keeper")) == 1 == len(host.processes("runner")))


def test_a_keeper_of_another_version_makes_way_when_it_has_no_work(
    host: FarHost, bench: Bench
) -> None:
    flag = bench.root / "flag"
    line = host.client()
    old = host.keeper_pid()
    work = bench.call(hold, str(flag))
    line.launch(bench.root, work)
    line.until("started")
    new = host.archive.with_name("0" * 32 + ".pyz")
    new.write_bytes(host.archive.read_bytes())
    host.archive = new
    line.close()
    busy = host.client()
    assert busy.hello["keeper_pid"] == old, "it has work to end first"
    flag.touch()
    busy.report_of(work)
    busy.close()
    assert host.client().hello["keeper_pid"] != old


def test_a_keeper_under_another_python_makes_way_when_it_has_no_work(host: FarHost) -> None:
    def keeper() -> object:
        line = host.client()
        line.close()
        return line.hello["keeper_pid"]

    first = keeper()
    assert keeper() == first
    other = host.base / "python"
    other.symlink_to(os.path.realpath(sys.executable))
    host.python = str(other)
    second = keeper()
    assert second != first
    assert keeper() == second


def test_pythons_that_travelled_go_when_no_keeper_uses_them(host: FarHost) -> None:
    places = [host.archive.parent / f"python3.11-{each * 32}" for each in "abc"]
    old, young, used = places
    half = old.with_name(f"{old.name}.123")
    for path in (*places, half):
        (path / "bin").mkdir(parents=True)
        (path / "bin" / "python").symlink_to(os.path.realpath(sys.executable))
    for path in (old, used, half):
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    other = FarHost(host.base)
    other.python, other.folder = str(used / "bin" / "python"), host.base / "other" / "spool"
    other.client()
    host.client()
    assert not old.exists()
    assert not half.exists()
    assert young.exists()
    assert used.exists()
    other.end()


def test_old_versions_go_when_no_keeper_uses_them(host: FarHost) -> None:
    old, young, used = (host.archive.with_name(each * 32 + ".pyz") for each in "abc")
    for path in (old, young, used):
        path.write_bytes(host.archive.read_bytes())
    for path in (old, used):
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    other = FarHost(host.base)
    other.archive, other.folder = used, host.base / "other" / "spool"
    other.client()
    host.client()
    assert not old.exists()
    assert young.exists()
    assert used.exists()
    other.end()


def test_other_settings_are_for_the_next_runner(host: FarHost, bench: Bench) -> None:
    flag = bench.root / "flag"
    line = host.client(env={"COLOUR": "red"})
    first = bench.script(
        f"#!/bin/sh\nwhile [ ! -e {flag} ]; do sleep 0.01; done\necho $COLOUR\n"
    )
    line.launch(bench.root, first)
    line.until("started")
    line.close()
    again = host.client(env={"COLOUR": "blue"})
    flag.touch()
    again.report_of(first)
    wait_until(lambda: again.listen() and any(e["event"] == "runner" for e in again.events))
    second = bench.script("#!/bin/sh\necho $COLOUR\n")
    again.launch(bench.root, second)
    again.report_of(second)
    printed = {e["attempt"]: e["body"] for e in again.events if e["event"] == "files"}
    assert printed == {str(first.attempt): b"red\n", str(second.attempt): b"blue\n"}


# -- the folder


def unable(host: FarHost, folder: Path) -> str:
    """Why nobody can be attached to in this folder."""
    line = host.attach(folder)
    return str(line.until("unable")["why"])


def test_two_spools_on_one_host_do_not_meet(host: FarHost, bench: Bench) -> None:
    other = FarHost(host.base)
    other.folder = host.base / "host" / "other"
    try:
        here, there = host.client(), other.client()
        assert here.hello["keeper_pid"] != there.hello["keeper_pid"]
        flag = bench.root / "flag"
        work = bench.call(hold, str(flag))
        here.launch(bench.root, work)
        here.until("started")
        there.say("close", grace_s=0.0)
        there.until_closed()
        other.client()
        flag.touch()
        assert here.report_of(work)[0]["outcome"] == "success"
    finally:
        other.end()


def test_a_folder_that_others_can_reach_is_refused(host: FarHost, tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)
    assert "is open to others (mode 755)" in unable(host, folder)


def test_a_folder_below_one_that_others_may_write_into_is_refused(
    host: FarHost, tmp_path: Path
) -> None:
    above = tmp_path / "above"
    above.mkdir()
    above.chmod(0o777)
    assert "others may write into it" in unable(host, above / "spool")


def test_links_are_refused(host: FarHost, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(real)
    assert "is a link" in unable(host, tmp_path / "link")
    assert "is a link" in unable(host, tmp_path / "link" / "spool")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_a_folder_of_another_user_is_refused(host: FarHost, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    assert "12345" in unable(host, folder)


def test_a_relative_folder_is_refused(host: FarHost) -> None:
    assert "no absolute path" in unable(host, Path("here"))
