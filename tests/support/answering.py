"""A tiny stand-in for daemon and worker: it answers task files with real result files.

For tests of the helper alone. It takes what lies in `incoming/` and its boxes, calls the
function in its own process, and writes the result as worker and daemon do.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from spoolmw.client import Spool
from spoolmw.client.future import Ended
from spoolmw.format.arrays import element_id, indexes_from
from spoolmw.format.resultfile import trailer_line
from spoolmw.format.taskfile import TaskFile, read_header
from spoolmw.model.attempt import Blame, Cause, Outcome, Ran
from spoolmw.model.ids import AttemptId, TaskId
from spoolmw.model.spec import Spec
from spoolmw.model.task import Ending, Task, TaskState
from spoolmw.runner import call, calls, results
from spoolmw.spooldir.layout import Layout
from spoolmw.spooldir.publish import append_trailer


class Around:
    """No limits."""

    memory_limited = False

    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


class AnsweringMachine:
    """Answers by itself in a thread (`with machine:`), or one round at a time (`answer()`)."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        for folder in ("incoming", "results", "rejected", "tmp", "active", "stage"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        self.seen: list[TaskFile] = []
        self._over = threading.Event()

    def __enter__(self) -> AnsweringMachine:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            if not self.answer():
                time.sleep(0.002)

    def waiting(self) -> list[tuple[str, Path]]:
        """(box, path) of the task files that lie in `incoming/`, oldest first."""
        found = []
        for folder, _, names in os.walk(self.layout.incoming):
            box = os.path.relpath(folder, self.layout.incoming)
            found += [
                ("" if box == "." else box, Path(folder, n))
                for n in names
                if n.endswith(".task")
            ]
        return sorted(found, key=lambda item: item[1].stem[-32:])

    def answer(self) -> int:
        """Answer all that waits; how many."""
        waiting = self.waiting()
        for box, path in waiting:
            self.answer_one(box, path)
        return len(waiting)

    def answer_one(self, box: str, path: Path, *, result_name: str = "") -> None:
        """Run one task and deliver its result."""
        try:
            data = path.read_bytes()
            path.unlink()
        except FileNotFoundError:
            return  # taken back
        parsed = read_header(data[:65536], size=len(data), dropped=path.name)
        self.seen.append(parsed)
        if parsed.body.codec == "calls":
            self._answer_array(box, path.name, parsed, data)
            return
        ended = self._run_call(parsed, data[parsed.body_offset :])
        self.deliver(box, path.name, parsed, ended, result_name=result_name)

    def _answer_array(self, box: str, dropped: str, parsed: TaskFile, data: bytes) -> None:
        """Run each element of an array of calls, then tell of the whole."""
        file = self.layout.active / dropped
        file.write_bytes(data)
        body, stem = parsed.body, dropped.removesuffix(".task")
        source = calls.Calls(
            os.open(file, os.O_RDONLY), parsed.body_offset, body.size_bytes, body.sha256
        )
        assert parsed.id is not None
        assert parsed.spec.array is not None
        for position, index in enumerate(indexes_from(parsed.spec.array, 0)):
            item = source.item(position)
            packed = call.Packed(item.args, item.function)
            ended = call.run(packed, parsed.spec.run.result, Around())  # type: ignore[arg-type]
            element = a_parsed_task(element_id(parsed.id, position), f"t.{index}")
            self.deliver(box, dropped, element, ended, result_name=f"{stem}.{index}")
        source.close()
        file.unlink()
        self.deliver(box, dropped, parsed, results.Ended())

    def _run_call(self, parsed: TaskFile, body: bytes) -> results.Ended:
        if parsed.body.codec == "pickle":
            return call.run(call.Packed(body), parsed.spec.run.result, Around())  # type: ignore[arg-type]
        ended = results.Ended()
        ended.files, ended.exit_code = [{"name": "out.csv", "bytes": 2, "sha256": ""}], 0
        return ended

    def deliver(
        self,
        box: str,
        dropped: str,
        parsed: Any,
        ended: results.Ended,
        *,
        result_name: str = "",
        state: TaskState | None = None,
        trusted: bool = True,
    ) -> Path:
        """Write a result as worker and daemon do."""
        task_id = TaskId(parsed.id)
        attempt = AttemptId(task_id, 0, 1)
        staged = self.layout.stage / str(attempt)
        length, digest = results.write(str(staged), parsed.spec.name, str(attempt), ended)
        good = ended.outcome == "success"
        ending = Ending(
            state=state or (TaskState.DONE if good else TaskState.FAILED),
            cause=Cause(ended.cause),
            blame=Blame(ended.blame),
            message=ended.message,
            staged=attempt,
            body_bytes=length,
            digest=digest,
            files=ended.files is not None,
            trusted=trusted,
        )
        ran = Ran(
            attempt=1,
            agent="local",
            outcome=Outcome(ended.outcome),
            cause=ending.cause,
            blame=ending.blame,
            message=ended.message,
        )
        name = result_name or dropped.removesuffix(".task")
        task = Task(
            seq=1,
            id=task_id,
            box=box,
            dropped=dropped,
            result_name=name,
            spec=parsed.spec,
            submitted_at=time.time(),
            state=ending.state,
            attempt=1,
            ending=ending,
            history=(ran,),
        )
        append_trailer(staged, length, b"\n" + trailer_line(task).lstrip(b"\n"))
        folder = self.layout.results / box
        folder.mkdir(exist_ok=True)
        if ended.files is not None:
            (folder / f"{name}.files").mkdir()
            (folder / f"{name}.files" / "stdout").write_text("hello\n")
            (folder / f"{name}.files" / "out.csv").write_text("1\n")
        target = folder / f"{name}.result"
        staged.rename(target)
        return target

    def reject(self, path: Path, text: str) -> None:
        """Refuse a file as the daemon does."""
        (self.layout.rejected / f"{path.name}.reason").write_text(text)
        path.rename(self.layout.rejected / path.name)


@contextlib.contextmanager
def answering(root: Path) -> Iterator[AnsweringMachine]:
    """A machine that answers until the end of the block."""
    with AnsweringMachine(root) as machine:
        yield machine


@contextlib.contextmanager
def asking(machine: AnsweringMachine) -> Iterator[Spool]:
    """A helper; what is left unanswered is not waited for beyond it."""
    made = Spool(machine.layout.root)
    yield made
    waiter = made._link.waiter
    for task in [*waiter._pending.by_path.values(), *waiter._added]:
        task.end(Ended(cancelled=True))
        waiter.drop(task)


def a_parsed_task(task_id: str, name: str = "task") -> Any:
    """As much of a parsed task file as `deliver` needs."""
    return SimpleNamespace(id=task_id, spec=Spec(name=name))
