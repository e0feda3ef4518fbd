"""How the project stands, told at most once a second anew: everybody may ask."""

from __future__ import annotations

import time
from collections.abc import Callable

from spoolmw.agents.boinclink.pages import HostLine, Results, Status, page, status_json
from spoolmw.agents.boinclink.project import Project
from spoolmw.agents.boinclink.records import REPORTED, SENT, Host

_FRESH_S = 1.0


class Board:
    """The page and its twin for programs, as bytes."""

    def __init__(self, project: Project, scheduler: str) -> None:
        self._project = project
        self._scheduler = scheduler
        self._made: dict[Callable[[Status], bytes], tuple[float, bytes]] = {}

    def page(self) -> bytes:
        return self._fresh(page)

    def status_json(self) -> bytes:
        return self._fresh(status_json)

    def _fresh(self, make: Callable[[Status], bytes]) -> bytes:
        now = time.monotonic()
        made_at, body = self._made.get(make, (0.0, b""))
        if not body or now - made_at > _FRESH_S:
            body = make(status_of(self._project, self._scheduler))
            self._made[make] = now, body
        return body


def status_of(project: Project, scheduler: str) -> Status:
    """What everybody may know of it now; `scheduler` is its URL."""
    hosts = project.callers.hosts.values()
    return Status(
        name=project.brief.project,
        url=project.brief.url,
        scheduler=scheduler,
        now=time.time(),
        platforms=project.brief.platforms,
        hosts=tuple(_line(each) for each in hosts),
        results=_results(project),
    )


def _line(host: Host) -> HostLine:
    return HostLine(
        label=host.label,
        platform=host.platform or host.client_platform,
        cores=host.cores,
        seen=host.seen,
        done=host.done,
        failed=host.failed,
    )


def _results(project: Project) -> Results:
    holdings, hosts = project.holdings, project.callers.hosts.values()
    states = [row.state for row in holdings.rows.values() if not row.is_unwanted]
    return Results(
        waiting=len(holdings.lines),
        sent=states.count(SENT),
        uploaded=states.count(REPORTED),
        done=sum(each.done for each in hosts),
        lost=sum(each.failed for each in hosts),
    )
