"""Packs this process's own Python into one file that runs on a host which has none.

In it are the interpreter, its standard library, cloudpickle, and every shared library that these
need, the loader too: nothing of the host's is used but its kernel. Its `bin/pythonX.Y` is a
launcher for /bin/sh that names the loader and the libraries by where it lies itself, so the
folder may lie anywhere, and what it starts has no variable more.

Not in it: tests, IDLE, tkinter, pip, and the packages of the installation.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tarfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from spoolmw.errors import AgentError

NAME = f"python{sys.version_info[0]}.{sys.version_info[1]}"
_FORMAT = "1"  #: of the bundle; another one is made anew
_STANDARD = f"{sys.platlibdir}/{NAME}"  #: where a Python looks, above its own folder
_LEFT_OUT = frozenset(
    (
        *("test", "tests", "idlelib", "ensurepip", "turtledemo", "tkinter"),
        *("site-packages", "dist-packages"),
    )
)
_LEFT_OUT_FILES = re.compile(
    r"config-.*|.*\.(a|o|orig)|(_tkinter|_test.*|_ctypes_test|xx.*)\..*\.so"
)
_LIBRARY = re.compile(r"(?:=> |^\s+)(/\S+)", re.MULTILINE)
_MISSING = re.compile(r"^\s*(\S+) => not found", re.MULTILINE)
_LOADER = re.compile(r"ld(-linux.*|-musl.*|64|-[\d.]+)?\.so.*")
#: What glibc itself loads by name only, when a user or a host is looked up.
_BY_NAME = ("libnss_files.so.2", "libnss_dns.so.2")
_LDD_S = 60.0
_ONE = threading.Lock()  #: many hosts ask at once
_LAUNCHER = """\
#!/bin/sh
here="${{0%/*}}/.."
exec "$here/so/{loader}" --argv0 "$0" --library-path "$here/so" "$here/bin/program" "$@"
"""
#: Says by its exit code whether all files are there; cleaners of temporary folders take some.
_CHECK = """\
import os, sys
here = os.path.dirname(os.path.abspath(__file__))
with open(here + "/files", encoding="utf-8") as listed:
    for line in listed:
        size, _, name = line.rstrip("\\n").partition(" ")
        try:
            whole = os.stat(here + "/" + name).st_size == int(size)
        except OSError:
            whole = False
        if not whole:
            sys.exit("%s is damaged" % name)
"""


@dataclass(frozen=True, slots=True)
class Packed:
    """A bundle on this machine's disk."""

    path: Path
    sha256: str
    machine: str  #: as `uname -m` says it: where it runs

    @property
    def name(self) -> str:
        """Of its folder on a host: the version, and the content."""
        return f"{NAME}-{self.sha256[:32]}"


def publish(folder: Path) -> Packed:
    """Put the bundle into `folder`, if this very Python's is not there yet, and remove older ones.

    Takes some seconds the first time. Raises AgentError.
    """
    with _ONE:
        return _publish(folder, _Sources.found())


def _publish(folder: Path, sources: _Sources) -> Packed:
    key = sources.key()
    for path in folder.glob(f"{NAME}-{key}-*.tgz"):
        packed = Packed(path, hashlib.sha256(path.read_bytes()).hexdigest(), platform.machine())
        if path.name == _file_name(key, packed):  # a power cut may have left less
            return packed
    folder.mkdir(parents=True, exist_ok=True)
    half = folder / f".{NAME}-{key}.{os.getpid()}"
    try:
        with open(half, "wb") as file:
            sources.pack(file)
            file.flush()
            os.fsync(file.fileno())
        packed = Packed(half, hashlib.sha256(half.read_bytes()).hexdigest(), platform.machine())
        target = folder / _file_name(key, packed)
        half.replace(target)
    except BaseException:
        half.unlink(missing_ok=True)
        raise
    for path in folder.glob("python3.*-*-*.tgz"):
        if path != target:
            path.unlink(missing_ok=True)
    return Packed(target, packed.sha256, packed.machine)


def _file_name(key: str, packed: Packed) -> str:
    return f"{NAME}-{key}-{packed.sha256[:32]}.tgz"


