"""The Pythons that may travel to desktops: our own, and those that an administrator put beside it.

`bundles/PLATFORM/pythonX.Y-KEY-DIGEST.tgz`, as `pythonbundle` names what it makes on a machine of
that kind. The newest counts, and only if it is whole.
"""

from __future__ import annotations

import hashlib
import platform as this
import re
import sys
from pathlib import Path

from spoolmw.agents import pythonbundle
from spoolmw.errors import AgentError

FOLDER = "bundles"
OWN_PLATFORM = f"linux-{this.machine()}"
OWN_PYTHON = "{}.{}".format(*sys.version_info[:2])
_NAME = re.compile(r"python(3\.\d{1,3})-[0-9a-f]{16}-([0-9a-f]{32})\.tgz")


class Bundles:
    """By platform, as "linux-aarch64". Reads the disk; any thread may ask."""

    def __init__(self, home: Path, made: Path) -> None:
        """`home` has the administrator's, our own is made in the folder `made`."""
        self._folder = home / FOLDER
        self._made = made

    def python_for(self, platform: str) -> str:
        """Which version there is for that platform, as "3.11"; empty: none."""
        if platform == OWN_PLATFORM:
            return OWN_PYTHON
        found = self._newest(platform)
        return found[1] if found else ""

    def file_for(self, platform: str) -> Path:
        """The file that travels there; our own takes some seconds the first time.

        Raises AgentError, OSError.
        """
        if platform == OWN_PLATFORM:
            return pythonbundle.publish(self._made).path
        found = self._newest(platform)
        if found is None:
            raise AgentError(
                f"there is no Python for {platform} to send along",
                why=f"{self._folder / platform} has no pythonX.Y-...tgz",
                fix="make one on a machine of that kind (docs/boinc-application.md)",
            )
        path, _, digest = found
        if not hashlib.sha256(path.read_bytes()).hexdigest().startswith(digest):
            raise AgentError(
                f"{path} is damaged", why="its digest is another", fix="bring it once more"
            )
        return path

    def _newest(self, platform: str) -> tuple[Path, str, str] | None:
        """Path, version, and what its digest begins with."""
        folder = self._folder / platform
        if not platform or not folder.is_dir():
            return None
        named = ((each, _NAME.fullmatch(each.name)) for each in folder.iterdir())
        found = [(path, match[1], match[2]) for path, match in named if match]
        return max(found, key=lambda each: each[0].stat().st_mtime, default=None)
