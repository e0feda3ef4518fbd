"""Threats 1 to 35: what is dropped to break in, to block, to be another, or to be too much.

A refused entry is moved, never opened beyond need and never deleted, with a reason beside it;
the daemon goes on. The parser's own cases stand in tests/unit/format.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from spoolmw import Spool
from spoolmw.format.ids import new_task_id
from tests.support.daemon import Daemon, header, running, trailer
from tests.support.waiting import wait_until
from tests.threats.users import DAEMON, GROUP, MEMBER, STRANGER, acting_as, needs_users, serving

SCRIPT = "#!/bin/sh\necho ran\n"
SECRET = "the secret of somebody else"


@dataclass(frozen=True)
class Bad:
    """One entry that must be refused."""

    number: int  #: in the list of threats
    what: str
    plant: Callable[[Path], None]  #: makes the entry at this path in `incoming/`
    says: str  #: what the reason tells
    name: str = "bad.sh"

    def __str__(self) -> str:
        return f"{self.number}-{self.what}"


def secret_beside(place: Path) -> Path:
    """A file that is none of the submitter's business, outside of the spool."""
    secret = place.parents[2] / "secret"
    secret.write_text(f"#!/bin/sh\n# {SECRET}\n")
    return secret


def link_to_secret(place: Path) -> None:
    place.symlink_to(secret_beside(place))


def link_to_pipe(place: Path) -> None:
    pipe = place.parents[2] / "pipe"
    if not pipe.exists():
        os.mkfifo(pipe)
    place.symlink_to(pipe)


def link_to_nothing(place: Path) -> None:
    place.symlink_to("/nonexistent/file")


def hard_link(place: Path) -> None:
    os.link(secret_beside(place), place)


def unix_socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))


def device(kind: int, major: int, minor: int) -> Callable[[Path], None]:
    return lambda place: os.mknod(place, kind | 0o666, os.makedev(major, minor))


def text(content: str | bytes) -> Callable[[Path], None]:
    data = content.encode() if isinstance(content, str) else content

    def plant(place: Path) -> None:
        half = place.parents[1] / "tmp" / "half"
        half.write_bytes(data)
        half.rename(place)

    return plant


def sparse(place: Path) -> None:
    with open(place, "wb") as file:
        file.write(SCRIPT.encode())
        file.truncate(1 << 40)


def task(body: bytes = b"body", **changes: object) -> bytes:
    """A `.task` file as the helper writes it, but for the changes in its header."""
    tree: dict[str, object] = {
        "name": "forged",
        "body": {
            "codec": "pickle",
            "bytes": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
        },
    }
    return b"SPOOLMW-TASK 1\n" + json.dumps(tree | changes).encode() + b"\n" + body


COMMAND = '[run]\ncommand = ["true"]\n[files]\n'
TASK = b"SPOOLMW-TASK 1\n"

