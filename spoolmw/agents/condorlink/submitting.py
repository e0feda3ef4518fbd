"""Makes folders of attempts and puts their jobs into the schedd's queue.

Rule: a folder is complete before its job is submitted, and what it became is noted behind it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spoolmw.agents import bundle, pythonbundle
from spoolmw.agents.batch import packing
from spoolmw.agents.condorlink import describe
from spoolmw.agents.condorlink.brief import JOBS, Brief
from spoolmw.agents.condorlink.jobs import Job
from spoolmw.agents.condorlink.schedd import Schedd, ScheddTrouble
from spoolmw.errors import AgentError

_ARCHIVE = "runner.pyz"  #: what the runner is called in a job's folder
_LAUNCHER = "launch.sh"
#: Looked for on the execute host, in this order, behind those that are configured.
PYTHONS = (
    *("python3", "/usr/bin/python3", "/usr/local/bin/python3"),
    *(f"python3.{minor}" for minor in range(14, 8, -1)),
)
CHECKPOINT_EXIT = 85  #: HTCondor's own convention: "I saved, start me again"
Refused = list[tuple[Job, str]]  #: attempts that cannot be submitted, and why


class Submitter:
    """Submits for one agent."""

    def __init__(self, brief: Brief, schedd: Schedd) -> None:
        """Publishes what all jobs need. Raises AgentError, OSError."""
        self._schedd = schedd
        self._spools = brief.pool.is_remote
        (brief.home / JOBS).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._archive = bundle.publish(brief.root / "runner")
        self._python = (
            pythonbundle.publish(brief.root / "runner").path if brief.wants_bundle else None
        )
        carried = self._python.name if self._python else "-"
        words = [_ARCHIVE, carried, *brief.pythons, *PYTHONS]
        self.manner = brief.manner(launcher(brief.home), " ".join(words))
        manner = packing.Manner(
            agent=brief.name,
            **brief.setup,
            shared_files=brief.pool.shared_files,
            checkpoint_exit=0 if brief.pool.shared_files else CHECKPOINT_EXIT,
            checkpoint_every_s=brief.pool.checkpoint_every_s,
        )
        self._packer = packing.Packer(brief.root, manner)

    def submit(self, jobs: Sequence[Job], log: str) -> Refused:
        """Submit these; what the schedd does not take though it answers comes back.

        `log` is what they write into where there is a log of our own.

        Raises ScheddTrouble when nobody knows what became of them.
        """
        refused: Refused = []
        ready: dict[str, Job] = {}
        packed: list[describe.Packed] = []
        for job in jobs:
            try:
                packed.append(self._pack(job))
            except (AgentError, OSError) as error:
                refused.append((job, str(error)))
            else:
                ready[job.attempt] = job
        manner = replace(self.manner, log=log if self.manner.log else "")
        for group in describe.groups(packed, manner):
            refused += self._send(group, [ready[each] for each in group.attempts])
        return refused

    def _send(self, group: describe.Group, jobs: list[Job]) -> Refused:
        try:
            ids = self._schedd.submit(group, spool=self._spools)
        except ScheddTrouble as trouble:
            there = {each.attempt for each in self._schedd.jobs()}  # raises when it is away
            if there.isdisjoint(group.attempts):
                return [(job, str(trouble)) for job in jobs]
            raise
        for job, became in zip(jobs, ids, strict=True):
            job.note(became)
        return []

    def _pack(self, job: Job) -> describe.Packed:
        """Raises AgentError, OSError."""
        given = job.given
        packed = self._packer.pack(given.kind, job.packet, job.folder)
        own = [(self._archive, _ARCHIVE)]
        if self._python is not None:
            own.append((self._python, self._python.name))
        size = packed.size_bytes
        for source, name in own:
            size += source.stat().st_size
            _link(source, (packed.source if packed.travels else packed.home) / name)
        names = [*packed.travels, *(name for _, name in own)]
        return describe.Packed(
            attempt=given.attempt,
            token=given.token,
            kind=given.kind,
            folder=str(packed.home),
            files=tuple(f"../{packing.SOURCE}/{name}" for name in names),
            size_bytes=size,
        )


def launcher(home: Path) -> Path:
    """The program of all jobs, where the schedd's user can read it."""
    target = home / _LAUNCHER
    text = packing.LAUNCHER.read_bytes()
    if not target.exists() or target.read_bytes() != text:
        half = home / f".{_LAUNCHER}"
        half.write_bytes(text)
        half.chmod(0o755)
        half.replace(target)
    return target


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
