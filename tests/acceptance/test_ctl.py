"""`spoolmw-ctl` against a real daemon: what it says, what it changes, how it exits."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spoolmw import Spool
from tests.support.daemon import ROOT, Daemon
from tests.support.waiting import wait_until

FOREVER = "#!/bin/sh\necho begin\nexec sleep 600\n"


def state(daemon: Daemon, task: str) -> str:
    """The task's state; empty while its file is still on its way into the journal."""
    shown = daemon.ctl("show", task, "--json", check=False)
    return str(json.loads(shown.stdout)["state"]) if shown.returncode == 0 else ""


def wait_for_state(daemon: Daemon, task: str, wanted: str) -> None:
    wait_until(lambda: state(daemon, task) == wanted, last=lambda: state(daemon, task))


def submit(daemon: Daemon, *words: str) -> str:
    return daemon.ctl("submit", *words).stdout.strip()


def submit_sleeper(daemon: Daemon, *options: str) -> str:
    """The id of a task that runs until it is stopped."""
    return submit(daemon, *options, "--", "/bin/sh", "-c", "echo begin; exec sleep 600")


def test_a_command_line_becomes_a_task_and_its_output_comes_back(daemon: Daemon) -> None:
    task = submit(daemon, "--name", "hello", "--", "/bin/echo", "hello", "world")
    done = daemon.ctl("wait", task)
    assert done.stdout.split()[1:] == ["hello", "done"]
    assert daemon.ctl("result", "--stdout", task).stdout == "hello world\n"
    assert daemon.ctl("log", "hello").stdout == "hello world\n"
    [result] = daemon.ctl_json("result", task)
    assert (result["state"], result["exit_code"]) == ("done", 0)


def test_a_script_is_submitted_with_its_inputs_and_its_files_are_saved(
    daemon: Daemon, tmp_path: Path
) -> None:
    script = tmp_path / "count.sh"
    script.write_text("#!/bin/sh\nwc -w <words.txt >count.txt\n")
    (tmp_path / "count.sh.in").mkdir()
    (tmp_path / "count.sh.in" / "words.txt").write_text("a b c\n")
    task = submit(daemon, "--box", "words", str(script))
    assert daemon.ctl("wait", "--quiet", task).stdout == ""
    saved = daemon.ctl("result", "--save", str(tmp_path / "out"), task).stdout.split()
    [folder] = [Path(path) for path in saved if path.endswith(".files")]
    assert (folder / "count.txt").read_text().strip() == "3"
    again = daemon.ctl("result", "--save", str(tmp_path / "out"), task, check=False)
    assert again.returncode == 1
    assert "exists already" in again.stderr


