"""Hosts that lie, and hosts that cannot be used: the others go on, and nothing of theirs counts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import ROOT
from tests.support.grid import Grid, in_haste, where
from tests.support.hostile import WRONGS
from tests.support.lab import Host, needs_hosts
from tests.support.waiting import wait_until

pytestmark = needs_hosts


class LiarsGrid(Grid):
    """On its first host stands another program in our program's place."""

    def prepare(self) -> None:
        host = self.lab.hosts[0]
        program = f"{sys.executable} -m tests.support.hostile {self.shared}"
        host.configure(f"ForceCommand PYTHONPATH={ROOT} {program}")
        host.restart_sshd()

    def told(self) -> str:
        """What the liar was told."""
        note = self.shared / "told"
        return note.read_text() if note.exists() else ""


@pytest.fixture(scope="module")
def liars(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiarsGrid]:
    home = tmp_path_factory.mktemp("liars")
    with LiarsGrid(home / "grid", give_up="2s", env=in_haste(home, paused_s=0.3)) as made:
        yield made


@pytest.mark.parametrize("wrong", [each for each in WRONGS if each != "anothers"])
def test_whatever_a_host_says_the_task_ends_well_on_another(
    liars: LiarsGrid, wrong: str
) -> None:
    (liars.shared / "wrong").write_text(wrong)
    wait_until(lambda: connected(liars, "lab:pc01"), last=liars.daemon.log_text)
    before = liars.told().count('"launch"')
    both = liars.spool.options(agents=["lab"], retries=0)
    tasks = [both.submit(where, n) for n in range(8)]
    assert [each.result(60) for each in tasks] == [(n * n, "pc02") for n in range(8)]
    given = liars.told().count('"launch"') - before
    assert 0 < given <= 4, "the liar was given some, and not the same again and again"
    stage = liars.daemon.spool / "stage"
    wait_until(lambda: not list(stage.iterdir()), last=lambda: list(stage.iterdir()))
    assert not list(liars.daemon.spool.rglob("planted"))


def test_a_result_of_a_task_that_runs_elsewhere_is_thrown_away(liars: LiarsGrid) -> None:
    held = liars.hold(agents=["lab:pc02"])
    held.host()
    (liars.shared / "victim").write_text(held.task.id)
    (liars.shared / "wrong").write_text("anothers")
    wait_until(lambda: connected(liars, "lab:pc01"), last=liars.daemon.log_text)
    bait = liars.spool.options(agents=["lab:pc01"]).submit(where, 1)
    wait_until(
        lambda: [
            line
            for line in liars.told().splitlines()
            if '"release"' in line and held.task.id in line
        ],
        last=liars.daemon.log_text,
    )
    assert not held.task.done()
    assert not list((liars.daemon.spool / "stage").iterdir())
    held.let_go()
    assert held.task.result(timeout=60) == "pc02"
    assert [each["attempt"] for each in held.attempts()] == [1]
    liars.daemon.ctl("cancel", bait.id)


def test_a_host_that_fails_five_times_is_paused_and_tried_again_by_itself(
    tmp_path: Path,
) -> None:
    with Grid(tmp_path / "grid", env=in_haste(tmp_path)) as grid:
        host = grid.lab.hosts[0]
        host.configure("ForceCommand echo This account is closed. >&2; exit 1")
        host.restart_sshd()
        reason = wait_until(
            lambda: "paused after 5 failures" in said(grid, host) and said(grid, host),
            last=grid.daemon.log_text,
        )
        assert "This account is closed." in reason
        tasks = grid.spool.options(agents=["lab"]).map(where, range(6))
        assert {name for _, name in tasks} == {"pc02"}
        host.configure()
        host.restart_sshd()
        grid.wait_for_hosts()
        assert grid.spool.options(agents=["lab:pc01"]).submit(where, 3).result(60) == (
            9,
            "pc01",
        )


def connected(grid: Grid, name: str) -> bool:
    return bool(grid.agents()[name]["slots"])


def said(grid: Grid, host: Host) -> str:
    """Why a host is not used."""
    return str(grid.agents()[f"lab:{host.name}"]["reason"])
