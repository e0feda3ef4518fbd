"""The engine `process`: pilots are plain processes of this machine. For tests, and as a pattern.

A pilot is found again by its command line: it ends with the order's path, whose name tells seat and
digest. So there is nothing to keep, and a link that starts anew finds what an earlier one began.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from spoolmw.agents.pilotlink.engine import RUNS, Job, Pilot, Post
from spoolmw.runner.host import MACHINE

_NAME = re.compile(r"(\d+)-([0-9a-f]{32})\.json")
_MOST_SAID_BYTES = 500


class ProcessEngine:
    """Fulfils `engine.Engine`."""

    poll_s = 0.5

    def __init__(self, post: Post) -> None:
        self._post = post
        self._children: list[subprocess.Popen[bytes]] = []
        self._asked: set[str] = set()  #: to end

    def submit(self, pilots: Sequence[Pilot]) -> None:
        for each in pilots:
            scratch = self._post.folder / f"job-{each.digest}"
            scratch.mkdir(mode=0o700, exist_ok=True)
            env = {**os.environ, "TMPDIR": str(scratch)}
            if name := self._post.options.get("machine"):
                env[MACHINE] = f"{name}{each.seat}"
            with open(self._said(each.digest), "wb", opener=_private) as errors:
                self._children.append(
                    subprocess.Popen(
                        [
                            *(self._python, "-I", "-S", str(self._post.archive)),
                            *("pilot", str(each.order)),
                        ],
                        cwd=scratch,
                        env=env,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=errors,
                        start_new_session=True,
                    )
                )

    def listed(self) -> Sequence[Job]:
        self._children = [each for each in self._children if each.poll() is None]
        jobs = list(self._running())
        self._asked &= {each.id for each in jobs}
        self._tidy({each.digest for each in jobs})
        return jobs

    def remove(self, jobs: Sequence[Job]) -> None:
        for each in jobs:  # who is asked twice did not heed the first time: it may be stopped
            number = signal.SIGKILL if each.id in self._asked else signal.SIGTERM
            self._asked.add(each.id)
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(each.id), number)

    def last_words(self, digest: str) -> str:
        with contextlib.suppress(OSError):
            lines = self._said(digest).read_text(errors="replace")[-_MOST_SAID_BYTES:]
            return " ".join(lines.split())
        return ""

    @property
    def _python(self) -> str:
        return self._post.pythons[0] if self._post.pythons else sys.executable

    def _said(self, digest: str) -> Path:
        return self._post.folder / f"said-{digest}.txt"

    def _running(self) -> Iterator[Job]:
        orders = str(self._post.folder / "orders")
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{name}/cmdline").read_bytes().decode().split("\0")
                if words[-3:-2] != ["pilot"] or not words[-2].startswith(f"{orders}/"):
                    continue
                found = _NAME.fullmatch(words[-2].rpartition("/")[2])
                if found:
                    yield Job(name, int(found[1]), found[2], RUNS)

    def _tidy(self, running: set[str]) -> None:
        """Remove the scratch folders of jobs that are over, as a batch system does."""
        for each in self._post.folder.glob("job-*"):
            if each.name.removeprefix("job-") not in running:
                subprocess.run(["rm", "-rf", "--", str(each)], check=False)
        old = sorted(self._post.folder.glob("said-*"), key=lambda path: path.stat().st_mtime)
        for each in old[:-50]:
            each.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
