"""`python -m spoolmw.agents.sshlink.examine`: tries every host of a section, the whole way.

Standard input is one JSON object: the section's settings, the spool's folder. For each host one
line of JSON comes out as soon as it is known. Connects as whoever runs it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

from spoolmw.agents.carrier.book import Book
from spoolmw.agents.carrier.session import Session
from spoolmw.agents.carrier.trouble import HostTrouble, odd, trouble
from spoolmw.agents.sshbrief import brief, hosts_of
from spoolmw.agents.sshlink.connection import Connection
from spoolmw.agents.sshlink.hostlink import Brief
from spoolmw.agents.sshlink.patience import patience
from spoolmw.agents.sshlink.target import resolve
from spoolmw.config import AgentConfig
from spoolmw.errors import BadConfig
from spoolmw.format.hosts import HostName
from spoolmw.runner.reading import MAGIC

_AT_ONCE = 16  #: hosts
_ROUND_TRIP_S = 10.0
_PROBE_S = 30.0  #: for a host that has to ask many Pythons
_BUNDLE_S = 300.0  #: where a Python is made and sent first, over a slow line too
_CANARY_S = 30.0
_MOST_BYTES = 1 << 20
_SAID = "canary"
_OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"

Found = dict[str, Any]


def examine(host: HostName, settings: AgentConfig, root: Path) -> Found:
    """What there is to know of a host; `ok`, or else how far it came, why, and what to do."""
    name = f"{settings.name}:{host.label}"
    found: Found = {"agent": name, "host": str(host), "ok": False}
    # A folder of its own: the daemon's keeper is not disturbed.
    told = Brief.of(brief(settings, host, root, f"{name} canary", 1))
    try:
        target = resolve(host, user=told.user, config=told.ssh_config)
        began = time.monotonic()
        with Connection(target) as connection:
            found["connect_s"] = round(time.monotonic() - began, 3)
            with patience(connection, "a round trip", _ROUND_TRIP_S):
                found["round_trip_s"] = _round_trip_s(connection)
            with patience(connection, "the probe", _BUNDLE_S if told.bundle else _PROBE_S):
                found |= _probe(connection, told)
            with patience(connection, "a small task", _CANARY_S):
                found["canary_s"] = _canary(connection, told)
        found["ok"] = True
    except HostTrouble as error:
        found |= _told(error)
    except Exception as error:  # noqa: BLE001  one odd host shall not end the table of all
        found |= _told(odd(error))
    return found


def _told(error: HostTrouble) -> Found:
    return {"stage": error.stage, "what": error.what, "why": error.why, "fix": error.fix}


def _round_trip_s(connection: Connection) -> float:
    """The shortest of three."""
    times = []
    for _ in range(3):
        began = time.monotonic()
        connection.transport.global_request("keepalive@openssh.com", wait=True)
        times.append(time.monotonic() - began)
    return round(min(times), 6)


def _probe(connection: Connection, told: Brief) -> Found:
    """What the host says of itself. Raises HostTrouble."""
    host = connection.target.name
    asked = ["probe", "{base}/" + told.space, *told.pythons, *told.setup["interpreters"]]
    landed = told.land(connection, asked)
    data = b""
    landed.way.settimeout(None)  # our patience ends
    try:
        while len(data) < _MOST_BYTES and (more := landed.way.recv(1 << 16)):
            data += more
        tree = json.loads(data)
    except (OSError, ValueError) as error:
        why = landed.way.said() or str(error)
        raise trouble("runner", f"the probe on {host} did not answer", why=why) from error
    if tree.get("unfit"):
        fix = "make room there, or set `folder` in the agent's section"
        raise trouble("runner", f"{host}: {tree['unfit']}", fix=fix)
    keys = ("cores", "memory", "python", "platform", "machine", "pythons", "free_bytes")
    found = {key: tree.get(key) for key in keys}
    found["executable"] = landed.executable
    found["bundle"] = told.bundle
    found["skew_s"] = round(float(tree["clock"]) - time.time(), 3)
    found["runner_was_sent"] = landed.was_sent
    found["calls"] = _OWN in (tree.get("pythons") or {})
    found["cloudpickle"] = {
        each["path"]: each["cloudpickle"] for each in tree.get("interpreters") or ()
    }
    return found


def _canary(connection: Connection, told: Brief) -> float:
    """Send a small task the way of all tasks; how long it took. Raises HostTrouble."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="spoolmw-canary-") as name:
        root = Path(name)
        attempt, packet = _small_task(root)
        landed = told.land(connection, ["attach", "{base}/" + told.space])
        ended: queue.SimpleQueue[Found] = queue.SimpleQueue()
        session = Session(landed.way, told.setup, name, Book(), partial(_hear, ended))
        session.start()
        try:
            session.obey({"do": "launch", "work": [[{"command": True}, [packet]]]})
            report = _await(ended, session)
            took_s = round(time.monotonic() - began, 3)
            session.obey({"do": "release", "attempts": [attempt]})
            session.obey({"do": "close", "grace_s": 0.0})
        finally:
            why = session.close()
        _judge(report, root / "stage" / f"{attempt}.files" / "stdout", connection, why)
    return took_s


