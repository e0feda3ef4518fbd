"""The Python that travels, unpacked by a shell of this machine without any ssh."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from spoolmw.agents import pythonbundle
from spoolmw.agents.pythonbundle import NAME, Packed
from spoolmw.agents.sshlink import carrying, landing

ABOUT = "import sys, os; print(sys.executable, os.umask(0))"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return pythonbundle.publish(tmp_path_factory.mktemp("spool") / "runner")


def carry(
    packed: Packed,
    base: Path,
    *,
    program: str = ABOUT,
    data: bytes | None = None,
    env: Mapping[str, str] | None = None,
) -> tuple[list[dict[str, object]], str]:
    """Send all that a link sends; the answers, and what the program in the Python printed."""
    child = subprocess.Popen(
        ["/bin/sh", "-c", carrying.LINE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=env,
        umask=0o027,
    )
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(carrying.words(packed, str(base)))
        child.stdin.flush()
        answers = [answer(child.stdout.readline())]
        if answers[0].get("need"):
            child.stdin.write(packed.path.read_bytes() if data is None else data)
            child.stdin.flush()
            answers.append(answer(child.stdout.readline()))
        if "what" not in answers[-1]:
            child.stdin.write(f"{json.dumps(program)}\n".encode())
        child.stdin.close()
        return answers, child.stdout.read().decode()


def answer(line: bytes) -> dict[str, object]:
    text = line.decode()
    assert text.startswith(landing.WORD), text
    return dict(json.loads(text[len(landing.WORD) :]))


def test_it_is_sent_once_and_is_the_python_of_who_sent_it(
    packed: Packed, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    answers, said = carry(packed, base)
    assert answers == [{"need": True}, {"ready": True}]
    python = base / "runner" / packed.name / "bin" / NAME
    assert said == f"{python} {0o027}\n"
    assert carry(packed, base) == ([{"need": False}], said)
    assert [each.name for each in (base / "runner").iterdir()] == [packed.name]
    assert base.stat().st_mode & 0o777 == 0o700


def test_it_uses_nothing_of_this_machine_but_the_kernel(packed: Packed, tmp_path: Path) -> None:
    program = (
        "import sys, ssl, sqlite3, ctypes, cloudpickle, lzma, pwd\n"
        "maps = open('/proc/self/maps').read().split('\\n')\n"
        "used = {l.split()[-1] for l in maps if '/' in l} | {m.__file__ for m in\n"
        "    list(sys.modules.values()) if getattr(m, '__file__', None)}\n"
        "print(*sorted(each for each in used if '.so' in each or '.py' in each), sep='\\n')"
    )
    run = f"import subprocess, sys; subprocess.run([sys.executable, '-I', '-c', {program!r}])"
    _, said = carry(packed, tmp_path / "base", program=run)
    used = said.splitlines()
    assert any("libc.so.6" in each for each in used)
    assert [each for each in used if not each.startswith(f"{tmp_path}/base/runner/")] == []


def test_what_it_starts_sees_no_variable_of_its_own(packed: Packed, tmp_path: Path) -> None:
    program = "import subprocess; subprocess.run(['/usr/bin/env'])"
    _, said = carry(packed, tmp_path / "base", program=program, env={"PATH": os.defpath})
    names = {line.partition("=")[0] for line in said.splitlines()}
    assert names <= {"PATH", "PWD", "LC_CTYPE", "OLDPWD", "_", "SHLVL"}


@pytest.mark.parametrize("lost", ["so/libz.so.1", "check.py", f"bin/{NAME}"])
def test_one_of_which_something_is_missing_is_sent_again(
    packed: Packed, tmp_path: Path, lost: str
) -> None:
    carry(packed, tmp_path / "base")
    path = tmp_path / "base" / "runner" / packed.name / lost
    path.unlink()
    answers, said = carry(packed, tmp_path / "base")
    assert answers == [{"need": True}, {"ready": True}]
    assert path.exists()
    assert said
    assert len(list((tmp_path / "base" / "runner").iterdir())) == 1


def test_one_that_arrives_damaged_or_cut_is_not_used(packed: Packed, tmp_path: Path) -> None:
    whole = packed.path.read_bytes()
    for data in (whole[:-4] + b"1234", b"#" * len(whole)):
        answers, _ = carry(packed, tmp_path / "base", data=data)
        assert answers[-1]["what"] == "the Python arrived damaged"
    assert list((tmp_path / "base" / "runner").iterdir()) == []


def test_one_for_another_machine_is_refused(packed: Packed, tmp_path: Path) -> None:
    [refusal], _ = carry(replace(packed, machine="vax"), tmp_path / "base")
    assert refusal["why"] == f"it is for vax, and the host is {packed.machine}"
    assert not (tmp_path / "base").exists()


def test_a_host_that_lacks_a_tool_says_which(packed: Packed, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("mkdir", "ls", "rm", "mv", "id", "uname", "head", "tr", "tar", "sync"):
        (tools / name).symlink_to(shutil.which(name) or "")
    [refusal], _ = carry(packed, tmp_path / "base", env={"PATH": str(tools)})
    assert refusal["why"] == "the host has no gzip"


def test_a_folder_that_others_could_change_is_refused(packed: Packed, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o770)
    for name in ("link", "open"):
        [refusal], _ = carry(packed, tmp_path / name)
        assert refusal["what"] == f"{tmp_path}/{name} may be changed by others"


def test_it_is_made_once_and_old_ones_go(packed: Packed, tmp_path: Path) -> None:
    shutil.copy(packed.path, tmp_path)
    (tmp_path / "python3.8-0011-2233.tgz").touch()
    copied = tmp_path / packed.path.name
    before = copied.stat().st_ino
    assert pythonbundle.publish(tmp_path).sha256 == packed.sha256
    assert copied.stat().st_ino == before
    copied.write_bytes(b"")  # as a power cut may leave it
    again = pythonbundle.publish(tmp_path)
    assert again.path.stat().st_size > 1 << 20
    assert list(tmp_path.iterdir()) == [again.path]
