"""Nearly-XML becomes a tree of whatever was understood, within bounds."""

from __future__ import annotations

import pytest

from spoolmw.agents.boinclink.lenient import (
    MOST_BYTES,
    MOST_DEPTH,
    MOST_ELEMENTS,
    Element,
    parse,
    unescape,
)


def shape(element: Element) -> object:
    """The tree below `element` as nested tuples."""
    return [(each.tag, each.text, shape(each)) for each in element.children]


def read(body: bytes) -> object:
    root, _ = parse(body)
    return shape(root)


def leaf(tag: str, text: str = "") -> tuple[str, str, object]:
    return (tag, text, [])


@pytest.mark.parametrize(
    ("body", "tree"),
    [
        (b"<a>1</a>", [leaf("a", "1")]),
        (b"<a/><b />", [leaf("a"), leaf("b")]),
        (b'<a x="1">t</a>', [leaf("a")]),
        (b"<a>\n<b>1</b>\n</a><c></c>", [("a", "", [leaf("b", "1")]), leaf("c")]),
        (b"<a><b>1</b>", [("a", "", [leaf("b", "1")])]),
        (
            b"<a><b><c>1</c></a><d>2</d>",
            [("a", "", [("b", "", [leaf("c", "1")])]), leaf("d", "2")],
        ),
        (b"</a></b><c>1</c></c>", [leaf("c", "1")]),
        (b"<a>1 < 2</a><b>3</b>", [("a", "", []), leaf("b", "3")]),
        (b"< a>1</ a><1>2</1><b>3</b>", [leaf("b", "3")]),
        (
            b"<stderr_out><a>1</stderr_out><b>2</b>",
            [leaf("stderr_out", "<a>1"), leaf("b", "2")],
        ),
        (b"<![CDATA[<a>1</a>]]><b>2</b>", [leaf("b", "2")]),
        (b"<![CDATA[<a>1</a>", [leaf("a", "1")]),
        (b"<a>\0\x1b\x7f\t\n</a>", [leaf("a", "???\t\n")]),
        (b"<a>\xff\xc3\xbc</a>", [leaf("a", "\ufffdü")]),
    ],
)
def test_what_is_understood_is_told(body: bytes, tree: object) -> None:
    assert read(body) == tree


def test_what_is_nested_too_deep_becomes_siblings() -> None:
    root, _ = parse(b"<a>" * 1000 + b"<b>1</b>")
    depth, level = 0, root
    while level.children:
        depth, level = depth + 1, level.children[-1]
    assert depth <= MOST_DEPTH + 1
    assert [each.text for each in root.every("b")] == ["1"]


def test_no_tree_grows_beyond_its_bound_and_says_so() -> None:
    root, is_all = parse(b"<a/>" * (MOST_ELEMENTS + 10))
    assert len(root.children) == MOST_ELEMENTS
    assert not is_all
    assert parse(b"<a/>" * 10)[1]


def test_no_more_bytes_are_looked_at_than_allowed() -> None:
    root, is_all = parse(b"<a>1</a>" + b" " * MOST_BYTES + b"<b>2</b>")
    assert shape(root) == [leaf("a", "1")]
    assert not is_all


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("plain", "plain"),
        ("&lt;&gt;&quot;&apos;&amp;", "<>\"'&"),
        ("&amp;lt;", "&lt;"),
        ("&#195;&#188;", "ü"),
        ("&#228;", "\ufffd"),
        ("&#27;&#0;", "??"),
        ("&#256;", "&#256;"),
        ("&#9999;", "&#9999;"),
        ("&bogus; & &#; &#x41;", "&bogus; & &#; &#x41;"),
    ],
)
def test_references_are_replaced_as_a_client_means_them(text: str, meant: str) -> None:
    assert unescape(text) == meant
