"""What `submit` writes, and what comes back."""

from __future__ import annotations

import json
import pickle
import sys
import threading
from collections import OrderedDict
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from spoolmw.client import Spool
from spoolmw.client.outcome import RemoteTraceback
from spoolmw.errors import BadSpool, BadTaskFile, SpoolmwError, TaskFailed
from spoolmw.format.call import NotPicklable
from spoolmw.format.taskfile import read_header
from spoolmw.model.spec import Checkpoint
from spoolmw.model.task import TaskState
from spoolmw.runner import results
from tests.support.answering import AnsweringMachine


def add(a: int, b: int = 1) -> int:
    return a + b


def fail(text: str) -> None:
    raise KeyError(text)


def test_a_call_returns_its_value(spool: Spool, answered: AnsweringMachine) -> None:
    assert spool.submit(add, 2, b=3).result(60) == 5


def test_a_value_that_only_pickle_keeps_comes_back_as_it_was(
    spool: Spool, answered: AnsweringMachine
) -> None:
    value = spool.submit(OrderedDict, [("b", 1), ("a", 2)]).result(60)
    assert value == OrderedDict([("b", 1), ("a", 2)])
    assert type(value) is OrderedDict


def test_a_large_value_comes_back_whole(spool: Spool, answered: AnsweringMachine) -> None:
    assert spool.submit(bytes, 3_000_000).result(60) == bytes(3_000_000)


def test_submitting_works_while_nobody_serves_the_spool(
    spool: Spool, machine: AnsweringMachine
) -> None:
    task = spool.submit(add, 1)
    assert not task.done()
    assert [path.name for _, path in machine.waiting()] == [task.dropped]
    machine.answer()
    assert task.result(60) == 2


def test_a_file_says_who_called_and_with_which_python(
    spool: Spool, machine: AnsweringMachine
) -> None:
    task = spool.submit(add, 1)
    machine.answer()
    [seen] = machine.seen
    assert seen.id == task.id
    assert seen.spec.name == "add"
    assert seen.spec.place.interpreter == sys.executable
    assert seen.spec.place.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert task.dropped == f"add-{task.id}.task"


def test_options_stand_in_the_file(spool: Spool, machine: AnsweringMachine) -> None:
    ann = spool.options(
        memory="2GB", time="10m", cpus=2, retries=5, retry_on="exit:75", name="fold 7"
    )
    task = ann.options(priority=3, env={"A": "1"}, key="fold/7").submit(add, 1)
    machine.answer()
    spec = machine.seen[0].spec
    assert (spec.name, spec.key, spec.priority) == ("fold 7", "fold/7", 3)
    assert spec.resources.memory_bytes == 2_000_000_000
    assert (spec.limits.time_s, spec.resources.cpus, spec.retry.max) == (600, 2, 5)
    assert spec.retry.on == ("exit:75",)
    assert spec.run.env == (("A", "1"),)
    assert task.dropped.startswith("fold_7-")


def test_wishes_about_checkpoints_stand_in_the_file(
    spool: Spool, machine: AnsweringMachine
) -> None:
    spool.options(checkpoint_every="1m", checkpoint_keep=True).submit(add, 1)
    asks = spool.options(checkpoint_files="state.*", checkpoint_exit_code=3)
    asks.command(["./fold"])
    machine.answer()
    found = sorted(machine.seen, key=lambda seen: bool(seen.spec.run.command))
    calls, commands = (seen.spec.checkpoint for seen in found)
    assert calls == Checkpoint(asked=True, every_s=60.0, keep=True)
    assert commands == Checkpoint(asked=True, files=("state.*",), exit_code=3)


def test_what_only_a_command_can_save_is_refused_for_a_call(spool: Spool) -> None:
    with pytest.raises(BadTaskFile, match="checkpoint_files") as caught:
        spool.options(checkpoint_files="state.*").submit(add, 1)
    assert "checkpoint.save" in caught.value.fix


