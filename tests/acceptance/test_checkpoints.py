"""Long tasks on a real daemon: killed, held, retried and moved, they go on from where they were."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolmw import Spool, checkpoint, progress
from spoolmw.client.future import SpoolTask
from tests.support.daemon import Daemon, family, running
from tests.support.waiting import wait_until

STEPS = 60
PAUSE_S = 0.02


def walk(steps: int, note: str, pause_s: float, fail_at: int) -> int:
    """Add up numbers, saving after each; notes every step that is really done."""
    state = checkpoint.load({"step": 0, "sum": 0})
    while state["step"] < steps:
        with open(note, "a", encoding="ascii") as file:
            file.write(f"{state['step']}\n")
        if state["step"] == fail_at and not Path(f"{note}.mended").exists():
            raise ValueError("cannot go on")
        state = {"step": state["step"] + 1, "sum": state["sum"] + state["step"] ** 2}
        checkpoint.save(state)
        progress(state["step"] / steps, f"step {state['step']}")
        time.sleep(pause_s)
        while state["step"] > last_step(note):
            checkpoint.save(state)
            time.sleep(0.02)
    return int(state["sum"])


def last_step(note: str) -> int:
    """After which step a walk waits, so that whoever wants to stop it comes in time."""
    try:
        return int(Path(f"{note}.last").read_text("ascii"))
    except (OSError, ValueError):
        return STEPS


def wait_after(note: Path, step: int) -> None:
    Path(f"{note}.last").write_text(f"{step}", "ascii")


def go_on(note: Path) -> None:
    Path(f"{note}.last").unlink()


SUM = sum(n * n for n in range(STEPS))


@pytest.fixture
def note(tmp_path: Path) -> Path:
    return tmp_path / "note"


def submit(
    daemon: Daemon, note: Path, *, pause_s: float = PAUSE_S, fail_at: int = -1
) -> SpoolTask:
    spool = Spool(daemon.spool).options(checkpoint_every=0, name="walk")
    return spool.submit(walk, STEPS, str(note), pause_s, fail_at)


def steps(note: Path) -> list[int]:
    return list(map(int, note.read_text("ascii").split())) if note.exists() else []


def wait_for_step(note: Path, step: int) -> None:
    wait_until(lambda: max(steps(note), default=-1) >= step, timeout_s=60)


def shown(daemon: Daemon, task: SpoolTask) -> dict[str, object]:
    [record] = daemon.ctl_json("show", task.id)
    return record


def state_of(daemon: Daemon, task: SpoolTask) -> object:
    return shown(daemon, task)["state"]


def done_twice(note: Path) -> int:
    done = steps(note)
    assert sorted(set(done)) == list(range(STEPS)), "no step is left out"
    return len(done) - STEPS


# Whatever is killed


def victims_of(daemon: Daemon, what: str) -> list[int]:
    """Processes to kill; the runner is the daemon's child, its workers are the runner's."""
    below = family(daemon.pid)
    match what:
        case "worker":
            return [pid for pid in below if not family(pid)]
        case "runner":
            return [pid for pid in below if family(pid)]
        case "daemon":
            return [daemon.pid]
        case _:
            return [daemon.pid, *below]


@pytest.mark.parametrize("what", ["worker", "runner", "daemon", "all"])
def test_a_killed_task_goes_on_from_its_newest_checkpoint(
    daemon: Daemon, note: Path, what: str
) -> None:
    task = submit(daemon, note)
    wait_for_step(note, 10)
    for pid in victims_of(daemon, what):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if what in ("daemon", "all"):
        assert daemon.process is not None
        daemon.process.wait()
        daemon.start()
    assert task.result(60) == SUM
    assert done_twice(note) <= 1
    wait_until(lambda: os.listdir(daemon.spool / "checkpoints") == [])


def walk_of(index: int, note: str) -> int:
    return walk(STEPS, f"{note}.{index}", PAUSE_S, -1)


@pytest.mark.parametrize("what", ["worker", "all"])
def test_each_element_of_an_array_goes_on_from_its_own(
    daemon: Daemon, note: Path, what: str
) -> None:
    spool = Spool(daemon.spool).options(checkpoint_every=0, name="walks")
    run = spool.array(walk_of, [1, 2], str(note))
    notes = [Path(f"{note}.{index}") for index in (1, 2)]
    for each in notes:
        wait_for_step(each, 10)
    for pid in victims_of(daemon, what):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if what == "all":
        assert daemon.process is not None
        daemon.process.wait()
        daemon.start()
    assert list(run.values()) == [SUM, SUM]
    assert all(done_twice(each) <= 1 for each in notes)
    wait_until(lambda: os.listdir(daemon.spool / "checkpoints") == [])


def test_a_restart_of_the_service_costs_no_step(daemon: Daemon, note: Path) -> None:
    wait_after(note, 10)
    task = submit(daemon, note)
    wait_for_step(note, 10)
    assert daemon.stop() == 0
    go_on(note)
    assert len(os.listdir(daemon.spool / "checkpoints" / task.id / "0")) == 2
    daemon.start()
    assert task.result(60) == SUM
    assert done_twice(note) == 0


def test_a_held_task_goes_on_when_it_is_released(daemon: Daemon, note: Path) -> None:
    wait_after(note, 10)
    task = submit(daemon, note)
    wait_for_step(note, 10)
    daemon.ctl("hold", task.id)
    go_on(note)
    [record] = daemon.ctl_json("why", task.id)
    assert "go on from checkpoint 1-" in str(record["reason"])
    daemon.ctl("release", task.id)
    assert task.result(60) == SUM
    assert done_twice(note) == 0


def test_a_task_that_is_lost_again_and_again_is_not_blamed_while_it_gets_further(
    daemon: Daemon, note: Path
) -> None:
    task = submit(daemon, note, pause_s=0.1)
    for _ in range(5):
        wait_for_step(note, max(steps(note), default=-1) + 7)
        for pid in victims_of(daemon, "worker"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert task.result(60) == SUM
    record = shown(daemon, task)
    assert record["attempt"] == 6
    assert record["losses"] == 0


# What is shown


def test_progress_is_seen_in_show_watch_and_by_the_helper(daemon: Daemon, note: Path) -> None:
    task = submit(daemon, note, pause_s=0.3)
    wait_until(lambda: (told := task.progress()) is not None and told.fraction > 0)
    told = task.progress()
    assert told is not None
    assert told.text.startswith("step ")
    record = shown(daemon, task)
    assert isinstance(record["progress"], dict)
    assert record["progress"]["fraction"] >= told.fraction
    [view] = daemon.ctl_json("watch", "--once")
    [row] = view["running"]  # type: ignore[misc]
    assert row["progress"]["text"].startswith("step ")
    assert " %, step " in daemon.ctl("show", task.id).stdout
    [why] = daemon.ctl_json("why", task.id)
    assert "% done" in str(why["reason"])
    task.cancel()
    wait_until(lambda: state_of(daemon, task) == "cancelled")
    assert shown(daemon, task)["progress"] is None
    assert task.progress() is None


def test_show_tells_of_the_newest_checkpoint_of_resumes_and_of_damage(
    daemon: Daemon, note: Path
) -> None:
    task = submit(daemon, note, pause_s=0.1)
    wait_for_step(note, 10)
    daemon.stop()
    newest = sorted(
        (daemon.spool / "checkpoints" / task.id / "0").iterdir(),
        key=lambda path: int(path.name.partition("-")[2]),
    )[-1]
    (newest / "state.pickle").write_bytes(b"truncated")
    daemon.start()
    assert task.result(60) == SUM
    assert done_twice(note) == 1
    record = shown(daemon, task)
    [resume] = record["resumes"]  # type: ignore[misc]
    assert f"{newest.name} is damaged" in resume["message"]
    said = daemon.ctl("show", "--story", task.id).stdout
    assert "1 time, last from 1-" in said
    assert "is damaged" in said
    assert "saved checkpoint" in said


# Retry


def failed(daemon: Daemon, note: Path) -> SpoolTask:
    task = submit(daemon, note, fail_at=20)
    with pytest.raises(ValueError, match="cannot go on"):
        task.result(60)
    Path(f"{note}.mended").touch()
    return task


def end_of(daemon: Daemon, task: SpoolTask) -> None:
    wait_until(lambda: state_of(daemon, task) == "done", timeout_s=60)


def test_a_retry_goes_on_from_the_checkpoint(daemon: Daemon, note: Path) -> None:
    task = failed(daemon, note)
    assert isinstance(shown(daemon, task)["checkpoint"], dict)
    assert "from checkpoint 1-20" in daemon.ctl("retry", task.id).stdout
    end_of(daemon, task)
    assert done_twice(note) == 1


def test_a_fresh_retry_begins_anew(daemon: Daemon, note: Path) -> None:
    task = failed(daemon, note)
    assert "from the start" in daemon.ctl("retry", "--fresh", task.id).stdout
    end_of(daemon, task)
    assert done_twice(note) == 21


# Elsewhere


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Daemon]:
    """A second daemon on a spool of its own."""
    home = tmp_path / "other"
    home.mkdir()
    config = '[intake]\nsettle_s = 0.2\n[agents.local]\nkind = "local"\nslots = 1\n'
    with running(home, config=config) as made:
        yield made


def exported(daemon: Daemon, task: SpoolTask, tmp_path: Path, *options: str) -> Path:
    """The tar of a task's newest checkpoint; the task itself ends there."""
    daemon.ctl("hold", task.id)
    target = tmp_path / "run.tar"
    daemon.ctl("checkpoint", "export", task.id, "-o", str(target), *options)
    daemon.ctl("cancel", task.id)
    return target


