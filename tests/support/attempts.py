"""A bare spool with an agent on it and no daemon: tests launch attempts and hear what came of them."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spoolmw.agents.contract import AgentEvent
from spoolmw.format import call, resultfile
from spoolmw.model.agent import Candidate, Judging, Launch, Validated
from spoolmw.model.events import Checkpointed, Lost, Progressed, Reported, Resumed, Started
from spoolmw.model.ids import VALIDATION, AttemptId, TaskId
from spoolmw.model.redundancy import Validator
from spoolmw.model.spec import Checkpoint, Limits, Place, Resources, Run, Spec
from spoolmw.model.voting import Judged, JudgingFailed
from spoolmw.runner import call as call_running
from spoolmw.runner import results
from spoolmw.runner.reading import MAGIC

FOLDERS = ("active", "inputs", "stage", "tmp", "runner")


class Heard:
    """A sink that remembers everything and lets a test wait for it."""

    def __init__(self) -> None:
        self.events: list[AgentEvent] = []
        self._news = threading.Condition()

    def __call__(self, events: Sequence[AgentEvent]) -> None:
        with self._news:
            self.events += events
            self._news.notify_all()

    def wait(self, condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
        """The first true answer of `condition`, asked at each news; fails with what was heard."""
        deadline = time.monotonic() + timeout_s
        with self._news:
            while True:
                answer = condition()
                if answer:
                    return answer
                if not self._news.wait(deadline - time.monotonic()):
                    raise AssertionError(f"waited {timeout_s} s in vain; heard {self.events}")

    def ends_of(self, attempt: AttemptId) -> list[Reported | Lost]:
        """Every end that was told of an attempt."""
        found = (each for each in self.events if isinstance(each, Reported | Lost))
        return [each for each in found if each.attempt == attempt]

    def end_of(self, work: Launch, timeout_s: float = 60.0) -> Reported | Lost:
        """How an attempt ended; waits for it."""
        ends: list[Reported | Lost] = self.wait(lambda: self.ends_of(work.attempt), timeout_s)
        return ends[0]

    def answers_to(self, work: Launch) -> list[Judged | JudgingFailed]:
        """What was told of a validation."""
        found = (each for each in self.events if isinstance(each, Validated))
        return [each.answer for each in found if each.attempt == work.attempt]

    def answer_to(self, work: Launch) -> Judged | JudgingFailed:
        """What a validation came to; waits for it."""
        found: list[Judged | JudgingFailed] = self.wait(lambda: self.answers_to(work))
        return found[0]

    def checkpoints_of(self, work: Launch) -> list[Checkpointed]:
        """Every checkpoint that was told of an attempt."""
        found = (each for each in self.events if isinstance(each, Checkpointed))
        return [each for each in found if each.attempt == work.attempt]

    def checkpoint_of(self, work: Launch, sequence: int = 1) -> Checkpointed:
        """The checkpoint with this number; waits for it."""
        found: list[Checkpointed] = self.wait(
            lambda: [each for each in self.checkpoints_of(work) if each.sequence >= sequence]
        )
        return found[0]

    def progress_of(self, work: Launch) -> list[tuple[float, str]]:
        """How far an attempt said that it was, in order."""
        found = (each for each in self.events if isinstance(each, Progressed))
        return [(each.fraction, each.text) for each in found if each.attempt == work.attempt]

    def resumption_of(self, work: Launch) -> Resumed | None:
        """What an attempt said that it went on from."""
        found = (each for each in self.events if isinstance(each, Resumed))
        return next((each for each in found if each.attempt == work.attempt), None)

    def start_of(self, work: Launch) -> Started:
        """When and where an attempt was seen to run; waits for it."""
        found: Started = self.wait(
            lambda: next(
                (
                    each
                    for each in self.events
                    if isinstance(each, Started) and each.attempt == work.attempt
                ),
                None,
            )
        )
        return found


class Bench:
    """Makes task files in `active/` and reads results in `stage/`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in FOLDERS:
            (root / name).mkdir(parents=True, exist_ok=True)
        self.heard = Heard()

    def call(
        self, function: Callable[..., Any], *args: Any, attempt: int = 1, **needs: Any
    ) -> Launch:
        """A Python call."""
        body = call.dump_call(function, args)
        return self._work("pickle", body, attempt, needs)

    def command(self, *argv: str, **needs: Any) -> Launch:
        """A command."""
        return self._work("", b"", 1, {"command": argv, **needs})

    def script(self, text: str, **needs: Any) -> Launch:
        """A script."""
        return self._work("script", text.encode(), 1, {"script": True, **needs})

    def again(self, work: Launch, *, since: int = 0) -> Launch:
        """The next attempt of the same task; checkpoints of attempts below `since` do not count."""
        attempt = work.attempt._replace(attempt=work.attempt.attempt + 1)
        return Launch(
            attempt=attempt,
            token=secrets.token_hex(16),
            path=work.path,
            spec=work.spec,
            memory_bytes=work.memory_bytes,
            since=since,
        )

    def judging(self, work: Launch, *values: Any, round_: int = 1, **how: Any) -> Launch:
        """A validation of `values`, which the replicas of this work's task have returned."""
        how = {"kind": "exact", **how}
        bounds = {key: how.pop(key) for key in ("step_s", "total_s") if key in how}
        staged = [self._stage(work, number, value) for number, value in enumerate(values)]
        candidates = tuple(Candidate(each.replica, each, trusted=True) for each in staged)
        return Launch(
            attempt=AttemptId(work.attempt.task, VALIDATION, round_),
            token="",
            path=work.path,
            spec=work.spec,
            judging=Judging(candidates=candidates, validator=Validator(**how), **bounds),
        )

    def _stage(self, work: Launch, number: int, value: Any) -> AttemptId:
        attempt = work.attempt._replace(replica=number)
        ended = call_running.encode(value, "auto")
        results.write(str(self.root / "stage" / str(attempt)), "t", str(attempt), ended)
        return attempt

    def checkpoints(self, work: Launch) -> list[str]:
        """The names in a task's folder of checkpoints, dot-names too."""
        folder = self.root / "checkpoints" / work.attempt.task / str(work.attempt.replica)
        return sorted(each.name for each in folder.iterdir()) if folder.exists() else []

    def checkpoint(self, work: Launch, name: str) -> Path:
        """The folder of one checkpoint."""
        task, replica, _ = work.attempt
        return self.root / "checkpoints" / task / str(replica) / name

    def _work(self, codec: str, body: bytes, attempt: int, needs: dict[str, Any]) -> Launch:
        task = TaskId(f"{int(time.time() * 1000):012x}{secrets.token_hex(10)}")
        header = header_of(codec, body + needs.get("code", b""), task, needs)
        path = f"active/{task[-2:]}/{task}~~t.task"
        body += needs.get("code", b"")
        (self.root / path).parent.mkdir(exist_ok=True)
        (self.root / path).write_bytes(MAGIC + json.dumps(header).encode() + b"\n" + body)
        return Launch(
            attempt=AttemptId(task, 0, attempt),
            token=secrets.token_hex(16),
            path=path,
            spec=spec_of(needs),
            memory_bytes=needs.get("memory", 0),
        )

    def input(self, data: bytes) -> str:
        """Put content into `inputs/`; returns its digest."""
        digest = hashlib.sha256(data).hexdigest()
        (self.root / "inputs" / digest).write_bytes(data)
        return digest

    def staged(self, work: Launch) -> Path:
        return self.root / "stage" / str(work.attempt)

    def files(self, work: Launch) -> dict[str, bytes]:
        """What an attempt left in its folder of files."""
        folder = self.root / "stage" / f"{work.attempt}.files"
        found = (each for each in folder.rglob("*") if each.is_file())
        return {str(each.relative_to(folder)): each.read_bytes() for each in found}

    def result(self, work: Launch) -> resultfile.ResultFile:
        """An attempt's result, its digests checked."""
        return resultfile.read(self.staged(work))

    def value(self, work: Launch) -> Any:
        """What an attempt's function returned."""
        result = self.result(work)
        return call.load_value(result.header, result.value, trusted=True)


