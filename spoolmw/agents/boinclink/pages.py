"""What the project shows to whoever looks at its URL: how to attach, and how it stands. No I/O.

A client that attaches reads the same page, and looks in it for the line with <scheduler>.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{name}</title>
<!--
<scheduler>{scheduler}</scheduler>
-->
<link rel="boinc_scheduler" href="{scheduler}">
<style>
body {{ font-family: sans-serif; max-width: 45em; margin: 2em auto; padding: 0 1em; }}
td {{ padding: 0.2em 1.5em 0.2em 0; }}
pre {{ background: #f2f2f2; padding: 0.6em; overflow: auto; }}
</style>
</head>
<body>
<h1>{name}</h1>
<p>This is a project for BOINC clients, run by spoolmw.</p>
<table>
{rows}
</table>
<h2>How to join</h2>
<p>Ask who runs this project for an account key. Then, on a computer with a BOINC client:</p>
<pre>boinccmd --project_attach {url} KEY</pre>
<p>or in the BOINC Manager: Tools, Add project, with this page's address.
Leave at any time with <code>boinccmd --project {url} detach</code>.</p>
</body>
</html>
"""
_WORDS = {
    "hosts": "computers that ever called",
    "hosts_lately": "computers that called in the last hour",
    "waiting": "jobs that wait for a computer",
    "sent": "jobs that computers have",
    "done": "jobs that ended well",
}


def page(name: str, url: str, scheduler: str, status: Mapping[str, int]) -> bytes:
    """The page for people and clients."""
    rows = "\n".join(
        f"<tr><td>{words}</td><td>{status.get(key, 0)}</td></tr>"
        for key, words in _WORDS.items()
    )
    text = _PAGE.format(
        name=escape(name), url=escape(url), scheduler=escape(scheduler), rows=rows
    )
    return text.encode()
