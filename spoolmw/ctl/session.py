"""What every verb shares: which spool, how to write, whom to ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from spoolmw.client.control import ControlClient
from spoolmw.client.place import find_spool
from spoolmw.config import Config
from spoolmw.ctl.screen import Screen
from spoolmw.spooldir.layout import Layout
from spoolmw.store.reports import Reports

#: Seconds that the daemon may take for an answer: on a busy disk one commit may take some.
ANSWER_S = 20.0


@dataclass
class Session:
    """One run of `spoolmw-ctl`. Options may stand before the verb or behind it."""

    given_spool: str | None = None
    given_config: str | None = None
    screen: Screen = field(default_factory=Screen)

    @cached_property
    def layout(self) -> Layout:
        """The spool's paths; BadSpool when there is none."""
        return find_spool(self.given_spool)

    def control(self) -> ControlClient:
        """A connection to the daemon; asking raises NotServed when it is down."""
        return ControlClient(self.layout.root, timeout_s=ANSWER_S)

    def reports(self) -> Reports:
        """What the journal tells; works while the daemon is down."""
        return Reports.open(self.layout)

    def config(self) -> Config:
        """The configuration: `--config`, else the file beside the spool, else the defaults."""
        if self.given_config:
            return Config.load(self.given_config)
        return Config.find(self.layout.root)
