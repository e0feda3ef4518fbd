"""Commands that save their progress: their folder, their files, exit code 85, TERM."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from spoolmw.model.agent import Launch
from spoolmw.model.attempt import Blame, Cause, Outcome
from spoolmw.model.events import Lost, Reported
from spoolmw.runner import checkpoint as stored
from tests.support.waiting import wait_until
from tests.unit.agents.conftest import Local
from tests.unit.agents.test_call_outcomes import failed, pid_in

#: Counts to five, one number for each start; its state is the file `n` in its folder.
COUNTS = """
n=$(cat "$SPOOLMW_CHECKPOINT_DIR/n" 2>/dev/null || echo 0)
n=$((n + 1))
echo "number $n"
[ $n -ge 5 ] && exit 0
echo $n > "$SPOOLMW_CHECKPOINT_DIR/n"
exit 85
"""


def saving(local: Local, text: str, *, every_s: float = 3600.0, **more: Any) -> Launch:
    """A shell script with a [checkpoint] section."""
    wish = {"every_s": every_s}
    wish.update({key: more.pop(key) for key in ("files", "exit_code") if key in more})
    return local.script(f"#!/bin/sh\n{text}", checkpoint=wish, **more)


def content(local: Local, work: Launch, name: str) -> dict[str, bytes]:
    """The files of a checkpoint, whole."""
    path = local.checkpoint(work, name)
    owner = stored.Owner(str(local.root / "checkpoints"), work.attempt.task, 0)
    manifest = stored.verify(str(path), owner).manifest
    return {each["name"]: (path / each["name"]).read_bytes() for each in manifest["files"]}


def test_exit_code_85_means_saved_start_me_again(shared: Local) -> None:
    work = saving(shared, COUNTS)
    end = shared.run(work)
    assert isinstance(end, Reported)
    assert (end.outcome, end.exit_code) == (Outcome.SUCCESS, 0)
    assert shared.files(work)["stdout"] == b"".join(b"number %d\n" % n for n in range(1, 6))
    assert [each.sequence for each in shared.heard.checkpoints_of(work)] == [1, 2, 3, 4]
    assert content(shared, work, "1-4") == {"dir/n": b"4\n"}
    assert set(shared.files(work)) == {"stdout", "stderr"}, "the folder is no output"


def test_the_working_directory_is_kept_when_it_is_started_again(shared: Local) -> None:
    work = saving(
        shared, "echo x >> log; [ $(wc -l < log) -ge 3 ] && exit 0; exit 85", files=("log",)
    )
    shared.run(work)
    assert shared.files(work)["log"] == b"x\nx\nx\n"


def test_another_code_may_be_agreed_on(shared: Local) -> None:
    work = saving(shared, COUNTS.replace("85", "77"), exit_code=77)
    assert shared.run(work).cause is Cause.FINISHED


def test_without_a_checkpoint_section_85_is_a_failure_like_any_other(shared: Local) -> None:
    work = shared.script('#!/bin/sh\n[ -z "$SPOOLMW_CHECKPOINT_DIR" ] && exit 85')
    end = failed(shared.run(work))
    assert (end.cause, end.exit_code) == (Cause.EXIT, 85)
    assert shared.checkpoints(work) == []


def test_saying_saved_three_times_without_saving_anything_is_an_error(shared: Local) -> None:
    work = saving(shared, "echo again; exit 85")
    end = failed(shared.run(work))
    assert (end.cause, end.exit_code) == (Cause.EXIT, 85)
    assert "nothing new in $SPOOLMW_CHECKPOINT_DIR" in end.message
    assert shared.files(work)["stdout"] == b"again\n" * 3


def test_the_next_attempt_finds_the_folder_and_the_files(shared: Local, tmp_path: Path) -> None:
    text = f"""
    if [ -e state.bin ]; then
        cat state.bin $SPOOLMW_CHECKPOINT_DIR/sub/part; test -x $SPOOLMW_CHECKPOINT_DIR/tool
        exit
    fi
    mkdir $SPOOLMW_CHECKPOINT_DIR/sub
    echo part > $SPOOLMW_CHECKPOINT_DIR/sub/part
    echo tool > $SPOOLMW_CHECKPOINT_DIR/tool; chmod +x $SPOOLMW_CHECKPOINT_DIR/tool
    echo state > state.bin; echo other > other.txt
    [ -e {tmp_path}/first ] && kill -9 $$
    touch {tmp_path}/first
    rm state.bin; echo state > state.bin; exit 85
    """
    work = saving(
        shared, text.replace("[ -e state.bin ]", "[ -e state.bin ] && false"), files=("*.bin",)
    )
    end = shared.run(work)
    assert isinstance(end, Lost)
    assert set(content(shared, work, "1-1")) == {"dir/sub/part", "dir/tool", "files/state.bin"}
    successor = shared.again(work)
    (shared.root / work.path).write_bytes(
        (shared.root / saving(shared, text, files=("*.bin",)).path).read_bytes()
    )
    end = shared.run(successor)
    assert (end.cause, shared.files(successor)["stdout"]) == (Cause.FINISHED, b"state\npart\n")
    resumed = shared.heard.resumption_of(successor)
    assert resumed is not None
    assert resumed.saved is not None
    assert resumed.saved.order == (1, 1)
    assert "other.txt" not in shared.files(successor)


def test_a_restored_file_stands_over_an_input_of_its_name(shared: Local) -> None:
    data = shared.input(b"from the start\n")
    given = [{"name": "data", "sha256": data, "bytes": 15, "executable": False}]
    text = "grep -q saved data && exit 0; echo saved > data; exit 85"
    work = saving(shared, text, files=("data",), inputs=given)
    shared.run(work)
    again = shared.again(work)
    shared.run(again)
    assert len(shared.heard.checkpoints_of(work)) == 1
    assert shared.heard.checkpoints_of(again) == [], "nothing was done again"


def test_what_runs_is_saved_every_so_often_once_it_has_settled(
    local: Local, tmp_path: Path
) -> None:
    text = f"""
    echo one > $SPOOLMW_CHECKPOINT_DIR/state; echo half > $SPOOLMW_CHECKPOINT_DIR/next.tmp
    ln -s state $SPOOLMW_CHECKPOINT_DIR/link
    while [ ! -e {tmp_path}/go ]; do sleep 0.05; done
    echo two > $SPOOLMW_CHECKPOINT_DIR/state
    while [ ! -e {tmp_path}/end ]; do sleep 0.05; done
    """
    work = saving(local, text, every_s=1.0)
    local.agent.launch([work])
    local.heard.checkpoint_of(work, 1)
    assert content(local, work, "1-1") == {"dir/state": b"one\n"}
    time.sleep(1.5)
    assert len(local.checkpoints(work)) == 1, "what has not changed is not saved again"
    (tmp_path / "go").touch()
    local.heard.checkpoint_of(work, 2)
    assert content(local, work, "1-2") == {"dir/state": b"two\n"}
    (tmp_path / "end").touch()
    assert local.heard.end_of(work).cause is Cause.FINISHED


def test_a_file_that_never_rests_is_not_saved_half(local: Local, tmp_path: Path) -> None:
    text = f"while [ ! -e {tmp_path}/end ]; do echo x >> $SPOOLMW_CHECKPOINT_DIR/log; done"
    work = saving(local, text, every_s=1.0)
    local.agent.launch([work])
    time.sleep(2.5)
    assert local.checkpoints(work) == []
    (tmp_path / "end").touch()
    local.heard.end_of(work)


def test_a_file_that_is_replaced_all_the_time_is_saved_whole(
    local: Local, tmp_path: Path
) -> None:
    text = f"""
    n=0
    while [ ! -e {tmp_path}/end ]; do
        n=$((n + 1)); sleep 0.05
        {{ echo $n; sleep 0.01; echo whole; }} > $SPOOLMW_CHECKPOINT_DIR/n.tmp
        mv $SPOOLMW_CHECKPOINT_DIR/n.tmp $SPOOLMW_CHECKPOINT_DIR/n
    done
    """
    work = saving(local, text, every_s=1.0)
    local.agent.launch([work])
    wait_until(lambda: len(local.checkpoints(work)) > 1)
    (tmp_path / "end").touch()
    local.heard.end_of(work)
    for name in local.checkpoints(work):
        [(saved, data)] = content(local, work, name).items()
        assert (saved, data.split()[1:]) == ("dir/n", [b"whole"])


#: Saves at TERM, as it should; `begun` says that its handler stands.
LISTENS = """
trap 'echo saved > $SPOOLMW_CHECKPOINT_DIR/state; exit %d' TERM
[ -e $SPOOLMW_CHECKPOINT_DIR/state ] && exit 0
touch %s
while :; do sleep 0.05; done
"""


@pytest.mark.parametrize("code", [85, 1, 143])
def test_at_term_it_may_save_and_is_not_started_again(
    local: Local, tmp_path: Path, code: int
) -> None:
    work = saving(local, LISTENS % (code, tmp_path / "begun"))
    local.agent.launch([work])
    wait_until((tmp_path / "begun").exists)
    began = time.monotonic()
    local.agent.close(10.0)
    assert time.monotonic() - began < 9.5
    end = local.heard.end_of(work)
    assert isinstance(end, Lost)
    assert (end.cause, end.blame, end.counts) == (Cause.SHUTDOWN, Blame.HOST, False)
    assert content(local, work, "1-1") == {"dir/state": b"saved\n"}
    assert not local.staged(work).exists()
    agent = Local(local.root)
    try:
        assert agent.run(agent.again(work)).cause is Cause.FINISHED
    finally:
        agent.agent.close(0.0)


def test_what_does_not_listen_to_term_is_saved_as_it_settled(
    local: Local, tmp_path: Path
) -> None:
    text = (
        f"echo old > $SPOOLMW_CHECKPOINT_DIR/state; sleep 1.2; touch {tmp_path}/begun; sleep 60"
    )
    work = saving(local, text)
    local.agent.launch([work])
    wait_until((tmp_path / "begun").exists)
    local.agent.close(10.0)
    assert local.heard.end_of(work).cause is Cause.SHUTDOWN
    assert content(local, work, "1-1") == {"dir/state": b"old\n"}


def test_a_hold_lets_it_save(local: Local, tmp_path: Path) -> None:
    work = saving(local, LISTENS % (85, tmp_path / "begun"))
    local.agent.launch([work])
    wait_until((tmp_path / "begun").exists)
    local.agent.stop([work.attempt])
    assert local.run(local.again(work)).cause is Cause.FINISHED
    assert local.heard.ends_of(work.attempt) == []


def test_a_time_limit_lets_it_save_and_then_fails_it(local: Local, tmp_path: Path) -> None:
    work = saving(local, LISTENS % (85, tmp_path / "begun"), time_s=3.0)
    assert failed(local.run(work)).cause is Cause.TIMEOUT
    assert local.checkpoints(work) == ["1-1"]


def test_a_killed_worker_leaves_nothing_half(local: Local, tmp_path: Path) -> None:
    """kill -9 of worker and command while the files are copied, at several moments."""
    text = f"""
    echo $PPID > {tmp_path}/pid
    head -c 3000000 /dev/urandom > $SPOOLMW_CHECKPOINT_DIR/state
    exit 85
    """
    work = saving(local, text)
    owner = stored.Owner(str(local.root / "checkpoints"), work.attempt.task, 0)
    for turn in range(7):
        (tmp_path / "pid").unlink(missing_ok=True)
        local.agent.launch([work])
        pid = pid_in(tmp_path / "pid")
        time.sleep(0.02 + 0.009 * turn)
        if turn == 6:  # a slow machine may not have come so far before
            wait_until(lambda: stored.orders(owner))
        os.kill(pid, signal.SIGKILL)
        local.heard.end_of(work)
        for order in stored.orders(owner):
            stored.verify(f"{owner.folder}/{order[0]}-{order[1]}", owner)
        work = local.again(work)
    assert stored.orders(owner)
    leftovers = list((local.root / "tmp" / "scratch").glob("*.checkpoint"))
    wait_until(lambda: not any(each.exists() for each in leftovers))


def test_a_large_folder_is_saved_whatever_the_output_limit(local: Local) -> None:
    big = "head -c 3000000 /dev/zero > $SPOOLMW_CHECKPOINT_DIR/big; exit 85"
    work = saving(local, COUNTS.replace("exit 85", big), output=1_000_000)
    assert local.run(work).cause is Cause.FINISHED
    assert len(content(local, work, "1-4")["dir/big"]) == 3_000_000


def test_a_damaged_checkpoint_is_passed_over(local: Local) -> None:
    work = saving(local, COUNTS)
    local.run(work)
    (local.checkpoint(work, "1-4") / "dir" / "n").write_bytes(b"9\n")
    again = local.again(work)
    local.run(again)
    resumed = local.heard.resumption_of(again)
    assert resumed is not None
    assert resumed.message.startswith("checkpoint 1-4 is damaged: dir/n has another digest")
    assert local.files(again)["stdout"] == b"number 4\nnumber 5\n"
