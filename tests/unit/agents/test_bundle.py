"""The runner's archive: named by its content, run by every Python from 3.9 on."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from spoolmw.agents import bundle
from spoolmw.model.attempt import Cause
from tests.unit.agents.conftest import Local

OTHERS = ("3.9", "3.10", "3.12", "3.13", "3.14")


def test_equal_content_gives_one_file(tmp_path: Path) -> None:
    path = bundle.publish(tmp_path / "runner")
    before = path.stat()
    assert bundle.publish(tmp_path / "runner") == path
    assert path.stat().st_ino == before.st_ino
    assert list((tmp_path / "runner").iterdir()) == [path]


def test_an_archive_that_a_power_cut_left_empty_is_made_again(tmp_path: Path) -> None:
    path = bundle.publish(tmp_path)
    path.write_bytes(b"")
    assert bundle.publish(tmp_path) == path
    assert path.read_bytes() == bundle.archive()


def test_it_holds_the_runner_cloudpickle_and_what_tasks_use_of_spoolmw(tmp_path: Path) -> None:
    names = zipfile.ZipFile(bundle.publish(tmp_path)).namelist()
    assert {"__main__.py", "spoolmw_runner/worker.py", "cloudpickle/cloudpickle.py"} <= set(
        names
    )
    ours = {name for name in names if name.startswith("spoolmw/") and name.endswith(".py")}
    assert ours == {"spoolmw/__init__.py", "spoolmw/checkpoint.py"}


def other_pythons() -> list[tuple[str, str]]:
    """Versions and paths of the Pythons here, those of pyenv too."""
    found = []
    for version in OTHERS:
        own = Path.home().glob(f".pyenv/versions/{version}.*/bin/python")
        for path in [shutil.which(f"python{version}"), *map(str, own)]:
            asked = [path or "false", "-c", "import sys; print(sys.executable)"]
            done = subprocess.run(asked, capture_output=True, text=True, check=False)
            if not done.returncode:
                found.append((version, done.stdout.strip()))
                break
    return found


def test_every_python_here_can_be_a_worker(shared: Local) -> None:
    others = other_pythons()
    if not others:
        pytest.skip(f"none of the Pythons {', '.join(OTHERS)} is here")
    for version, path in others:
        work = shared.call(math.sqrt, 4, interpreter=path, python=version)
        assert shared.run(work).cause is Cause.FINISHED, version
        assert shared.value(work) == 2.0


def test_a_task_sees_its_own_environments_packages_first(local: Local, tmp_path: Path) -> None:
    """A virtual environment may have another cloudpickle: it is the one that is used."""
    site = tmp_path / "venv" / "lib"
    subprocess.run(
        [
            shutil.which("python3.11") or "python3",
            "-m",
            "venv",
            "--without-pip",
            tmp_path / "venv",
        ],
        check=True,
    )
    [packages] = site.glob("python*/site-packages")
    (packages / "ownpackage.py").write_text("NAME = 'own'\n")
    (packages / "cloudpickle.py").write_text("NAME = 'its own cloudpickle'\n")
    interpreter = str(tmp_path / "venv" / "bin" / "python")
    body = (
        b"cbuiltins\neval\n(S\"[__import__(n).NAME for n in ('ownpackage', 'cloudpickle')]\"\n"
    )
    call = b"(" + body[: body.index(b"(")] + body[body.index(b"(") :] + b"t}t."
    work = local._work("pickle", call, 1, {"interpreter": interpreter})
    assert local.run(work).cause is Cause.FINISHED
    assert local.value(work) == ["own", "its own cloudpickle"]
    assert os.path.exists(interpreter)