@dataclass(frozen=True, slots=True)
class _Sources:
    """What goes into a bundle: names in it, and the files here."""

    files: Mapping[str, Path]
    loader: str  #: the name of the loader among them

    @staticmethod
    @cache
    def found() -> _Sources:
        """This Python's. Raises AgentError."""
        program = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
        files = {"bin/program": program}
        standard = Path(os.__file__).parent
        for path in (standard, *_dynamic(standard)):
            at = _STANDARD if path == standard else f"{_STANDARD}/lib-dynload"
            files |= {f"{at}/{name}": each for name, each in _walk(path)}
        files |= {f"{_STANDARD}/{name}": each for name, each in _cloudpickle()}
        needed = [path for name, path in files.items() if name.endswith(".so")]
        libraries = _libraries([program, *needed])
        files |= {f"so/{path.name}": path for path in libraries}
        loader = [path.name for path in libraries if _LOADER.fullmatch(path.name)]
        if not loader:
            raise _refused("its loader was not found among what `ldd` names")
        found = _Sources(dict(sorted(files.items())), loader[0])
        found._check_loader()
        return found

    def key(self) -> str:
        """The same as long as the same files are there, unchanged."""
        seen = hashlib.sha256(f"{_FORMAT}\n{sys.version}\n".encode())
        for name, path in self.files.items():
            if "__pycache__" not in name:
                about = path.stat()
                seen.update(f"{name}\0{path}\0{about.st_size}\0{about.st_mtime_ns}\n".encode())
        return seen.hexdigest()[:16]

    def pack(self, file: io.BufferedWriter) -> None:
        """Write the archive."""
        made = {
            f"bin/{NAME}": _LAUNCHER.format(loader=self.loader).encode(),
            "check.py": _CHECK.encode(),
        }
        listed = {name: path.stat().st_size for name, path in self.files.items()}
        listed = {name: size for name, size in listed.items() if "__pycache__" not in name}
        made["files"] = "".join(f"{size} {name}\n" for name, size in listed.items()).encode()
        with (
            gzip.GzipFile("", "wb", 6, file, mtime=0) as squeezed,
            tarfile.open(fileobj=squeezed, mode="w", format=tarfile.GNU_FORMAT) as tar,
        ):
            for name, data in made.items():
                tar.addfile(_member(name, len(data), 0), io.BytesIO(data))
            for name, path in self.files.items():
                with open(path, "rb") as source:
                    about = os.fstat(source.fileno())
                    # The time stays: compiled modules are those of a source of this very time.
                    member = _member(name, about.st_size, int(about.st_mtime))
                    tar.addfile(member, source)

    def _check_loader(self) -> None:
        """The launcher needs a loader that can be told the program's name."""
        path = self.files[f"so/{self.loader}"]
        told = _run([str(path), "--argv0", "told", "--list", str(self.files["bin/program"])])
        if told is None:
            raise _refused("its loader knows no --argv0 (glibc does from 2.33 on)")


def _dynamic(standard: Path) -> list[Path]:
    """The folder of compiled modules, where it is not inside the standard library's."""
    path = Path(str(sysconfig.get_config_var("DESTSHARED") or standard / "lib-dynload"))
    return [] if path.is_relative_to(standard) or not path.is_dir() else [path]


def _walk(root: Path) -> Iterator[tuple[str, Path]]:
    for folder, folders, names in os.walk(root):
        folders[:] = [
            each
            for each in sorted(folders)
            if each not in _LEFT_OUT and not _LEFT_OUT_FILES.fullmatch(each)
        ]
        for name in names:
            path = Path(folder) / name
            own = f".{sys.implementation.cache_tag}.pyc"
            is_other = name.endswith(".pyc") and not name.endswith(own)
            if not is_other and not _LEFT_OUT_FILES.fullmatch(name) and path.is_file():
                yield str(path.relative_to(root)), path


def _cloudpickle() -> Iterator[tuple[str, Path]]:
    spec = importlib.util.find_spec("cloudpickle")
    if spec is not None and spec.submodule_search_locations:
        place = Path(next(iter(spec.submodule_search_locations)))
        for path in sorted(place.glob("*.py")):
            yield f"cloudpickle/{path.name}", path


def _libraries(programs: list[Path]) -> list[Path]:
    """Every shared library that these need, and the loader. Raises AgentError."""
    text = _run(["ldd", *map(str, programs)])
    if text is None:
        raise _refused("`ldd` does not work here")
    missing = sorted(set(_MISSING.findall(text)))
    if missing:
        raise _refused(f"{', '.join(missing)}, which it needs, is not here")
    found = {Path(name).name: Path(name) for name in _LIBRARY.findall(text)}
    for each in programs:
        found.pop(each.name, None)  # ldd heads its answers with the names that it was given
    for name in _BY_NAME if "libc.so.6" in found else ():
        beside = found["libc.so.6"].with_name(name)
        if beside.exists():
            found[name] = beside
    return [found[name] for name in sorted(found)]


def _run(argv: list[str]) -> str | None:
    """What it prints; None when it fails."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_LDD_S)
    except (OSError, subprocess.SubprocessError):
        return None
    return None if done.returncode else done.stdout


def _member(name: str, size: int, time: int) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size = size
    made.mtime = time
    made.mode = 0o755 if name.startswith(("bin/", "so/")) else 0o644
    return made


def _refused(why: str) -> AgentError:
    return AgentError(
        f"The Python {sys.executable} cannot be sent along.",
        why=why,
        fix='install a Python from 3.9 on on the hosts, and set runner_python = "auto"',
    )
