"""Votes that are killed at a point of the daemon, the runners or the worker that compares, and the verdict.

Three runners stand for three hosts, of which one lies. Two tasks want two equal results: a call
that is compared in a worker, and a script. `fresh` is the folder with both just dropped,
`comparing` as a power cut leaves it while results are being compared. Wherever it is killed, the
right results are delivered once, and each verdict stands once in its host's record.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from spoolmw import Spool
from spoolmw.format.resultfile import read
from spoolmw.runner import safe
from spoolmw.spooldir.layout import Layout
from tests.crash import checker, workload
from tests.crash.injection import Point, kill, points
from tests.crash.machine import CONFIG, Machine
from tests.crash.sweep import workers
from tests.support.daemon import Daemon, end
from tests.support.waiting import wait_until

LIAR = "pc03"
HOSTS = ("pc01", "pc02", LIAR)
CALL, SCRIPT = "measure", "say.sh"
WANTED = {CALL: b"[42, 'right']", SCRIPT: b"right\n"}
AGENTS = "".join(f'[agents.at-{name}]\nslots = 1\nmachine = "{name}"\n' for name in HOSTS)
TEXT = f"""\
#!/bin/sh
#SPOOLMW name = {SCRIPT}
#SPOOLMW redundancy.quorum = 2
#SPOOLMW redundancy.target = 3
exec 9>HOME/locks/$SPOOLMW_TASK.$SPOOLMW_MACHINE
flock -n 9 || echo "$SPOOLMW_TASK $SPOOLMW_MACHINE" >>HOME/overlaps.log
echo "$SPOOLMW_TOKEN $SPOOLMW_MACHINE" >>HOME/runs.log
[ $SPOOLMW_MACHINE = {LIAR} ] && echo wrong || echo right
"""

Verdict = list[str] | None
"""What is wrong; None: the point was not reached."""


def measure(home: str) -> list[object]:
    """What every host but the liar returns."""
    here = os.environ["SPOOLMW_MACHINE"]
    path = f"{home}/{workload.LOCKS}/{os.environ['SPOOLMW_TASK']}.{here}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        workload.append(f"{home}/{workload.OVERLAPS}", f"{os.environ['SPOOLMW_TASK']} {here}")
    workload.append(f"{home}/{workload.RUNS}", f"{os.environ['SPOOLMW_TOKEN']} {here}")
    time.sleep(0.02)
    os.close(fd)
    return [41, "wrong"] if here == LIAR else [42, "right"]


def equal(home: str, a: object, b: object) -> bool:
    """The submitter's own validator; while there is a file `stay` it does not come to an end."""
    while Path(home, "stay").exists():
        Path(home, "compares").touch()
        time.sleep(0.01)
    return a == b


