"""How a project stands, counted: for the page that everybody may see, and for the daemon's people."""

from __future__ import annotations

import time
from typing import Any

from spoolmw.agents.boinclink import pages
from spoolmw.agents.boinclink.project import SCHEDULER, Project
from spoolmw.agents.boinclink.records import REPORTED, SENT, Host

_FRESH_S = 2.0  #: everybody may ask, so it is counted no more often
_LATELY_S = 7 * 86400.0  #: who did not call for so long is gone
_MOST_HOSTS = 5000  #: of whom the daemon is told


class Standing:
    """The page, and the same for programs."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._at = 0.0
        self._page = self._json = b""

    def page(self) -> bytes:
        self._look()
        return self._page

    def json(self) -> bytes:
        self._look()
        return self._json

    def _look(self) -> None:
        if time.monotonic() - self._at > _FRESH_S:
            self._at = time.monotonic()
            status = _status(self._project, time.time())
            self._page, self._json = pages.page(status), pages.status_json(status)


def lately(project: Project, now: float) -> list[Host]:
    """The hosts that may call again."""
    hosts = project.callers.hosts.values()
    return [each for each in hosts if now - each.seen < _LATELY_S]


def hosts_told(project: Project, now: float) -> list[dict[str, Any]]:
    """What the daemon is told of the hosts, those that called last first."""
    newest = sorted(lately(project, now), key=lambda each: each.seen, reverse=True)
    return [
        {
            "host": each.label,
            "machine": project.desk.machine_of(each.id),
            "account": each.account,
            "owner": project.accounts.owner_of(each.account),
            "platform": each.platform or each.client_platform,
            "cores": each.cores,
            "memory": each.memory_bytes,
            "seen": int(each.seen),
            "has": project.holdings.count_at(each.id),
            "done": each.done,
            "failed": each.failed,
            "rests_until": int(each.rests_until),
        }
        for each in newest[:_MOST_HOSTS]
    ]


def _status(project: Project, now: float) -> pages.Status:
    brief, holdings = project.brief, project.holdings
    states = [each.state for each in holdings.rows.values() if not each.is_unwanted]
    hosts = project.callers.hosts.values()
    return pages.Status(
        name=brief.project,
        url=brief.url,
        scheduler=f"{brief.url}{SCHEDULER}",
        now=now,
        platforms=brief.platforms,
        hosts=tuple(
            pages.HostLine(
                label=each.label,
                platform=each.platform or each.client_platform,
                cores=each.cores,
                seen=each.seen,
                done=each.done,
                failed=each.failed,
            )
            for each in hosts
        ),
        results=pages.Results(
            waiting=len(holdings.lines),
            sent=states.count(SENT),
            uploaded=states.count(REPORTED),
            done=sum(each.done for each in hosts),
            lost=sum(each.failed for each in hosts),
        ),
        tasks=holdings.course.progress(),
    )