def test_a_run_moves_to_another_spool_with_its_task(
    daemon: Daemon, other: Daemon, note: Path, tmp_path: Path
) -> None:
    wait_after(note, 20)
    task = submit(daemon, note)
    wait_for_step(note, 20)
    tar = exported(daemon, task, tmp_path, "--with-task")
    go_on(note)
    task_id = other.ctl("checkpoint", "import", str(tar)).stdout.strip()
    moved = Spool(other.spool).attach(id=task_id)
    assert moved.result(60) == SUM
    assert done_twice(note) == 0
    wait_until(lambda: os.listdir(other.spool / "checkpoints") == [])


def test_a_command_moves_with_its_inputs(daemon: Daemon, other: Daemon, tmp_path: Path) -> None:
    script = (
        '#!/bin/sh\n#SPOOLMW checkpoint.files = ["count"]\n#SPOOLMW outputs = ["count"]\n'
        'cat word >> count; [ "$(wc -l < count)" -ge 3 ] || exit 85\n'
    )
    gate = tmp_path / "gate"
    waits = f'[ "$(wc -l < count)" -lt 2 ] || until [ -e {gate} ]; do sleep 0.1; done'
    slow = script.replace("exit 85", f"{{ {waits}; exit 85; }}")
    daemon.drop("words.sh", slow, inputs={"word": "a\n"})
    wait_until(lambda: any((daemon.spool / "checkpoints").rglob("MANIFEST")), timeout_s=60)
    tar = tmp_path / "run.tar"
    daemon.ctl("hold", "words.sh")
    daemon.ctl("checkpoint", "export", "--with-task", "words.sh", "-o", str(tar))
    gate.touch()
    task_id = other.ctl("checkpoint", "import", str(tar)).stdout.strip()
    wait_until(lambda: other.ctl_json("show", task_id)[0]["state"] == "done", timeout_s=60)
    [record] = other.ctl_json("show", task_id)
    assert len(record["resumes"]) == 1  # type: ignore[arg-type]
    files = other.spool / str(record["result"]).replace(".result", ".files")
    assert (files / "count").read_text() == "a\na\na\n"


