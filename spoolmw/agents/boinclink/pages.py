"""What people see at the project's address: how to join, and how it stands. No I/O.

A client that attaches reads the same page: it looks, in pieces of 255 bytes, for the line with
<scheduler>, and for a line that begins with <link rel="boinc_scheduler".

Rule 1: nothing here tells of keys, of addresses, or of who owns a host: everybody may look.
Rule 2: hosts name themselves, so every text is escaped; nothing on the page runs.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from html import escape as escaped
from typing import Any

from spoolmw.agents.boinclink.course import Progress
from spoolmw.format.names import escape

MOST_HOSTS = 1000  #: that are shown, those heard of last
MOST_WORD = 80  #: characters of a name
_REFRESH_S = 60

#: What goes with every answer of this module: a browser runs nothing and fetches nothing.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLine:
    """A host as everybody may see it."""

    label: str
    platform: str = ""
    cores: int = 0
    seen: float = 0.0  #: unix time of its last contact; 0: never
    done: int = 0  #: its results that ended well, ever
    failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """How many results are where."""

    waiting: int = 0  #: for a host
    sent: int = 0  #: and not back
    uploaded: int = 0  #: and reported, until the daemon has taken them
    done: int = 0  #: ended well, ever
    lost: int = 0  #: failed or were never heard of, ever


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What is told; `hosts` may be in any order, and many."""

    name: str  #: of the project
    url: str  #: the master URL
    scheduler: str  #: its URL
    now: float  #: unix time
    platforms: tuple[str, ...] = ()  #: that it has programs for; none: it is not said
    hosts: tuple[HostLine, ...] = ()
    results: Results = field(default_factory=Results)
    tasks: Progress | None = None


