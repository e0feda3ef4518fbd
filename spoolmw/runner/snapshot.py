"""Checkpoints of a command: its folder `$SPOOLMW_CHECKPOINT_DIR` and files of its working directory.

Taken when it says so (it ends with the agreed exit code, and is started again), every so often
while it runs, and when it ends after TERM. While it runs a copy counts only if no file changed
meanwhile; names that end in .tmp or .part are left out at any time. A file that is written in
place is whole once it has not changed for a moment; one that is replaced by a rename always is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from types import TracebackType
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple, Type

from . import limits, news, outputs, printed
from .checkpoint import Checkpoint, Draft, Owner, clean, newest, orders
from .order import Order

KIND = "command"
INSIDE = "dir"  #: where in a checkpoint the command's folder is
BESIDE = "files"  #: where in it files of the working directory are
VARIABLE = "SPOOLMW_CHECKPOINT_DIR"
MOST_IDLE = 3  #: restarts in a row without anything new to save
SETTLED_S = 1.0  #: no file that a running command writes in place may be younger
_LONGEST_WAIT_S = 60.0
_HALF = (".tmp", ".part")

Look = Tuple[int, int, int]  #: size, time of change, inode


class Ground(NamedTuple):
    """Where a command's checkpoints come from and go to."""

    place: str  #: the folder of all checkpoints
    folder: str  #: the command's own, $SPOOLMW_CHECKPOINT_DIR
    scratch: str  #: its working directory
    stderr: str  #: the file that its errors go to
    send: Callable[[bytes], object]  #: to the runner


