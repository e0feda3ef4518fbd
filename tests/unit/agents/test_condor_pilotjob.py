"""How pilots become jobs of HTCondor, and what is read off their ads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spoolmw.agents.condorlink import pilotjob
from spoolmw.agents.condorlink.pilotjob import Files, Terms
from spoolmw.agents.condorlink.reconcile import Status
from spoolmw.agents.pilotlink.engine import HELD, RUNS, WAITS, Job, Pilot, Post

DIGEST = "a" * 32
FOLDER = Path("/a spool, odd/agents/pool/pilots")
POST = Post(
    *(FOLDER.parents[2], "pool", FOLDER, FOLDER.parents[2] / "runner" / "cafe.pyz"),
    pythons=("python3",),
    slots=4,
    memory_bytes=1 << 30,
    grace_s=30.0,
)
FILES = Files(str(FOLDER / "launch.sh"), str(POST.archive), size_bytes=1 << 20)
PILOT = Pilot(3, FOLDER / "orders" / f"3-{DIGEST}.json", DIGEST)


def lines(**terms: Any) -> dict[str, str]:
    return dict(pilotjob.group([PILOT], POST, Terms(spool_id="abc", **terms), FILES).lines)


def ad(**changes: Any) -> dict[str, Any]:
    plain = {"ClusterId": 12, "ProcId": 0, "JobStatus": 1, "NumJobStarts": 0}
    return {**plain, "SpoolmwSeat": 3, "SpoolmwPilot": DIGEST, **changes}


def test_a_pilots_job_asks_for_what_the_pilot_has() -> None:
    found = lines(lease_s=20.0, disk_bytes=1 << 20)
    assert (found["request_cpus"], found["request_memory"]) == ("4", "1024")
    assert found["request_disk"] == "2049"
    assert found["job_lease_duration"] == "20"
    assert found["kill_sig"] == "SIGTERM"
    assert int(found["job_max_vacate_time"]) > POST.grace_s


def test_files_are_named_so_that_no_path_of_a_spool_can_break_the_list() -> None:
    [item] = pilotjob.group([PILOT], POST, Terms(spool_id="abc"), FILES).items
    assert item["files"] == f"orders/3-{DIGEST}.json, ../../../runner/cafe.pyz"
    assert lines()["arguments"] == '"pilot $(order) cafe.pyz - python3"'
    assert item["order"] == f"3-{DIGEST}.json"


def test_the_bundle_travels_when_there_is_one() -> None:
    files = FILES._replace(bundle=str(POST.archive.parent / "python.tgz"))
    group = pilotjob.group([PILOT], POST, Terms(spool_id="abc"), files)
    assert group.items[0]["files"].endswith(", ../../../runner/python.tgz")
    assert "cafe.pyz python.tgz python3" in group.lines["arguments"]


def test_lines_of_the_section_come_along_and_ours_win() -> None:
    submit = (("accounting_group", "physics"), ("requirements", "Fast"), ("kill_sig", "INT"))
    found = lines(submit=submit)
    assert found["accounting_group"] == "physics"
    assert found["requirements"].endswith("&& (Fast)")
    assert "NumJobStarts ?: 0) == 0" in found["requirements"]
    assert found["kill_sig"] == "SIGTERM"


def test_at_a_schedd_elsewhere_there_is_no_log_and_last_words_are_fetched() -> None:
    assert "log" in lines()
    far = lines(is_remote=True)
    assert "log" not in far
    assert far["leave_in_queue"] == "JobStatus == 4"


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, WAITS),
        ({"JobStatus": 2, "NumJobStarts": 1}, RUNS),
        ({"JobStatus": 3}, RUNS),  # until it has really ended
        ({"JobStatus": 6}, RUNS),
        ({"JobStatus": 7}, RUNS),
        ({"JobStatus": 5, "HoldReasonCode": 26, "HoldReason": "no"}, HELD),
    ],
)
def test_a_job_is_told_as_it_stands(changes: dict[str, Any], state: str) -> None:
    job = pilotjob.read(ad(**changes)).job
    assert isinstance(job, Job)
    assert (job.id, job.seat, job.digest, job.state) == ("12.0", 3, DIGEST, state)


@pytest.mark.parametrize(
    "changes",
    [
        {"NumJobStarts": 1},  # it was evicted, and its order is used up
        {"JobStatus": 4},
        {"SpoolmwPilot": None},
        {"SpoolmwPilot": "../x"},
        {"SpoolmwSeat": "3"},
        {"SpoolmwSeat": True},
    ],
)
def test_what_is_over_or_no_pilot_is_told_as_none(changes: dict[str, Any]) -> None:
    assert pilotjob.read(ad(**changes)).job is None


def test_why_a_job_is_held_is_said_with_what_to_do() -> None:
    told = ad(JobStatus=5, HoldReasonCode=26, HoldReasonSubCode=3, HoldReason="no pilots here")
    job = pilotjob.read(told).job
    assert job is not None
    assert "(26/3): no pilots here" in job.why
    assert "administrators" in job.why


def test_files_on_their_way_are_no_hold() -> None:
    found = pilotjob.read(ad(JobStatus=5, HoldReasonCode=16))
    assert found.is_spooling
    assert found.status is Status.HELD


def test_how_a_job_ended_is_what_says_most() -> None:
    ours = {"Reason": f"{pilotjob.BY_US} it is over"}
    assert pilotjob.ended([(1, {}), (5, {"ReturnValue": 3})]) == "it ended with exit code: 3"
    assert pilotjob.ended([(5, {"ReturnValue": 0})]) == ""
    assert pilotjob.ended([(4, {}), (9, ours)]) == "it was evicted"
    assert pilotjob.ended([(9, {"Reason": "via condor_rm"})]).endswith("via condor_rm")
    held = [(4, {}), (12, {"HoldReason": "too much memory"}), (9, ours)]
    assert pilotjob.ended(held) == "its job was held: too much memory"
    assert pilotjob.ended([]) == ""
