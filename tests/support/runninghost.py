"""A fake host that really runs what it is given: each job in a slot of its own, as a client lays it out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.boinchttp import Cut
from tests.support.fakeclient import FakeHost, File, Job, Refused

PROJECT = "grid"
FINISHED = "boinc_finish_called"
_PAUSE_S = 0.05


class RunningHost(FakeHost):
    """Several jobs at once, as many as the server lets it have."""

    def __init__(self, url: str, key: str, folder: Path, **facts: Any) -> None:
        """Its slots and files lie in `folder`."""
        super().__init__(url, key, **facts)
        self._project = folder / "projects" / PROJECT
        self._slots = folder / "slots"
        self._project.mkdir(parents=True)
        self._slots.mkdir()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._busy = asyncio.Lock()  #: its one connection

    async def live(self, until: Callable[[], bool], *, pause_s: float = _PAUSE_S) -> None:
        try:
            while not until():
                with contextlib.suppress(Cut, Refused, OSError):
                    async with self._busy:
                        await self.poll()
                await self._follow()
                await asyncio.sleep(pause_s)
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _follow(self) -> None:
        """Begin what is new, end what the server does not want any more."""
        jobs = self.state.jobs
        for name, job in jobs.items():
            if name not in self._running:
                self._running[name] = asyncio.create_task(self._run(job))
        for name, task in list(self._running.items()):
            if task.done():
                del self._running[name]
                if not task.cancelled():
                    task.result()  # an error of ours is told
            elif name not in jobs:
                task.cancel()

    async def _run(self, job: Job) -> None:
        slot = self._slots / job.name
        slot.mkdir(exist_ok=True)
        try:
            while True:
                with contextlib.suppress(Cut, Refused, OSError):
                    return await self._turn(job, slot)
                await asyncio.sleep(_PAUSE_S)
        finally:
            shutil.rmtree(slot, ignore_errors=True)

    async def _turn(self, job: Job, slot: Path) -> None:
        async with self._busy:
            await self.fetch(job)
        if not (slot / FINISHED).exists():
            await self._execute(self._lay_out(job, slot), slot)
        data = (slot / job.open_name).read_bytes()
        async with self._busy:
            if await self.upload(job, data) == 0:
                self.finish(job, data)

    def _lay_out(self, job: Job, slot: Path) -> Path:
        """The files where a client has them; returns the program."""
        program = Path()
        for file in job.files:
            path = self._project / file.name
            if not path.exists():
                path.write_bytes(self.cache[file.name])
            if file.is_main:
                path.chmod(0o755)
                program = path
            else:
                _place(file, path, slot)
        return program

    async def _execute(self, program: Path, slot: Path) -> None:
        with open(slot / "stderr.txt", "ab") as said:
            child = await asyncio.create_subprocess_exec(
                str(program),
                cwd=slot,
                env={"PATH": f"{Path(sys.executable).parent}:{os.defpath}"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
        try:
            await child.wait()
        except asyncio.CancelledError:  # the server wants it no more
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(child.wait(), 10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
            raise
        said_text = (slot / "stderr.txt").read_text(errors="replace")
        assert (slot / FINISHED).exists(), said_text


def _place(file: File, path: Path, slot: Path) -> None:
    target = slot / file.open_name
    if file.is_copied:
        shutil.copyfile(path, target)
    else:
        target.write_text(f"<soft_link>../../projects/{PROJECT}/{file.name}</soft_link>\n")
