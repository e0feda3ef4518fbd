"""A real browser (Debian's chromium, without a screen), and pages served to it on loopback."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import zlib
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path

from tests.support.needed import needs

TIME_LIMIT_S = 90  #: of one look: its first start on a busy machine is slow

#: It runs as whoever the tests run as, keeps nothing, and reaches nothing but this machine.
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking"),
    *("--disable-sync", "--disable-component-update", "--disable-breakpad", "--mute-audio"),
    *("--disable-crash-reporter", "--no-default-browser-check", "--hide-scrollbars"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_SCHEMES = {"dark": 0, "light": 1}  # blink's numbers


@functools.cache
def lacks() -> str:
    """Why there can be no browser here; empty: there can."""
    return "" if _program() else "there is no chromium (apt-get install chromium)"


def _program() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


#: Marks tests that need a browser: skipped where none can be had, failed in CI.
needs_browser = needs(lacks(), "there is a browser")


def dom(url: str) -> str:
    """The document as the browser has it, after whatever it would run was run."""
    return _look(url, "--dump-dom", "--virtual-time-budget=2000").decode()


def screenshot(
    url: str, to: Path, *, scheme: str = "light", width: int = 1000, height: int = 1200
) -> bytes:
    """A picture (PNG) of the page, in the file `to` too."""
    scheme_flag = f"--blink-settings=preferredColorScheme={_SCHEMES[scheme]}"
    _look(url, f"--screenshot={to}", f"--window-size={width},{height}", scheme_flag)
    return to.read_bytes()


def corner(png: bytes) -> tuple[int, int, int]:
    """The colour of a picture's first pixel: no filter of PNG changes it."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    packed, at = b"", 8
    while at < len(png):
        size = int.from_bytes(png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            packed += png[at + 8 : at + 8 + size]
        at += size + 12
    row = zlib.decompressobj().decompress(packed, 4)
    return row[1], row[2], row[3]


def _look(url: str, *flags: str) -> bytes:
    program = _program()
    assert program, lacks()
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as home:
        looking = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={home}", *flags, url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home},
            start_new_session=True,
        )
        try:
            said, complaints = looking.communicate(timeout=TIME_LIMIT_S)
        finally:
            if looking.poll() is None:
                os.killpg(looking.pid, signal.SIGKILL)  # its helpers too; else they end with it
                looking.communicate()
    assert looking.returncode == 0, complaints.decode(errors="replace")[-2000:]
    return said


@contextlib.contextmanager
def served(pages: Mapping[str, tuple[bytes, Mapping[str, str]]]) -> Iterator[str]:
    """A server on loopback with these bodies and headers by path; gives its address with "/"."""

    class Answering(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, headers = pages.get(self.path, (b"", {}))
            self.send_response(200 if self.path in pages else 404)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


class _Reading(HTMLParser):
    """What of a document a person reads: its title, the cells of its tables, all its words."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        self._inside = tag
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "title":
            self.title += data
        elif self._inside in ("td", "th"):
            self.rows[-1][-1] += data
        if self._inside not in ("style", "script"):
            self.words.extend(data.split())


def read(document: str) -> _Reading:
    """The title, rows, words and tags of a document."""
    reading = _Reading()
    reading.feed(document)
    return reading