class Keeper:
    """Saves one command's progress; made before it starts."""

    def __init__(self, told: Order, ground: Ground) -> None:
        wish: Dict[str, Any] = told.checkpoint or {}
        task, replica, attempt = told.attempt.split(".")
        self._told = told
        self._ground = ground
        self._owner = Owner(ground.place, task, int(replica))
        self._attempt = int(attempt)
        self._every_s: float = max(SETTLED_S, wish["every"])
        self._patterns: List[str] = wish["files"]
        self.exit_code: int = wish["exit_code"]
        self.ending = False  #: TERM came: it is not to be started again
        self._idle = 0
        self._due_at = time.monotonic() + self._every_s
        self._saved: Dict[str, Look] = {}
        self._seen: Dict[str, Look] = {}  #: at the last look
        self._replaced: Set[str] = set()  #: names that were seen to become another file
        clean(self._owner)
        own = (number for made, number in orders(self._owner) if made == self._attempt)
        self._sequence = max(own, default=0)

    def __enter__(self) -> Keeper:
        self._before = signal.signal(signal.SIGTERM, self._hear_term)
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        signal.signal(signal.SIGTERM, self._before)
        outputs.remove(self._ground.folder)

    def _hear_term(self, _number: int, _frame: object) -> None:
        self.ending = True

    def restore(self) -> None:
        """Make the folder, and put back what the newest whole checkpoint has. Raises OSError."""
        outputs.fresh(self._ground.folder)
        found, notes = newest(self._owner, KIND, self._told.since)
        if found is not None:
            with limits.Lifted():
                self._put_back(found)
                lengths = found.manifest.get("printed")
                printed.put_back(
                    self._outputs, lengths if isinstance(lengths, list) else (None, None)
                )
        if found is not None or notes:
            self._ground.send(news.resumed(self._told.attempt, found, notes))
        self._saved = self._look()

    def goes_on(self, status: int) -> bool:
        """Save if the command, which ended so, says that it is time to; True: start it again."""
        said = os.WIFEXITED(status) and os.WEXITSTATUS(status) == self.exit_code
        if said or (self.ending and os.WIFEXITED(status) and status):
            self._idle = 0 if self.take() else self._idle + 1
        elif self.ending and status and self._settled(self._look()):
            self.take()  # it did not listen to TERM: what it was writing then is not whole
        return said and not self.ending and self._idle < MOST_IDLE

    def wait_ms(self) -> int:
        """How long nothing is to be done while it runs."""
        left_s = self._due_at - time.monotonic()
        return int(min(_LONGEST_WAIT_S, max(0.0, left_s)) * 1000) + 1

    def tick(self) -> None:
        """Save what the running command has written, if it is due and settled."""
        now = time.monotonic()
        if now < self._due_at:
            return
        looks = self._look()
        if looks == self._saved or not looks:
            self._due_at = now + self._every_s
        elif not self._settled(looks) or not self.take(running=True):
            self._due_at = now + SETTLED_S  # it is writing: look again soon

    def take(self, *, running: bool = False) -> bool:
        """Save what there is; False when there is nothing new."""
        looks = self._look()
        if looks == self._saved or not looks:
            return False
        lengths = [outputs.printed([path]) for path in printed.paths(self._outputs)]
        number = self._sequence + 1
        try:
            with limits.Lifted(), Draft(self._owner, (self._attempt, number), KIND) as draft:
                for name in looks:
                    draft.copy(self._source(name), name)
                if running and self._look() != looks:
                    raise _Changed
                printed.keep(self._outputs)
                made = draft.seal(printed=lengths)
        except _Changed:
            return False
        except OSError as error:
            if running and isinstance(error, FileNotFoundError):
                return False
            self._warn(f"checkpoint {self._attempt}-{number} could not be written: {error}")
            self._due_at = time.monotonic() + self._every_s
            return True  # the command has something new, and goes on with it in its own folder
        self._sequence = number
        self._saved = looks
        self._due_at = time.monotonic() + self._every_s
        self._ground.send(news.checkpointed(self._told.attempt, made))
        return True

    def _warn(self, text: str) -> None:
        with contextlib.suppress(OSError), open(self._ground.stderr, "a") as file:
            file.write(f"spoolmw: {text}\n")

    def _source(self, name: str) -> str:
        where, _, rest = name.partition("/")
        return f"{self._ground.folder if where == INSIDE else self._ground.scratch}/{rest}"

    def _look(self) -> Dict[str, Look]:
        """What there is to save, by its name in a checkpoint."""
        names = [f"{INSIDE}/{name}" for name in outputs.regular_files(self._ground.folder)]
        if self._patterns:
            names += [
                f"{BESIDE}/{name}"
                for name in outputs.regular_files(self._ground.scratch)
                if any(outputs.matches(name, each) for each in self._patterns)
            ]
        looks: Dict[str, Look] = {}
        for name in sorted(names):
            if not name.endswith(_HALF):
                with contextlib.suppress(FileNotFoundError):
                    found = os.lstat(self._source(name))
                    looks[name] = (found.st_size, found.st_mtime_ns, found.st_ino)
        was = self._seen
        self._replaced |= {
            name for name in looks if name in was and was[name][2] != looks[name][2]
        }
        self._seen = looks
        return looks

    def _settled(self, looks: Dict[str, Look]) -> bool:
        """Nothing that is written in place may still be half written."""
        in_place = (look for name, look in looks.items() if name not in self._replaced)
        newest_ns = max((changed for _, changed, _ in in_place), default=0)
        return newest_ns < time.time_ns() - int(SETTLED_S * 1e9)

    def _put_back(self, found: Checkpoint) -> None:
        for each in found.manifest["files"]:
            target = self._source(each["name"])
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(target)  # an input, as it was at the start
            mode = 0o700 if each.get("executable") else 0o600
            outputs.copy(f"{found.path}/{each['name']}", target, mode)
            when = each.get("modified_ns", 0)
            os.utime(target, ns=(when, when))

    @property
    def _outputs(self) -> str:
        """The folder of what it brings back, and of what it prints."""
        return os.path.dirname(self._ground.stderr)


class _Changed(Exception):
    """A file changed while it was copied."""
