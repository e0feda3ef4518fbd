"""What becomes of jobs whose submit failed: refused for good, or nobody knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("htcondor2")
from spoolmw.agents.condor import setup_of
from spoolmw.agents.condorlink.brief import wants
from spoolmw.agents.condorlink.jobs import Job, Jobs
from spoolmw.agents.condorlink.reconcile import Seen, Status
from spoolmw.agents.condorlink.schedd import ScheddTrouble
from spoolmw.agents.condorlink.submitting import Submitter
from spoolmw.config import AgentConfig
from spoolmw.runner.reading import MAGIC

TASK = "a" * 32
ATTEMPT, TOKEN = f"{TASK}.0.1", "f" * 32


class AngrySchedd:
    """Says no to all jobs; `took` says whether it has put them into its queue nevertheless."""

    def __init__(self, *, took: bool) -> None:
        self._took = took

    def submit(self, group: Any, *, spool: bool) -> Any:
        raise ScheddTrouble("the line broke")

    def jobs(self) -> list[Seen]:
        return [Seen((1, 0), ATTEMPT, TOKEN, Status.IDLE)] if self._took else []


def submitted(root: Path, *, took: bool) -> tuple[Job, list[tuple[Job, str]]]:
    path = f"active/aa/{TASK}~~t.sh"
    (root / path).parent.mkdir(parents=True)
    header = {"id": TASK, "name": "t", "run": {"command": ["true"]}}
    (root / path).write_bytes(MAGIC + json.dumps(header).encode() + b"\n")
    settings = AgentConfig(name="pool", kind="condor")
    brief = wants(settings, root, "abc", setup_of(settings))
    jobs = Jobs(brief.home / "jobs")
    jobs.enter([[{"command": True}, [f"{ATTEMPT}\n{TOKEN}\n{path}"]]], are_new=True)
    [job] = jobs
    submitter = Submitter(brief, AngrySchedd(took=took))  # type: ignore[arg-type]
    return job, submitter.submit([job], str(brief.log))


def test_what_a_schedd_that_answers_did_not_take_is_refused_with_its_words(
    tmp_path: Path,
) -> None:
    job, refused = submitted(tmp_path, took=False)
    assert refused == [(job, "the line broke")]


def test_what_it_took_though_it_said_no_is_not_refused_but_looked_for(tmp_path: Path) -> None:
    """Else it would be lost here, run there, and be submitted twice."""
    with pytest.raises(ScheddTrouble, match="the line broke"):
        submitted(tmp_path, took=True)
