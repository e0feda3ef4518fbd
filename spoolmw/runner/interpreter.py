"""Finds the Python that a task needs: the caller's own, else one of the same minor version."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Dict, Iterator, Sequence, Tuple

_ASK = "import sys;print('%d.%d'%sys.version_info[:2])"
_ASK_S = 10.0
_OWN = "%d.%d" % sys.version_info[:2]


class NotFound(Exception):
    """No interpreter on this host fits; the text says which was looked for."""


class Interpreters:
    """What is known of this host's interpreters; each unknown one is asked once."""

    def __init__(self, candidates: Sequence[str], *, foreign: bool = False) -> None:
        """`foreign`: not the machine of who submits, so what lies at a path may be another version."""
        self._candidates = tuple(candidates)
        self._foreign = foreign
        self._versions: Dict[str, str] = {}
        self._chosen: Dict[Tuple[str, str], str] = {}

    def choose(self, path: str, version: str) -> str:
        """The interpreter to run with; raises NotFound."""
        if not path and version in ("", _OWN):
            return sys.executable
        if path and not self._foreign and os.access(path, os.X_OK):
            return path
        known = self._chosen.get((path, version))
        if known is None:
            known = self._search(path, version)
            self._chosen[path, version] = known
        return known

    def _search(self, path: str, version: str) -> str:
        if path and os.access(path, os.X_OK) and version in ("", self._version(path)):
            return path
        for candidate in self._offered(version):
            if version and self._version(candidate) == version:
                return candidate
        missing = f"{path} does not fit here" if path else "no interpreter was named"
        if path and not os.path.exists(path):
            missing = f"{path} does not exist here"
        also = f", and no other Python {version} was found" if version else ""
        raise NotFound(
            f"no fitting Python on this host: {missing}{also}; install it, "
            "or name one in [agents.NAME] interpreters"
        )

    def _offered(self, version: str) -> Iterator[str]:
        yield from self._candidates
        yield sys.executable
        found = shutil.which(f"python{version}", path="/usr/local/bin:/usr/bin:/bin")
        if found:
            yield found

    def _version(self, path: str) -> str:
        if path not in self._versions:
            self._versions[path] = _OWN if path == sys.executable else _ask(path)
        return self._versions[path]


def _ask(path: str) -> str:
    try:
        done = subprocess.run(
            [path, "-I", "-S", "-c", _ASK],
            capture_output=True,
            text=True,
            timeout=_ASK_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
