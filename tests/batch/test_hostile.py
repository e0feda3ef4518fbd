"""What a job brings back is believed in nothing: each kind of wrong `out/`, and of wrong checkpoint."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spoolmw.agents.batch import collecting, saving
from spoolmw.agents.carrier.claims import Garbage
from spoolmw.runner import checkpoint
from tests.support.attempts import Bench
from tests.support.batchjob import BatchSystem, Job

Tree = dict[str, Any]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job with two output files, that did its work as it should."""
    base = tmp_path_factory.mktemp("done")
    (base / "execute").mkdir()
    bench = Bench(base / "home")
    system = BatchSystem(base / "execute", bench)
    job = system.job(bench.command("/bin/sh", "-c", "echo one >a; mkdir d; echo two >d/b"))
    assert job.run() == 0
    return job


@pytest.fixture
def out(done: Job) -> Path:
    """What it brought back, to be spoilt."""
    return done.bring_back()


def collect(done: Job) -> collecting.Collected:
    return collecting.collect(done.home / "out", done.system.root, done.given)


def refused(done: Job, match: str) -> None:
    """It is refused, and nothing of it is in the spool."""
    with pytest.raises(Garbage, match=match):
        collect(done)
    assert list((done.system.root / "stage").iterdir()) == []


def change(out: Path, act: Callable[[Tree], object]) -> None:
    """Change what the report says."""
    path = out / "report.json"
    told = json.loads(path.read_bytes())
    act(told)
    path.write_text(json.dumps(told))


def test_what_nobody_spoilt_is_taken(done: Job, out: Path) -> None:
    collect(done)
    collect(done)  # a daemon that died before it committed
    bench = done.system.bench
    assert bench.files(done.work) == {
        **{"stdout": b"", "stderr": b""},
        **{"a": b"one\n", "d/b": b"two\n"},
    }
    shutil.rmtree(done.system.root / "stage")
    (done.system.root / "stage").mkdir()


def test_no_folder_at_all(done: Job, out: Path) -> None:
    shutil.rmtree(out)
    refused(done, "cannot be read")


def test_a_link_in_its_place(done: Job, out: Path, tmp_path: Path) -> None:
    out.rename(tmp_path / "elsewhere")
    out.symlink_to(tmp_path / "elsewhere")
    refused(done, "cannot be read")
    out.unlink()


def test_a_name_that_none_of_ours_has(done: Job, out: Path) -> None:
    (out / "more").touch()
    refused(done, "'more'")


