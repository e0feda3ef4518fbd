"""What `doctor` looks at of agents of kind boinc: their server, their keys, their accounts."""

from __future__ import annotations

import http.client
import importlib.util
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from spoolmw.agents.boinclink import accounts
from spoolmw.agents.boinclink.brief import home_of
from spoolmw.config import AgentConfig, Config
from spoolmw.configboinc import url_fault
from spoolmw.ctl.findings import Finding, bad, ok, warn
from spoolmw.ctl.words import count
from spoolmw.spooldir.layout import Layout

CHECK = "boinc"
ANSWER_S = 3.0  #: that the server may take
PACKAGES = ("aiohttp", "cryptography")
_PUBLIC = "code_sign_public"  # everybody may know it
_MOST_PAGE = 64 << 10


def check_boinc(layout: Layout, config: Config | None) -> Iterator[Finding]:
    """Each agent of kind boinc; nothing where there is none."""
    if config is None:
        return
    for agent in config.agents:
        if agent.kind == "boinc":
            yield from _check(layout, config, agent)


def _check(layout: Layout, config: Config, agent: AgentConfig) -> Iterator[Finding]:
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        says = f"{agent.name}: the package {missing[0]} is not installed."
        yield bad(CHECK, says, "pip install 'spoolmw[boinc]'")
    yield _url(agent)
    yield from _files(layout, agent)
    yield _accounts(layout, agent)
    if not agent.boinc.is_trusted and all(each.kind != "local" for each in config.agents):
        yield warn(
            CHECK,
            f"{agent.name}: nobody here compares what its hosts return and is not the same.",
            "Write [agents.local] too, if only with slots = 1.",
        )


def _url(agent: AgentConfig) -> Finding:
    """Whether a client finds the project's page at its URL."""
    url, listen = agent.boinc.url, agent.boinc.listen
    where = f"Set it in [agents.{agent.name}] of the configuration."
    if not url or not listen:
        return bad(CHECK, f"{agent.name} has no {'listen' if url else 'url'}.", where)
    if fault := url_fault(url):
        return bad(CHECK, f"{agent.name}: no client attaches to {url}: {fault}.", where)
    try:
        page = _page(url)
    except (OSError, http.client.HTTPException, ValueError) as error:
        says = f"{agent.name}: {url} does not answer from here: {str(error) or type(error).__name__}."
        fix = f"Is the daemon up, and does {url} lead to {listen} (name, firewall, proxy)?"
        return warn(CHECK, says, fix)
    if b"<scheduler>" not in page:
        fix = f"Something else has that address; clients must come to {listen}."
        return bad(CHECK, f"{agent.name}: {url} answers, but is no project of BOINC's.", fix)
    return ok(CHECK, f"{agent.name}: clients find the project at {url}.")


def _page(url: str) -> bytes:
    """What stands at `url`. Raises OSError, HTTPException, ValueError."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=ANSWER_S, context=context
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=ANSWER_S)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().read(_MOST_PAGE)
    finally:
        connection.close()


def _files(layout: Layout, agent: AgentConfig) -> Iterator[Finding]:
    """Keys and accounts are for the daemon's eyes only."""
    home = home_of(layout.root, agent.name)
    try:
        private = [*_private(home / "keys"), *_private(home / "accounts")]
        open_ones = [
            each for each in private if each.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        ]
        owner = layout.root.stat().st_uid
        foreign = [each for each in private if each.stat().st_uid != owner]
    except PermissionError:
        yield warn(
            CHECK,
            f"{agent.name}: keys and accounts are not open to this user.",
            "Run doctor as the daemon's user (sudo -u) or as root to have them looked at.",
        )
        return
    if open_ones:
        says = f"{agent.name}: others may read {open_ones[0]}."
        yield bad(CHECK, says, f"chmod go= {' '.join(map(str, open_ones))}")
    elif foreign:
        says = f"{agent.name}: {foreign[0]} is not the daemon's own."
        yield bad(CHECK, says, f"chown --reference={layout.root} {' '.join(map(str, foreign))}")
    elif private:
        yield ok(CHECK, f"{agent.name}: keys and accounts are private.")


def _private(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [each for each in folder.iterdir() if each.name != _PUBLIC and each.is_file()]


def _accounts(layout: Layout, agent: AgentConfig) -> Finding:
    known = accounts.all_of(accounts.folder_of(layout.root, agent.name))
    good = [each for each in known if not each.revoked]
    if not good:
        fix = "spoolmw-ctl boinc account add NAME"
        return warn(
            CHECK, f"{agent.name}: nobody has an account, so no client may attach.", fix
        )
    return ok(CHECK, f"{agent.name}: {count(len(good), 'account')}.")
