"""The small job that tries a pool, followed by its schedd's answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("htcondor2")
from spoolmw.agents.condorlink import canary
from spoolmw.agents.condorlink.jobs import Job, Jobs
from spoolmw.agents.condorlink.reconcile import Seen, Status

ATTEMPT = f"{'0' * 32}.0.1"


class Answers:
    """A schedd that is asked once."""

    def __init__(self, queue: Sequence[Seen], history: Sequence[Seen]) -> None:
        self._queue, self._history = list(queue), list(history)

    def jobs(self) -> list[Seen]:
        return self._queue

    def history(self, attempts: Sequence[str]) -> list[Seen]:
        assert list(attempts) == [ATTEMPT]
        return self._history


@pytest.fixture
def job(tmp_path: Path) -> Job:
    jobs = Jobs(tmp_path / "jobs")
    path = f"active/00/{'0' * 32}~~canary.sh"
    jobs.enter([[{"command": True}, [f"{ATTEMPT}\n{'f' * 32}\n{path}"]]], are_new=True)
    [made] = jobs
    return made


DONE = Seen((1, 0), ATTEMPT, "f" * 32, Status.COMPLETED, host="host1.test", slot="slot1_1")


@pytest.mark.parametrize(
    ("queue", "history", "host"),
    [([DONE], [], "host1.test"), ([], [DONE], "host1.test"), ([], [], "")],
    ids=["it is in the queue", "it left the queue", "the schedd keeps no history"],
)
def test_a_job_that_nobody_saw_running_has_the_pools_name_of_its_host(
    job: Job, queue: list[Seen], history: list[Seen], host: str
) -> None:
    canary._follow(cast(Any, Answers(queue, history)), job, time.monotonic() + 60)
    assert job.host == host
