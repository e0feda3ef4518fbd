"""What every verb shares: which spool, how to write, whom to ask."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from spoolmw.client.control import ControlClient
from spoolmw.ctl.screen import Screen
from spoolmw.errors import BadSpool, NotServed
from spoolmw.spooldir.layout import Layout
from spoolmw.store.reports import Reports

SYSTEM_SPOOL = Path("/var/spool/spoolmw")


def find_spool(given: str | None) -> Path:
    """The spool's folder: `--spool`, `$SPOOLMW_SPOOL`, the system's where it exists, `./spool`."""
    if given:
        return Path(given)
    if named := os.environ.get("SPOOLMW_SPOOL"):
        return Path(named)
    return SYSTEM_SPOOL if SYSTEM_SPOOL.is_dir() else Path("spool")


@dataclass
class Session:
    """One run of `spoolmw-ctl`. Options may stand before the verb or behind it."""

    given_spool: str | None = None
    given_config: str | None = None
    screen: Screen = field(default_factory=Screen)

    @property
    def root(self) -> Path:
        """The spool's folder, absolute; it need not exist."""
        return find_spool(self.given_spool).absolute()

    @property
    def layout(self) -> Layout:
        """The spool's paths; says so when there is no spool."""
        root = self.root
        if not (root / "incoming").is_dir():
            raise BadSpool(
                f"There is no spool at {root}.",
                why="No --spool was given and SPOOLMW_SPOOL is not set."
                if not (self.given_spool or os.environ.get("SPOOLMW_SPOOL"))
                else "The folder does not exist or has no incoming/ in it.",
                fix=f"Name the spool (--spool DIR), or make one: spoolmwd --spool {root}",
            )
        return Layout(root)

    def control(self) -> ControlClient:
        """A connection to the daemon; asking raises NotServed when it is down."""
        return ControlClient(self.layout.root)

    def control_if_up(self) -> ControlClient | None:
        """The same, or None when the daemon does not answer."""
        control = self.control()
        try:
            control.request("ping", {})
        except NotServed:
            return None
        return control

    def reports(self) -> Reports:
        """What the journal tells; works while the daemon is down."""
        return Reports.open(self.layout.journal)

    def config_path(self) -> Path:
        """Where the configuration is, or would be."""
        return Path(self.given_config) if self.given_config else self.root.parent / "spoolmw.toml"