def test_the_agents_of_the_environment_hold_for_every_task(
    machine: AnsweringMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPOOLMW_AGENTS", "condor, local")
    Spool(machine.layout.root).submit(add, 1)
    machine.answer()
    assert machine.seen[0].spec.place.agents == ("condor", "local")


def test_a_misspelt_option_is_refused_with_the_right_one(spool: Spool) -> None:
    with pytest.raises(BadTaskFile, match="did you mean 'memory'"):
        spool.options(memroy="2GB")


def test_a_wrong_value_is_refused_by_its_option(spool: Spool) -> None:
    with pytest.raises(BadTaskFile, match="'memory'"):
        spool.options(memory="2 gigs")
    with pytest.raises(BadTaskFile, match="'box'"):
        spool.options(bix="a")


def same_parity(a: int, b: int) -> bool:
    return a % 2 == b % 2


def is_small(value: int) -> bool:
    return value < 100


def test_redundancy_is_asked_for_by_options(spool: Spool, machine: AnsweringMachine) -> None:
    spool.options(
        quorum=2, validator="close:rtol=1e-6", deadline="3d", alike="platform"
    ).submit(add, 1)
    machine.answer()
    wish = machine.seen[0].spec.redundancy
    assert (wish.quorum, wish.target, wish.deadline_s, wish.alike) == (
        2,
        2,
        259200.0,
        "platform",
    )
    assert (wish.validator.kind, wish.validator.rtol) == ("close", 1e-6)


@pytest.mark.parametrize(
    ("given", "functions"),
    [(same_parity, (same_parity, None)), ((same_parity, is_small), (same_parity, is_small))],
)
def test_a_function_that_compares_travels_behind_the_call(
    spool: Spool, machine: AnsweringMachine, given: Any, functions: Any
) -> None:
    task = spool.options(quorum=2, validator=given).submit(add, 1)
    [(_, path)] = machine.waiting()
    data = path.read_bytes()
    size = json.loads(data.split(b"\n")[1])["redundancy"]["code"]
    validate, check = pickle.loads(data[-size:])
    assert validate(1, 3) is True
    assert (check is None) == (functions[1] is None)
    machine.answer()
    assert task.result(60) == 2


def test_of_a_command_the_functions_are_the_body(
    spool: Spool, machine: AnsweringMachine
) -> None:
    spool.options(quorum=2, validator=same_parity).command(["true"])
    machine.answer()
    [seen] = machine.seen
    assert (seen.body.codec, seen.body.size_bytes) == (
        "functions",
        seen.spec.redundancy.code_bytes,
    )


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"validator": "exact"}, "'quorum'"),
        ({"quorum": 2, "validator": "python"}, "function that compares is missing"),
        ({"quorum": 2, "validator": None}, "a validator was expected"),
        ({"quorum": 2, "validator": (same_parity, 3)}, "a validator was expected"),
        ({"quorum": 3, "target": 2}, "'target'"),
    ],
)
def test_a_wish_for_redundancy_that_cannot_be_is_refused_at_once(
    spool: Spool, wishes: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadTaskFile, match=words):
        spool.options(**wishes)


def test_a_validator_that_cannot_travel_is_named(spool: Spool) -> None:
    lock = threading.Lock()

    def compares_with_a_lock(a: object, b: object) -> bool:
        with lock:
            return a == b

    with pytest.raises(NotPicklable, match="compares_with_a_lock"):
        spool.options(quorum=2, validator=compares_with_a_lock)


def test_another_validator_on_top_takes_the_functions_away(
    spool: Spool, machine: AnsweringMachine
) -> None:
    spool.options(quorum=2, validator=same_parity).options(validator="exact").submit(add, 1)
    machine.answer()
    assert machine.seen[0].spec.redundancy.code_bytes == 0


def test_files_are_compared_of_commands_only(spool: Spool) -> None:
    with pytest.raises(BadTaskFile, match="for commands"):
        spool.options(quorum=2, validator="files").submit(add, 1)


def test_each_call_of_a_map_has_a_vote_of_its_own(
    spool: Spool, machine: AnsweringMachine
) -> None:
    tasks = spool.options(quorum=2).map(add, range(40))
    assert machine.answer() == 40
    assert list(tasks) == list(range(1, 41))
    assert all(each.spec.redundancy.quorum == 2 for each in machine.seen)


