"""What arrives on a host first: puts the runner's archive into place and becomes the program in it.

This file itself travels: its text is the first line that the host's Python reads from standard
input. It is clean for Python 3.9 and needs the standard library only. What follows on standard
input is one line of JSON (the request), then the archive's bytes if it is not there yet.
"""

import hashlib
import json
import os
import stat
import sys
from typing import Any, Dict

WORD = "SPOOLMW-LANDED "  #: before each answer; what a login shell prints does not begin so


class Refused(Exception):
    """Why this host cannot take the archive: what, why, what to do."""


def main() -> None:
    """Answer, take the archive if it is needed, and become it."""
    raw = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115  nothing may be read ahead
    request = json.loads(raw.readline())
    base = request["folder"] or "/var/tmp/spoolmw-%d" % os.getuid()
    try:
        archive = prepare(base, request, raw)
    except Refused as refusal:
        answer(dict(zip(("what", "why", "fix"), refusal.args)))
        return
    except OSError as error:
        what = "the folder %s cannot be used" % (error.filename or base)
        fix = "make room there, or set `folder` in the agent's section"
        answer({"what": what, "why": error.strerror or str(error), "fix": fix})
        return
    answer({"ready": True, "base": base})
    words = [each.replace("{base}", base) for each in request["argv"]]
    os.execv(sys.executable, [sys.executable, "-I", "-S", archive] + words)


def answer(tree: Dict[str, Any]) -> None:
    """Tell the other side, in one line that it can find."""
    sys.stdout.write(WORD + json.dumps(tree) + "\n")
    sys.stdout.flush()


def prepare(base: str, request: Dict[str, Any], raw: Any) -> str:
    """The archive's path; it is there and whole."""
    own(base)
    folder = base + "/runner"
    own(folder)
    target = "%s/%s.pyz" % (folder, request["sha256"])
    have = is_whole(target, request["sha256"])
    tree: Dict[str, Any] = {"need": not have, "executable": sys.executable}
    tree["python"] = "%d.%d.%d" % sys.version_info[:3]
    answer(tree)
    if not have:
        take(target, request["bytes"], request["sha256"], raw)
    return target


def own(folder: str) -> None:
    """Make a folder that is this user's alone, or see that it is."""
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        pass
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode):
        raise Refused(folder + " is no folder", "a link or file stands there", "remove it")
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise Refused(
            folder + " may be changed by others",
            "it belongs to user %d, mode %o" % (found.st_uid, stat.S_IMODE(found.st_mode)),
            "remove it, or set `folder` in the agent's section to one that is yours alone",
        )


def is_whole(path: str, digest: str) -> bool:
    """Whether the archive is there with this digest."""
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest() == digest
    except OSError:
        return False


def take(target: str, size: int, digest: str, raw: Any) -> None:
    """Receive the archive and give it its name when it is whole and durable."""
    half = "%s.%d" % (target, os.getpid())
    seen = hashlib.sha256()
    try:
        with open(half, "xb") as file:
            while size:
                data = raw.read(min(size, 1 << 16))
                if not data:
                    raise Refused("the runner did not arrive", "the stream ended", "try again")
                size -= len(data)
                seen.update(data)
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if seen.hexdigest() != digest:
            raise Refused("the runner arrived damaged", "its digest is another", "try again")
        os.rename(half, target)
    except BaseException:
        try:
            os.unlink(half)
        except OSError:
            pass
        raise


if __name__ == "__main__":
    main()