class VoteRun:
    """One machine on which the votes are held, from one of two beginnings."""

    def __init__(self, folder: Path) -> None:
        self.machine = Machine(folder / "machine")
        self.home = self.machine.home
        self.fresh = folder / "fresh"
        self.comparing = folder / "comparing"
        self._submit()
        self.machine.save(self.fresh)
        self._begin_to_compare()

    # -- the beginnings

    def _submit(self) -> None:
        self.machine.make()
        config = CONFIG.partition("[agents.local]")[0] + AGENTS
        (self.home / "spoolmw.toml").write_text(config, encoding="utf-8")
        validator = partial(equal, str(self.home))
        spool = Spool(self.machine.spool).options(
            name=CALL, keep=True, quorum=2, target=3, validator=validator
        )
        spool.submit(measure, str(self.home))
        text = TEXT.replace("HOME", str(self.home))
        (self.machine.spool / "incoming" / SCRIPT).write_text(text, encoding="ascii")

    def _begin_to_compare(self) -> None:
        """The call's results are being compared; then everything is killed at once."""
        with self._compared() as daemon:
            daemon.kill_everything()
        (self.home / "stay").unlink()
        self.machine.save(self.comparing)

    @contextlib.contextmanager
    def _compared(self) -> Iterator[Daemon]:
        """A daemon whose validation of the call is under way and stays so."""
        self.machine.reset(self.fresh)
        (self.home / "stay").touch()
        daemon = Daemon(self.home).start()
        try:
            wait_until((self.home / "compares").exists, last=self.machine.log_tail)
            yield daemon
        finally:
            end(daemon)

    # -- the daemon, from its start to the end of the votes

    def points(self, template: Path) -> list[Point]:
        self.machine.reset(template)
        return points(self.machine.traced(late=False), self.machine.spool)

    def daemon(self, template: Path, point: Point) -> Verdict:
        self.machine.reset(template)
        if self.machine.run(kill(point)) == 0:
            return None
        return self._finish()

    def rebuilt(self, template: Path, point: Point) -> Verdict:
        """The journal is lost with the daemon: hosts' records begin anew, results do not."""
        self.machine.reset(template)
        if self.machine.run(kill(point)) == 0:
            return None
        return self.machine.rebuild() or self._finish(new_journal=True)

    # -- the worker that compares

    def judge(self) -> Verdict:
        """It is killed while it compares: somebody else compares, and no replica pays for it."""
        with self._compared() as daemon:
            victims = workers(daemon.pid)
            (self.home / "stay").unlink()
            for victim in victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
            wait_until(
                lambda: len(list((self.machine.spool / "results").glob("*.result"))) == 3,
                last=self.machine.log_tail,
            )
            daemon.stop()
        return self._finish()

    # -- the verdict

    def _finish(self, *, new_journal: bool = False) -> list[str]:
        """Let a last daemon end everything; what is wrong then."""
        if status := self.machine.run():
            return [f"the last daemon ended with {status}: {self.machine.log_tail()}"]
        found = [*self._result_problems(), *checker.run_problems(self.home)]
        found += self._left_over()
        if not new_journal:
            found += record_problems(Layout(self.machine.spool))
        return [*found, self.machine.log_tail()] if found else []

    def _result_problems(self) -> Iterator[str]:
        values: dict[str, list[bytes]] = {name: [] for name in WANTED}
        for path in (self.machine.spool / "results").glob("*.result"):
            if path.name == f"{workload.TAKEN}.result":
                continue
            result = read(path)
            name = str(result.header["name"])
            if result.trailer is None or result.trailer["state"] != "done":
                yield f"{name} did not succeed: {result.header} {result.trailer}"
                continue
            stdout = path.with_suffix(".files") / "stdout"
            if name == SCRIPT:
                values[name].append(stdout.read_bytes())
            else:
                values[name].append(repr(safe.loads(bytes(result.value))).encode())
        for name, wanted in WANTED.items():
            if values[name] != [wanted]:
                yield f"{name} came to {values[name]}, not to {wanted!r} once"

    def _left_over(self) -> Iterator[str]:
        layout = Layout(self.machine.spool)
        for folder in (layout.stage, layout.active, layout.incoming):
            for path in folder.rglob("*"):
                if path.is_file():
                    yield f"left over: {path.relative_to(layout.root)}"
        for path in layout.tmp.glob("*.in"):
            shutil.rmtree(path)
            yield f"left over: {path.name}"


def record_problems(layout: Layout) -> Iterator[str]:
    """Each verdict on a replica stands once in the record of its host."""
    db = sqlite3.connect(layout.journal)
    try:
        if db.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            yield "the journal is damaged"
        query = "SELECT json_extract(spot, '$[4]'), state FROM replicas WHERE spot NOT NULL"
        given = Counter(db.execute(query).fetchall())
        records = db.execute("SELECT name, valid, invalid, errors FROM hosts").fetchall()
    finally:
        db.close()
    known = {name: marks for name, *marks in records}
    for host in HOSTS:
        wanted = [given[host, "valid"], given[host, "invalid"], 0]
        if known.get(host, [0, 0, 0]) != wanted:
            yield f"{host} has the marks {known.get(host)}, and the votes give it {wanted}"