def test_an_array_whose_elements_are_to_be_compared_is_refused(spool: Spool) -> None:
    with pytest.raises(BadTaskFile, match="redundancy"):
        spool.options(quorum=2).array(add, "0-9")


def test_a_box_is_made_when_it_is_first_used(spool: Spool, answered: AnsweringMachine) -> None:
    task = spool.options(box="fold").submit(add, 1)
    assert task.result(60) == 2
    assert task.path.parent == answered.layout.results / "fold"
    assert Spool(answered.layout.root, box="fold").submit(add, 2).result(60) == 3


def test_an_impossible_box_is_refused(spool: Spool) -> None:
    with pytest.raises(BadTaskFile, match="box"):
        spool.options(box="../etc")


def test_what_was_read_is_removed(spool: Spool, answered: AnsweringMachine) -> None:
    task = spool.submit(add, 1)
    task.result(60)
    assert not task.path.exists()


def test_a_result_stays_where_it_is_with_keep(spool: Spool, answered: AnsweringMachine) -> None:
    task = spool.options(keep=True).submit(add, 1)
    task.result(60)
    assert task.path.exists()


def test_what_the_function_raised_is_raised_with_the_traceback_as_its_cause(
    spool: Spool, answered: AnsweringMachine
) -> None:
    with pytest.raises(KeyError, match="nothing") as raised:
        spool.submit(fail, "nothing").result(60)
    assert isinstance(raised.value.__cause__, RemoteTraceback)
    assert "raise KeyError(text)" in str(raised.value.__cause__)


def test_an_exception_that_cannot_be_loaded_is_told_by_taskfailed(
    spool: Spool, machine: AnsweringMachine
) -> None:
    task = spool.submit(add, 1)
    [(box, path)] = machine.waiting()
    ended = results.failed("exception", "fold.Broken: no")
    ended.exception = {
        "type": "Broken",
        "module": "fold",
        "message": "no",
        "traceback": "Traceback: x",
    }
    ended.codec, ended.value = "pickle-exception", (b"cnowhere\nBroken\n.",)
    machine.deliver(box, path.name, _read(path), ended)
    with pytest.raises(TaskFailed, match=r"fold\.Broken: no") as raised:
        task.result(60)
    assert raised.value.type_name == "fold.Broken"
    assert raised.value.traceback_text == "Traceback: x"
    assert (raised.value.blame, raised.value.task_id) == ("task", task.id)


def test_a_death_of_the_worker_is_told_with_its_cause(
    spool: Spool, machine: AnsweringMachine
) -> None:
    task = spool.submit(add, 1)
    [(box, path)] = machine.waiting()
    ended = results.failed("signal", "killed by SIGSEGV", number=11)
    ended.stderr_tail = "Segmentation fault"
    machine.deliver(box, path.name, _read(path), ended)
    with pytest.raises(TaskFailed, match="SIGSEGV") as raised:
        task.result(60)
    assert "Segmentation fault" in str(raised.value)


def test_a_cancelled_result_cancels_the_future(spool: Spool, machine: AnsweringMachine) -> None:
    task = spool.submit(add, 1)
    [(box, path)] = machine.waiting()
    ended = results.failed("cancelled", "cancelled by uid 0")
    machine.deliver(box, path.name, _read(path), ended, state=TaskState.CANCELLED)
    with pytest.raises(CancelledError):
        task.result(60)
    assert task.cancelled()


def test_an_unpicklable_argument_is_named(spool: Spool, machine: AnsweringMachine) -> None:
    with pytest.raises(SpoolmwError, match="argument 2 of add"):
        spool.submit(add, 1, threading.Lock())
    assert machine.waiting() == []


def test_a_task_that_the_daemon_has_not_taken_is_taken_back_by_cancel(
    spool: Spool, machine: AnsweringMachine
) -> None:
    task = spool.submit(add, 1)
    assert task.cancel()
    assert task.cancelled()
    assert task.done()
    assert machine.waiting() == []
    assert task.cancel(), "cancelling twice is no error"


