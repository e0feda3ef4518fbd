"""The HTTP server: which request goes where, and how large and how slow it may be.

Rule 1: names of files are looked up, never opened as they come.
Rule 2: no body is in memory but a scheduler request, which is bounded; files go from and to the disk.
Rule 3: whatever goes wrong in one request is told to that client, and ends nothing else.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from aiohttp import web

from spoolmw.agents.boinclink import listing, pages
from spoolmw.agents.boinclink.crowd import Crowd, Line, caller_of
from spoolmw.agents.boinclink.project import SCHEDULER, Project
from spoolmw.agents.boinclink.receiving import Receiver
from spoolmw.agents.boinclink.records import RecordsTrouble
from spoolmw.agents.boinclink.request import HEAD_BYTES
from spoolmw.agents.boinclink.scheduler import DOWNLOAD, UPLOAD, Scheduler
from spoolmw.agents.boinclink.standing import Standing

_MOST_BODY_BYTES = 4 << 20  #: of a scheduler request
_SHORT_BYTES = 64 << 10
_MOST_BODIES = 32  #: of longer ones, at one time
_BODY_S = 60.0
_LEAST_RATE = 1000.0  #: bytes per second, of a download
_PATIENCE_S = 120.0
_RETRY = {"Retry-After": "30"}
_log = logging.getLogger(__name__)


class Front:
    """One project's server."""

    def __init__(
        self, project: Project, scheduler: Scheduler, crowd: Crowd | None = None
    ) -> None:
        self._project = project
        self._scheduler = scheduler
        self._receiver = Receiver(project)
        self._crowd = Crowd() if crowd is None else crowd
        self._bodies = asyncio.Semaphore(_MOST_BODIES)
        self._served = project.application.files()
        self._server: asyncio.Server | None = None
        self._watch: asyncio.Task[None] | None = None
        self._standing = Standing(project)

    async def listen(self, host: str, port: int) -> int:
        """Serve there from now on; returns the port. Raises OSError."""
        server = _Server(self._handle, self._crowd)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(server, host or None, port, backlog=1024)
        self._watch = asyncio.create_task(self._crowd.watch())
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._watch is not None:
            self._watch.cancel()

    def published(self) -> None:
        """The application has other files."""
        self._served = self._project.application.files()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        line = request.protocol
        assert isinstance(line, Line)
        with line:
            try:
                return await self._route(request)
            except RecordsTrouble:
                return _text(503, "The server cannot write now. Try again later.", _RETRY)
            except TimeoutError:
                return _hang_up(_text(408, "That took too long."))
            except (ConnectionError, web.RequestPayloadError):
                return _hang_up(_text(400, "The connection broke."))
            except Exception:  # noqa: BLE001  it is logged; others are served
                _log.exception("a request failed: %s %s", request.method, request.path[:200])
                return _hang_up(_text(500, "This is an error of the server."))

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Content-Encoding"):
            return _hang_up(_text(415, "Send it as it is."))
        base = self._project.base
        if not request.path.startswith(base):
            place = "" if request.path in ("/", base.rstrip("/")) else "?"
        else:
            place = request.path[len(base) :]
        serve = self._routes().get((request.method, place))
        if serve is not None:
            return await serve(request)
        if request.method in ("GET", "HEAD") and place.startswith(DOWNLOAD):
            return await self._download(request, place[len(DOWNLOAD) :])
        return _hang_up(_text(404, "There is nothing here."))

    def _routes(
        self,
    ) -> Mapping[tuple[str, str], Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]]:
        return {
            ("POST", SCHEDULER): self._schedule,
            ("POST", UPLOAD): self._upload,
            ("GET", ""): self._page,
            ("HEAD", ""): self._page,
            ("GET", "status.json"): self._tell_status,
        }

    # -- clients

    async def _schedule(self, request: web.BaseRequest) -> web.StreamResponse:
        address = caller_of(request)
        if (request.content_length or 0) > _MOST_BODY_BYTES:
            return _hang_up(_text(413, "The request is too long."))
        body = bytearray()
        is_all = await _read(request, body, HEAD_BYTES)
        if not is_all and not self._scheduler.knows(bytes(body)):
            return _hang_up(await self._answer(bytes(body), address))  # the rest is not read
        if is_all or await _read(request, body, _SHORT_BYTES):
            return await self._answer(bytes(body), address)
        async with self._bodies:
            if not await _read(request, body, _MOST_BODY_BYTES):
                return _hang_up(_text(413, "The request is too long."))
            return await self._answer(bytes(body), address)

    async def _answer(self, body: bytes, address: str) -> web.StreamResponse:
        answer, is_known = await self._scheduler.answer(body)
        if not is_known:
            self._crowd.strike(address)
            if self._crowd.is_a_nuisance(address):  # its client then calls less and less
                return _hang_up(_text(429, "Too many calls without a good key.", _RETRY))
        return web.Response(body=answer, content_type="text/xml")

    async def _upload(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = await self._receiver.answer(request.content)
        response = web.Response(body=answer, content_type="text/xml")
        return response if request.content.at_eof() else _hang_up(response)

    async def _download(self, request: web.BaseRequest, name: str) -> web.StreamResponse:
        attempt = listing.attempt_of(name)
        if attempt:
            return await self._order(request, name, attempt)
        path = self._path_of(name)
        if path is None:
            return _text(404, "There is no such file.")
        response = web.FileResponse(path, headers={"Cache-Control": "private"})
        response.content_type = "application/octet-stream"
        nbytes = path.stat().st_size if path.is_file() else 0
        async with asyncio.timeout(_PATIENCE_S + nbytes / _LEAST_RATE):
            await response.prepare(request)
            await response.write_eof()
        return response

    def _path_of(self, name: str) -> Path | None:
        """Where the file of this name lies."""
        if name in self._served:
            return self._served[name]
        lying = self._project.holdings.file_of(name)
        return self._project.brief.root / lying.path if lying is not None else None

    async def _order(
        self, request: web.BaseRequest, name: str, attempt: str
    ) -> web.StreamResponse:
        project = self._project
        row = project.holdings.rows.get(attempt)
        if row is None:
            return _text(404, "There is no such file.")
        right = listing.order_name(project.secret, attempt, row.token)
        if not hmac.compare_digest(right, name):
            return _text(404, "There is no such file.")
        loop = asyncio.get_running_loop()
        known = await loop.run_in_executor(project.disk, project.records.job_of, attempt)
        return _part(request, known[1]) if known else _text(404, "There is no such file.")

    # -- people

    async def _page(self, request: web.BaseRequest) -> web.StreamResponse:
        body = self._standing.page()
        response = web.Response(body=body, content_type="text/html", charset="utf-8")
        response.headers.update(pages.HEADERS)
        return response

    async def _tell_status(self, request: web.BaseRequest) -> web.StreamResponse:
        body = self._standing.json()
        response = web.Response(body=body, content_type="application/json")
        response.headers.update(pages.HEADERS)
        return response


class _Server(web.Server):
    """Makes a Line of each connection."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        crowd: Crowd,
    ) -> None:
        super().__init__(handler)
        self._crowd = crowd

    def __call__(self) -> Line:
        return Line(
            self._crowd,
            self,
            access_log=None,
            read_bufsize=1 << 16,
            auto_decompress=False,
            lingering_time=5.0,
        )


async def _read(request: web.BaseRequest, body: bytearray, most: int) -> bool:
    """Read on, and say whether that was all; there may be more than `most`."""
    async with asyncio.timeout(_BODY_S):
        while len(body) <= most:
            data = await request.content.readany()
            if not data:
                return True
            body += data
    return False


def _text(
    status: int, text: str, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    return web.Response(status=status, text=f"{text}\n", headers=headers)


def _hang_up(response: web.StreamResponse) -> web.StreamResponse:
    response.force_close()
    return response


def _part(request: web.BaseRequest, data: bytes) -> web.StreamResponse:
    """All of it, or the range that was asked for."""
    try:
        asked = request.http_range
    except ValueError:
        asked = slice(None)
    start, stop, _ = asked.indices(len(data))
    if asked.start is None and asked.stop is None:
        return web.Response(body=data)
    if start >= stop:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{len(data)}"})
    told = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}
    return web.Response(status=206, body=data[start:stop], headers=told)
