"""Starts our program on a host that has nothing of it: one fixed line, all else over standard input.

The line runs under whatever login shell the host has; it looks for a Python from 3.9 on among
the names on the first line of standard input, and has it execute the second (`landing`).
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import paramiko

from spoolmw.agents import bundle
from spoolmw.agents.carrier.trouble import trouble
from spoolmw.agents.sshlink import carrying, landing
from spoolmw.agents.sshlink.channel import ChannelWay, said
from spoolmw.agents.sshlink.connection import Connection

_NONE = "SPOOLMW-NO-PYTHON"
_OLD = "import sys; sys.exit(sys.version_info < (3, 9))"
LINE = (
    "exec /bin/sh -c 'IFS= read -r list; for p in $list; do "
    f'if "$p" -I -S -c "{_OLD}" >/dev/null 2>&1 </dev/null; then '
    f'exec "$p" -I -S -c "{carrying.READ}"; fi; done; echo {_NONE}\''
)
_PLAIN = ("python3", "/usr/bin/python3", "/usr/local/bin/python3")
_VERSIONS = range(19, 8, -1)  #: of Python 3 that are looked for, besides the daemon's own first
_MOST_NOISE = 256 << 10  #: bytes that a login shell may print before our program speaks
_ANSWER_S = 60.0  #: a host that has to wake its disk or a network home may take so long


class Landed(NamedTuple):
    """Our program runs on the host; what it says follows on the way."""

    way: ChannelWay
    base: str  #: our folder on the host
    python: str  #: version of the Python that it runs under
    executable: str
    was_sent: bool  #: the archive, or the Python, was not there


def land(
    connection: Connection,
    argv: Sequence[str],
    *,
    folder: str = "",
    pythons: Sequence[str] = (),
    bundled_by: Path | None = None,
) -> Landed:
    """Run the runner's archive on the host with `argv`, in which `{base}` is our folder there.

    `folder` is that folder, if it is not to be `/var/tmp/spoolmw-UID`; `pythons` are tried
    before any that is found. `bundled_by` is the spool whose daemon's own Python travels along
    instead. Raises HostTrouble.
    """
    data = bundle.archive()
    request = {
        "folder": folder,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "argv": list(argv),
    }
    channel = connection.run(LINE if bundled_by is None else carrying.LINE)
    host = connection.target.name
    ear = _Ear(channel, host)
    was_sent = False
    try:
        program = Path(landing.__file__).read_text(encoding="utf-8")
        main = f"{program.partition('if __name__')[0]}main()\n"
        if bundled_by is None:
            _say(channel, f"{' '.join(candidates(pythons))}\n")
        else:
            was_sent = carrying.bring(channel, ear.answer, folder, bundled_by)
        _say(channel, f"{json.dumps(main)}\n{json.dumps(request)}\n")
        first = ear.answer()
        if first["need"]:
            channel.sendall(data)
        second = ear.answer()
    except (paramiko.SSHException, OSError, EOFError) as error:
        channel.close()
        raise trouble("link", f"the connection to {host} broke", why=str(error)) from error
    except BaseException:
        channel.close()
        raise
    return Landed(
        ChannelWay(channel, ear.rest),
        str(second["base"]),
        str(first["python"]),
        str(first["executable"]),
        was_sent or bool(first["need"]),
    )


def _say(channel: Any, text: str) -> None:
    """Send it; where the host has closed the channel already, what it said tells more."""
    try:
        channel.sendall(text.encode())
    except OSError:
        if not channel.closed:
            raise


def candidates(named: Sequence[str]) -> list[str]:
    """The Pythons to try: those that were named; of the daemon's own version; then the newest."""
    own = f"python3.{sys.version_info[1]}"
    newest = (f"python3.{minor}" for minor in _VERSIONS)
    return list(dict.fromkeys((*named, own, *_PLAIN, *newest)))


class _Ear:
    """Finds the answers of `landing` in what the host prints."""

    def __init__(self, channel: Any, host: str) -> None:
        self._channel = channel
        self._host = host
        self._noise = 0
        self._until = 0.0
        self.rest = b""

    def answer(self, wait_s: float = _ANSWER_S) -> Mapping[str, Any]:
        """The next answer. Raises HostTrouble when there comes none, or a refusal."""
        self._until = time.monotonic() + wait_s
        while True:
            line = self._line()
            if line.startswith(landing.WORD):
                return self._understood(line[len(landing.WORD) :])
            if line.rstrip() == _NONE:
                raise trouble(
                    "python",
                    f"{self._host} has no Python from 3.9 on",
                    why="none of python3, python3.9 and later was found on its PATH",
                    fix='install one there, name one (python = ["/path/to/python3"]), or have '
                    'the daemon\'s own sent along: runner_python = "bundle"',
                )

    def _understood(self, text: str) -> Mapping[str, Any]:
        try:
            tree = json.loads(text)
        except ValueError:
            tree = None
        if not isinstance(tree, dict) or not ({"need", "ready", "what"} & tree.keys()):
            raise trouble("runner", f"{self._host} answers what our program never says")
        if "what" in tree:
            told = {key: str(tree.get(key, ""))[:500] for key in ("what", "why", "fix")}
            raise trouble(
                "runner", f"{self._host}: {told['what']}", why=told["why"], fix=told["fix"]
            )
        return tree

    def _line(self) -> str:
        while b"\n" not in self.rest:
            if self._noise + len(self.rest) > _MOST_NOISE or time.monotonic() > self._until:
                raise self._silent("its login shell prints too much, or nothing came in time")
            data = self._received()
            if not data:
                raise self._silent(said(self._channel) or "the command ended without a word")
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        self._noise += len(line)
        return line.decode("utf-8", "replace")

    def _received(self) -> bytes:
        """Some bytes; none at the end. Raises HostTrouble when the time is over."""
        usual = self._channel.gettimeout()
        self._channel.settimeout(max(0.1, self._until - time.monotonic()))
        try:
            return bytes(self._channel.recv(1 << 16))
        except TimeoutError:
            raise self._silent("nothing came in time") from None
        finally:
            self._channel.settimeout(usual)

    def _silent(self, why: str) -> Exception:
        return trouble(
            "python",
            f"our program did not start on {self._host}",
            why=why,
            fix=f"does `ssh {self._host} python3 -V` print a version, and nothing else?",
        )