def test_cancel_of_a_task_that_ended_is_false(spool: Spool, answered: AnsweringMachine) -> None:
    task = spool.submit(add, 1)
    task.result(60)
    assert not task.cancel()


def test_cancel_says_when_the_daemon_cannot_be_told(
    spool: Spool, machine: AnsweringMachine, caplog: pytest.LogCaptureFixture
) -> None:
    task = spool.submit(add, 1)
    [(_, path)] = machine.waiting()
    path.rename(machine.layout.active / path.name)
    assert not task.cancel()
    assert "spoolmwd does not answer" in caplog.text


def test_a_command_has_its_files_and_keeps_them(
    spool: Spool, answered: AnsweringMachine
) -> None:
    task = spool.command(["./fold", "17"], outputs=["*.csv"])
    result = task.result(60)
    assert result.exit_code == 0
    assert result.stdout == "hello\n"
    assert result.files["out.csv"].read_text() == "1\n"
    assert task.path.exists()
    [seen] = answered.seen
    assert seen.spec.run.command == ("./fold", "17")
    assert seen.spec.files.outputs == ("*.csv",)
    assert seen.spec.place.interpreter == ""


def test_inputs_lie_beside_the_task_before_it_does(
    spool: Spool, machine: AnsweringMachine, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.txt").write_text("x")
    (tmp_path / "other.txt").write_text("y")
    given = {"data": tmp_path / "data", "deep/y.txt": tmp_path / "other.txt"}
    task = spool.command(["cat", "data/x.txt"], inputs=given)
    folder = machine.layout.incoming / f"{task.dropped}.in"
    assert (folder / "data" / "x.txt").read_text() == "x"
    assert (folder / "deep" / "y.txt").read_text() == "y"
    assert task.cancel()
    assert not folder.exists()


def test_a_missing_input_is_an_error_at_once(spool: Spool, machine: AnsweringMachine) -> None:
    with pytest.raises(BadTaskFile, match="there is no such file"):
        spool.command(["cat", "x"], inputs=["/nowhere/x"])
    assert machine.waiting() == []
    assert list(machine.layout.tmp.iterdir()) == []


def test_a_command_in_one_text_is_refused(spool: Spool) -> None:
    with pytest.raises(BadTaskFile, match="words have to stand apart"):
        spool.command("ls -l")


def test_a_directory_that_is_no_spool_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BadSpool, match="spoolmwd --spool"):
        Spool(tmp_path / "nothing")


def test_threads_may_share_a_spool(spool: Spool, answered: AnsweringMachine) -> None:
    def work(start: int) -> list[int]:
        tasks = [spool.submit(add, n) for n in range(start, start + 50)]
        return [task.result(60) for task in tasks]

    with ThreadPoolExecutor(8) as threads:
        values = list(threads.map(work, range(0, 800, 100)))
    assert values == [[n + 1 for n in range(s, s + 50)] for s in range(0, 800, 100)]


def test_an_empty_file_in_the_results_place_is_told_apart(
    spool: Spool, machine: AnsweringMachine
) -> None:
    task = spool.submit(add, 1)
    task.path.touch()
    [(box, path)] = machine.waiting()
    machine.answer_one(box, path, result_name=f"{path.stem}.{task.id}")
    assert task.result(60) == 2
    assert task.path.name.endswith(f".{task.id}.result")


def test_a_durable_task_arrives_like_any_other(
    spool: Spool, answered: AnsweringMachine
) -> None:
    assert spool.options(durable=True).submit(add, 1).result(60) == 2
    assert list(spool.options(durable=True).map(add, range(5))) == [1, 2, 3, 4, 5]


def test_nothing_is_left_behind_when_the_file_cannot_be_written(
    spool: Spool, machine: AnsweringMachine
) -> None:
    machine.layout.incoming.rmdir()
    with pytest.raises(SpoolmwError, match="nothing was submitted"):
        spool.submit(add, 1)
    assert list(machine.layout.tmp.iterdir()) == []


def _read(path: Path) -> Any:
    data = path.read_bytes()
    return read_header(data, size=len(data), dropped=path.name)