def header_of(codec: str, body: bytes, task: str, needs: dict[str, Any]) -> dict[str, Any]:
    """A canonical header, as the daemon writes it."""
    header: dict[str, Any] = {"id": task, "name": needs.get("name", "t")}
    if body:
        digest = needs.get("sha256", hashlib.sha256(body).hexdigest())
        header["body"] = {"codec": codec, "bytes": len(body), "sha256": digest}
    run = {key: needs[key] for key in ("command", "env", "result") if key in needs}
    if run:
        header["run"] = run
    files = {key: needs[key] for key in ("inputs", "outputs") if key in needs}
    if files:
        header["files"] = files
    if "code" in needs:
        header["redundancy"] = {"code": len(needs["code"])}
    if "takes" in needs:
        header["takes"] = needs["takes"]
    place = {key: needs[key] for key in ("interpreter", "python") if key in needs}
    if place:
        header["place"] = place
    return header


def spec_of(needs: dict[str, Any]) -> Spec:
    """What the same header says to the daemon."""
    return Spec(
        name=needs.get("name", "t"),
        run=Run(command=tuple(needs.get("command", ())), script=needs.get("script", False)),
        resources=Resources(cpus=needs.get("cpus", 1), gpus=needs.get("gpus", 0)),
        limits=Limits(
            time_s=needs.get("time_s", 0.0), output_bytes=needs.get("output", 1_000_000_000)
        ),
        checkpoint=(
            Checkpoint(asked=True, **needs["checkpoint"])
            if "checkpoint" in needs
            else Checkpoint()
        ),
        place=Place(interpreter=needs.get("interpreter", ""), python=needs.get("python", "")),
    )
