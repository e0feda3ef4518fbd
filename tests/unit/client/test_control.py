"""The control client against the daemon's own server."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spoolmw.client.control import ControlClient
from spoolmw.ctl.main import program
from spoolmw.daemon.control import ControlServer, Request
from spoolmw.errors import NotServed, SpoolmwError, UnknownTask


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Callable[[Request], None]], Path]]:
    """Start a server that answers as told; gives the spool's root."""
    servers = []

    def start(handle: Callable[[Request], None]) -> Path:
        server = ControlServer(tmp_path / "control.sock", handle)
        server.start()
        servers.append(server)
        return tmp_path

    yield start
    for server in servers:
        server.close()


def echo(request: Request) -> None:
    request.reply({"verb": request.verb, **request.args})


def test_a_request_gets_its_data(serve: Any) -> None:
    with ControlClient(serve(echo)) as control:
        assert control.request("show", {"id": "x"}) == {"verb": "show", "id": "x"}
        assert control.request("ping") == {"verb": "ping"}


def test_an_error_of_the_daemon_is_raised_as_what_it_is(serve: Any) -> None:
    root = serve(lambda request: request.reply(UnknownTask("no such", why="typo", fix="look")))
    with pytest.raises(UnknownTask, match="no such") as raised:
        ControlClient(root).request("show", {"id": "x"})
    assert (raised.value.why, raised.value.fix) == ("typo", "look")


def test_an_error_that_the_client_does_not_know_is_still_one_of_ours(serve: Any) -> None:
    class Novel(SpoolmwError):
        """Of a later version."""

    with pytest.raises(SpoolmwError, match="new trouble"):
        ControlClient(serve(lambda request: request.reply(Novel("new trouble")))).request("x")


def test_many_requests_are_answered_in_their_order(serve: Any) -> None:
    with ControlClient(serve(echo)) as control:
        answers = control.requests("show", [{"id": n} for n in range(500)])
    assert [answer["id"] for answer in answers] == list(range(500))


def test_answers_that_come_in_another_order_find_their_requests(serve: Any) -> None:
    kept: list[Request] = []

    def pairwise(request: Request) -> None:
        kept.append(request)
        if len(kept) == 2:
            for one in reversed(kept):
                one.reply(one.args["id"])
            kept.clear()

    with ControlClient(serve(pairwise)) as control:
        assert control.requests("show", [{"id": n} for n in range(20)]) == list(range(20))


def test_an_error_stands_in_its_place_among_many(serve: Any) -> None:
    def even(request: Request) -> None:
        number = request.args["id"]
        request.reply(number if number % 2 == 0 else UnknownTask("odd"))

    answers = ControlClient(serve(even)).requests("show", [{"id": n} for n in range(3)])
    assert (answers[0], answers[2]) == (0, 2)
    assert isinstance(answers[1], UnknownTask)


def test_without_a_daemon_it_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(NotServed, match="spoolmwd --spool"):
        ControlClient(tmp_path).request("ping")
    with pytest.raises(NotServed):
        ControlClient(tmp_path / "no-folder").request("ping")


def test_the_command_that_starts_it_can_be_typed_where_the_path_has_spaces(
    tmp_path: Path,
) -> None:
    root = tmp_path / "my spool"
    (root / "incoming").mkdir(parents=True)
    with pytest.raises(NotServed) as caught:
        ControlClient(root).request("ping")
    assert caught.value.fix.endswith(f"spoolmwd --spool '{root}'")
    told = CliRunner().invoke(program, ["--spool", str(root), "status"]).output
    assert f"spoolmwd --spool '{root}'" in "".join(told.splitlines())


def test_a_socket_that_nobody_serves_any_more_counts_as_no_daemon(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "control.sock"))
    listener.close()
    with pytest.raises(NotServed, match="no daemon runs"):
        ControlClient(tmp_path).request("ping")


def test_a_daemon_that_does_not_answer_in_time_counts_as_down(serve: Any) -> None:
    root = serve(lambda request: None)
    with pytest.raises(NotServed, match="did not answer within"):
        ControlClient(root, timeout_s=0.1).request("ping")


def test_a_daemon_that_was_started_again_is_found_again(serve: Any, tmp_path: Path) -> None:
    server = ControlServer(tmp_path / "control.sock", echo)
    server.start()
    with ControlClient(tmp_path) as control:
        control.request("ping")
        server.close()
        serve(echo)
        assert control.request("ping") == {"verb": "ping"}


def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    root = tmp_path / ("a" * 120)
    root.mkdir()
    server = ControlServer(root / "control.sock", echo)
    server.start()
    try:
        assert ControlClient(root).request("ping") == {"verb": "ping"}
    finally:
        server.close()


@pytest.mark.parametrize(
    "answer", [b"not json\n", b"[1]\n", b'{"ok":true}\n', b"half a line", b""]
)
def test_nonsense_is_an_error_and_no_hang(tmp_path: Path, answer: bytes) -> None:
    with _server(tmp_path, answer), pytest.raises(NotServed):
        ControlClient(tmp_path, timeout_s=2).request("ping")


def test_an_answer_in_several_lines_comes_line_by_line(tmp_path: Path) -> None:
    lines = [{"id": 1, "ok": True, "more": True, "data": n} for n in range(3)]
    text = "".join(json.dumps(line) + "\n" for line in [*lines, {"id": 1, "ok": True}])
    with _server(tmp_path, text.encode()):
        assert list(ControlClient(tmp_path).stream("watch")) == [0, 1, 2]


class _server:  # noqa: N801  # reads as a function where it is used
    """Takes one connection, reads a line, says `answer` and hangs up."""

    def __init__(self, root: Path, answer: bytes) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(os.path.relpath(root / "control.sock"))
        self._listener.listen()
        self._answer = answer
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        sock, _ = self._listener.accept()
        with sock:
            sock.recv(65536)
            sock.sendall(self._answer)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()