BAD = [
    Bad(1, "a link to a file", link_to_secret, "symbolic link"),
    Bad(1, "a link to a pipe, where opening blocks", link_to_pipe, "symbolic link"),
    Bad(1, "a link to nothing", link_to_nothing, "symbolic link"),
    Bad(2, "a second name of a file", hard_link, "hard links"),
    Bad(3, "a named pipe", os.mkfifo, "named pipe"),
    Bad(4, "a socket", unix_socket, "socket"),
    Bad(6, "a task that is cut off and stays so", text(task()[:-2]), "not whole", "cut.task"),
    Bad(14, "nothing", text(""), "empty"),
    Bad(15, "a header that is cut off", text(TASK + b"{"), "not whole", "head.task"),
    Bad(16, "more than the limit", text(SCRIPT + "#" * 100_000), "max_task_bytes"),
    Bad(17, "something compressed", text(b"\x1f\x8b\x08" + bytes(100)), "#!", "task.gz"),
    Bad(18, "a terabyte of nothing", sparse, "max_task_bytes"),
    Bad(19, "deep brackets", text(TASK + b"[" * 60_000 + b"\n"), "nested", "deep.task"),
    Bad(20, "5,000 digits", text(TASK + b'{"key": ' + b"9" * 5000 + b"}\n"), "JSON", "9.task"),
    Bad(20, "a number that is none", text(TASK + b'{"key": NaN}\n'), "NaN", "nan.task"),
    Bad(20, "a key twice", text(TASK + b'{"key": "a", "key": "b"}\n'), "twice", "twice.task"),
    Bad(20, "too many keys", text(TASK + b"{" + b'"k": 1, ' * 10_000), "64 KiB", "keys.task"),
    Bad(21, "bytes that are no text", text(TASK + b'{"name": "\xff"}\n'), "UTF-8", "utf.task"),
    Bad(21, "a byte-order mark", text("\ufeff#!/bin/sh\necho\n"), "byte-order mark"),
    Bad(
        22,
        "a version of the future",
        text(task().replace(b" 1", b" 99", 1)),
        "version",
        "v.task",
    ),
    Bad(22, "a key of the future", text(task(quorums=2)), "unknown", "future.task"),
    Bad(23, "a list for an id", text(task(id=["a"])), "id", "list.task"),
    Bad(23, "true for a number", text(task(priority=True)), "true or false", "bool.task"),
    Bad(24, "an id that is a path", text(task(id="../../etc/passwd")), "id", "path.task"),
    Bad(24, "an output above", text(COMMAND + 'outputs = ["../x"]\n'), "output", "up.toml"),
    Bad(24, "an input above", text(COMMAND + 'inputs = ["../x"]\n'), "input", "in.toml"),
    Bad(
        24,
        "an input elsewhere",
        text(COMMAND + 'inputs = ["/etc/x"]\n'),
        "allow_paths",
        "e.toml",
    ),
]


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_it_is_refused_with_its_reason_and_kept(daemon: Daemon, bad: Bad) -> None:
    bad.plant(daemon.spool / "incoming" / bad.name)
    reason = refused(daemon, bad.name)
    assert bad.says in reason
    assert SECRET not in reason


def refused(daemon: Daemon, name: str) -> str:
    """The reason of a refused file, which is there and no more in `incoming/`; clears both away."""
    reason = daemon.rejected(name)
    kept = daemon.spool / "rejected" / name
    wait_until(lambda: os.path.lexists(kept))
    assert not os.path.lexists(daemon.spool / "incoming" / name)
    assert not (daemon.spool / "results" / f"{name}.result").exists()
    kept.unlink()
    (daemon.spool / "rejected" / f"{name}.reason").unlink()
    return reason


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make devices")
@pytest.mark.parametrize(
    ("kind", "numbers", "says"),
    [(stat.S_IFCHR, (1, 5), "character device"), (stat.S_IFBLK, (7, 7), "block device")],
)
def test_4_a_device_is_refused(
    daemon: Daemon, kind: int, numbers: tuple[int, int], says: str
) -> None:
    try:
        device(kind, *numbers)(daemon.spool / "incoming" / "device")
    except PermissionError:
        pytest.skip("no devices can be made in this container")
    assert says in refused(daemon, "device")


def test_5_a_folder_in_a_box_is_ignored_and_told(daemon: Daemon) -> None:
    folder = daemon.spool / "incoming" / "box" / "inside"
    folder.mkdir(parents=True)
    (folder / "job.sh").write_text(SCRIPT)
    wait_until(lambda: "is a folder inside a box" in daemon.log_text())
    assert (folder / "job.sh").exists()


def test_7_a_file_that_is_swapped_for_a_link_gives_nothing_away(daemon: Daemon) -> None:
    place = daemon.spool / "incoming" / "swapped.task"
    secret = secret_beside(place)
    ends = time.monotonic() + 2
    number = 0
    while time.monotonic() < ends:
        number += 1
        for made in (
            daemon.spool / "tmp" / f"swap-{number}",
            daemon.spool / "tmp" / f"link-{number}",
        ):
            if made.name.startswith("swap"):
                made.write_bytes(task(id=new_task_id()))
            else:
                made.symlink_to(secret)
            made.rename(place)
    wait_until(lambda: not os.path.lexists(place))
    for folder in ("results", "rejected", "active"):
        for path in (daemon.spool / folder).rglob("*"):
            if path.is_file() and not path.is_symlink():
                assert SECRET.encode() not in path.read_bytes()


