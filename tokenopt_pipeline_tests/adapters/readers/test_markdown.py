"""Markdown: types, exact slices, containers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenopt_pipeline.adapters.readers import read_document
from tokenopt_pipeline.adapters.readers.markdown import MAX_NESTING
from tokenopt_pipeline.domain.documents import ReadBlock
from tokenopt_pipeline.domain.errors import DocumentUnreadable


def cut(source: str) -> list[tuple[str, str]]:
    return [(block.type.value, block.text) for block in read_document("a.md", source.encode()).blocks]


@pytest.mark.parametrize(
    ("source", "blocks"),
    [
        pytest.param("## A *b* ##\n", [("heading", "A *b*")], id="atx heading"),
        pytest.param("A\nb\n===\n", [("heading", "A\nb")], id="setext heading"),
        pytest.param("#\n", [("heading", "")], id="empty heading"),
        pytest.param("a\nb\n\nc", [("paragraph", "a\nb"), ("paragraph", "c")], id="paragraphs"),
        pytest.param("```py\nx\n\n  y\n```", [("code_block", "x\n\n  y")], id="fence"),
        pytest.param("```\nx", [("code_block", "x")], id="unclosed fence"),
        pytest.param("    x\n      y\n", [("code_block", "x\n  y")], id="indented code"),
        pytest.param("***\n", [("divider", "***")], id="rule"),
        pytest.param("|a|b|\n|-|-|\n|1|2|\n", [("table", "|a|b|\n|-|-|\n|1|2|")], id="table"),
        pytest.param("<!-- c -->\n", [("html_block", "<!-- c -->")], id="comment"),
        pytest.param("<div>\nx\n</div>\n", [("html_block", "<div>\nx\n</div>")], id="html"),
        pytest.param("![Alt *t*](x.png)", [("figure", "Alt *t*")], id="picture"),
        pytest.param("![](x.png)", [("figure", "")], id="picture without words"),
        pytest.param("[![Alt](x.png)](/y)", [("figure", "Alt")], id="linked picture"),
        pytest.param("![a](x) ![b](y)", [("paragraph", "![a](x) ![b](y)")], id="two pictures"),
        pytest.param("![a](x) says", [("paragraph", "![a](x) says")], id="picture in a sentence"),
        pytest.param("![a][r]\n\n[r]: /x\n", [("figure", "a")], id="picture by reference"),
        pytest.param("[r]: /x 'T'\n", [], id="link reference definition"),
        pytest.param("- a\n- b\n", [("list_item", "a"), ("list_item", "b")], id="items"),
        pytest.param("- a\n  1. b\n", [("list_item", "a"), ("list_item", "b")], id="nested item"),
        pytest.param("- - a\n", [("list_item", "a")], id="item of an item"),
        pytest.param("- a\n\n  b\n", [("list_item", "a\n\nb")], id="item of two paragraphs"),
        pytest.param("-\n- a\n", [("list_item", ""), ("list_item", "a")], id="empty item"),
        pytest.param("- a\n\n  ```\n  x\n  ```\n\n  b", [("list_item", "a"), ("code_block", "x"), ("paragraph", "b")],
                     id="code in an item"),
        pytest.param("- [ ] a\n- [x] b\n- [y] c", [("checkbox", "[ ] a"), ("checkbox", "[x] b"), ("list_item", "[y] c")],
                     id="tasks"),
        pytest.param("> # H\n> a\n> b", [("heading", "H"), ("paragraph", "a\nb")], id="quote"),
        pytest.param("- > q\n", [("paragraph", "q")], id="quote in an item"),
        pytest.param("> |a|\n> |-|\n> |1|\n", [("table", "| a |\n| --- |\n| 1 |")], id="table in a quote"),
        pytest.param("T\n: one\n: two\n\nU\n: x\n", [("definition", "T\n: one\n: two"), ("definition", "U\n: x")],
                     id="definitions"),
        pytest.param("a[^1]\n\n[^1]: Note\n    on\n", [("paragraph", "a[^1]"), ("footnote", "Note\non")], id="footnote"),
        pytest.param("---\ntitle: X\n---\n\na", [("key_value_region", "title: X"), ("paragraph", "a")],
                     id="front matter"),
        pytest.param("---\n\nIt was.\n\n---\n", [("divider", "---"), ("paragraph", "It was."), ("divider", "---")],
                     id="a rule on line 1 is no front matter"),
    ],
)  # fmt: skip
def test_each_construct_becomes_its_type_with_its_markers_gone(source: str, blocks: list[tuple[str, str]]) -> None:
    assert cut(source) == blocks


def check_locators(source: str, blocks: tuple[ReadBlock, ...]) -> None:
    previous = 0
    for block in blocks:
        start, end = block.locator["start"], block.locator["end"]
        assert isinstance(start, int)
        assert isinstance(end, int)
        assert previous <= start <= end <= len(source)
        previous = start
        if not block.locator.get("normalized"):
            assert source[start:end] == block.text


MARKERS = [
    "# ",
    "## ",
    "- ",
    "1. ",
    "> ",
    "    ",
    "  ",
    "\t",
    "*",
    "`",
    "```\n",
    "~~~",
    "---\n",
    ": ",
    "[^1]: ",
    "===\n",
]
INLINES = [
    "a",
    "b c",
    "é",
    "😀",
    "[x] ",
    "- [ ] ",
    "![a](b)",
    "[r]: /u",
    "<div>",
    "<!-- c -->",
    "\\",
    "&amp;",
    "|",
    "\xa0",
]
BREAKS = ["\n", "\n\n", "\r\n", "\r", "\u2028", "\x0c", "| a | b |\n|---|---|\n| 1 | 2 |\n", "---\nk: v\n---\n"]
PIECES = st.sampled_from([*MARKERS, *INLINES, *BREAKS])


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=40).map("".join))
def test_every_block_is_the_slice_that_its_locator_names_in_source_order(source: str) -> None:
    if source:
        check_locators(source, read_document("a.md", source.encode()).blocks)


def test_locators_hold_when_lines_end_in_crlf_and_a_mark_stands_first() -> None:
    source = "# Höhe\r\n\r\nOne\r\ntwo 😀\r\n\r\n```\r\nx\r\ny\r\n```\r\n"
    blocks = read_document("a.md", b"\xef\xbb\xbf" + source.encode()).blocks
    check_locators(source, blocks)
    assert [block.text for block in blocks] == ["Höhe", "One\r\ntwo 😀", "x\r\ny"]
    assert not any(block.locator.get("normalized") for block in blocks)


def test_the_same_bytes_give_the_same_blocks() -> None:
    content = b"# A\n\n- b\n  - c\n\n> d\n"
    assert read_document("a.md", content) == read_document("b.md", content)


def test_text_with_a_containers_prefixes_taken_out_says_so() -> None:
    quoted, plain = read_document("a.md", b"> a\n> b\n\nc\n").blocks
    assert quoted.locator == {"start": 2, "end": 7, "normalized": True}
    assert plain.locator == {"start": 9, "end": 10}


def test_alternative_text_that_the_source_breaks_is_marked_as_normalized() -> None:
    (figure,) = read_document("a.md", b"> ![a\n> b](x)\n").blocks
    assert (figure.type, figure.text, figure.locator["normalized"]) == ("figure", "a\nb", True)


def test_headings_keep_their_level_and_footnotes_their_label() -> None:
    heading, note = read_document("a.md", b"### A\n\n[^n1]: b\n").blocks
    assert (heading.locator["level"], note.locator["label"]) == (3, "n1")


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ("---\ntitle: 'A b'\n---\n# C", "A b"),
        ("## X\n\n# C d", "C d"),
        ("text", None),
    ],
)
def test_the_title_is_the_front_matters_or_the_first_top_heading(source: str, title: str | None) -> None:
    assert read_document("a.md", source.encode()).title == title


def test_nesting_that_the_parser_would_drop_is_refused() -> None:
    with pytest.raises(DocumentUnreadable, match=f"deeper than {MAX_NESTING}"):
        read_document("a.md", b"> " * 150 + b"lost")
