"""Takes the input files of a drop into `inputs/`, each content once, under its sha256.

The folder that they came in stays as it is until the task is committed, so taking it again
after a crash gives the same. Our own files are linked, others' are copied: whoever owns a
file can still change it.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from spoolmw.errors import BadTaskFile
from spoolmw.format.names import escape, path_problem
from spoolmw.model.spec import Input, Spec
from spoolmw.spooldir.layout import Layout
from spoolmw.spooldir.publish import rename_noreplace, write_all

#: More input files than this are no task of ours: a folder was put there by mistake.
MOST_FILES = 10_000
MOST_DEPTH = 16
_PIECE = 1 << 20
_HALF = re.compile(r"input-[0-9]+-[0-9]+\.part", re.ASCII)
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def take(
    layout: Layout,
    folder: Path,
    names: Sequence[str] = (),
    *,
    called: str = "",
    allow_path: Callable[[Path], bool] = lambda path: False,
) -> tuple[Input, ...]:
    """Everything in `folder` (it need not exist), and the absolute paths among `names`, as inputs.

    The folder was `called` otherwise by its owner, until it was claimed; errors name it so.

    A name that is neither in the folder nor a path that `allow_path` permits is a BadTaskFile.
    """
    called = called or folder.name
    found = {item.name: item for item in _from_folder(layout, folder, called)}
    for name in names:
        if name.startswith("/"):
            item = _from_outside(layout, Path(name), allow_path)
            if item.name in found:
                raise BadTaskFile(
                    f"two input files are called {escape(item.name)}",
                    why="they would lie at the same place in the attempt's folder",
                    fix="rename one of them",
                )
            found[item.name] = item
        elif name not in found and not any(have.startswith(f"{name}/") for have in found):
            raise _missing(name, called)
    return tuple(found[name] for name in sorted(found))


def digests_of(spec: Spec) -> tuple[str, ...]:
    """The contents below `inputs/` that a task needs: its input files, and an array's file."""
    if not spec.files.inputs and spec.array is None:
        return ()
    digests = tuple(item.digest for item in spec.files.inputs)
    if spec.array is not None and spec.array.file is not None:
        digests += (spec.array.file.digest,)
    return digests


def drop_halves(layout: Layout) -> None:
    """Remove what a daemon that was killed while it took inputs left in `tmp/`.

    Before anything is taken again: such a half is a second name of an input file.
    """
    for name in os.listdir(layout.tmp):
        if _HALF.fullmatch(name):
            (layout.tmp / name).unlink()


def _missing(name: str, folder: str) -> BadTaskFile:
    return BadTaskFile(
        f"the input file {escape(name)} is missing",
        why=f"[files] inputs names it, and it is not in the folder {escape(folder)}",
        fix=f"put it into the folder {escape(folder)} beside the task file before that is dropped,"
        " or give an absolute path that the configuration allows ([intake] allow_paths)",
    )


def _from_outside(layout: Layout, path: Path, allow_path: Callable[[Path], bool]) -> Input:
    real = Path(os.path.realpath(path))
    if not allow_path(path) or not allow_path(real):
        raise BadTaskFile(
            f"the input file {escape(str(path))} may not be read",
            why="the configuration allows no paths there ([intake] allow_paths)",
            fix="put the file into the folder NAME.in beside the task file",
        )
    try:
        fd = os.open(real, _READ)
    except OSError as error:
        raise _unreadable(str(path), error) from error
    try:
        return _store(layout, fd, path.name, link=False)
    finally:
        os.close(fd)


def _from_folder(layout: Layout, folder: Path, called: str) -> Iterator[Input]:
    try:
        fd = os.open(folder, _FOLDER)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unreadable(called, error) from error
    try:
        for number, item in enumerate(_walk(layout, fd, "", 0)):
            if number >= MOST_FILES:
                raise BadTaskFile(
                    f"there are more than {MOST_FILES} input files",
                    fix="pack them into one archive, or give the task their path",
                )
            yield item
    finally:
        os.close(fd)


def _walk(layout: Layout, folder_fd: int, prefix: str, depth: int) -> Iterator[Input]:
    for entry in sorted(os.listdir(folder_fd)):
        name = f"{prefix}{entry}"
        if problem := path_problem(name):
            raise BadTaskFile(f"the input file {escape(name)} cannot be taken", why=problem)
        try:
            fd = os.open(entry, _READ, dir_fd=folder_fd)
        except OSError as error:
            raise _unreadable(name, error) from error
        try:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                if depth >= MOST_DEPTH:
                    raise BadTaskFile(f"the folder of input {escape(name)} is too deep")
                yield from _walk(layout, fd, f"{name}/", depth + 1)
            else:
                yield _store(layout, fd, name, link=True)
        finally:
            os.close(fd)


def _unreadable(name: str, error: OSError) -> BadTaskFile:
    return BadTaskFile(
        f"the input file {escape(name)} cannot be read",
        why=error.strerror or str(error),
        fix="give regular files (no links, no pipes) that the daemon's user can read",
    )


def _store(layout: Layout, fd: int, name: str, *, link: bool) -> Input:
    """Have the content of `fd` in `inputs/`, by a link where it is ours and `link`, else by a copy."""
    half = layout.tmp / f"input-{os.getpid()}-{os.fstat(fd).st_ino}.part"
    half.unlink(missing_ok=True)  # of a try that found no room: a second name of this file
    before = os.fstat(fd)
    if not stat.S_ISREG(before.st_mode):
        raise BadTaskFile(
            f"the input file {escape(name)} is no regular file",
            fix="give regular files (no links, no pipes)",
        )
    executable = bool(before.st_mode & stat.S_IXUSR)
    ours = link and before.st_uid == os.geteuid()
    if ours:
        os.fchmod(fd, 0o500 if executable else 0o400)  # a repeat must find the same
        os.link(f"/proc/self/fd/{fd}", half, src_dir_fd=fd, follow_symlinks=True)
        digest, size = _digest(fd, None)
    else:
        out = os.open(half, _NEW, 0o400)
        try:
            digest, size = _digest(fd, out)
        finally:
            os.close(out)
    _check_links(layout, before, digest, name, link=link)
    try:
        rename_noreplace(half, layout.inputs / digest)
    except FileExistsError:
        half.unlink()
    return Input(name, digest, size, executable)


def _check_links(
    layout: Layout, found: os.stat_result, digest: str, name: str, *, link: bool
) -> None:
    """A file with two names is refused, unless the other one is the link we made before a crash."""
    if not link or found.st_nlink == 1:
        return
    try:
        if os.path.samestat(found, os.stat(layout.inputs / digest)):
            return
    except FileNotFoundError:
        pass
    (layout.tmp / f"input-{os.getpid()}-{found.st_ino}.part").unlink(missing_ok=True)
    raise BadTaskFile(
        f"the input file {escape(name)} has {found.st_nlink} names (hard links)",
        why="through the other ones it could be changed",
        fix="give a copy of it",
    )


def _digest(fd: int, out: int | None) -> tuple[str, int]:
    """The sha256 and the length of what is in `fd`, which is copied to `out`."""
    digest, size = hashlib.sha256(), 0
    while piece := os.read(fd, _PIECE):
        digest.update(piece)
        size += len(piece)
        if out is not None:
            write_all(out, piece)
    return digest.hexdigest(), size
