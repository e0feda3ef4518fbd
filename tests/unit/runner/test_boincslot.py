from __future__ import annotations

from pathlib import Path

import pytest

from spoolmw.runner import boincslot
from spoolmw.runner.boincslot import Channels


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    folder = tmp_path / "slots" / "0"
    folder.mkdir(parents=True)
    (folder / boincslot.SHARED).write_bytes(bytes(8192))
    return folder


def test_a_message_is_taken_once(slot: Path) -> None:
    channels = Channels(str(slot))
    raw = bytearray((slot / boincslot.SHARED).read_bytes())
    raw[4 * 1024 : 4 * 1024 + 14] = b"\1<heartbeat/>\0"
    (slot / boincslot.SHARED).write_bytes(raw)
    assert channels.take("process_control_request") == b""
    assert channels.take("heartbeat") == b"<heartbeat/>"
    assert channels.take("heartbeat") == b""
    channels.close()


def test_the_last_word_counts_and_stays_in_its_place(slot: Path) -> None:
    channels = Channels(str(slot))
    channels.put("app_status", b"first, and longer")
    channels.put("app_status", b"last")
    channels.close()
    raw = (slot / boincslot.SHARED).read_bytes()
    assert raw[5 * 1024 : 5 * 1024 + 6] == b"\1last\0"
    assert not any(raw[: 5 * 1024])
    assert not any(raw[6 * 1024 :])


def test_a_word_that_is_too_long_is_cut(slot: Path) -> None:
    channels = Channels(str(slot))
    channels.put("app_status", b"x" * 5000)
    assert channels.take("app_status") == b"x" * 1022
    assert not any((slot / boincslot.SHARED).read_bytes()[6 * 1024 :])
    channels.close()


@pytest.mark.parametrize("size", [None, 0, 100])
def test_without_a_clients_memory_there_are_no_channels(slot: Path, size: int | None) -> None:
    path = slot / boincslot.SHARED
    path.unlink()
    if size is not None:
        path.write_bytes(bytes(size))
    with pytest.raises((OSError, ValueError)):
        Channels(str(slot))


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("<soft_link>../../projects/p/x</soft_link>\n", "projects/p/x"),
        ("<soft_link>../../projects/p/a b</soft_link>", "projects/p/a b"),
        ("<soft_link>/etc/passwd</soft_link>", ""),
        ("<soft_link>../../slots/1/x</soft_link>", ""),
        ("<soft_link>../../projects/p/x</soft_link> and more", ""),
        ("abc", ""),
        ("", ""),
    ],
)
def test_links_of_the_client_lead_to_the_projects_files(
    slot: Path, text: str, target: str
) -> None:
    (slot / "name").write_text(text)
    expected = slot.parent.parent / target if target else slot / "name"
    assert boincslot.real(str(slot), "name") == str(expected)


def test_a_file_that_is_not_there_has_its_own_place(slot: Path) -> None:
    assert boincslot.real(str(slot), "out.bin") == f"{slot}/out.bin"


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("<wu_cpu_time>1.5e1</wu_cpu_time><client_pid>77</client_pid>", (15.0, 77)),
        ("<wu_cpu_time>nan</wu_cpu_time><client_pid>x</client_pid>", (0.0, 0)),
        ("<wu_cpu_time>-1</wu_cpu_time><client_pid>inf</client_pid>", (0.0, 0)),
        ("", (0.0, 0)),
        (None, (0.0, 0)),
    ],
)
def test_what_the_client_says_of_the_work(
    slot: Path, text: str | None, about: tuple[float, int]
) -> None:
    if text is not None:
        (slot / boincslot.ABOUT).write_text(text)
    assert boincslot.about(str(slot)) == about


def test_a_temporary_exit_is_what_the_client_reads(slot: Path) -> None:
    boincslot.come_back(str(slot), 60, "why")
    assert (slot / boincslot.TEMPORARY).read_text() == "60\nwhy\n"
    boincslot.finish(str(slot))
    assert (slot / boincslot.FINISHED).read_text() == "0\n"
