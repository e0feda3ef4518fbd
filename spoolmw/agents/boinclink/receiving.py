"""Answers clients that upload a file: looks whose it is, then lets it come.

Rule 1: only what was sent to a host may come, with the token that went with it, and no more than
it may have.
Rule 2: what nobody waits for any more is taken and thrown away: its client would try for weeks.
Rule 3: nobody takes all of the disk, or all of the places, with what is never reported.
Rule 4: of two that bring the same file the later one counts; the earlier one's line broke.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Protocol, TypeVar

from spoolmw.agents.boinclink import signing, upload
from spoolmw.agents.boinclink.project import Project, upload_of
from spoolmw.agents.boinclink.records import SENT, Row
from spoolmw.agents.boinclink.upload import SizeQuery, Status, Upload
from spoolmw.agents.boinclink.uploads import Coming, share_bytes

_PIECE_BYTES = 256 << 10  #: that are written at once
_MOST_AT_ONCE = 256  #: files that come at one time
_MOST_OF_HOST = 8  #: of these; a stock client sends two to a project
_MOST_OF_ACCOUNT = 128
_HOST_PARTS, _ACCOUNT_PARTS = (
    8,
    2,
)  #: of what uploads may take: a host, and all hosts of an account
_LONGEST_S = 3600.0  #: for what is thrown away
_STALL_S = 60.0  #: without a byte
_LEAST_RATE = 200.0  #: bytes per second, over all of it
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_Result = TypeVar("_Result")


class Source(Protocol):
    """A body that comes in pieces."""

    async def readany(self) -> bytes:
        """Some of it; empty at its end."""


class Receiver:
    """One project's."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._coming: dict[str, asyncio.Task[object]] = {}
        self._places = asyncio.Semaphore(_MOST_AT_ONCE)

    async def answer(self, source: Source) -> bytes:
        """Take what comes; the body of the answer. Raises TimeoutError for a client that stalls,
        OSError for a disk that fails."""
        head = b""
        async with asyncio.timeout(_STALL_S):  # it is short
            while not upload.is_whole(head):
                data = await source.readany()
                if not data or len(head) > upload.MOST_HEAD_BYTES:
                    break
                head += data
        told = upload.parse(head)
        if isinstance(told, SizeQuery):
            return await self._size(told)
        if told is None:
            return upload.answer(Status.NEVER, "this is no upload")
        if not signing.is_upload_token(self._project.secret, told.name, told.token):
            return upload.answer(Status.NEVER, "the signature is wrong")
        return await self._receive(told, source, head[told.head_bytes :])

    async def _receive(self, told: Upload, source: Source, rest: bytes) -> bytes:
        """What has the token."""
        row = self._project.holdings.rows.get(upload_of(told.name))
        if row is None or row.is_unwanted or row.state != SENT:
            return await _swallow(source, told, len(rest))
        if told.nbytes > row.most_bytes or not 0 <= told.offset <= told.nbytes:
            return upload.answer(Status.NEVER, "the file is larger than it may be")
        if not self._may_come(row) or not await self._may_hold(row, told.nbytes):
            return upload.answer(Status.LATER, "too much comes from there at one time")
        return await self._in_turn(row, told, source, rest)

    def _may_come(self, row: Row) -> bool:
        """Whether its host and its account have a place for one more."""
        holdings = self._project.holdings
        others = self._coming.keys() - {row.attempt}
        if sum(each.attempt in others for each in holdings.at(row.host)) >= _MOST_OF_HOST:
            return False
        if len(others) < _MOST_OF_ACCOUNT:
            return True
        _, of_account = self._shares({each: 1 for each in others if each in holdings.rows}, row)
        return of_account < _MOST_OF_ACCOUNT

    async def _may_hold(self, row: Row, nbytes: int) -> bool:
        """Whether there is so much room for its host, besides what it has here. Raises OSError."""
        uploads, known = self._project.uploads, self._project.holdings.rows
        room, taken = await self._run(lambda: (uploads.room_bytes(), uploads.taken_bytes()))
        if taken + nbytes <= share_bytes(room, _HOST_PARTS):
            return True  # all together have less than one may: nobody needs to be counted
        held = dict(uploads.held)
        held.pop(row.attempt, None)
        of_host, of_account = self._shares(
            {attempt: size for attempt, size in held.items() if attempt in known}, row
        )
        return of_host + nbytes <= share_bytes(room, _HOST_PARTS) and (
            of_account + nbytes <= share_bytes(room, _ACCOUNT_PARTS)
        )

    def _shares(self, amounts: Mapping[str, int], row: Row) -> tuple[int, int]:
        """What of these amounts, by attempts, is this row's host's, and its account's."""
        rows, hosts = self._project.holdings.rows, self._project.callers.hosts
        account = hosts[row.host].account if row.host in hosts else ""
        of_host = of_account = 0
        for attempt, amount in amounts.items():
            host = rows[attempt].host
            of_host += amount if host == row.host else 0
            of_account += amount if host in hosts and hosts[host].account == account else 0
        return of_host, of_account

    async def _size(self, told: SizeQuery) -> bytes:
        """How much of a file there is. Of one that nobody waits for: all."""
        row = self._project.holdings.rows.get(upload_of(told.name))
        if row is None:
            return upload.answer(Status.DONE, file_size=0)
        if row.is_unwanted or row.state != SENT:
            return upload.answer(Status.DONE, file_size=row.most_bytes)
        size = await self._run(lambda: self._project.uploads.size(row.attempt))
        return upload.answer(Status.DONE, file_size=size)

    async def _in_turn(self, row: Row, told: Upload, source: Source, rest: bytes) -> bytes:
        """Take it, and be the only one."""
        me = asyncio.current_task()
        assert me is not None
        while (before := self._coming.get(row.attempt)) is not None:
            before.cancel()
            await asyncio.wait([before])
        self._coming[row.attempt] = me
        try:
            async with self._places:
                return await self._take(row, told, source, rest)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            return upload.answer(Status.LATER, "the server's disk is full")
        finally:
            if self._coming.get(row.attempt) is me:
                del self._coming[row.attempt]

    async def _take(self, row: Row, told: Upload, source: Source, rest: bytes) -> bytes:
        uploads = self._project.uploads
        if await self._run(lambda: uploads.has(row.attempt)):
            return await _swallow(source, told, len(rest))
        coming = await self._run(
            lambda: uploads.begin(row.attempt, told.offset, told.nbytes), _close
        )
        if coming is None:
            return upload.answer(Status.LATER, "another part of the file comes first")
        try:
            await self._pour(coming, told, source, rest)
            if coming.left:
                return upload.answer(Status.LATER, "the file is not whole yet")
            is_right = await self._run(lambda: coming.finish(told.md5))
        finally:
            coming.close()
        if self._project.holdings.rows.get(row.attempt) is not row:  # it is over meanwhile
            await self._run(lambda: uploads.remove(row.attempt))
        if is_right:
            return upload.answer(Status.DONE)
        return upload.answer(Status.LATER, "the file has another digest than was said")

    async def _pour(self, coming: Coming, told: Upload, source: Source, rest: bytes) -> None:
        """Write what comes, until it is whole or its source has no more."""
        have = bytearray(rest)
        try:
            async with asyncio.timeout(_longest_s(told)):
                while len(have) < coming.left:
                    data = await _some(source)
                    if not data:
                        break
                    have += data
                    if len(have) >= _PIECE_BYTES:
                        piece, have = bytes(have), bytearray()
                        await self._run(partial(coming.write, piece))
        finally:  # where the line breaks the client goes on from what is there
            await self._run(partial(coming.write, bytes(have)))

    async def _run(
        self, what: Callable[[], _Result], undo: Callable[[_Result], None] | None = None
    ) -> _Result:
        """Do it in a thread; who is cancelled waits for its end nevertheless."""
        return await _run(self._project.disk, what, undo)


async def _run(
    threads: Executor,
    what: Callable[[], _Result],
    undo: Callable[[_Result], None] | None,
) -> _Result:
    future = asyncio.get_running_loop().run_in_executor(threads, what)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            await asyncio.wait([future])
            if undo is not None:
                undo(future.result())
        raise


def _close(coming: Coming | None) -> None:
    if coming is not None:
        coming.close()


async def _some(source: Source) -> bytes:
    async with asyncio.timeout(_STALL_S):
        return await source.readany()


async def _swallow(source: Source, told: Upload, have: int) -> bytes:
    """Take it and throw it away."""
    left = told.nbytes - told.offset - have
    async with asyncio.timeout(min(_LONGEST_S, _longest_s(told))):
        while left > 0:
            data = await _some(source)
            if not data:
                break
            left -= len(data)
    return upload.answer(Status.DONE)


def _longest_s(told: Upload) -> float:
    return _STALL_S + told.nbytes / _LEAST_RATE
