"""What the daemon orders while there is no schedd, or while it goes away, counts when it is back."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("htcondor2")
from spoolmw.agents.condor import setup_of
from spoolmw.agents.condorlink.brief import wants
from spoolmw.agents.condorlink.condorlink import CondorLink
from spoolmw.agents.condorlink.jobs import Jobs
from spoolmw.agents.condorlink.keeping import Keeper
from spoolmw.agents.condorlink.schedd import ScheddTrouble
from spoolmw.agents.condorlink.sitting import Sitting
from spoolmw.config import AgentConfig
from spoolmw.runner import wire

ATTEMPT, OTHER = f"{'a' * 32}.0.1", f"{'b' * 32}.0.1"


def packet(attempt: str) -> str:
    task = attempt.partition(".")[0]
    return f"{attempt}\n{'f' * 32}\nactive/{task[:2]}/{task}~~t.sh"


@pytest.mark.parametrize("is_wanted", [True, False])
def test_what_a_job_saves_that_was_stopped_meanwhile_comes_home_if_its_task_goes_on(
    tmp_path: Path, *, is_wanted: bool
) -> None:
    ours, theirs = socket.socketpair()
    settings = AgentConfig(name="pool", kind="condor")
    brief = wants(settings, tmp_path, "abc", setup_of(settings))
    with ours, theirs:
        for told in (
            {"do": "adopt", "work": [[{"command": True}, [packet(ATTEMPT)]]]},
            {"do": "brief", "brief": brief.told()},
        ):
            ours.sendall(wire.json_frame(told))
        link = CondorLink(theirs)
        [job] = link._jobs
        link._note({"do": "stop", "attempts": [ATTEMPT], "wanted": is_wanted})
        assert (job.is_stopping, job.is_wanted) == (True, is_wanted)


class Daemon:
    """Says two things at once."""

    def hear(self, timeout_s: float) -> list[dict[str, Any]]:
        stop = {"do": "stop", "attempts": [ATTEMPT], "wanted": True}
        return [stop, {"do": "release", "attempts": [OTHER]}]


class Gone:
    """A schedd that does not answer any more."""

    def remove(self, jobs: Sequence[tuple[int, int]], why: str) -> bool:
        assert jobs == [(1, 0)]
        raise ScheddTrouble("the line broke")


def test_what_is_said_together_with_a_stop_counts_though_the_stop_fails(tmp_path: Path) -> None:
    """A release that was not heard would leave the job's folder where it is, for ever."""
    settings = AgentConfig(name="pool", kind="condor")
    brief = wants(settings, tmp_path, "abc", setup_of(settings))
    jobs = Jobs(tmp_path / "jobs")
    jobs.enter([[{"command": True}, [packet(ATTEMPT), packet(OTHER)]]], are_new=True)
    stopped, ended = jobs
    ended.folder.mkdir(parents=True)
    stopped.id, ended.id, ended.is_told = (1, 0), (1, 1), True
    link: Any = Daemon()
    sitting = Sitting(link, brief, jobs, Keeper(brief, lambda: None), 1)
    schedd: Any = Gone()
    sitting._schedd = schedd
    with pytest.raises(ScheddTrouble):
        sitting._turn()
    assert list(jobs) == [stopped]
    assert (stopped.is_stopping, stopped.is_wanted) == (True, True)
    assert not ended.folder.exists()
