"""Files of a reference become sections by heading."""

from __future__ import annotations

import pytest

from tokenopt_pipeline.adapters.chunking import SUFFIXES, read_reference
from tokenopt_pipeline.domain.errors import DocumentUnreadable

MARKDOWN = b"""# Guide

Intro with [a link](page.md) and ![a picture](x.png).

## Words

- Short ones
- Plain ones

### Lists

    code [not](a-link)

---

## Empty
"""


def test_markdown_is_cut_at_its_headings_and_shown_without_where_links_lead() -> None:
    source = read_reference("guide.md", MARKDOWN)

    assert source.title == "Guide"
    assert [(s.heading, s.text) for s in source.sections] == [
        ("", "Intro with a link and a picture."),
        ("Words", "- Short ones\n- Plain ones"),
        ("Words > Lists", "code [not](a-link)"),
    ]


def test_html_and_text_are_cut_alike() -> None:
    page = b"<html><head><title>T</title></head><body><h1>Hi</h1><p>para</p><h2>Sub</h2><p>more</p></body></html>"

    assert [(s.heading, s.text) for s in read_reference("a.html", page).sections] == [
        ("Hi", "para"),
        ("Hi > Sub", "more"),
    ]
    assert [s.text for s in read_reference("a.txt", b"one\n\ntwo").sections] == ["one\n\ntwo"]


def test_a_page_that_is_a_heading_only_is_found_by_it() -> None:
    [section] = read_reference("a.md", b"# Only this").sections

    assert section.text == "Only this"


def test_a_rule_set_is_cut_by_rule() -> None:
    source = read_reference("s/R.yml", b"{extends: existence, message: m, tokens: [very]}")

    assert [section.heading for section in source.sections] == ["R"]
    assert source.sections[0].trigger is not None


def test_the_same_bytes_are_the_same_content_under_any_name() -> None:
    assert read_reference("a.md", MARKDOWN).content_id == read_reference("b.md", MARKDOWN).content_id
    assert read_reference("a.md", MARKDOWN).content_id != read_reference("a.md", MARKDOWN + b"x").content_id


@pytest.mark.parametrize(
    ("name", "content"), [("a.md", b""), ("a.md", b"---"), ("a.exe", b"x"), ("a.md", b"\xff\xfe\xff")]
)
def test_what_holds_no_text_is_refused(name: str, content: bytes) -> None:
    with pytest.raises(DocumentUnreadable):
        read_reference(name, content)


def test_files_of_ready_blocks_are_no_reference() -> None:
    assert ".jsonl" not in SUFFIXES
    assert {".md", ".html", ".txt", ".yml", ".yaml"} <= set(SUFFIXES)