def test_the_program_itself_is_taken_along(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "fold").write_text('#!/bin/sh\ncat data.txt; echo "$@"\n')
    (tmp_path / "fold").chmod(0o755)
    (tmp_path / "data.txt").write_text("data\n")
    done = subprocess.run(
        [sys.executable, "-m", "spoolmw.ctl.main", "--spool", str(daemon.spool), "submit",
         "-i", "data.txt", "--wait", "--json", "--", "./fold", "--seed", "17"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    task = json.loads(done.stdout)["id"]
    assert daemon.ctl("result", "--stdout", task).stdout == "data\n--seed 17\n"


def test_the_value_of_a_call_is_printed_and_a_pickle_is_not_loaded_unasked(
    daemon: Daemon,
) -> None:
    spool = Spool(daemon.spool).options(keep=True)
    power = spool.submit(pow, 2, 10)
    moment = spool.submit(datetime.date, 2026, 1, 17)
    wrong = spool.submit(int, "seven")
    daemon.ctl("wait", power.id, moment.id)
    [told] = daemon.ctl_json("result", power.id)
    assert (told["value"], told["codec"]) == (1024, "safe")
    assert "1024" in daemon.ctl("result", power.id).stdout
    assert "--unpickle" in daemon.ctl("result", moment.id).stdout
    assert "2026, 1, 17" in daemon.ctl("result", "--unpickle", moment.id).stdout
    failed = daemon.ctl("wait", wrong.id, check=False)
    assert failed.returncode == 1
    assert "ValueError" in daemon.ctl("result", wrong.id, check=False).stdout


def test_wait_says_by_its_exit_code_how_it_ended(daemon: Daemon) -> None:
    good = submit(daemon, "--", "/bin/true")
    wrong = submit(daemon, "--", "/bin/false")
    endless = submit_sleeper(daemon)
    assert daemon.ctl("wait", good).returncode == 0
    assert daemon.ctl("wait", good, wrong, check=False).returncode == 1
    late = daemon.ctl("wait", "--timeout", "200ms", good, endless, check=False)
    assert late.returncode == 124
    assert "1 task still open" in late.stderr
    assert daemon.ctl("wait", "--any", endless, good).returncode == 0
    daemon.ctl("cancel", endless)
    assert daemon.ctl("wait", endless, check=False).returncode == 1
    assert daemon.ctl("wait", "nobody-knows-it", check=False).returncode == 1


def test_wait_knows_a_file_that_was_just_dropped_by_its_name(daemon: Daemon) -> None:
    for answer in ("first", "second"):
        daemon.drop("job.sh", f"#!/bin/sh\nsleep 0.2\necho {answer}\n")
        daemon.ctl("wait", "job.sh")
        assert daemon.ctl("result", "--stdout", "job.sh").stdout == f"{answer}\n"


def test_wait_ends_when_the_file_is_refused_and_says_why(daemon: Daemon) -> None:
    daemon.drop("wrong.toml", '[run]\ncomand = ["true"]\n')
    refused = daemon.ctl("wait", "wrong.toml", check=False)
    assert refused.returncode == 1
    assert "command" in refused.stdout
    assert "command" in daemon.ctl("ls", "--rejected").stdout
    assert "refused" in daemon.ctl("status").stdout


def test_wait_endures_a_restart_of_the_daemon(daemon: Daemon) -> None:
    task = submit(daemon, "--", "/bin/sleep", "0.5")
    waiting = subprocess.Popen(
        [sys.executable, "-m", "spoolmw.ctl.main", "--spool", str(daemon.spool), "wait", task],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
    )  # fmt: skip
    daemon.kill_everything()
    daemon.start()
    out, _ = waiting.communicate(timeout=30)
    assert (waiting.returncode, out.split()[-1]) == (0, b"done")


def test_with_the_daemon_down_looking_works_and_changing_says_so(daemon: Daemon) -> None:
    task = submit(daemon, "--name", "before", "--", "/bin/true")
    daemon.ctl("wait", task)
    daemon.stop()
    assert "before" in daemon.ctl("ls").stdout
    assert daemon.ctl_json("show", "before")[0]["state"] == "done"
    assert "not running" in daemon.ctl("status").stdout
    assert daemon.ctl("wait", task).returncode == 0
    later = submit(daemon, "--", "/bin/true")
    assert "does not run" in daemon.ctl("why", later).stdout
    for verb in (("cancel", task), ("pause",), ("agents",)):
        refused = daemon.ctl(*verb, check=False)
        assert refused.returncode == 2
        assert "spoolmwd --spool" in refused.stderr
        assert "Traceback" not in refused.stderr
    away = daemon.ctl("wait", "--patience", "0.1", later, check=False)
    assert away.returncode == 2


def test_hold_release_and_cancel(daemon: Daemon) -> None:
    daemon.ctl("pause")
    task = submit(daemon, "--", "/bin/true")
    wait_for_state(daemon, task, "queued")
    assert "paused" in daemon.ctl("why", task).stdout
    daemon.ctl("hold", task)
    assert state(daemon, task) == "held"
    assert "held" in daemon.ctl("why", task).stdout
    daemon.ctl("resume")
    daemon.ctl("release", task)
    daemon.ctl("wait", task)
    late = daemon.ctl("cancel", task, check=False)
    assert late.returncode == 1
    assert "ended" in late.stderr
    assert "does not wait" in daemon.ctl("why", task).stdout


def test_ids_come_from_stdin_too_plain_or_as_json(daemon: Daemon) -> None:
    daemon.ctl("pause")
    tasks = [submit(daemon, "--box", "many", "--", "/bin/true") for _ in range(3)]
    for task in tasks:
        wait_for_state(daemon, task, "queued")
    for flag in ("-q", "--json"):
        listed = daemon.ctl("ls", "--box", "many", flag).stdout
        done = subprocess.run(
            [sys.executable, "-m", "spoolmw.ctl.main", "--spool", str(daemon.spool), "prio", "7", "-"],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, input=listed,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.stdout.count("\n") + done.stderr.count("\n") == 3
    assert {shown["priority"] for shown in daemon.ctl_json("show", *tasks)} == {7}


def test_a_failed_task_is_retried_under_a_name_of_its_own(daemon: Daemon) -> None:
    task = submit(daemon, "--", "/bin/false")
    assert daemon.ctl("wait", task, check=False).returncode == 1
    daemon.ctl("retry", task)
    assert daemon.ctl("wait", task, check=False).returncode == 1
    assert len(daemon.results()) == 2
    assert len(daemon.ctl_json("show", task)[0]["attempts"]) == 2  # type: ignore[arg-type]


def test_log_follows_a_task_that_runs_until_it_has_ended(daemon: Daemon) -> None:
    program = "echo one; sleep 0.6; echo two; echo wrong >&2; sleep 0.6; echo three"
    task = submit(daemon, "--", "/bin/sh", "-c", program)
    followed = daemon.ctl("log", "-f", task)
    assert followed.stdout == "one\ntwo\nthree\n"
    assert "done" in followed.stderr
    assert daemon.ctl("log", "--stderr", task).stdout == "wrong\n"
    assert [line["line"] for line in daemon.ctl_json("log", task)] == ["one", "two", "three"]


def test_log_shows_what_a_running_task_has_written(daemon: Daemon) -> None:
    task = submit_sleeper(daemon)
    wait_until(lambda: daemon.ctl("log", task).stdout == "begin\n", last=daemon.log_text)
    daemon.ctl("cancel", task)


def test_a_beginning_of_an_id_is_enough_and_two_tasks_of_a_name_are_not(daemon: Daemon) -> None:
    tasks = [submit(daemon, "--name", "twin", "--", "/bin/true") for _ in range(2)]
    daemon.ctl("wait", *tasks)
    assert daemon.ctl_json("show", tasks[0][:24])[0]["id"] == tasks[0]
    newest = daemon.ctl("show", "--json", "twin")
    assert json.loads(newest.stdout)["id"] == tasks[1]
    assert "2 tasks" in newest.stderr
    refused = daemon.ctl("hold", "twin", check=False)
    assert refused.returncode == 1
    assert "means 2 tasks" in refused.stderr


def test_watch_prints_a_line_for_each_look(daemon: Daemon) -> None:
    task = submit(daemon, "--", "/bin/sleep", "3")
    wait_for_state(daemon, task, "running")
    looks = daemon.ctl_json("watch", "--interval", "0.2", "--until-idle")
    assert len(looks) >= 2
    assert looks[-1]["open"] == 0
    assert looks[-1]["tasks"]["done"] == 1  # type: ignore[index]
    once = daemon.ctl("watch", "--once")
    assert once.stdout.startswith("1 done")


def test_agents_are_shown_paused_and_given_slots(daemon: Daemon) -> None:
    [agent] = daemon.ctl_json("agents")
    assert (agent["name"], agent["slots"], agent["paused"]) == ("local", 2, False)
    daemon.ctl("agents", "set", "local", "--slots", "1")
    wait_until(lambda: daemon.ctl_json("agents")[0]["slots"] == 1)
    daemon.ctl("pause", "local")
    assert daemon.ctl_json("agents")[0]["paused"] is True
    assert "paused" in daemon.ctl("agents").stdout
    daemon.ctl("resume", "local")
    unknown = daemon.ctl("pause", "mars", check=False)
    assert (unknown.returncode, "mars" in unknown.stderr) == (1, True)


def test_hosts_count_what_was_run(daemon: Daemon) -> None:
    daemon.ctl("wait", submit(daemon, "--", "/bin/true"))
    [host] = daemon.ctl_json("hosts")
    assert host["agent"] == "local"
    assert "local" in daemon.ctl("hosts").stdout


def test_a_drained_daemon_starts_nothing_new_until_it_is_resumed(daemon: Daemon) -> None:
    daemon.ctl("drain")
    task = submit(daemon, "--", "/bin/true")
    wait_for_state(daemon, task, "queued")
    assert "drain" in daemon.ctl("status").stdout
    daemon.ctl("resume")
    daemon.ctl("wait", task)


def test_the_story_of_a_task_is_told_in_order(daemon: Daemon) -> None:
    task = submit(daemon, "--", "/bin/true")
    daemon.ctl("wait", task)
    [shown] = daemon.ctl_json("show", "--story", task)
    facts = [event["event"] for event in shown["story"]]  # type: ignore[attr-defined]
    assert (facts[0], facts[-1]) == ("submitted", "delivered")
    told = daemon.ctl("show", "--story", task).stdout
    assert "submitted" in told


def test_prune_removes_old_results_and_stories(daemon: Daemon) -> None:
    daemon.ctl("wait", submit(daemon, "--", "/bin/true"))
    [dry] = daemon.ctl_json("prune", "--dry-run", "--results", "0s", "--story", "0s")
    assert (dry["results"], dry["story"], len(daemon.results())) == (1, 1, 1)
    daemon.ctl("prune", "--results", "0s", "--story", "0s")
    assert not daemon.results()
    assert daemon.ctl("ls", "-q").stdout == ""


def test_fsck_finds_nothing_in_a_healthy_spool(daemon: Daemon) -> None:
    daemon.ctl("wait", submit(daemon, "--", "/bin/true"))
    assert "agree" in daemon.ctl("fsck").stderr
    [report] = daemon.ctl_json("fsck")
    assert report["problems"] == []


def test_nor_does_it_miss_the_inputs_of_a_task_that_is_done(
    daemon: Daemon, tmp_path: Path
) -> None:
    data = tmp_path / "data.txt"
    data.write_text("17")
    daemon.ctl("wait", submit(daemon, "--input", str(data), "--", "cat", "data.txt"))
    wait_until(lambda: not list((daemon.spool / "inputs").iterdir()))
    [report] = daemon.ctl_json("fsck")
    assert report["problems"] == []


def test_rebuild_is_refused_beside_a_daemon_and_restores_a_lost_journal(daemon: Daemon) -> None:
    task = submit(daemon, "--key", "k", "--", "/bin/true")
    daemon.ctl("wait", task)
    busy = daemon.ctl("rebuild", "--yes", check=False)
    assert busy.returncode == 2
    assert "Stop the daemon" in busy.stderr
    daemon.stop()
    for file in (daemon.spool / "journal").glob("spoolmw.db*"):
        file.unlink()
    daemon.ctl("rebuild", "--yes")
    assert state(daemon, task) == "done"


def test_doctor_finds_a_running_installation_usable(daemon: Daemon) -> None:
    findings = daemon.ctl_json("doctor")
    assert {finding["check"] for finding in findings} >= {
        "python", "configuration", "folders", "file system", "disk", "journal", "daemon",
        "inotify", "limits", "clock", "service",
    }  # fmt: skip
    assert not [finding for finding in findings if finding["level"] == "bad"]


def test_doctor_says_what_is_wrong_and_what_to_do(daemon: Daemon) -> None:
    daemon.stop()
    (daemon.spool / "incoming").chmod(0o777)
    (daemon.home / "spoolmw.toml").write_text("[intake]\nsetle_s = 1\n")
    ill = daemon.ctl("doctor", "--json", check=False)
    bad = {
        finding["check"]: finding["fix"]
        for finding in map(json.loads, ill.stdout.splitlines())
        if finding["level"] == "bad"
    }
    assert ill.returncode == 1
    assert set(bad) == {"folders", "configuration", "daemon"}
    assert bad["folders"].startswith("chmod o-w")
    assert "settle_s" in bad["configuration"]


def test_ids_are_completed(daemon: Daemon) -> None:
    task = submit(daemon, "--name", "fold", "--", "/bin/true")
    daemon.ctl("wait", task)
    line = f"spoolmw-ctl --spool {daemon.spool} show {task[:10]}"
    done = subprocess.run(
        [sys.executable, "-c", "from spoolmw.ctl.main import main; main()"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "_SPOOLMW_CTL_COMPLETE": "bash_complete",
             "COMP_WORDS": line, "COMP_CWORD": "4"},
    )  # fmt: skip
    assert done.stdout.strip() == f"plain,{task}"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_code_is_printed_for_each_shell(daemon: Daemon, shell: str) -> None:
    assert "_SPOOLMW_CTL_COMPLETE" in daemon.ctl("completion", shell).stdout


def test_reload_takes_a_new_configuration_or_keeps_the_old_one(daemon: Daemon) -> None:
    config = daemon.home / "spoolmw.toml"
    config.write_text(config.read_text().replace("0.2", "0.3"))
    assert "Reloaded" in daemon.ctl("reload").stdout
    config.write_text("[intake]\nsetle_s = 1\n")
    refused = daemon.ctl("reload", check=False)
    assert refused.returncode != 0
    assert "settle_s" in refused.stderr