@needs_users
@pytest.mark.parametrize("name", ["foreign.sh", "foreign.task", "foreign.toml"])
def test_10_11_a_file_of_a_stranger_is_refused(daemon: Daemon, name: str) -> None:
    with acting_as(STRANGER):
        (daemon.spool / "incoming" / name).write_text(SCRIPT)
    assert f"belongs to user {STRANGER.uid}" in refused(daemon, name)


@needs_users
def test_10_a_strangers_link_to_a_file_of_ours_is_refused(daemon: Daemon) -> None:
    secret = secret_beside(daemon.spool / "incoming" / "x")
    with acting_as(STRANGER):
        (daemon.spool / "incoming" / "link.sh").symlink_to(secret)
    assert "symbolic link" in refused(daemon, "link.sh")
    assert secret.exists()


@needs_users
def test_8_a_member_who_keeps_the_file_open_cannot_change_an_accepted_task() -> None:
    with serving() as daemon:
        daemon.ctl("pause", "local")
        half, place = daemon.spool / "tmp" / "half", daemon.spool / "incoming" / "kept.sh"
        with acting_as(MEMBER):
            kept = os.open(half, os.O_WRONLY | os.O_CREAT, 0o640)
            os.chown(half, -1, GROUP)
            os.write(kept, b"#!/bin/sh\necho accepted\n")
            half.rename(place)
        [row] = wait_until(lambda: daemon.ctl_json("ls"))
        os.write(kept, b"echo added later\n")
        os.close(kept)
        [accepted] = (daemon.spool / "active").glob(f"*/{row['id']}~*")
        assert accepted.stat().st_uid == DAEMON.uid
        assert stat.S_IMODE(accepted.stat().st_mode) & 0o222 == 0
        daemon.ctl("resume", "local")
        files = daemon.result("kept.sh").with_suffix(".files")
        assert (files / "stdout").read_text() == "accepted\n"


@pytest.mark.parametrize("place", ["", "spool", "spool/incoming", "spool/active"])
def test_12_a_place_that_everybody_may_write_to_is_refused(ground: Path, place: str) -> None:
    with running(ground) as daemon:
        assert daemon.stop() == 0
        (ground / place).chmod(0o777)
        daemon.start(wait=False)
        assert daemon.wait_exit() == 2
        assert "may be written by everybody" in daemon.log_text()
        (ground / place).chmod(0o755)


def test_24_29_names_that_could_do_harm_are_refused_and_never_shown_raw(daemon: Daemon) -> None:
    names = [
        b"new\nline.sh",
        b"\x1b[31mred.sh",
        b"\x1b]0;title\x07.sh",
        "right\u202eto-left.sh".encode(),
        b"\xff\xfe.sh",
        b"-rf",
        "e\u0301.sh".encode(),
        b"x" * 200 + b".sh",
    ]
    incoming = os.fsencode(daemon.spool / "incoming")
    for name in names:
        half = os.fsencode(daemon.spool / "tmp" / "half")
        Path(os.fsdecode(half)).write_text(SCRIPT)
        os.rename(half, incoming + b"/" + name)
    wait_until(lambda: not any(os.path.lexists(incoming + b"/" + name) for name in names))
    rejected = daemon.spool / "rejected"
    wait_until(lambda: len(list(rejected.glob("*.reason"))) >= len(names))
    for path in rejected.iterdir():
        assert path.name.isascii()
        assert path.name.isprintable()
        path.unlink()
    log = daemon.log_text()
    assert "\x1b" not in log
    assert "\u202e" not in log
    assert all(
        line.split(" ", 1)[0] in ("info", "warning", "error") for line in log.splitlines()
    )