_STYLE = """\
:root { color-scheme: light dark; --ink: #1c1f23; --soft: #5b6470; --paper: #fff; --line: #d9dde2;
  --box: #f3f5f7; --bar: #2f6fb2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --soft: #9aa4b0; --paper: #15181c; --line: #333a42; --box: #20252b;
    --bar: #6fa8e0; }
}
body { background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif;
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; }
h2 { margin-top: 2.2rem; }
.soft { color: var(--soft); }
pre { background: var(--box); border: 1px solid var(--line); border-radius: 4px; padding: .7rem;
  overflow-x: auto; }
code { background: var(--box); }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem 1.2rem .3rem 0; text-align: left;
  white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
progress { width: 100%; height: 1.2rem; accent-color: var(--bar); }
"""

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{refresh}">
<title>{name}</title>
<!-- for BOINC clients:
<scheduler>{scheduler}</scheduler>
-->
<link rel="boinc_scheduler" href="{scheduler}">
<style>
{style}</style>
</head>
<body>
<h1>{name}</h1>
<p class="soft">A project for BOINC clients, run by spoolmw.</p>
{progress}<h2>Results</h2>
{results}
<h2>Hosts</h2>
{hosts}
<h2>Join with a computer</h2>
{join}
<p class="soft">The same for programs: <a href="status.json">status.json</a></p>
</body>
</html>
"""

_JOIN = """\
<p>Ask who runs this project for an account key; it is a secret, so keep it to yourself. The
programs that your computer then gets come from the people who hand in work here.{platforms}</p>
<h3>On the command line</h3>
<p>With the key in place of KEY (on Debian, after <code>apt install boinc-client</code>, as root;
elsewhere in the client's data folder):</p>
<pre>boinccmd --project_attach {url} KEY</pre>
<p>To leave again:</p>
<pre>boinccmd --project {url} detach</pre>
<h3>With the BOINC Manager</h3>
<p>Its wizard "Add project" asks for an e-mail address and a password, which this project does not
have. So:</p>
<ol>
<li>Get your account file, whose name is <code>account_...xml</code>, from who runs this
project.</li>
<li>Put it into the client's data folder: <code>/var/lib/boinc-client</code> on Debian; the
Manager's event log names yours.</li>
<li>Restart the client. The project then stands among the Manager's projects, where it can be
suspended, told to take no new tasks, or removed.</li>
</ol>"""


def page(status: Status) -> bytes:
    """The page for people and for clients that attach."""
    return _PAGE.format(
        refresh=_REFRESH_S,
        name=_shown(status.name),
        scheduler=_shown(status.scheduler, most=0),
        style=_STYLE,
        progress=_progress(status.tasks),
        results=_results(status.results),
        hosts=_hosts(status),
        join=_JOIN.format(
            url=_shown(status.url, most=0), platforms=_platforms(status.platforms)
        ),
    ).encode("utf-8", "replace")


def status_json(status: Status) -> bytes:
    """The same for programs. Times are unix times."""
    told: dict[str, Any] = {
        "format": 1,
        "project": _plain(status.name),
        "url": status.url,
        "now": status.now,
        "platforms": list(status.platforms),
        "hosts_in_all": len(status.hosts),
        "hosts": [_host_told(host) for host in _lately(status.hosts)],
        "results": asdict(status.results),
        "tasks": status.tasks._asdict() if status.tasks else None,
    }
    return json.dumps(told, separators=(",", ":")).encode()


def ago(seconds: float) -> str:
    """How long since, in one unit: "40 s ago", "3 min ago", "2 days ago"."""
    if seconds < 10:
        return "just now"  # also what a clock that was set back makes of it
    for unit, size, most in (("s", 1, 60), ("min", 60, 3600), ("h", 3600, 86400)):
        if seconds < most:
            return f"{seconds // size:.0f} {unit} ago"
    days = int(min(seconds // 86400, 99_999))
    return f"{days} {'day' if days == 1 else 'days'} ago"


def _lately(hosts: Iterable[HostLine]) -> list[HostLine]:
    """Those heard of last, the latest first; of one moment by name."""
    return heapq.nsmallest(MOST_HOSTS, hosts, key=lambda each: (-each.seen, each.label))


def _host_told(host: HostLine) -> dict[str, Any]:
    return {**asdict(host), "label": _plain(host.label), "platform": _plain(host.platform)}


def _hosts(status: Status) -> str:
    if not status.hosts:
        return "<p>None has called yet.</p>"
    now = status.now
    lately = sum(now - each.seen < 3600 for each in status.hosts)
    summary = (
        f"<p>{_count(len(status.hosts), 'host')}, {lately} in contact within the last hour.</p>"
    )
    columns = (("Host", ""), ("Platform", ""), ("Cores", "number"), ("Last contact", ""),
               ("Done", "number"), ("Failed", "number"))  # fmt: skip
    rows = (_host_row(each, now) for each in _lately(status.hosts))
    more = len(status.hosts) - MOST_HOSTS
    rest = f"\n<p>and {more} more</p>" if more > 0 else ""
    return f"{summary}\n{_table(columns, rows)}{rest}"


def _host_row(host: HostLine, now: float) -> Iterator[str]:
    yield _shown(host.label)
    yield _shown(host.platform)
    yield str(host.cores) if host.cores else ""
    yield ago(now - host.seen) if host.seen else "never"
    yield str(host.done)
    yield str(host.failed)


def _results(results: Results) -> str:
    columns = [(word.capitalize(), "number") for word in asdict(results)]
    return _table(columns, [[str(each) for each in asdict(results).values()]])


def _progress(tasks: Progress | None) -> str:
    """A bar, which text browsers show as its words."""
    if tasks is None or tasks.all <= 0:
        return ""
    done = min(max(tasks.done, 0), tasks.all)
    words = f"{done} of {_count(tasks.all, 'task')} done"
    return (
        f'<h2 id="tasks">Tasks</h2>\n<p>{words}</p>\n'
        f'<progress aria-labelledby="tasks" value="{done}" max="{tasks.all}">'
        f"{100 * done // tasks.all} %</progress>\n"
    )


def _table(columns: Iterable[tuple[str, str]], rows: Iterable[Iterable[str]]) -> str:
    """Cells are HTML already; a column's second word is the class of its cells."""
    columns = list(columns)
    kinds = [f' class="{kind}"' if kind else "" for _, kind in columns]
    heads = "".join(
        f'<th scope="col"{kind}>{word}</th>'
        for (word, _), kind in zip(columns, kinds, strict=True)
    )
    lines = (
        "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True))
        for row in rows
    )
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="wide"><table>\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _platforms(platforms: tuple[str, ...]) -> str:
    return (
        f" It has programs for {_shown(', '.join(platforms), most=500)}." if platforms else ""
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _plain(text: str) -> str:
    return escape(text, MOST_WORD)


def _shown(text: str, *, most: int = MOST_WORD) -> str:
    """`text` as HTML; 0: as long as it is."""
    return escaped(escape(text, most))
