"""A dropped file becomes a result: the three forms, boxes, settling, names, refusals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, end, header, trailer
from tests.support.waiting import wait_until

SCRIPT = "#!/bin/sh\n#SPOOLMW name = hello\necho hello $1\necho oops >&2\n"
TOML = '[run]\ncommand = ["sh", "-c", "wc -w < text.txt > words.out"]\n'


def stdout_of(result: Path) -> str:
    return result.with_suffix(".files").joinpath("stdout").read_text(encoding="utf-8")


def test_a_script_that_is_copied_into_incoming_runs_and_its_output_lies_beside_the_result(
    daemon: Daemon, tmp_path: Path
) -> None:
    script = tmp_path / "job.sh"
    script.write_text(SCRIPT, encoding="utf-8")
    subprocess.run(["cp", str(script), str(daemon.spool / "incoming")], check=True)
    result = daemon.result("job.sh")
    assert stdout_of(result) == "hello\n"
    assert result.with_suffix(".files").joinpath("stderr").read_text() == "oops\n"
    assert trailer(result)["state"] == "done"
    assert trailer(result)["name"] == "hello"
    assert not (daemon.spool / "incoming" / "job.sh").exists()


def test_a_toml_file_with_inputs_and_outputs_runs_in_a_folder_of_its_own(
    daemon: Daemon,
) -> None:
    daemon.drop(
        "count.toml",
        TOML + '[files]\ninputs = ["text.txt"]\noutputs = ["words.out"]\n',
        inputs={"text.txt": "one two three\n"},
    )
    result = daemon.result("count.toml")
    words = result.with_suffix(".files") / "words.out"
    assert words.read_text().strip() == "3"
    wait_until(lambda: not any((daemon.spool / "inputs").iterdir()))
    assert not (daemon.spool / "incoming" / "count.toml.in").exists()


def test_a_file_in_a_box_gets_its_result_in_the_same_box(daemon: Daemon) -> None:
    daemon.drop("a.sh", SCRIPT, box="fold")
    assert stdout_of(daemon.result("fold/a.sh")) == "hello\n"
    daemon.drop("b.toml", "[run]\ncomand = ['true']\n", box="fold")
    assert "comand" in daemon.rejected("fold/b.toml")


def test_a_file_written_slowly_in_place_is_taken_when_its_writer_is_done(
    daemon: Daemon,
) -> None:
    place = daemon.spool / "incoming" / "slow.sh"
    with open(place, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n")
        file.flush()
        daemon.drop("quick.sh", SCRIPT)
        daemon.result("quick.sh")
        file.write("echo all of it\n")
        assert place.exists()
    assert stdout_of(daemon.result("slow.sh")) == "all of it\n"


def test_a_second_file_of_the_same_name_gets_a_result_of_its_own(daemon: Daemon) -> None:
    daemon.drop("job.sh", "#!/bin/sh\necho first\n")
    first = daemon.result("job.sh")
    daemon.drop("job.sh", "#!/bin/sh\necho second\n")
    wait_until(lambda: len(daemon.results()) == 2, last=daemon.log_text)
    [second] = [path for path in daemon.results() if path != first]
    assert stdout_of(first) == "first\n"
    assert stdout_of(second) == "second\n"
    assert second.name == f"job.sh.{trailer(second)['id']}.result"


def test_a_result_whose_name_somebody_else_put_a_file_at_gets_another_name(
    daemon: Daemon,
) -> None:
    gate = daemon.home / "gate"
    wait = f"while [ ! -e {gate} ]; do sleep 0.05; done"
    daemon.drop("slow.sh", f"#!/bin/sh\n{wait}\necho mine\n")
    wait_until(lambda: not (daemon.spool / "incoming" / "slow.sh").exists())
    squatter = daemon.spool / "results" / "slow.sh.result"
    squatter.write_text("not yours", encoding="utf-8")
    gate.touch()
    wait_until(lambda: len(daemon.results()) == 2, last=daemon.log_text)
    [other] = [path for path in daemon.results() if path != squatter]
    assert squatter.read_text() == "not yours"
    assert stdout_of(other) == "mine\n"


def test_files_that_were_dropped_while_the_daemon_was_down_run_at_its_start(
    tmp_path: Path,
) -> None:
    daemon = Daemon(tmp_path, config="[intake]\nsettle_s = 0\n")
    daemon.start().stop()
    for number in range(5):
        daemon.drop(f"job{number}.sh", f"#!/bin/sh\necho {number}\n")
    try:
        daemon.start()
        for number in range(5):
            assert stdout_of(daemon.result(f"job{number}.sh")) == f"{number}\n"
    finally:
        end(daemon)


def test_drain_ends_the_daemon_when_all_is_done(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, config="[intake]\nsettle_s = 0\n")
    daemon.start("--drain").wait_exit()
    daemon.drop("last.sh", SCRIPT)
    daemon.start("--drain", wait=False)
    assert daemon.wait_exit() == 0
    assert stdout_of(daemon.result("last.sh")) == "hello\n"
    end(daemon)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "a.toml",
            "[run]\ncommand = ['true']\n[redundency]\nquorum = 2\n",
            ["redundency", "redundancy"],
        ),
        (
            "b.toml",
            "[run]\ncommand = ['true']\n[limits]\ntime = '6 fortnights'\n",
            ["line 4", "time"],
        ),
        ("c.sh", "#!/bin/sh\n#SPOOLMW priorty = 3\ntrue\n", ["line 2", "priority"]),
        ("d.txt", "just text\n", ["#!/bin/sh"]),
        ("e.task", "SPOOLMW-TASK 99\n{}\n", ["99"]),
        ("f.toml", "[run]\ncommand = ['true']\n[files]\ninputs = ['gone.dat']\n", ["gone.dat"]),
        ("g.toml", "[run]\ncommand = ['true']\n[redundancy]\ntarget = 2\n", ["quorum"]),
        (
            "h.toml",
            "[run]\ncommand = ['true']\n[place]\nagents = ['moon']\n",
            ["moon", "local"],
        ),
    ],
)
def test_a_wrong_file_is_put_aside_with_its_reason(
    daemon: Daemon, name: str, text: str, words: list[str]
) -> None:
    daemon.drop(name, text)
    reason = daemon.rejected(name)
    for word in words:
        assert word in reason
    assert (daemon.spool / "rejected" / name).read_text() == text


def test_a_failing_command_ends_with_a_result_that_says_so(daemon: Daemon) -> None:
    daemon.drop("fail.sh", "#!/bin/sh\necho before\nexit 7\n")
    result = daemon.result("fail.sh")
    assert trailer(result)["state"] == "failed"
    assert header(result)["exit_code"] == 7
    assert stdout_of(result) == "before\n"


def test_many_files_that_wait_at_the_start_all_run(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, config="[intake]\nsettle_s = 0\n")
    daemon.start().stop()
    incoming = daemon.spool / "incoming"
    for number in range(3000):
        (incoming / f"bad{number}.txt").write_bytes(b"no task\n")
    daemon.drop("good.sh", SCRIPT)
    try:
        daemon.start()
        daemon.result("good.sh")
        wait_until(lambda: len(os.listdir(incoming)) == 0, last=daemon.log_text)
        assert len(list((daemon.spool / "rejected").glob("*.reason"))) == 3000
    finally:
        end(daemon)


def test_two_daemons_do_not_serve_one_spool(daemon: Daemon) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "spoolmw.daemon.main", "--spool", str(daemon.spool)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 75
    assert str(daemon.pid) in second.stderr
