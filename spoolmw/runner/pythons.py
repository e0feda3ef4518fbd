"""The Pythons that a host has: which versions, where, and what they bring."""

from __future__ import annotations

import glob
import os
import re
import subprocess
import sys
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

_ASK = "import sys;print('%d.%d.%d' % sys.version_info[:3])"
_ASK_MORE = (
    "import sys\n"
    "try:\n import cloudpickle as c; v = c.__version__\n"
    "except Exception: v = ''\n"
    "print('%d.%d.%d' % sys.version_info[:3], v)"
)
ASK_S = 5.0  #: for all interpreters together
_READ_S = 0.5  #: for one that may have answered while others were waited for
_OLDEST = (3, 9)
_NAME = re.compile(r"python3(\.\d+)?")
_FOLDERS = ("/usr/local/bin", "/usr/bin", "/bin", "/opt/*/bin", "~/.local/bin")
_MORE = (
    "~/.pyenv/versions/*/bin/python3",
    "~/*conda*/envs/*/bin/python3",
    "~/*conda*/bin/python3",
)


class Python(NamedTuple):
    """One interpreter, as it says of itself."""

    path: str
    version: str  #: "3.11.2"
    cloudpickle: str  #: its own one's version; "": it has none, and uses the one that travels

    @property
    def minor(self) -> str:
        return self.version.rpartition(".")[0]


def find(candidates: Sequence[str] = (), *, closely: bool = False) -> List[Python]:
    """All from 3.9 on: the candidates first, then this one, then what lies in the usual places.

    `closely`: each is also asked for its cloudpickle, which takes several times as long.
    Takes as long as the slowest of them needs to start, ASK_S at most.
    """
    until = time.monotonic() + ASK_S
    asked = []
    for path in _paths(candidates):
        try:
            asked.append((path, _start(path, closely=closely)))
        except OSError:
            continue
    found = []
    for path, child in asked:
        python = _answer(path, child, until - time.monotonic())
        if python is not None:
            found.append(python)
    return found


def by_version(found: Sequence[Python]) -> Dict[str, str]:
    """The first of each minor version, as `{"3.11": "/usr/bin/python3.11"}`."""
    chosen: Dict[str, str] = {}
    for each in found:
        chosen.setdefault(each.minor, each.path)
    return chosen


def _paths(candidates: Sequence[str]) -> List[str]:
    """What to ask; one that is a link to another is asked once."""
    paths = [*candidates, sys.executable]
    folders = [*os.environ.get("PATH", "").split(":"), *_FOLDERS]
    for folder in folders:
        if folder:
            names = glob.glob(os.path.expanduser(f"{folder}/python3*"))
            paths += sorted(each for each in names if _NAME.fullmatch(os.path.basename(each)))
    for pattern in _MORE:
        paths += sorted(glob.glob(os.path.expanduser(pattern)))
    chosen: Dict[Any, str] = {}
    for path in paths:
        if os.path.isabs(path) and os.access(path, os.X_OK) and "/shims/" not in path:
            # A virtual environment's is a link too, but another interpreter.
            own = os.path.exists(f"{os.path.dirname(path)}/../pyvenv.cfg")
            chosen.setdefault(path if own else os.path.realpath(path), path)
    return list(chosen.values())


def _start(path: str, *, closely: bool) -> subprocess.Popen[str]:
    question = ["-I", "-c", _ASK_MORE] if closely else ["-I", "-S", "-c", _ASK]
    return subprocess.Popen(
        [path, *question],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _answer(path: str, child: subprocess.Popen[str], wait_s: float) -> Optional[Python]:
    with child:
        try:
            text, _ = child.communicate(timeout=max(_READ_S, wait_s))
        except (subprocess.SubprocessError, OSError, UnicodeDecodeError):
            child.kill()
            return None
    version, _, cloudpickle = text.strip().partition(" ")
    try:
        is_fit = tuple(map(int, version.split(".")))[:2] >= _OLDEST
    except ValueError:
        return None
    return Python(path, version, cloudpickle.strip()) if is_fit else None
