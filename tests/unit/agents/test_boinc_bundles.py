"""Which Python travels to which desktops."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from spoolmw.agents.boinclink.application import BUNDLED, Application, Bundle
from spoolmw.agents.boinclink.bundles import FOLDER, OWN_PLATFORM, OWN_PYTHON, Bundles
from spoolmw.agents.boinclink.records import Host
from spoolmw.agents.boinclink.signing import KeyPair
from spoolmw.errors import AgentError

ARM = "linux-aarch64"


@pytest.fixture
def bundles(tmp_path: Path) -> Bundles:
    return Bundles(tmp_path, tmp_path / "made")


def put(home: Path, content: bytes, *, version: str = "3.12", digest: str = "") -> Path:
    """What an administrator brought from a machine of that kind."""
    folder = home / FOLDER / ARM
    folder.mkdir(parents=True, exist_ok=True)
    digest = digest or hashlib.sha256(content).hexdigest()[:32]
    path = folder / f"python{version}-0123456789abcdef-{digest}.tgz"
    path.write_bytes(content)
    return path


def test_our_own_kind_of_machine_can_have_our_own_python(bundles: Bundles) -> None:
    assert bundles.python_for(OWN_PLATFORM) == OWN_PYTHON


@pytest.mark.parametrize("platform", [ARM, "", "../made", "windows-x86_64"])
def test_other_machines_have_none_before_somebody_brings_one(
    bundles: Bundles, platform: str
) -> None:
    assert bundles.python_for(platform) == ""
    with pytest.raises(AgentError, match="no Python for"):
        bundles.file_for(platform)


def test_the_newest_that_was_brought_counts(bundles: Bundles, tmp_path: Path) -> None:
    os.utime(put(tmp_path, b"old", version="3.11"), (1, 1))
    new = put(tmp_path, b"new")
    (new.parent / "python3.13-half.tgz.part").write_bytes(b"on its way")
    assert bundles.python_for(ARM) == "3.12"
    assert bundles.file_for(ARM) == new


def test_one_that_is_not_whole_is_refused(bundles: Bundles, tmp_path: Path) -> None:
    put(tmp_path, b"short", digest="0" * 32)
    with pytest.raises(AgentError, match="is damaged"):
        bundles.file_for(ARM)


def test_a_host_that_needs_one_is_sent_that_of_its_platform_and_no_other(
    bundles: Bundles, tmp_path: Path
) -> None:
    numbers: dict[str, int] = {}
    app = Application(
        tmp_path,
        bundles,
        KeyPair.generate(),
        lambda digest: numbers.setdefault(digest, len(numbers) + 1),
    )
    put(tmp_path, b"a python")
    desk = Host(1, "ann", "c", 0.0, platform=ARM, needs_bundle=True)
    other = Host(2, "ann", "d", 0.0, platform="linux-riscv64", needs_bundle=True)
    assert not app.can_serve(desk, "auto")
    made = app.pack_bundle(ARM)
    assert isinstance(made, Bundle)
    app.bundle(made)
    assert app.plan_of(desk, "auto") == BUNDLED
    assert app.plan_of(desk, "never") == ""
    assert not app.can_serve(other, "auto")
    version = app.version(BUNDLED, 1, desk, "http://here/")
    [sent] = [each for each in version.files if not each.is_main]
    assert app.files()[sent.name].read_bytes() == b"a python"
    assert version.number != app.version("", 1, desk, "http://here/").number
