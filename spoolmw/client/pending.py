"""The tasks that are waited for, and in which order to look for their results.

Results come about in the order of submission, so looking goes through the front of that order
and gives up after some misses: few looks find many results. A task that later ones overtook
again and again moves to the late ones, so that one slow task does not hide all behind it.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterable
from itertools import islice

from spoolmw.client.array import SpoolArray
from spoolmw.client.future import SpoolTask

#: Looks in vain, one after the other, that end a round.
FRONT_MISSES = 24
#: Results that one round takes up at most; they are handed out together.
BATCH = 256
#: A task that so many rounds overtook is late.
SKIPS = 8
#: Late tasks that each round looks for.
LATE_LOOKS = 4
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FIRST_READ = 1 << 16
_TRY_LATER = frozenset({errno.ENOENT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOTDIR})

Found = tuple[SpoolTask, bytes]


def look(path: str) -> bytes | None:
    """The content of the file at `path`, None where there is none; empty if it cannot be read."""
    try:
        fd = os.open(path, _FLAGS)
    except OSError as error:
        return None if error.errno in _TRY_LATER else b""
    try:
        data = os.read(fd, _FIRST_READ)
        if len(data) < _FIRST_READ:
            return data
        return _read_all(fd)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _read_all(fd: int) -> bytes:
    size, done = os.fstat(fd).st_size, 0
    parts: list[bytes] = []
    while done < size and (part := os.pread(fd, size - done, done)):
        parts.append(part)
        done += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _names(folder: str, *, most: int) -> set[str] | None:
    """The names in a folder; None when it has more than `most`, or cannot be read."""
    try:
        with os.scandir(folder) as entries:
            names = {entry.name for entry in islice(entries, most + 1)}
    except OSError:
        return None
    return names if len(names) <= most else None


class Pending:
    """What is waited for. Belongs to one thread."""

    def __init__(self) -> None:
        self.by_path: dict[str, SpoolTask] = {}
        self._front: deque[SpoolTask] = deque()
        self._late: deque[SpoolTask] = deque()
        self._asked = 0  #: how many in turn were asked about
        self._added = 0

    def __len__(self) -> int:
        return len(self.by_path)

    def add(self, task: SpoolTask) -> None:
        self._added += 1
        task.number = self._added
        self.by_path[task.result_file] = task
        self._front.append(task)

    def drop(self, task: SpoolTask) -> None:
        """It is no longer waited for."""
        if self.by_path.get(task.result_file) is task:
            del self.by_path[task.result_file]

    def move(self, task: SpoolTask, path: str) -> None:
        """Its result will have another name."""
        self.drop(task)
        task.result_file = path
        self.by_path[path] = task
        self._late.append(task)

    def oldest(self, number: int) -> list[SpoolTask]:
        """Some tasks to ask about: half of them late ones, the others in turn."""
        late = self._late
        some: dict[SpoolTask, None] = {}
        for _ in range(min(len(late), number // 2)):
            task = late.popleft()
            if self._is_waited_for(task):
                late.append(task)
                some[task] = None
        if self._asked >= len(self.by_path):
            self._asked = 0
        end = self._asked + number - len(some)
        some.update(dict.fromkeys(islice(self.by_path.values(), self._asked, end)))
        self._asked = end
        return list(some)

    def in_turn(self) -> list[Found]:
        """Look for the results that should come next."""
        found: list[Found] = []
        missed: list[SpoolTask] = []
        overtaken = misses = 0
        front = self._front
        while front and misses < FRONT_MISSES and len(found) < BATCH:
            task = front.popleft()
            if not self._is_waited_for(task):
                continue
            path = task.result_file
            # behind a miss most are misses, and asking costs a third of an open that fails
            data = look(path) if not misses or os.access(path, os.F_OK) else None
            if data is None:
                misses += 1
                missed.append(task)
            else:
                found.append((task, data))
                overtaken, misses = len(missed), 0
        for task in missed[:overtaken]:
            task.skipped += 1
        front.extendleft(reversed([task for task in missed if task.skipped < SKIPS]))
        self._late.extend(task for task in missed if task.skipped >= SKIPS)
        return found + self._some_late()

    def _some_late(self) -> list[Found]:
        late = self._late
        found: list[Found] = []
        for _ in range(min(LATE_LOOKS, len(late))):
            task = late.popleft()
            if not self._is_waited_for(task):
                continue
            data = look(task.result_file)
            if data is None:
                late.append(task)
            else:
                found.append((task, data))
        return found

    def named(self, paths: Iterable[str]) -> list[Found]:
        """Look for the results at these paths, if they are waited for."""
        tasks = [self.by_path[path] for path in dict.fromkeys(paths) if path in self.by_path]
        return self.these(tasks)

    def in_folder(self, folder: str, box: str) -> list[Found]:
        """Look for all results of a box, which lie in `folder`.

        To read the folder is cheaper than to ask for each, where it has no more names than that.
        """
        tasks = self.of_box(box)
        there = _names(folder, most=len(tasks))
        if there is not None:
            tasks = [each for each in tasks if each.result_file.rpartition("/")[2] in there]
        return self.these(tasks)

    def of_box(self, box: str) -> list[SpoolTask]:
        """All that are waited for in a box."""
        return [task for task in self.by_path.values() if task.box == box]

    def these(self, tasks: Iterable[SpoolTask]) -> list[Found]:
        """Look for the results of these tasks."""
        found: list[Found] = []
        for task in tasks:
            path = task.result_file
            # asking costs a third of an open that fails; a broken link answers no, but is there
            data = look(path) if os.access(path, os.F_OK, follow_symlinks=False) else None
            if data is not None:
                found.append((task, data))
        return found

    def overtake(self, task: SpoolTask) -> None:
        """A result came out of turn: those in front of it should not be looked for first."""
        front = self._front
        for _ in range(min(len(front), BATCH)):
            if front[0].number >= task.number - FRONT_MISSES // 2:
                return
            self._late.append(front.popleft())

    def has_array_alone(self) -> bool:
        """An array that nobody else knows of is waited for, and none of its elements. Any thread."""
        tasks = list(self.by_path.copy().values())
        busy = {task.array for task in tasks if task.array is not None}
        return any(
            isinstance(task, SpoolArray) and task.is_hidden and task not in busy
            for task in tasks
        )

    def _is_waited_for(self, task: SpoolTask) -> bool:
        return self.by_path.get(task.result_file) is task
