"""Result files: whole or refused; the trailer is a pure function of the committed task."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolmw.errors import BadResultFile
from spoolmw.format import resultfile
from spoolmw.format.resultfile import daemon_body, trailer_line
from spoolmw.model.attempt import Blame, Cause, Outcome, Ran
from spoolmw.model.ids import AgentName, AttemptId, TaskId
from spoolmw.model.spec import Spec
from spoolmw.model.task import Ending, Task, TaskState

ID = TaskId("0123456789ab" + "0" * 20)


def a_body(value: bytes = b"[1,2]", **header: object) -> bytes:
    tree = {
        "task": ID,
        "outcome": "success",
        "codec": "safe",
        "bytes": len(value),
        "sha256": hashlib.sha256(value).hexdigest(),
        **header,
    }
    return b"SPOOLMW-RESULT 1\n" + json.dumps(tree).encode() + b"\n" + value


def a_task(body: bytes = b"", **changes: object) -> Task:
    ran = Ran(
        attempt=1,
        agent=AgentName("local"),
        outcome=Outcome.SUCCESS,
        cause=Cause.FINISHED,
        blame=Blame.NONE,
        exit_code=0,
        host="lab1",
        slot="0",
        started_at=1763634000.125,
        ended_at=1763634002.5,
        cpu_s=1.25,
        memory_bytes=12345678,
    )
    ending = Ending(
        state=TaskState.DONE,
        cause=Cause.FINISHED,
        blame=Blame.NONE,
        staged=AttemptId(ID, 0, 1),
        body_bytes=len(body),
        digest=hashlib.sha256(body).hexdigest(),
    )
    task = Task(
        seq=1,
        id=ID,
        box="fold",
        dropped="x.task",
        result_name="x",
        spec=Spec(name="fold-17", key="k"),
        submitted_at=1763633999.0,
        state=TaskState.DELIVERING,
        attempt=1,
        ending=ending,
        history=(ran,),
    )
    return replace(task, **changes)  # type: ignore[arg-type]


def a_delivered_file(folder: Path, value: bytes = b"[1,2]") -> Path:
    body = a_body(value)
    path = folder / "x.result"
    path.write_bytes(body + b"\n" + trailer_line(a_task(body)))
    return path


@pytest.mark.parametrize("value", [b"", b"[1,2]", b"\n", b"a\nb\n\n", b"x" * 300_000])
def test_a_delivered_result_is_read_whole(tmp_path: Path, value: bytes) -> None:
    path = a_delivered_file(tmp_path, value)
    header, read_value, trailer = resultfile.read(path)
    assert bytes(read_value) == value
    assert header["outcome"] == "success"
    assert trailer is not None
    assert trailer["state"] == "done"
    assert resultfile.read_trailer(path) == trailer
    assert resultfile.read_head(path) == header


def test_a_staged_result_has_no_trailer_yet(tmp_path: Path) -> None:
    path = tmp_path / "staged"
    path.write_bytes(a_body())
    assert resultfile.read(path).trailer is None


def test_every_beginning_of_a_result_is_refused_or_the_staged_body() -> None:
    body = a_body()
    data = body + b"\n" + trailer_line(a_task(body))
    for length in range(len(data)):
        if length == len(body):
            assert resultfile.parse(data[:length], "x").trailer is None
            continue
        with pytest.raises(BadResultFile):
            resultfile.parse(data[:length], "x")


def test_every_flipped_bit_of_header_and_value_is_found() -> None:
    body = a_body()
    data = bytearray(body + b"\n" + trailer_line(a_task(body)))
    for position in range(len(body)):
        data[position] ^= 1
        with pytest.raises(BadResultFile):
            resultfile.parse(bytes(data), "x")
        data[position] ^= 1


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"SPOOLMW-RESULT 2\n{}\n", "first line"),
        (b"SPOOLMW-RESULT 1\n", "no end"),
        (b"SPOOLMW-RESULT 1\n[]\n", "not a JSON object"),
        (b"SPOOLMW-RESULT 1\n{\n", "not JSON"),
        (b"SPOOLMW-RESULT 1\n" + b"[" * 100_000 + b"\n", "not JSON"),
        (b"SPOOLMW-RESULT 1\n\xff\n", "not JSON"),
        (b'SPOOLMW-RESULT 1\n{"bytes": 5}\nabc', "not whole"),
        (b'SPOOLMW-RESULT 1\n{"bytes": true}\nabc', "not whole"),
        (b'SPOOLMW-RESULT 1\n{"bytes": -1}\nabc', "not whole"),
        (b'SPOOLMW-RESULT 1\n{"bytes": 3}\nabc', "digest"),
        (a_body() + b"\n", "trailer"),
        (a_body() + b"\n{}\n", "no trailer"),
        (a_body() + b'\n{"trailer": 1}\n', "digest"),
        (a_body() + b'\n{"trailer": 2, "digest": ""}\n', "no trailer"),
    ],
)
def test_damage_is_said(data: bytes, says: str) -> None:
    with pytest.raises(BadResultFile, match="is not a whole result file") as caught:
        resultfile.parse(data, "x.result")
    assert says in caught.value.why
    assert "submit the task anew" in caught.value.fix, "what is done is not retried"


@given(st.binary(max_size=200), st.booleans())
def test_any_other_bytes_are_refused_and_nothing_else_happens(data: bytes, magic: bool) -> None:
    with pytest.raises(BadResultFile):
        resultfile.parse(b"SPOOLMW-RESULT 1\n" * magic + data, "x")


def test_the_trailer_tells_the_story_of_the_task() -> None:
    line = trailer_line(a_task(b"body"))
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "trailer": 1,
        "id": ID,
        "name": "fold-17",
        "key": "k",
        "box": "fold",
        "result": "x",
        "state": "done",
        "cause": "finished",
        "blame": "",
        "message": "",
        "digest": hashlib.sha256(b"body").hexdigest(),
        "submitted_at": "2025-11-20T10:19:59.000Z",
        "attempts": [
            {
                "attempt": 1,
                "agent": "local",
                "host": "lab1",
                "slot": "0",
                "outcome": "success",
                "cause": "finished",
                "blame": "",
                "message": "",
                "exit_code": 0,
                "started": "2025-11-20T10:20:00.125Z",
                "ended": "2025-11-20T10:20:02.500Z",
                "seconds": 2.375,
                "cpu_s": 1.25,
                "memory_bytes": 12345678,
            }
        ],
    }


def test_the_trailer_says_the_same_in_every_state_after_the_end_was_decided() -> None:
    task = a_task(b"body")
    assert trailer_line(task) == trailer_line(replace(task, state=TaskState.DONE))


@given(st.text(), st.text(), st.text())
def test_hostile_texts_stay_inside_their_quotes(name: str, message: str, host: str) -> None:
    task = a_task(b"body")
    assert task.ending is not None
    task = replace(
        task,
        spec=Spec(name=name),
        ending=replace(task.ending, message=message),
        history=(replace(task.history[0], host=host),),
    )
    line = trailer_line(task)
    tree = json.loads(line)
    assert line.count(b"\n") == 1
    assert (tree["name"], tree["message"], tree["attempts"][0]["host"]) == (name, message, host)


def test_times_that_are_not_known_are_null() -> None:
    task = a_task(b"body")
    task = replace(task, history=(replace(task.history[0], started_at=0.0, ended_at=0.0),))
    attempt = json.loads(trailer_line(task))["attempts"][0]
    assert attempt["started"] is None
    assert attempt["seconds"] == 0


@pytest.mark.parametrize(
    ("state", "cause", "outcome"),
    [
        (TaskState.CANCELLED, Cause.CANCELLED, "stopped"),
        (TaskState.FAILED, Cause.VANISHED, "error"),
        (TaskState.FAILED, Cause.LAUNCH, "error"),
    ],
)
def test_the_daemon_writes_a_whole_result_where_no_attempt_did(
    tmp_path: Path, state: TaskState, cause: Cause, outcome: str
) -> None:
    ending = Ending(state=state, cause=cause, blame=Blame.USER, message="why\nit ended")
    task = a_task(ending=ending, history=())
    body = daemon_body(task)
    assert body == daemon_body(task)
    path = tmp_path / "x.result"
    path.write_bytes(body + b"\n" + trailer_line(task))
    header, value, trailer = resultfile.read(path)
    assert (header["outcome"], header["cause"]) == (outcome, cause.value)
    assert header["message"] == "why\nit ended"
    assert bytes(value) == b""
    assert trailer is not None
    assert trailer["state"] == state.value


def test_a_copy_names_the_task_that_it_is_a_copy_of() -> None:
    task = a_task(b"body")
    assert task.ending is not None
    first = TaskId("f" * 32)
    line = trailer_line(replace(task, ending=replace(task.ending, copy_of=first)))
    assert json.loads(line)["copy_of"] == first


def test_a_very_long_trailer_is_found_too(tmp_path: Path) -> None:
    body = a_body(b"line\n" * 1000)
    task = a_task(body)
    path = tmp_path / "x.result"
    path.write_bytes(body + b"\n" + trailer_line(replace(task, history=task.history * 2000)))
    assert len(resultfile.read_trailer(path)["attempts"]) == 2000


@pytest.mark.parametrize("data", [b"", b"x", b"\n", b"{}\n", b"abc\n{}\n", b"abc\n{}"])
def test_a_file_without_a_trailer_is_said_to_have_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.result"
    path.write_bytes(data)
    with pytest.raises(BadResultFile):
        resultfile.read_trailer(path)


def test_the_files_lie_beside_the_result() -> None:
    assert resultfile.files_folder(Path("r/job.sh.result")) == Path("r/job.sh.files")