def test_a_task_is_given_the_checkpoint_of_another(
    daemon: Daemon, note: Path, tmp_path: Path
) -> None:
    wait_after(note, 20)
    task = submit(daemon, note)
    wait_for_step(note, 20)
    tar = exported(daemon, task, tmp_path)
    go_on(note)
    daemon.ctl("pause", "local")
    heir = submit(daemon, note)
    wait_until(lambda: daemon.ctl("show", heir.id, check=False).returncode == 0)
    wait_until(lambda: state_of(daemon, heir) == "queued")
    assert "from checkpoint 0-1" in daemon.ctl("checkpoint", "import", str(tar), heir.id).stdout
    daemon.ctl("resume", "local")
    assert heir.result(60) == SUM
    assert done_twice(note) == 0


def test_a_running_task_takes_no_checkpoint(daemon: Daemon, note: Path, tmp_path: Path) -> None:
    task = submit(daemon, note, pause_s=0.5)
    wait_for_step(note, 2)
    tar = tmp_path / "run.tar"
    daemon.ctl("checkpoint", "export", task.id, "-o", str(tar))
    refused = daemon.ctl("checkpoint", "import", str(tar), task.id, check=False)
    assert refused.returncode == 1
    assert "hold" in refused.stderr
    task.cancel()


def test_checkpoints_are_listed_and_damaged_ones_are_told(daemon: Daemon, note: Path) -> None:
    task = failed(daemon, note)
    rows = daemon.ctl_json("checkpoint", "ls", task.id)
    assert [row["checkpoint"] for row in rows] == ["1-19", "1-20"]
    assert all(row["damage"] == "" for row in rows)
    assert "1-20" in daemon.ctl("checkpoint").stdout
    whole = Path(str(rows[-1]["path"])) / "state.pickle"
    data = bytearray(whole.read_bytes())
    data[-1] ^= 1
    whole.write_bytes(data)
    assert daemon.ctl("checkpoint", "ls", "--verify", check=False).returncode == 1
    verified = daemon.ctl("checkpoint", "ls", "--verify", "--json", check=False).stdout
    last = json.loads(verified.splitlines()[-1])
    assert "digest" in last["damage"]
