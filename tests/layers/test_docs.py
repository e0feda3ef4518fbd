"""What the pages say is there: links lead somewhere, every page is found, targets explain themselves."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from spoolmw.spooldir.layout import README
from tests.layers.source import ROOT

DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


def by_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    words = (
        re.sub(r"[^\w\- ]", "", title.lower()) for title in HEADING.findall(page.read_text())
    )
    return {title.strip().replace(" ", "-") for title in words}


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{by_name(page)}: {link}"
        assert not anchor or anchor in anchors(target), f"{by_name(page)}: {link}"


def test_every_page_is_found_from_the_overview() -> None:
    text = (DOCS / "OVERVIEW.md").read_text()
    missing = [page.name for page in DOCS.glob("*.md") if f"({page.name})" not in text]
    assert missing in ([], ["OVERVIEW.md"])


def test_the_drawing_stands_on_the_overviews_first_screen() -> None:
    head = "\n".join((DOCS / "OVERVIEW.md").read_text().splitlines()[:45])
    assert head.count("```") == 2


def test_every_decision_is_one_screen_with_its_three_parts() -> None:
    for page in (DOCS / "adr").glob("*.md"):
        text = page.read_text()
        assert re.match(r"\d{4}-[a-z0-9-]+\.md", page.name)
        assert text.startswith(f"# {page.name[:4]}: "), page.name
        for part in ("Context", "Decision", "Consequences"):
            assert f"**{part}.**" in text or f"## {part}" in text, f"{page.name}: {part}"
        assert len(text.splitlines()) <= 60, page.name


def test_no_two_decisions_have_one_number() -> None:
    numbers = [page.name[:4] for page in (DOCS / "adr").glob("*.md")]
    assert len(numbers) == len(set(numbers)), sorted(numbers)


def test_the_spool_as_installed_has_the_readme_that_the_daemon_writes() -> None:
    assert (ROOT / "spool" / "README").read_text() == README


def test_make_help_explains_every_target() -> None:
    said = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    wanted = ["help", "demo", "test", "check", "format", "crash", "bench", "docs", "clean"]
    assert [line.split()[1] for line in said.stdout.splitlines()] == wanted
