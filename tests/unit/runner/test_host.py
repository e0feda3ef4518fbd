"""What this machine offers, as cgroups of both versions limit it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spoolmw.runner import host

V1 = "4:memory:/lab/me\n1:cpu,cpuacct:/lab/me\n0::/\n"
V2 = "0::/lab/me\n"


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_a_quota_there_is_none(tmp_path: Path) -> None:
    assert host.cpu_quota(V2, tmp_path) == 0.0


def test_a_quota_of_version_2_counts(tmp_path: Path) -> None:
    put(tmp_path / "lab/me/cpu.max", "150000 100000\n")
    assert host.cpu_quota(V2, tmp_path) == 1.5


def test_no_quota_of_version_2_is_max(tmp_path: Path) -> None:
    put(tmp_path / "lab/me/cpu.max", "max 100000\n")
    assert host.cpu_quota(V2, tmp_path) == 0.0


def test_the_tightest_quota_of_all_above_counts(tmp_path: Path) -> None:
    put(tmp_path / "lab/me/cpu.max", "400000 100000\n")
    put(tmp_path / "lab/cpu.max", "200000 100000\n")
    assert host.cpu_quota(V2, tmp_path) == 2.0


def test_a_quota_of_version_1_counts(tmp_path: Path) -> None:
    put(tmp_path / "cpu,cpuacct/lab/me/cpu.cfs_quota_us", "300000\n")
    put(tmp_path / "cpu,cpuacct/lab/me/cpu.cfs_period_us", "100000\n")
    assert host.cpu_quota(V1, tmp_path) == 3.0


def test_no_quota_of_version_1_is_minus_one(tmp_path: Path) -> None:
    put(tmp_path / "cpu/lab/me/cpu.cfs_quota_us", "-1\n")
    put(tmp_path / "cpu/lab/me/cpu.cfs_period_us", "100000\n")
    assert host.cpu_quota(V1, tmp_path) == 0.0


def test_memory_is_what_the_cgroup_allows(tmp_path: Path) -> None:
    put(tmp_path / "lab/memory.max", "1000000\n")
    assert host.usable_memory(V2, tmp_path) == 1_000_000
    put(tmp_path / "memory/lab/me/memory.limit_in_bytes", "2000000\n")
    assert host.usable_memory("4:memory:/lab/me\n", tmp_path) == 2_000_000


def test_the_no_limit_of_version_1_is_the_machines_memory(tmp_path: Path) -> None:
    put(tmp_path / "memory/lab/me/memory.limit_in_bytes", "9223372036854771712\n")
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert host.usable_memory("4:memory:/lab/me\n", tmp_path) == whole


def test_affinity_counts() -> None:
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(own)})
    try:
        assert host.usable_cores() == 1
    finally:
        os.sched_setaffinity(0, own)


def test_the_machines_name_does_not_give_its_id_away() -> None:
    own = Path("/etc/machine-id")
    text = own.read_text().strip() if own.exists() else "none"
    assert host.machine() == host.machine()
    assert len(host.machine()) == 16
    assert host.machine() not in text


def test_for_tests_one_machine_may_stand_for_several(monkeypatch: pytest.MonkeyPatch) -> None:
    own = host.machine()
    assert len({own, host.machine("pc01"), host.machine("pc02")}) == 3
    monkeypatch.setenv(host.MACHINE, "pc01")
    assert host.facts()["machine"] == host.machine("pc01")
