"""Reports are kept until their release, whatever dies meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

from spoolmw.model.agent import Launch
from tests.keeper.work import double, hold, large
from tests.support.attempts import Bench
from tests.support.farhost import FarHost, Line, kill, names
from tests.support.waiting import wait_until

MANY = 40


def whole(bench: Bench, line: Line, work: Launch) -> object:
    """The value in the report of an attempt."""
    report, body = line.report_of(work)
    assert report["outcome"] == "success", report
    bench.staged(work).write_bytes(body)
    return bench.value(work)


def three_ended(bench: Bench, line: Line) -> list[Launch]:
    """Attempts that are reported, one after the other."""
    works = [bench.call(double, n) for n in range(3)]
    for each in works:
        line.launch(bench.root, each)
        line.report_of(each)
    return works


def started(line: Line) -> list[str]:
    """The attempts that are told to run."""
    told = [each["attempts"] for each in line.events if each["event"] == "started"]
    return [each["attempt"] for attempts in told for each in attempts]


def active(host: FarHost) -> list[Path]:
    return [each for each in host.path("active").rglob("*") if each.is_file()]


def test_what_is_released_leaves_nothing(host: FarHost, bench: Bench) -> None:
    line = host.client()
    small, big = bench.call(double, 1), bench.call(large, 1 << 20)
    script = bench.script("#!/bin/sh\necho hello; echo data > out.txt\n")
    line.launch(bench.root, small, big, script)
    assert whole(bench, line, small) == 2
    assert whole(bench, line, big) == b"x" * (1 << 20)
    line.report_of(script)
    told = line.until("files")
    assert told["attempt"] == str(script.attempt)
    assert [[name, size] for name, _, size in told["files"]] == [
        ["out.txt", 5],
        ["stderr", 0],
        ["stdout", 6],
    ]
    assert told["body"] == b"data\nhello\n"
    line.release(small, big, script)
    line.settle()
    assert host.listed("stage") == []
    assert active(host) == []
    line.close()
    assert host.client().hello["outbox"] == []


def test_many_reports_come_together_and_each_has_its_own_body(
    host: FarHost, bench: Bench
) -> None:
    line = host.client()
    works = [bench.call(double, number) for number in range(MANY)]
    line.launch(bench.root, *works)
    assert [whole(bench, line, each) for each in works] == [2 * n for n in range(MANY)]
    assert len([each for each in line.events if each["event"] == "ended"]) < MANY


def test_reports_survive_the_keeper(host: FarHost, bench: Bench) -> None:
    line = host.client()
    ended, big = bench.call(double, 21), bench.call(large, 200_000)
    runs = bench.call(hold, str(bench.root / "never"))
    line.launch(bench.root, ended, big, runs)
    line.report_of(ended)
    line.report_of(big)
    line.until("started")
    kill(host.keeper_pid())
    line.until_closed()
    again = host.client()
    assert again.hello["live"] == []
    assert set(again.hello["outbox"]) == set(names([ended, big]))
    assert whole(bench, again, ended) == 42
    assert whole(bench, again, big) == b"x" * 200_000
    wait_until(lambda: len(host.processes("runner")) == 1)  # one that begins has no name yet


def test_reports_survive_the_host(host: FarHost, bench: Bench) -> None:
    line = host.client()
    works = [bench.call(double, n) for n in range(5)]
    works += [bench.call(large, 300_000), bench.script("#!/bin/sh\necho 7 > seven\n")]
    line.launch(bench.root, *works)
    runs = bench.call(hold, str(bench.root / "never"))
    line.launch(bench.root, runs)
    for each in works:
        line.report_of(each)
    line.wait(lambda: str(runs.attempt) in started(line))
    line.release(works[0])
    line.settle()
    host.reboot()
    host.path("boot").write_text("another boot")
    again = host.client()
    assert again.hello["live"] == []
    assert str(runs.attempt) in again.hello["died"], "its loss counts: it may be the reason"
    assert set(again.hello["outbox"]) >= set(names(works[1:]))
    for each in works[1:]:
        assert again.report_of(each)[0]["outcome"] == "success"
    again.release(*works)
    again.settle()
    assert host.listed("stage") == []


def test_what_was_released_is_not_told_again(host: FarHost, bench: Bench) -> None:
    line = host.client()
    first, second = bench.call(double, 1), bench.call(double, 2)
    line.launch(bench.root, first)
    line.report_of(first)
    line.release(first)
    line.launch(bench.root, second)
    line.report_of(second)
    host.reboot()
    assert host.client().hello["outbox"] == names([second])


def test_what_a_power_cut_left_in_part_counts_as_never_ended(
    host: FarHost, bench: Bench
) -> None:
    line = host.client()
    works = three_ended(bench, line)
    big = bench.call(large, 200_000)
    line.launch(bench.root, big)
    line.report_of(big)
    host.reboot()
    host.path("boot").write_text("another boot")
    [log] = host.path("outbox").iterdir()
    data = bytearray(log.read_bytes())
    data[data.index(b"SPOOLMW-RESULT", data.index(names(works[1:2])[0].encode()))] = 0
    log.write_bytes(data)
    staged = host.path("stage") / str(big.attempt)
    staged.write_bytes(bytes(staged.stat().st_size))
    again = host.client()
    assert again.hello["outbox"] == names([works[0], works[2], big])
    report, _ = again.report_of(big)
    assert (report["outcome"], report["blame"]) == ("lost", "host")
    assert "damaged when the host went down" in report["message"]
    assert host.listed("stage") == []


def test_a_log_that_was_cut_short_is_taken_up_as_far_as_it_is_whole(
    host: FarHost, bench: Bench
) -> None:
    line = host.client()
    works = three_ended(bench, line)
    host.reboot()
    [log] = host.path("outbox").iterdir()
    os.truncate(log, log.stat().st_size - 10)
    again = host.client()
    assert again.hello["outbox"] == names(works[:2])
    more = bench.call(double, 7)
    again.launch(bench.root, more)
    assert whole(bench, again, more) == 14
    host.reboot()
    assert host.client().hello["outbox"] == names([*works[:2], more])


def test_a_result_that_is_gone_from_the_disk_is_a_loss(host: FarHost, bench: Bench) -> None:
    line = host.client()
    work = bench.call(large, 200_000)
    line.launch(bench.root, work)
    line.report_of(work)
    line.close()
    (host.path("stage") / str(work.attempt)).unlink()
    report, body = host.client().report_of(work)
    assert (report["outcome"], report["blame"], body) == ("lost", "host", b"")
    assert "gone from the host" in report["message"]


def test_files_that_cannot_be_sent_are_a_loss_and_cost_the_host_nothing_else(
    host: FarHost, bench: Bench
) -> None:
    line = host.client()
    deep = "d/" * 70
    work = bench.script(f"#!/bin/sh\nmkdir -p {deep} && echo x > {deep}x\n")
    line.launch(bench.root, work)
    report, _ = line.report_of(work)
    assert report["outcome"] == "lost"
    assert report.get("counts", True), "it would be so anywhere"
    assert "cannot be sent" in report["message"]
    other = bench.call(double, 7)
    line.launch(bench.root, other)
    assert whole(bench, line, other) == 14


def test_a_runner_that_dies_loses_its_attempts_and_is_started_again(
    host: FarHost, bench: Bench
) -> None:
    line = host.client(slots=1)
    runs = bench.call(hold, str(bench.root / "never"))
    waits = bench.call(hold, str(bench.root / "never"))
    line.launch(bench.root, runs, waits)
    line.until("started")
    first = host.runner_pid()
    kill(first)
    lost, other = line.report_of(runs)[0], line.report_of(waits)[0]
    assert (lost["outcome"], lost["cause"], lost["blame"]) == ("lost", "connection", "host")
    assert lost["message"] == "the runner died (SIGKILL)"
    assert (lost.get("counts", True), other.get("counts", True)) == (True, False)
    assert line.until("runner")["up"] is True
    told = line.until("runner")
    assert (told["up"], told["why"]) == (False, "the runner died (SIGKILL)")
    work = bench.call(double, 3)
    line.launch(bench.root, work)  # while there is none: it waits for the next
    assert whole(bench, line, work) == 6
    assert host.runner_pid() != first


def test_nothing_of_a_dead_runners_attempts_is_left(host: FarHost, bench: Bench) -> None:
    pids = bench.root / "pids"
    line = host.client()
    work = bench.script(
        f"#!/bin/sh\nsetsid sleep 600 &\necho $! > {pids}\necho $$ >> {pids}\nwait\n"
    )
    line.launch(bench.root, work)
    found = wait_until(lambda: pids.exists() and pids.read_text().split())
    wait_until(lambda: len(pids.read_text().split()) == 2)
    found = pids.read_text().split()
    kill(host.runner_pid())
    line.report_of(work)
    assert not [each for each in found if Path(f"/proc/{each}").exists()]


def test_what_is_left_of_attempts_is_ended_before_the_next_keeper_serves(
    host: FarHost, bench: Bench
) -> None:
    pids = bench.root / "pids"
    line = host.client()
    text = "#!/bin/sh\nsetsid sleep 600 &\necho $! > PIDS.part\nmv PIDS.part PIDS\nwait\n"
    work = bench.script(text.replace("PIDS", str(pids)))
    line.launch(bench.root, work)
    pid = wait_until(lambda: pids.exists() and pids.read_text().strip())
    host.reboot()
    assert Path(f"/proc/{pid}").exists()
    host.client()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), timeout_s=10.0)  # it is reaped


def test_what_is_stopped_is_gone_and_its_report_with_it(host: FarHost, bench: Bench) -> None:
    line = host.client()
    runs, ended = bench.call(hold, str(bench.root / "never")), bench.call(double, 1)
    line.launch(bench.root, runs, ended)
    line.report_of(ended)
    line.until("started")
    line.say("stop", attempts=names([runs, ended]), wanted=False)
    stopped: set[str] = set()
    while len(stopped) < 2:
        stopped |= set(line.until("stopped")["attempts"])
    assert str(runs.attempt) not in line.reports()
    assert active(host) == []
    line.close()
    hello = host.client().hello
    assert (hello["live"], hello["outbox"]) == ([], [])


def test_what_was_to_be_stopped_when_the_runner_died_has_stopped(
    host: FarHost, bench: Bench
) -> None:
    line = host.client()
    deaf = bench.script("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.1; done\n")
    line.launch(bench.root, deaf)
    line.until("started")
    line.say("stop", attempts=names([deaf]), wanted=True)
    line.settle()
    kill(host.runner_pid())
    assert line.until("stopped")["attempts"] == names([deaf])
    assert not line.reports()


def test_the_file_of_an_array_stays_as_long_as_an_element_needs_it(
    host: FarHost, bench: Bench
) -> None:
    line = host.client()
    first = bench.call(double, 5)
    second = bench.again(first)
    line.launch(bench.root, first, second)
    line.report_of(first)
    line.report_of(second)
    line.release(first)
    line.settle()
    assert len(active(host)) == 1
    line.release(second)
    line.settle()
    assert active(host) == []


def test_what_is_not_there_is_a_loss_that_names_it(host: FarHost, bench: Bench) -> None:
    line = host.client()
    digest = bench.input(b"content")
    work = bench.script("#!/bin/sh\ncat data\n", inputs=[{"name": "data", "sha256": digest}])
    needs = {str(work.attempt): [f"inputs/{digest}"]}
    line.launch(bench.root, work, needs=needs)
    report, _ = line.report_of(work)
    assert (report["outcome"], report["blame"], report["counts"]) == ("lost", "agent", False)
    assert report["missing"] == [f"inputs/{digest}"]
    line.release(work)
    line.put(f"inputs/{digest}", b"content", sha256=digest)
    again = bench.again(work)
    line.launch(bench.root, again, needs={str(again.attempt): [f"inputs/{digest}"]})
    assert line.report_of(again)[0]["outcome"] == "success"


def test_what_lost_or_stopped_attempts_had_staged_goes_at_once(
    host: FarHost, bench: Bench
) -> None:
    """Its worker had ended it, but its runner could not report it any more."""
    line = host.client()
    lost, stopped = (bench.call(hold, str(bench.root / "never")) for _ in range(2))
    for each in (lost, stopped):
        line.launch(bench.root, each)
        line.until("started")
    for each in (lost, stopped):
        host.path(f"stage/{each.attempt}").write_text("whole, but nobody knows")
        host.path(f"stage/{each.attempt}.files").mkdir()
    line.say("stop", attempts=[str(stopped.attempt)], wanted=False)
    line.until("stopped")
    assert {each.partition(".")[0] for each in host.listed("stage")} == {lost.attempt.task}
    kill(host.runner_pid())
    assert line.report_of(lost)[0]["outcome"] == "lost"
    assert host.listed("stage") == []


def test_a_keeper_that_comes_anew_keeps_only_what_its_reports_tell_of(
    host: FarHost, bench: Bench
) -> None:
    """The one before was killed between two steps."""
    line = host.client()
    small, big = bench.call(double, 21), bench.call(large, 200_000)
    lost = bench.call(hold, str(bench.root / "never"))
    for each in (small, big, lost):
        line.launch(bench.root, each)
    line.until("started")
    for each in (small, big):
        line.report_of(each)
    kill(host.runner_pid())
    line.report_of(lost)
    kill(host.keeper_pid())
    line.until_closed()
    for each in (small, lost):
        host.path(f"stage/{each.attempt}").write_text("not removed yet")
    again = host.client()
    assert set(again.hello["outbox"]) == set(names([small, big, lost]))
    assert host.listed("stage") == names([big])
    assert whole(bench, again, small) == 42
    assert whole(bench, again, big) == b"x" * 200_000
