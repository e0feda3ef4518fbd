"""The application as clients get it: its files, signed, and the number of its version.

Rule: a client never fetches a file of a known name again, nor looks at a version of a known number
again. So names tell the content, and what is another program has another number, for ever.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spoolmw.agents import boincapp
from spoolmw.agents.boinclink.bundles import Bundles
from spoolmw.agents.boinclink.records import Host
from spoolmw.agents.boinclink.reply import AppFile, AppVersion
from spoolmw.agents.boinclink.signing import PRIVATE, KeyPair
from spoolmw.runner import boincslot
from spoolmw.spooldir.publish import publish

SECRET = "upload_secret"  # noqa: S105  a file's name
BUNDLED = "python"  #: the plan class of the application that brings a Python
_BUNDLE_NAME = re.compile(r"[^A-Za-z0-9_.-]")
_KEPT = 20  #: files of earlier versions; a client may be about to fetch one


@dataclass(frozen=True, slots=True)
class Published:
    """A file of the application that lies in `app/`."""

    name: str
    nbytes: int
    md5: str
    signature: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """A Python that travels, and the platform that it runs on."""

    file: Published
    platform: str


@dataclass(frozen=True, slots=True)
class _Version:
    number: int
    files: tuple[tuple[Published, str], ...]  #: each with what the program calls it


class Application:
    """What clients run."""

    def __init__(
        self, home: Path, bundles: Bundles, keys: KeyPair, number_of: Callable[[str], int]
    ) -> None:
        """Publishes the program, if need be. `bundles` are the Pythons that may travel;
        `number_of` gives a version by its digest."""
        self._bundles = bundles
        self._folder = home / "app"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._keys = keys
        self._number_of = number_of
        self._program = self._put(boincapp.file_name(), boincapp.application())
        self._plain = self._version(((self._program, ""),))
        self._bundled: dict[str, _Version] = {}  #: by platform

    def pack_bundle(self, platform: str) -> Bundle:
        """The file that brings a Python; takes some seconds the first time, in any thread.
        Raises AgentError, OSError."""
        path = self._bundles.file_for(platform)
        name = _BUNDLE_NAME.sub("-", path.name)
        return Bundle(self._put(name, path.read_bytes()), platform)

    def bundle(self, made: Bundle) -> None:
        """Have the version that brings a Python. Raises RecordsTrouble."""
        files = ((self._program, ""), (made.file, boincslot.BUNDLE))
        self._bundled[made.platform] = self._version(files)

    def python_for(self, platform: str) -> str:
        """Which version may travel to such a host, as "3.11"; empty: none."""
        return self._bundles.python_for(platform)

    def plan_of(self, host: Host, wish: str) -> str:
        """The plan class that fits a host; `wish` is "auto", "never" or "always"."""
        if wish == "never" or host.platform not in self._bundled:
            return ""
        return BUNDLED if wish == "always" or host.needs_bundle else ""

    def can_serve(self, host: Host, wish: str) -> bool:
        """Whether there is a version for this host: one without a Python may have to wait for it."""
        return wish == "never" or not host.needs_bundle or bool(self.plan_of(host, wish))

    def version(self, plan: str, cores: int, host: Host, url: str) -> AppVersion:
        """The application for this host; `url` is where its files are fetched."""
        version = self._bundled[host.platform] if plan else self._plain
        return AppVersion(
            number=version.number,
            platform=host.client_platform,
            plan_class=plan_for(plan, cores),
            cores=cores,
            flops=host.flops if host.flops > 0 else 1e9,
            files=tuple(
                AppFile(
                    name=each.name,
                    url=f"{url}{each.name}",
                    md5=each.md5,
                    nbytes=each.nbytes,
                    signature=each.signature,
                    is_main=each is self._program,
                    open_name=open_name,
                )
                for each, open_name in version.files
            ),
        )

    def files(self) -> dict[str, Path]:
        """All that clients may ask for, by name; older versions too."""
        return {each.name: each for each in self._folder.iterdir() if each.name[0] != "."}

    def tidy(self) -> None:
        """Remove what is much older."""
        ages = sorted((each.stat().st_mtime, each) for each in self.files().values())
        for _, path in ages[: max(0, len(ages) - _KEPT)]:
            path.unlink(missing_ok=True)

    def _version(self, files: tuple[tuple[Published, str], ...]) -> _Version:
        told = " ".join(f"{each.name} {each.md5} {name}" for each, name in files)
        return _Version(self._number_of(hashlib.sha256(told.encode()).hexdigest()), files)

    def _put(self, name: str, data: bytes) -> Published:
        path = self._folder / name
        if not path.exists() or path.read_bytes() != data:
            publish(data, path, tmp=self._folder, mode=0o600)
        os.utime(path)
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return Published(name, len(data), md5, self._keys.sign(md5))


def plan_for(plan: str, cores: int) -> str:
    """The plan class of a version that keeps so many cores busy: clients reckon with it."""
    return plan if cores == 1 else "_".join(filter(None, (plan, f"c{cores}")))


def keys_in(folder: Path) -> KeyPair:
    """The key that signs the application; made at the first call. Raises OSError, BadKey."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / PRIVATE).exists():
        KeyPair.generate().save(folder)
    return KeyPair.load(folder)


def secret_in(folder: Path) -> bytes:
    """What tokens of uploads are made with; made at the first call. Raises OSError."""
    path = folder / SECRET
    if not path.exists():
        publish(secrets.token_hex(32).encode(), path, tmp=folder, mode=0o600)
    return bytes.fromhex(path.read_text())
