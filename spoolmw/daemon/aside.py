"""Answers requests that may wait a moment for somebody far away, beside the reactor's thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from spoolmw.daemon.control import Request
from spoolmw.daemon.logs import fields, log
from spoolmw.errors import SpoolmwError

_AT_ONCE = 4  #: each waits for 0.05 s at most, when its host is slow


class Aside:
    """Some threads, which are made when they are first needed."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_AT_ONCE, "aside")

    def answer(self, request: Request, ask: Callable[[], object]) -> None:
        """Reply with what `ask` returns, as soon as it does."""
        self._pool.submit(_answer, request, ask)


def _answer(request: Request, ask: Callable[[], object]) -> None:
    try:
        told = ask()
    except SpoolmwError as error:
        told = error
    except Exception as error:  # noqa: BLE001  who asks is told, and nobody else suffers
        log.exception("request failed %s", fields(verb=request.verb))
        told = SpoolmwError(f"{request.verb} failed: {error}")
    request.reply(told)
