"""One project: all that its parts share, opened from what lies in the agent's folder."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from spoolmw.agents.boinclink.accounts import Accounts
from spoolmw.agents.boinclink.application import Application, keys_in, secret_in
from spoolmw.agents.boinclink.brief import Brief
from spoolmw.agents.boinclink.bundles import OWN_PLATFORM, Bundles
from spoolmw.agents.boinclink.callers import Callers
from spoolmw.agents.boinclink.desk import Desk, Terms, Told
from spoolmw.agents.boinclink.holdings import Holdings
from spoolmw.agents.boinclink.landing import Lander
from spoolmw.agents.boinclink.listing import Listed, Lister
from spoolmw.agents.boinclink.matching import Bounds, Lines
from spoolmw.agents.boinclink.records import Records, RecordsTrouble, Row
from spoolmw.agents.boinclink.uploads import Uploads

SCHEDULER = "scheduler"  #: the last part of its URL
OUTPUT = "out_"  #: how the name of an attempt's output begins
_AGAIN_S = 1.0


class Post(Protocol):
    """The way to the daemon."""

    def tell(self, tree: dict[str, Any]) -> None:
        """Never waits."""


@dataclass(slots=True, eq=False)
class Project:
    """What there is to work with."""

    brief: Brief
    records: Records
    accounts: Accounts
    callers: Callers
    holdings: Holdings
    desk: Desk
    lister: Lister
    uploads: Uploads
    lander: Lander
    application: Application
    key_text: str  #: the public one, as clients hold it
    secret: bytes
    disk: ThreadPoolExecutor  #: for short work
    heavy: ThreadPoolExecutor  #: for what may take its time

    @staticmethod
    def open(brief: Brief) -> Project:
        """Read what is there, and make what is not. Raises OSError, RecordsTrouble, BadKey."""
        home = brief.home
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys, secret = keys_in(home / "keys"), secret_in(home / "keys")
        bounds = Bounds(
            per_core=brief.per_core,
            per_host=brief.max_in_work_per_host,
            memory_bytes=brief.request_memory_bytes,
            disk_bytes=brief.request_disk_bytes,
            estimate_s=brief.estimate_s,
        )
        terms = Terms(
            name=brief.name,
            bounds=bounds,
            deadline_s=brief.deadline_s,
            platforms=brief.platforms,
        )
        records = Records(home)
        callers = Callers(records.hosts(), is_anew=records.is_anew)
        holdings = Holdings(records, Lines(bounds))
        for row, told in records.rows():
            holdings.remember(row, Listed.of(told, b""))
        application = Application(
            home, Bundles(home, brief.root / "runner"), keys, records.version_of
        )
        if brief.bundle == "always":
            application.bundle(application.pack_bundle(OWN_PLATFORM))
        application.tidy()
        return Project(
            brief=brief,
            records=records,
            accounts=Accounts(home / "accounts"),
            callers=callers,
            holdings=holdings,
            desk=Desk(terms, records, callers, holdings),
            lister=Lister(brief, secret),
            uploads=Uploads(home / "uploads"),
            lander=Lander(brief.root, home / "landing", is_trusted=brief.is_trusted),
            application=application,
            key_text=keys.public_text(),
            secret=secret,
            disk=ThreadPoolExecutor(8, "disk"),
            heavy=ThreadPoolExecutor(2, "heavy"),
        )

    def owner_of(self, row: Row) -> str:
        """Whose host has it."""
        host = self.callers.hosts.get(row.host)
        return self.accounts.owner_of(host.account) if host is not None else ""

    @property
    def base(self) -> str:
        """The path of its URL, from its first "/" to its last."""
        return urlsplit(self.brief.url).path or "/"

    async def close(self) -> None:
        await self.records.close()
        for each in (self.disk, self.heavy):
            each.shutdown(wait=False, cancel_futures=True)


class Outbox:
    """What the daemon is to be told, in order, and no earlier than it is durable."""

    def __init__(self, records: Records, post: Post) -> None:
        self._records = records
        self._post = post
        self._due: deque[Told | Callable[[], None]] = deque()
        self._news = asyncio.Event()

    def put(self, *told: Told | Callable[[], None]) -> None:
        """Events, and what is to be done in their turn."""
        if told:
            self._due.extend(told)
            self._news.set()

    async def pump(self) -> None:
        """Tell, as long as this process lives."""
        while True:
            await self._news.wait()
            self._news.clear()
            count = len(self._due)
            while True:
                try:
                    await self._records.settled()
                    break
                except RecordsTrouble:
                    await asyncio.sleep(_AGAIN_S)
            self._tell([self._due.popleft() for _ in range(count)])
            if self._due:
                self._news.set()

    def _tell(self, due: list[Told | Callable[[], None]]) -> None:
        alike: list[dict[str, Any]] = []
        last = ""
        for each in due:
            event = "" if callable(each) else each[0]
            if event != last or len(alike) >= 500:
                self._flush(last, alike)
                last, alike = event, []
            if callable(each):
                each()
            else:
                alike.append(each[1])
        self._flush(last, alike)

    def _flush(self, event: str, alike: list[dict[str, Any]]) -> None:
        if alike:
            self._post.tell({"event": event, "attempts": alike})


def upload_of(name: str) -> str:
    """The attempt of which `name` is the output; "": it is none."""
    return name[len(OUTPUT) :] if name.startswith(OUTPUT) else ""
