"""Threat 37: a host that is anybody's returns what would run code where it is unpickled.

What it uploads is landed in a process where every way to unpickle is mined; what would get through
nevertheless is not decoded by who reads the result, and what it says of itself is not believed.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spoolmw.client import Spool
from spoolmw.client.future import SpoolTask
from spoolmw.client.outcome import NotOurs, read_ended
from spoolmw.ctl.delivered import Delivery as Delivered
from spoolmw.ctl.result import _value, _value_text
from spoolmw.daemon.deliver import Delivery
from spoolmw.errors import BadResultFile, TaskFailed
from spoolmw.format.resultfile import read
from spoolmw.format.taskfile import read_header
from spoolmw.model.agent import Launch
from spoolmw.runner import onefile, results
from spoolmw.spooldir.layout import Layout
from tests.support.answering import AnsweringMachine, a_parsed_task, asking
from tests.support.attempts import Bench
from tests.support.batchjob import BatchSystem, executing
from tests.support.daemon import ROOT
from tests.threats.test_unpickling import Bomb

#: Lands an upload with every mine laid; prints what came of it.
LANDING = """
import json, sys
from pathlib import Path
from tests.threats import booby_trapped
booby_trapped.arm()
from spoolmw.agents.boinclink.landing import Lander
from spoolmw.agents.carrier.book import Given
root, upload, attempt, token, path, trusted = sys.argv[1:]
lander = Lander(Path(root), Path(root) / "tmp" / "landing", is_trusted=trusted == "yes")
landed = lander.land(Given(attempt, token, path, {}), Path(upload), 1 << 30)
told = landed.lost or {"outcome": landed.entry["outcome"]}
print(json.dumps(dict(told)))
"""


def bomb() -> Any:
    return Bomb(Path("exploded"))


def fail() -> None:
    raise LookupError("told")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "home")


@pytest.fixture
def system(tmp_path: Path, bench: Bench) -> Iterator[BatchSystem]:
    with executing(tmp_path, bench) as made:
        yield made


def uploaded(system: BatchSystem, work: Launch, target: Path) -> Path:
    """What a host uploads that was not told, or does not care, which values are taken."""
    job = system.job(work)
    assert job.run() == 0, job.said
    onefile.pack(str(job.sandbox / "out"), str(target))
    return target


def landed(bench: Bench, work: Launch, upload: Path, *, trusted: bool = False) -> Any:
    """What an agent's server makes of it."""
    words = (bench.root, upload, work.attempt, work.token, work.path, "yes" if trusted else "")
    done = subprocess.run(
        [sys.executable, "-c", LANDING, *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("function", [bomb, fail])
def test_a_pickle_is_never_landed_from_a_host_that_is_not_trusted(
    bench: Bench, system: BatchSystem, tmp_path: Path, function: Any
) -> None:
    work = bench.call(function)
    upload = uploaded(system, work, tmp_path / "upload")
    told = landed(bench, work, upload)
    assert "not with the safe codec" in told["message"]
    assert not bench.staged(work).exists()
    assert landed(bench, work, upload, trusted=True)["outcome"] in ("success", "error")


def test_a_value_in_the_safe_codec_is(
    bench: Bench, system: BatchSystem, tmp_path: Path
) -> None:
    work = bench.call(pow, 2, 10)
    told = landed(bench, work, uploaded(system, work, tmp_path / "upload"))
    assert told["outcome"] == "success"
    assert bench.value(work) == 1024


# -- who reads a result that says it is a pickle, should there be one


@pytest.fixture
def machine(tmp_path: Path) -> AnsweringMachine:
    return AnsweringMachine(tmp_path / "spool")


@pytest.fixture
def spool(machine: AnsweringMachine) -> Iterator[Spool]:
    with asking(machine) as made:
        yield made


def a_pickled(place: Path, codec: str) -> results.Ended:
    """A result that explodes where it is unpickled."""
    ended = results.Ended()
    if codec == "pickle-exception":
        ended = results.failed("exception", "LookupError: told")
        ended.exception = {"type": "LookupError", "module": "builtins", "message": "told"}
    ended.codec, ended.value = codec, [pickle.dumps(Bomb(place))]
    return ended


def answer(
    machine: AnsweringMachine, task: SpoolTask, ended: results.Ended, *, trusted: bool
) -> Path:
    [(box, path)] = machine.waiting()
    data = path.read_bytes()
    path.unlink()
    parsed = read_header(data[:65536], size=len(data), dropped=path.name)
    return machine.deliver(box, path.name, parsed, ended, trusted=trusted)


def test_a_caller_decodes_no_pickle_that_is_marked(
    spool: Spool, machine: AnsweringMachine, tmp_path: Path
) -> None:
    task = spool.submit(abs, 1)
    answer(machine, task, a_pickled(tmp_path / "mark", "pickle"), trusted=False)
    with pytest.raises(BadResultFile, match="host that is not trusted"):
        task.result(60)
    assert not (tmp_path / "mark").exists()


def test_nor_an_exception_whose_text_is_told_instead(
    spool: Spool, machine: AnsweringMachine, tmp_path: Path
) -> None:
    task = spool.submit(abs, 1)
    answer(machine, task, a_pickled(tmp_path / "mark", "pickle-exception"), trusted=False)
    with pytest.raises(TaskFailed, match="told"):
        task.result(60)
    assert not (tmp_path / "mark").exists()


def test_a_value_in_the_safe_codec_is_read_from_anybody(
    spool: Spool, machine: AnsweringMachine
) -> None:
    ended = results.Ended()
    ended.codec, ended.value = "safe", [b"5"]
    task = spool.submit(abs, 1)
    answer(machine, task, ended, trusted=False)
    assert task.result(60) == 5


def test_a_result_without_the_mark_is_one_of_a_host_that_is_trusted(
    spool: Spool, machine: AnsweringMachine, tmp_path: Path
) -> None:
    task = spool.submit(abs, 1)
    answer(machine, task, a_pickled(tmp_path / "mark", "pickle"), trusted=True)
    task.result(60)
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("tail", [b"", b"\n", b" ", b'"', b"{", b"[", b'{"x":', b"\n{}"])
def test_the_mark_cannot_be_taken_away_by_what_a_host_wrote(
    spool: Spool, machine: AnsweringMachine, tmp_path: Path, tail: bytes
) -> None:
    """Its header says that the value ends before bytes that look like a trailer of the daemon's."""
    task = spool.submit(abs, 1)
    ended = a_pickled(tmp_path / "mark", "pickle")
    value = bytes(ended.value[0])
    whole = answer(machine, task, ended, trusted=False).read_bytes()
    said = b'"bytes":%d' % len(value)
    start = whole.index(b"\n", len(results.MAGIC)) + 1
    body = whole[:start] + value
    told = {"trailer": 1, "id": task.id, "state": "done"}
    forged = json.dumps({**told, "digest": hashlib.sha256(body).hexdigest()}).encode()
    daemons = whole[len(body) :]
    assert said in whole
    assert isinstance(read_or_refused(task, body + b"\n" + forged + b"\n"), Bomb | None)
    (
        tmp_path / "mark"
    ).unlink()  # that was no daemon's file: the mines go off where there is none
    assert isinstance(
        read_or_refused(task, body + b"\n" + forged + tail + daemons), BadResultFile
    )
    assert not (tmp_path / "mark").exists()


def read_or_refused(task: SpoolTask, data: bytes) -> object:
    """The value in a result file, or why there is none."""
    try:
        ended, _ = read_ended(task, data)
    except NotOurs as refused:
        return refused.reason
    return ended.error or ended.value


def test_a_result_names_no_file_beside_its_own(spool: Spool, machine: AnsweringMachine) -> None:
    task = spool.command(["true"])
    ended = results.Ended()
    ended.exit_code = 0
    names = ("fold.csv", "/etc/passwd", "../other.files/x", "a/../../x")
    ended.files = [{"name": name, "bytes": 0, "sha256": results.EMPTY} for name in names]
    path = answer(machine, task, ended, trusted=False)
    value: Any = read_or_refused(task, path.read_bytes())
    assert value.files == {"fold.csv": task.files / "fold.csv"}


@pytest.mark.parametrize("trusted", [True, False])
def test_no_option_of_the_program_loads_it(
    machine: AnsweringMachine, tmp_path: Path, *, trusted: bool
) -> None:
    ended = a_pickled(tmp_path / "mark", "pickle")
    path = machine.deliver("", "t.task", a_parsed_task("0" * 32), ended, trusted=trusted)
    delivery = Delivered(path, tmp_path / "none", read(path))
    assert _value(delivery, unpickle=False) == (False, None)
    assert not (tmp_path / "mark").exists()
    assert _value(delivery, unpickle=True)[0] is trusted
    assert (tmp_path / "mark").exists() is trusted
    assert ("nobody loads it" in _value_text(delivery, unpickle=True)) is not trusted


def test_a_copy_of_a_result_is_marked_as_the_result_is(
    spool: Spool, machine: AnsweringMachine, tmp_path: Path
) -> None:
    class First:
        id = ""
        box = ""
        result_name = ""

    first: Any = First()
    task = spool.submit(abs, 1)
    path = answer(machine, task, a_pickled(tmp_path / "mark", "pickle"), trusted=False)
    first.id, first.result_name = task.id, path.name.removesuffix(".result")
    twin: Any = First()
    twin.id = "0" * 32
    copied = Delivery(Layout(machine.layout.root)).copy_delivered(first, twin)
    assert copied is not None
    assert not copied.trusted
