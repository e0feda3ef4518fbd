"""Files of BOINC jobs: what is listed for download, and what comes as an upload."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from spoolmw.agents.boinclink import listing
from spoolmw.agents.boinclink.listing import Listed, Lister
from spoolmw.agents.boinclink.uploads import Uploads
from spoolmw.agents.carrier.book import Given
from spoolmw.errors import AgentError
from spoolmw.runner.order import lines
from tests.support.boinclab import Lab

A = "a" * 32 + ".0.1"


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def test_an_attempt_needs_its_order_its_task_and_its_inputs(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    digest = lab.bench.input(b"much " * 400_000)
    wants = [{"name": "in.txt", "sha256": digest, "bytes": 2_000_000}]
    work = lab.bench.command("true", inputs=wants)
    name = str(work.attempt)
    kind = {"command": True, "avoid": ["pc-1"], "taken": ["x"], "distinct": "host"}
    given = Given(name, work.token, str(work.path), kind)
    packet = lines(name, work.token, str(work.path))
    listed = Lister(lab.brief, b"s" * 32).list_up(given, packet)
    order, task, large = listed.files
    told = json.loads(listed.order)
    assert told["work"] == [[{"command": True}, [packet]]]  # who else votes is nobody's matter
    assert told["setup"]["values"] == "safe"
    assert (order.open_name, order.md5) == ("order.json", md5(listed.order))
    data = (tmp_path / str(work.path)).read_bytes()
    assert (task.name, task.md5) == (f"c_{hashlib.sha256(data).hexdigest()}", md5(data))
    assert (large.name, large.is_copied, task.is_copied) == (f"c_{digest}", False, True)
    assert {each[1] for each in told["files"]} == {task.open_name, large.open_name}
    assert Listed.of(json.loads(json.dumps(listed.told())), listed.order) == listed


def test_an_order_has_a_name_that_nobody_guesses_and_that_is_always_the_same() -> None:
    name = listing.order_name(b"s" * 32, A, "t" * 32)
    assert listing.attempt_of(name) == A
    assert name == listing.order_name(b"s" * 32, A, "t" * 32)
    assert name != listing.order_name(b"z" * 32, A, "t" * 32)
    for other in ("", "order_", f"order_{A}", f"{name}x", f"x{name}", f"c_{'0' * 64}"):
        assert listing.attempt_of(other) == ""


def test_a_file_that_changed_is_read_again_and_one_that_is_gone_is_said_so(
    tmp_path: Path,
) -> None:
    digests = listing.Digests()
    path = tmp_path / "x"
    path.write_bytes(b"one")
    assert digests.of(str(path)).md5 == md5(b"one")
    path.write_bytes(b"other")
    assert digests.of(str(path)).md5 == md5(b"other")
    lab = Lab(tmp_path)
    with pytest.raises(AgentError, match="cannot be made"):
        Lister(lab.brief, b"s").list_up(Given(A, "t" * 32, "active/gone"), f"{A}\nt\nx")


def test_an_upload_in_pieces_gets_its_name_at_its_end(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "u")
    data = os.urandom(5000)
    first = uploads.begin(A, 0, len(data))
    assert first is not None
    first.write(data[:2000])
    first.close()
    assert (uploads.size(A), uploads.has(A)) == (1999, False)
    assert uploads.begin(A, 3000, len(data)) is None  # a part is missing
    second = uploads.begin(A, 1000, len(data))
    assert second is not None
    second.write(data[1000:] + b"too much")
    assert second.finish(md5(data))
    assert uploads.path(A).read_bytes() == data
    assert uploads.path(A).stat().st_mode & 0o077 == 0
    uploads.remove(A)
    assert (uploads.size(A), os.listdir(tmp_path / "u")) == (0, [])


def test_another_content_than_was_said_is_thrown_away(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "u")
    coming = uploads.begin(A, 0, 4)
    assert coming is not None
    coming.write(b"evil")
    assert not coming.finish(md5(b"good"))
    short = uploads.begin(A, 0, 4)
    assert short is not None
    short.write(b"goo")
    assert not short.finish("")
    assert not os.listdir(tmp_path / "u")


@pytest.mark.parametrize("good_syncs", [0, 1])
def test_of_what_could_not_be_synced_nothing_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good_syncs: int
) -> None:
    """Else the client is told that nearly all is there, and the next sync says that all is well."""
    uploads = Uploads(tmp_path / "u")
    coming = uploads.begin(A, 0, 4)
    assert coming is not None
    coming.write(b"data")
    syncs = iter([None] * good_syncs)

    def sync(_: int) -> None:
        if next(syncs, "bad") == "bad":
            raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", sync)
        with pytest.raises(OSError, match="Input/output"):
            coming.finish("")
    assert (uploads.size(A), uploads.has(A)) == (0, False)
    whole = uploads.begin(A, 0, 4)
    assert whole is not None
    whole.write(b"data")
    assert whole.finish("")
    assert uploads.has(A)


def test_what_finds_no_room_is_not_begun_and_what_nobody_knows_is_swept(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "u")
    with pytest.raises(OSError, match="room") as told:
        uploads.begin(A, 0, 1 << 60)
    assert told.value.errno == errno.ENOSPC
    for name in (A, "b.part", "c"):
        (tmp_path / "u" / name).write_bytes(b"x")
    uploads.sweep({A, "c"})
    assert sorted(os.listdir(tmp_path / "u")) == [A, "c"]
