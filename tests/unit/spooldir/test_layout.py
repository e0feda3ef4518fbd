"""The tree of a spool: what is made, and which places are refused (threats 12, 33, 34, 84)."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from spoolmw.errors import BadSpool
from spoolmw.model.ids import TaskId
from spoolmw.spooldir.layout import (
    JOURNAL_NAME,
    PRIVATE,
    SHARDS,
    SHARED,
    Layout,
    active_name,
    check_rename,
    file_system,
    parse_active,
    prepare,
    shard_of,
    sort_active,
)

GROUP = 60
ID = TaskId("0193f2a3b4c5" + "d" * 20)


def test_a_fresh_spool_has_every_folder_and_says_what_they_are_for(tmp_path: Path) -> None:
    layout = prepare(tmp_path / "deep" / "spool")
    for name in SHARED + PRIVATE:
        assert (layout.root / name).is_dir()
    assert "rejected/" in (layout.root / "README").read_text()


def test_without_a_group_only_the_daemons_user_may_enter(layout: Layout) -> None:
    for name in SHARED + PRIVATE:
        assert stat.S_IMODE((layout.root / name).stat().st_mode) == 0o700


def test_with_a_group_its_members_may_drop_fetch_and_read_the_journal(tmp_path: Path) -> None:
    layout = prepare(tmp_path / "spool", group=os.getegid())
    assert stat.S_IMODE(layout.incoming.stat().st_mode) == 0o2770
    assert stat.S_IMODE(layout.results.stat().st_mode) == 0o2770
    assert stat.S_IMODE(layout.active.stat().st_mode) == 0o700
    assert stat.S_IMODE(layout.journal.parent.stat().st_mode) == 0o750, "and nobody writes it"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to any group")
def test_a_journal_made_without_the_group_is_opened_to_it_later(layout: Layout) -> None:
    names = [f"{JOURNAL_NAME}{end}" for end in ("", "-wal", "-shm")]
    for name in names:
        (layout.journal.parent / name).touch(mode=0o600)
    (layout.journal.parent / f"{JOURNAL_NAME}.link").symlink_to(layout.lock)
    prepare(layout.root, group=GROUP)
    for name, mode in [(".", 0o2750), *((name, 0o640) for name in names)]:
        found = (layout.journal.parent / name).stat()
        assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (GROUP, mode), name


def test_modes_that_an_administrator_chose_stay(layout: Layout) -> None:
    layout.incoming.chmod(0o750)
    prepare(layout.root)
    assert stat.S_IMODE(layout.incoming.stat().st_mode) == 0o750


def test_preparing_twice_changes_nothing(layout: Layout) -> None:
    before = sorted(os.listdir(layout.root))
    prepare(layout.root)
    assert sorted(os.listdir(layout.root)) == before
    assert os.listdir(layout.tmp) == os.listdir(prepare(layout.root).tmp)


@pytest.mark.parametrize("folder", [".", "incoming", "results", "journal", "active"])
def test_a_folder_that_everybody_may_write_is_refused(layout: Layout, folder: str) -> None:
    (layout.root / folder).chmod(0o777)
    with pytest.raises(BadSpool, match="may be written by everybody"):
        prepare(layout.root)


def test_a_parent_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    parent = tmp_path / "open"
    parent.mkdir()
    parent.chmod(0o777)
    with pytest.raises(BadSpool) as caught:
        prepare(parent / "spool")
    assert str(parent) in caught.value.what
    assert "chmod o-w" in caught.value.fix


def test_a_sticky_folder_may_be_open_to_all(layout: Layout) -> None:
    layout.incoming.chmod(0o1777)
    prepare(layout.root)


def test_a_link_in_place_of_a_folder_is_refused(layout: Layout, tmp_path: Path) -> None:
    layout.results.rmdir()
    (tmp_path / "elsewhere").mkdir()
    layout.results.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadSpool, match="not a folder"):
        prepare(layout.root)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_a_folder_of_another_user_is_refused(layout: Layout) -> None:
    os.chown(layout.stage, 12345, -1)
    with pytest.raises(BadSpool, match="belongs to user 12345"):
        prepare(layout.root)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_folders_on_different_devices_are_refused(layout: Layout) -> None:
    script = (
        f"mount -t tmpfs none {layout.results} && exec {sys.executable} -c "
        f"'from pathlib import Path; from spoolmw.spooldir.layout import prepare; "
        f'prepare(Path("{layout.root}"))\''
    )
    ran = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        check=False,
    )
    if "unshare:" in ran.stderr or "mount:" in ran.stderr:
        pytest.skip(f"no mounts here: {ran.stderr.strip()}")
    assert "BadSpool" in ran.stderr
    assert "another device" in ran.stderr


def test_a_place_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSpool, match="cannot be made"):
        prepare(tmp_path / "file" / "spool")


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs", "fuseblk"])
def test_network_and_fuse_file_systems_are_refused_unless_forced(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoolmw.spooldir.layout.file_system", lambda path: (kind, "server:/x"))
    with pytest.raises(BadSpool, match=kind):
        prepare(tmp_path / "spool")
    prepare(tmp_path / "spool", force_fs=True)


def test_the_file_system_is_the_one_mounted_nearest() -> None:
    assert file_system(Path("/proc/self"))[0] == "proc"
    assert file_system(Path("/"))[0] not in ("", "proc")


@pytest.mark.parametrize("dropped", ["a.task", "job~1.sh", "with space.toml", "~"])
@pytest.mark.parametrize("box", ["", "fold", "my box"])
def test_the_name_in_active_carries_all_that_a_rebuild_needs(box: str, dropped: str) -> None:
    name = active_name(ID, box, dropped)
    assert name.startswith(f"{shard_of(ID)}/")
    assert parse_active(name) == (ID, box, dropped)
    assert parse_active(name.partition("/")[2]) == (ID, box, dropped)


def test_tasks_of_the_same_moment_lie_in_the_same_folder_and_others_elsewhere() -> None:
    moments = [1_700_000_000_000 + 256 * step for step in range(256)]
    first, same = (TaskId(f"{moments[0]:012x}{random * 20}") for random in "0f")
    assert shard_of(first) == shard_of(same)
    assert {shard_of(TaskId(f"{moment:012x}{'0' * 20}")) for moment in moments} == set(SHARDS)


def test_what_an_earlier_version_kept_elsewhere_is_brought_to_where_it_is_looked_for(
    layout: Layout,
) -> None:
    there = layout.active / ID[-2:]
    names = [f"{ID}~box~a.task", f"{ID}.hold", "nobodys", f"{ID[:31]}", f"{ID}x"]
    for name in names:
        (there / name).write_text(name)
    sort_active(layout)
    sort_active(layout)
    home = layout.active / shard_of(ID)
    assert home != there
    assert sorted(path.name for path in home.iterdir()) == sorted(names[:2])
    assert sorted(path.name for path in there.iterdir()) == sorted(names[2:])


@pytest.mark.parametrize(
    "name", ["", "x", f"{ID}.hold", f"{ID}~box", f"{ID}~~", f"{ID.upper()}~~a.task", "Z" * 40]
)
def test_other_names_in_active_are_nobodys_task(name: str) -> None:
    assert parse_active(name) is None


def test_the_probe_leaves_nothing_also_where_a_killed_daemon_left_one(layout: Layout) -> None:
    (layout.stage / ".probe").write_bytes(b"")
    check_rename(layout)
    for folder in (layout.tmp, layout.incoming, layout.active, layout.stage, layout.results):
        assert not (folder / ".probe").exists()