def test_25_26_an_id_that_is_known_means_the_same_task_or_is_refused(daemon: Daemon) -> None:
    spool = Spool(daemon.spool).options(keep=True)
    submitted = spool.submit(divmod, 7, 2)
    assert submitted.result(timeout=60) == (3, 1)
    first = submitted.path.read_bytes()
    body = b"another body"
    text(task(body, id=submitted.id))(daemon.spool / "incoming" / "forged.task")
    assert "belongs to another task" in refused(daemon, "forged.task")
    assert submitted.path.read_bytes() == first


def test_25_the_same_file_dropped_again_runs_once(daemon: Daemon) -> None:
    runs = daemon.home / "runs"
    run = {"command": ["sh", "-c", f"echo x >>{runs}"]}
    data = (
        b"SPOOLMW-TASK 1\n"
        + json.dumps({"id": new_task_id(), "name": "again", "run": run}).encode()
        + b"\n"
    )
    place = daemon.spool / "incoming" / "again.task"
    text(data)(place)
    daemon.result("again")
    text(data)(place)
    wait_until(lambda: not place.exists())
    assert not (daemon.spool / "rejected" / "again.task").exists()
    assert runs.read_text() == "x\n"


def test_28_one_box_with_thousands_of_files_does_not_starve_another(daemon: Daemon) -> None:
    full = daemon.spool / "incoming" / "full"
    full.mkdir()
    for number in range(3000):
        (full / f"{number}.task").write_bytes(b"SPOOLMW-TASK 1\n[]\n")
    daemon.drop("small.sh", SCRIPT, box="other")
    daemon.result("other/small.sh")
    wait_until(lambda: not any(full.iterdir()), timeout_s=60)
    assert len(list((daemon.spool / "rejected" / "full").glob("*.reason"))) == 3000


def test_31_a_file_that_its_owner_takes_back_in_time_is_no_matter(daemon: Daemon) -> None:
    place = daemon.spool / "incoming" / "back.sh"
    place.write_text(SCRIPT)
    place.unlink()
    daemon.drop("next.sh", SCRIPT)
    daemon.result("next.sh")
    assert not (daemon.spool / "results" / "back.sh.result").exists()


@pytest.mark.parametrize("when", [0, -(10**6), 2**33], ids=["1970", "before", "2242"])
def test_32_a_files_time_means_nothing(daemon: Daemon, when: int) -> None:
    half = daemon.spool / "tmp" / "half"
    half.write_text(SCRIPT)
    os.utime(half, (when, when))
    name = f"dated{when}.sh"
    half.rename(daemon.spool / "incoming" / name)
    assert trailer(daemon.result(name))["state"] == "done"


def test_35_the_longest_names_have_a_result(daemon: Daemon) -> None:
    name = "n" * 125 + ".sh"
    daemon.drop(name, SCRIPT, box="b" * 64)
    assert header(daemon.result(f"{'b' * 64}/{name}"))["outcome"] == "success"
    daemon.drop(name, SCRIPT, box="b" * 64)
    wait_until(lambda: len(list((daemon.spool / "results" / ("b" * 64)).glob("*.result"))) == 2)


def test_a_file_that_grows_while_it_is_read_is_taken_when_it_is_whole(daemon: Daemon) -> None:
    data = task(b"x" * 5000, id=new_task_id())
    place = daemon.spool / "incoming" / "grows.task"

    def write() -> None:
        with open(place, "wb", buffering=0) as file:
            for start in range(0, len(data), 500):
                file.write(data[start : start + 500])
                time.sleep(0.02)  # a slow writer is what is tested

    writer = threading.Thread(target=write)
    writer.start()
    writer.join()
    result = daemon.result("grows")
    assert trailer(result)["state"] == "failed"  # its body is no call, but it was taken whole
    assert not (daemon.spool / "rejected" / "grows.task").exists()
