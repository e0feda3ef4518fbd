"""What `doctor` finds in a spool and on a machine."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from spoolmw.config import AgentConfig, Config, Disk
from spoolmw.ctl import machine_checks, spool_checks
from spoolmw.ctl.doctor import examine
from spoolmw.ctl.findings import Finding
from spoolmw.ctl.session import Session
from spoolmw.spooldir.layout import Layout


def levels(findings: Iterable[Finding]) -> list[str]:
    return [finding.level for finding in findings]


def test_a_fresh_spool_is_well(layout: Layout) -> None:
    assert levels(spool_checks.check_folders(layout)) == ["ok"]
    assert levels(spool_checks.check_rejected(layout)) == ["ok"]
    assert "bad" not in levels(spool_checks.check_file_system(layout))


def test_a_folder_that_everybody_may_write_to_is_bad(layout: Layout) -> None:
    layout.active.chmod(0o777)
    found = list(spool_checks.check_folders(layout))
    assert "bad" in levels(found)
    assert any(f"chmod o-w {layout.active}" in finding.fix for finding in found)


def test_a_private_folder_that_others_may_see_is_a_warning(layout: Layout) -> None:
    layout.active.chmod(0o755)
    assert levels(spool_checks.check_folders(layout)) == ["warn"]


def test_a_journal_that_its_group_may_read_is_well(layout: Layout) -> None:
    layout.journal.parent.chmod(0o2750)
    assert levels(spool_checks.check_folders(layout)) == ["ok"]
    layout.journal.parent.chmod(0o2770)
    assert levels(spool_checks.check_folders(layout)) == ["warn"]


def test_missing_folders_are_named(layout: Layout) -> None:
    layout.checkpoints.rmdir()
    [finding, *_] = spool_checks.check_folders(layout)
    assert (finding.level, "checkpoints" in finding.says) == ("bad", True)


def test_little_room_is_bad_and_getting_little_is_a_warning(layout: Layout) -> None:
    room = os.statvfs(layout.root)
    free = room.f_bavail * room.f_frsize
    for low, level in ((free * 2, "bad"), (int(free * 0.7), "warn"), (free // 10, "ok")):
        config = Config(disk=Disk(low_bytes=low))
        assert levels(spool_checks.check_disk(layout, config))[0] == level


def test_a_daemon_that_does_not_run_is_bad(session: Session) -> None:
    [finding] = spool_checks.check_daemon(session)
    assert (finding.level, "start" in finding.fix.lower()) == ("bad", True)


def test_a_journal_that_is_no_database_is_bad(session: Session, layout: Layout) -> None:
    layout.journal.write_bytes(b"no database" * 1000)
    [finding] = spool_checks.check_journal(session)
    assert (finding.level, "rebuild" in finding.fix) == ("bad", True)


def test_refused_files_are_a_warning(layout: Layout) -> None:
    (layout.rejected / "x.task").touch()
    [finding] = spool_checks.check_rejected(layout)
    assert (finding.level, "1 file" in finding.says) == ("warn", True)


def test_an_interpreter_is_asked_for_its_version(tmp_path: Path) -> None:
    agent = AgentConfig(name="local", interpreters=(sys.executable, str(tmp_path / "none")))
    found = list(machine_checks.check_interpreters(Config(agents=(agent,))))
    assert levels(found) == ["ok", "bad"]


def test_a_journal_of_the_future_means_that_the_clock_went_back(
    session: Session, layout: Layout
) -> None:
    layout.journal.touch()
    os.utime(layout.journal, (0, time.time() + 3600))
    [finding] = machine_checks.check_clock(session)
    assert (finding.level, "went back" in finding.says) == ("warn", True)


def test_without_a_spool_that_is_the_finding(tmp_path: Path) -> None:
    found = list(examine(Session(given_spool=str(tmp_path / "none"))))
    assert (found[-1].check, found[-1].level) == ("spool", "bad")
    assert "spoolmwd --spool" in found[-1].fix