def test_no_report(done: Job, out: Path) -> None:
    (out / "report.json").unlink()
    refused(done, "report.json")
    assert collecting.refusal(out) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", "[" * 100_000, '{"format":1}'])
def test_a_report_that_is_none(done: Job, out: Path, text: str) -> None:
    (out / "report.json").write_text(text)
    refused(done, "is not JSON|is no object|entry that is none")


def test_a_report_without_end(done: Job, out: Path) -> None:
    with open(out / "report.json", "r+b") as file:
        file.truncate(17 << 20)
    refused(done, "at most")


@pytest.mark.parametrize("name", ["report.json", "result", "log", "files", "files/1"])
def test_a_link(done: Job, out: Path, tmp_path: Path, name: str) -> None:
    (out / name).rename(tmp_path / "kept")
    (out / name).symlink_to(tmp_path / "kept")
    refused(done, "cannot be read")


@pytest.mark.parametrize("name", ["report.json", "result", "log", "files/1"])
def test_something_that_is_no_file(done: Job, out: Path, name: str) -> None:
    (out / name).unlink()
    os.mkfifo(out / name)
    refused(done, "no file")
    (out / name).unlink()
    (out / name).mkdir()
    refused(done, "no file")


@pytest.mark.parametrize("name", ["result", "log", "files/0", "files/3"])
def test_other_bytes(done: Job, out: Path, name: str) -> None:
    data = (out / name).read_bytes()
    (out / name).write_bytes(bytes([data[0] ^ 1]) + data[1:] if data else b"x")
    refused(done, "another digest|at most 0")


@pytest.mark.parametrize("name", ["result", "files/1"])
def test_fewer_or_more_bytes(done: Job, out: Path, name: str) -> None:
    data = (out / name).read_bytes()
    (out / name).write_bytes(data[:-1])
    refused(done, "shorter")
    (out / name).write_bytes(data + b"x")
    refused(done, "at most")


@pytest.mark.parametrize("act", ["less", "more", "strange"])
def test_other_files_than_are_named(done: Job, out: Path, act: str) -> None:
    if act == "less":
        (out / "files" / "2").unlink()
    else:
        (out / "files" / ("4" if act == "more" else "..x")).touch()
    refused(done, "other output files|more than 4")


FAULTS: dict[str, tuple[str, Callable[[Tree], object]]] = {
    "attempt": ("from the job of", lambda t: t["report"].update(attempt="0" * 32 + ".0.1")),
    "attempt that leads elsewhere": (
        "no attempt",
        lambda t: t["report"].update(attempt="../x"),
    ),
    "token": ("another's token", lambda t: t["report"].update(token="0" * 32)),
    "no token": ("without token", lambda t: t["report"].pop("token")),
    "no digest": ("without a result", lambda t: t["report"].pop("digest")),
    "digest": ("another digest", lambda t: t["report"].update(digest="0" * 64)),
    "length": ("no number", lambda t: t["report"].update(body_bytes=1 << 50)),
    "negative length": ("no number", lambda t: t["report"].update(body_bytes=-1)),
    "length that is a text": ("no number", lambda t: t["report"].update(body_bytes="7")),
    "outcome": ("is none of", lambda t: t["report"].update(outcome="stopped")),
    "cause": ("is none of", lambda t: t["report"].update(cause="mood")),
    "time": ("no time", lambda t: t["report"].update(ended=float("nan"))),
    "no files": ("without a report", lambda t: t.pop("files")),
    "files denied": ("without a report", lambda t: t["report"].pop("files")),
    "name above": ("out of its folder", lambda t: t["files"][0].__setitem__(0, "../x")),
    "name at the root": ("out of its folder", lambda t: t["files"][0].__setitem__(0, "/x")),
    "no name": ("without a name", lambda t: t["files"][0].__setitem__(0, "")),
    "name with a zero": ("without a name", lambda t: t["files"][0].__setitem__(0, "a\0b")),
    "name that is long": ("too long", lambda t: t["files"][0].__setitem__(0, "a" * 300)),
    "name that is a number": ("without a name", lambda t: t["files"][0].__setitem__(0, 7)),
    "name twice": ("other bytes", lambda t: t["files"][0].__setitem__(0, t["files"][1][0])),
    "name that is another's folder": (
        "other's way",
        lambda t: t["files"][1].__setitem__(0, "a/b"),
    ),
    "name that is an earlier one's folder": (
        "other's way",
        lambda t: (t["files"][0].__setitem__(0, "x/y"), t["files"][1].__setitem__(0, "x")),
    ),
    "sum": ("other bytes", lambda t: t.update(bytes=t["bytes"] + 1)),
    "digests": ("without digests", lambda t: t["digests"].pop()),
    "a digest": ("another digest", lambda t: t["digests"].__setitem__(2, "0" * 64)),
    "a digest that is none": ("no digest", lambda t: t["digests"].__setitem__(2, None)),
    "host": ("without host", lambda t: t.update(host=["x"])),
    "log": ("without a log", lambda t: t.update(log=7)),
    "news": ("odd news", lambda t: t.update(news=[{"event": "ended", "attempts": []}])),
    "news without end": ("odd news", lambda t: t.update(news=[{}] * 1000)),
    "news of another": (
        "news of another",
        lambda t: t.update(
            news=[
                {
                    "event": "progress",
                    "attempts": [{"attempt": "0" * 32 + ".0.1", "fraction": 1, "text": ""}],
                }
            ]
        ),
    ),
    "format": ("another format", lambda t: t.update(format=2)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_claim_that_is_wrong(done: Job, out: Path, fault: str) -> None:
    match, act = FAULTS[fault]
    change(out, act)
    refused(done, match)


def test_more_output_than_the_task_may_have(done: Job, out: Path) -> None:
    size = (1 << 31) + (65 << 20)
    with open(out / "files" / "0", "wb") as file:
        file.truncate(size)

    def claim(told: Tree) -> None:
        told["bytes"] += size - told["files"][0][2]
        told["files"][0][2] = size

    change(out, claim)
    refused(done, "more output than it may")


def test_a_loss_brings_neither_result_nor_files(done: Job, out: Path) -> None:
    change(out, lambda told: told["report"].update(outcome="lost", cause="vanished"))
    refused(done, "without a report")


@pytest.mark.parametrize("text", ["", "[]", '{"code":"x","what":[1]}', "[" * 100_000])
def test_a_trouble_that_is_odd(tmp_path: Path, text: str) -> None:
    (tmp_path / "trouble.json").write_text(text)
    told = collecting.refusal(tmp_path)
    assert told is None or (told.code, told.what) == (0, "")


# -- checkpoints


@pytest.fixture
def saved(done: Job, tmp_path: Path) -> Path:
    """A job's checkpoints: two, of one file each."""
    task, replica, number = done.work.attempt
    owner = checkpoint.Owner(str(tmp_path / "checkpoints"), task, replica)
    for sequence in (1, 2):
        with checkpoint.Draft(owner, (number, sequence), "command") as draft:
            pen = draft.pen("files/state")
            pen.write(b"state %d" % sequence)
            draft.keep("files/state", pen)
            draft.seal()
    shutil.rmtree(done.system.root / "checkpoints", ignore_errors=True)
    return Path(owner.folder)


def brought(done: Job, saved: Path) -> list[str]:
    """What of it is in the spool afterwards."""
    saving.bring(saved.parents[1], done.system.root, done.given)
    return done.system.bench.checkpoints(done.work)


def remake(folder: Path, act: Callable[[Tree], object]) -> None:
    """Change what a manifest says, its own digest too."""
    path = folder / "MANIFEST"
    told = json.loads(path.read_bytes())
    del told["sha256"]
    act(told)
    path.write_bytes(checkpoint.encoded(told))


def test_the_newest_is_brought_home(done: Job, saved: Path) -> None:
    assert brought(done, saved) == ["1-2"]


SPOILT: dict[str, Callable[[Path], object]] = {
    "cut": lambda p: (p / "files/state").write_bytes(b"stat"),
    "changed": lambda p: (p / "files/state").write_bytes(b"state 3"),
    "gone": lambda p: (p / "files/state").unlink(),
    "no manifest": lambda p: (p / "MANIFEST").unlink(),
    "no manifest's digest": lambda p: (p / "MANIFEST").write_bytes(b"{}"),
    "link": lambda p: ((p / "files").rename(p / "x"), (p / "files").symlink_to(p / "x")),
    "fifo": lambda p: ((p / "files/state").unlink(), os.mkfifo(p / "files/state")),
    "another's": lambda p: remake(p, lambda t: t.update(task="0" * 32)),
    "another number": lambda p: remake(p, lambda t: t.update(sequence=7)),
    "name above": lambda p: remake(p, lambda t: t["files"][0].update(name="../../x")),
    "no list": lambda p: remake(p, lambda t: t.update(files=7)),
    "no length": lambda p: remake(p, lambda t: t["files"][0].update(bytes="x")),
    "odd time": lambda p: remake(p, lambda t: t.update(saved_at="now")),
    "in the way": lambda p: remake(
        p,
        lambda t: t["files"].append(
            {"name": "files", "bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}
        ),
    ),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_a_damaged_one_is_passed_over(done: Job, saved: Path, fault: str) -> None:
    SPOILT[fault](saved / "1-2")
    assert brought(done, saved) == ["1-1"]


def test_those_of_other_attempts_are_not_looked_at(done: Job, saved: Path) -> None:
    (saved / "1-2").rename(saved / "9-2")
    (saved / "1-x").mkdir()
    (saved / "1-1").rename(saved / "1-01")
    assert brought(done, saved) == []


def test_no_folder_of_checkpoints(done: Job, tmp_path: Path) -> None:
    assert saving.bring(tmp_path / "none", done.system.root, done.given) is None
    assert saving.bring(tmp_path, done.system.root, done.given) is None
