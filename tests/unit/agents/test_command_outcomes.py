"""How commands and scripts end on the local agent, and which files they leave."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import pytest

from spoolmw.model.attempt import Blame, Cause, Outcome
from spoolmw.model.events import Lost, Reported
from tests.support.waiting import wait_until
from tests.unit.agents.conftest import Local
from tests.unit.agents.test_call_outcomes import alive, failed, pid_in


def shell(
    shared: Local, text: str, **needs: object
) -> tuple[Reported | Lost, dict[str, bytes]]:
    """How a line of shell ended, and its files."""
    work = shared.command("sh", "-c", text, **needs)
    end = shared.run(work)
    return end, shared.files(work)


def test_output_and_new_files_are_kept(shared: Local) -> None:
    work = shared.command("sh", "-c", "echo out; echo err >&2; mkdir d; echo x > d/new.csv")
    end = shared.run(work)
    assert isinstance(end, Reported)
    assert (end.outcome, end.exit_code, end.files) == (Outcome.SUCCESS, 0, True)
    assert shared.files(work) == {"stdout": b"out\n", "stderr": b"err\n", "d/new.csv": b"x\n"}
    header = shared.result(work).header
    assert [each["name"] for each in header["files"]] == ["stdout", "stderr", "d/new.csv"]
    assert header["files"][2]["sha256"] == hashlib.sha256(b"x\n").hexdigest()
    assert header["files"][2]["bytes"] == 2
    assert header["stdout_tail"] == "out\n"


def test_only_declared_outputs_are_kept_when_some_are_declared(shared: Local) -> None:
    _, files = shell(shared, "touch a.csv b.txt; mkdir d; touch d/c.csv", outputs=["*.csv"])
    assert set(files) == {"stdout", "stderr", "a.csv"}


def test_outputs_may_be_asked_for_at_any_depth(shared: Local) -> None:
    _, files = shell(shared, "mkdir -p d/e; touch a.csv d/e/c.csv", outputs=["**/*.csv"])
    assert set(files) == {"stdout", "stderr", "a.csv", "d/e/c.csv"}


def test_a_missing_declared_output_is_a_failure(shared: Local) -> None:
    end, files = shell(shared, "echo done", outputs=["*.csv"])
    assert failed(end).cause is Cause.MISSING_OUTPUT
    assert "*.csv" in end.message
    assert files["stdout"] == b"done\n"


@pytest.mark.parametrize("with_inputs", [True, False])
def test_a_folder_that_was_removed_while_nothing_ran_is_there_again(
    shared: Local, *, with_inputs: bool
) -> None:
    """As by a program that tidies up what is old."""
    shell(shared, "true")
    for each in (shared.root / "tmp" / "scratch").iterdir():
        if each.name.rpartition("-")[2].isdigit():
            each.rmdir()
    given = [
        {"name": "x", "sha256": shared.input(b"seven"), "bytes": 5, "executable": False},
    ][: int(with_inputs)]
    work = shared.command("sh", "-c", "cat x 2>/dev/null; echo made > made", inputs=given)
    assert isinstance(shared.run(work), Reported)
    files = shared.files(work)
    assert (files["made"], files["stdout"]) == (b"made\n", b"seven" if with_inputs else b"")


def test_inputs_are_there_and_are_no_outputs(shared: Local) -> None:
    data = shared.input(b"seven\n")
    tool = shared.input(b"#!/bin/sh\ncat in/data.txt > copy.txt\n")
    work = shared.command(
        "./tool",
        inputs=[
            {"name": "in/data.txt", "sha256": data, "bytes": 6, "executable": False},
            {"name": "tool", "sha256": tool, "bytes": 30, "executable": True},
        ],
    )
    assert shared.run(work).cause is Cause.FINISHED
    assert set(shared.files(work)) == {"stdout", "stderr", "copy.txt"}
    assert shared.files(work)["copy.txt"] == b"seven\n"


def test_an_attempt_may_write_into_its_inputs_without_harm(shared: Local) -> None:
    data = shared.input(b"whole")
    given = [{"name": "data", "sha256": data, "bytes": 5, "executable": False}]
    shared.run(shared.command("sh", "-c", "echo broken > data", inputs=given))
    assert (shared.root / "inputs" / data).read_bytes() == b"whole"


def test_an_output_that_is_called_stdout_takes_nothings_place(shared: Local) -> None:
    _, files = shell(shared, "echo real; echo file > stdout")
    assert files["stdout"] == b"real\n"
    assert files["stdout.output"] == b"file\n"


def test_links_are_no_outputs(shared: Local) -> None:
    _, files = shell(shared, "ln -s /etc/passwd link; ln -s /etc folder; touch real")
    assert set(files) == {"stdout", "stderr", "real"}


def test_a_script_runs_by_its_shebang_and_is_no_output(shared: Local) -> None:
    work = shared.script("#!/bin/sh -e\necho $0 $1\nfalse\necho never\n", name="job.sh")
    end = failed(shared.run(work))
    assert (end.cause, end.exit_code) == (Cause.EXIT, 1)
    files = shared.files(work)
    assert set(files) == {"stdout", "stderr"}
    assert files["stdout"].decode().split()[0].endswith("/job.sh")


def test_a_script_may_be_python(shared: Local) -> None:
    work = shared.script("#!/usr/bin/env python3\nprint(6 * 7)\n", command=["x"])
    shared.run(work)
    assert shared.files(work)["stdout"] == b"42\n"


def test_a_script_from_windows_runs(shared: Local) -> None:
    work = shared.script("#!/bin/sh\r\necho one\n")
    assert shared.run(work).cause is Cause.FINISHED


def test_an_exit_code_is_told_with_the_last_words(shared: Local) -> None:
    end, files = shell(shared, "echo too bad >&2; exit 7")
    report = failed(end)
    assert (report.cause, report.exit_code) == (Cause.EXIT, 7)
    assert report.message == "exit code 7: too bad"
    assert files["stderr"] == b"too bad\n"


def test_an_unknown_command_is_named(shared: Local) -> None:
    end = failed(shared.run(shared.command("no-such-program", "x")))
    assert (end.cause, end.exit_code) == (Cause.EXIT, 127)
    assert "no-such-program" in end.message


def test_a_file_that_cannot_be_executed_is_named(shared: Local) -> None:
    end = failed(shared.run(shared.command("/etc/passwd")))
    assert (end.cause, end.exit_code) == (Cause.EXIT, 126)


def test_a_signal_of_its_own_making_is_its_own_fault(shared: Local) -> None:
    end, _ = shell(shared, "kill -SEGV $$")
    assert failed(end).cause is Cause.SIGNAL
    assert "SIGSEGV" in end.message


def test_a_command_killed_from_outside_is_lost(shared: Local) -> None:
    work = shared.command("sh", "-c", "kill -KILL $$")
    end = shared.run(work)
    assert isinstance(end, Lost)
    assert (end.cause, end.blame) == (Cause.VANISHED, Blame.HOST)
    assert not (shared.root / "stage" / f"{work.attempt}.files").exists()


def test_kill_0_in_a_script_reaches_only_the_script(shared: Local) -> None:
    end, _ = shell(shared, "trap '' TERM; kill -TERM 0; echo alive")
    assert end.cause is Cause.FINISHED


def test_the_time_limit_ends_a_command_and_keeps_its_output(shared: Local) -> None:
    end, files = shell(shared, "echo begun; sleep 60", time_s=3.0)
    assert failed(end).cause is Cause.TIMEOUT
    assert files == {"stdout": b"begun\n", "stderr": b""}


def test_the_output_limit_ends_a_command(shared: Local) -> None:
    end, _ = shell(shared, "yes", output=1_000_000)
    assert failed(end).cause is Cause.OUTPUT


def test_outputs_count_towards_the_output_limit(shared: Local) -> None:
    end, _ = shell(
        shared, "for i in 1 2 3; do head -c 500000 /dev/zero > $i; done", output=1_000_000
    )
    assert failed(end).cause is Cause.OUTPUT


def test_the_memory_limit_ends_a_command(shared: Local) -> None:
    end, _ = shell(
        shared, "x=$(head -c 300000000 /dev/zero | tr '\\0' x); sleep 60", memory=100_000_000
    )
    assert failed(end).cause is Cause.MEMORY


def test_what_outlives_its_command_is_killed_before_the_report(
    shared: Local, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    end, _ = shell(shared, f"setsid sleep 60 & echo $! > {note}")
    assert end.cause is Cause.FINISHED
    assert not alive(int(note.read_text()))


def test_a_stopped_command_leaves_neither_process_nor_file(
    shared: Local, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    work = shared.command("sh", "-c", f"echo $$ > {note}; sleep 60")
    shared.agent.launch([work])
    pid = pid_in(note)
    shared.agent.stop([work.attempt])
    wait_until(lambda: not alive(pid))
    wait_until(lambda: not (shared.root / "stage" / f"{work.attempt}.files").exists())
    assert shared.heard.ends_of(work.attempt) == []


def test_a_commands_environment_is_what_was_configured_and_asked_for(shared: Local) -> None:
    work = shared.command("env", env={"OWN": "1"})
    shared.run(work)
    seen = dict(
        each.split("=", 1) for each in shared.files(work)["stdout"].decode().splitlines()
    )
    assert seen["OWN"] == "1"
    assert seen["SPOOLMW_TOKEN"] == work.token
    assert set(seen) <= {
        *("PATH", "HOME", "LANG", "OWN", "PWD"),
        *("SPOOLMW_SPOOL", "SPOOLMW_WORKER", "SPOOLMW_TASK", "SPOOLMW_ATTEMPT"),
        *("SPOOLMW_TOKEN", "SPOOLMW_NAME", "SPOOLMW_CPUS"),
    }


def test_a_command_gets_no_descriptor_but_its_three(shared: Local) -> None:
    _, files = shell(shared, "ls /proc/self/fd")
    assert set(files["stdout"].split()) == {b"0", b"1", b"2", b"3"}  # 3 is the folder itself


def test_the_output_of_a_running_command_can_be_followed(shared: Local) -> None:
    work = shared.command("sh", "-c", "echo begun; sleep 60")
    shared.agent.launch([work])
    wait_until(lambda: shared.agent.tail(work.attempt, 0) == b"begun\n")
    shared.agent.stop([work.attempt])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_a_command_does_not_outlive_its_worker(
    shared: Local, tmp_path: Path, how: signal.Signals
) -> None:
    note = tmp_path / "pid"
    work = shared.command("sh", "-c", f"echo $$ > {note}; sleep 60")
    shared.agent.launch([work])
    pid = pid_in(note)
    worker = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(worker, how)
    shared.heard.end_of(work)
    assert not alive(pid)