def _small_task(root: Path) -> tuple[str, str]:
    """Make a spool's folders with a task in them; its attempt, and what is told of that."""
    task = f"{int(time.time() * 1000):012x}{secrets.token_hex(10)}"
    path = f"active/{task[-2:]}/{task}~~canary.sh"
    (root / path).parent.mkdir(parents=True)
    (root / "stage").mkdir()
    header = {"id": task, "name": "canary", "run": {"command": ["echo", _SAID]}}
    (root / path).write_bytes(MAGIC + json.dumps(header).encode() + b"\n")
    attempt = f"{task}.0.1"
    return attempt, f"{attempt}\n{secrets.token_hex(16)}\n{path}"


def _hear(ended: queue.SimpleQueue[Found], event: Found, _data: bytes = b"") -> None:
    if event["event"] == "ended":
        ended.put(event["attempts"][0])


def _await(ended: queue.SimpleQueue[Found], session: Session) -> Found | None:
    """The report; None when the session ends without one, or the time."""
    until = time.monotonic() + _CANARY_S
    while time.monotonic() < until and not session.is_over:
        session.keep_alive()
        with contextlib.suppress(queue.Empty):
            return ended.get(timeout=0.2)
    return None


def _judge(report: Found | None, out: Path, connection: Connection, why: object) -> None:
    """The canary came back alive, or HostTrouble."""
    host = connection.target.name
    if report is None:
        text = str(why or f"it did not end within {_CANARY_S:.0f} s")
        raise trouble("runner", f"a small task did not come back from {host}", why=text)
    if report["outcome"] != "success" or out.read_text() != f"{_SAID}\n":
        raise trouble(
            "runner",
            f"a small task failed on {host}",
            why=str(report.get("message") or "it printed something else"),
            fix="look into keeper.log in our folder there",
        )


def main(told: Found, say: Callable[[Found], None]) -> None:
    """Examine all hosts of a section."""
    given: dict[str, Any] = {
        key: tuple(each) if isinstance(each, list) else each
        for key, each in told["settings"].items()
    }
    settings = AgentConfig(**given)
    try:
        hosts = hosts_of(settings)
    except BadConfig as error:
        row = {"agent": settings.name, "host": "", "ok": False, "stage": "configuration"}
        say({**row, "what": error.what, "why": error.why, "fix": error.fix})
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        rows = [pool.submit(examine, host, settings, Path(told["root"])) for host in hosts]
        for row_of in as_completed(rows):
            say(row_of.result())


def _print(row: Found) -> None:
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    logging.getLogger("paramiko").propagate = False
    main(json.loads(sys.stdin.readline()), _print)
