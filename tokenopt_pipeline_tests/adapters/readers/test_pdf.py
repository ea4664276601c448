"""PDF: paragraphs by gaps, running lines by repetition, headings by size, and files that are refused."""

from __future__ import annotations

import pytest

from demo.make_binary_documents import pdf_of_pages, text_at
from tokenopt_pipeline.adapters.readers import read_document
from tokenopt_pipeline.domain.errors import DocumentUnreadable
from tokenopt_pipeline_tests.adapters.readers.broken_files import encrypted_pdf

ORDINALS = {1: "first", 2: "second", 3: "third"}


def page(number: int) -> bytes:
    return (
        text_at("F1", 8, 72, 800, "Annual report")
        + text_at("F2", 16, 72, 760, f"Chapter {number}")
        + text_at("F1", 10, 72, 730, f"Line one of page {number}, which goes on and on, well-")
        + text_at("F1", 10, 72, 717, "known to all.")
        + text_at("F1", 10, 72, 690, f"A {ORDINALS[number]} paragraph.")
        + text_at("F1", 8, 72, 40, f"Page {number} of 3")
    )


def test_lines_become_paragraphs_headings_and_page_margins() -> None:
    document = read_document("a.pdf", pdf_of_pages([page(1), page(2), page(3)], title="T"))
    assert [(block.type.value, block.text) for block in document.blocks[:5]] == [
        ("page_header", "Annual report"),
        ("heading", "Chapter 1"),
        ("paragraph", "Line one of page 1, which goes on and on, well-known to all."),
        ("paragraph", "A first paragraph."),
        ("page_footer", "Page 1 of 3"),
    ]
    assert document.title == "T"
    assert [block.locator["page"] for block in document.blocks] == [1] * 5 + [2] * 5 + [3] * 5


def test_a_line_of_one_page_is_no_page_margin() -> None:
    document = read_document("a.pdf", pdf_of_pages([page(1)]))
    assert "page_header" not in {block.type for block in document.blocks}


def test_a_locator_has_the_page_and_the_box_in_points() -> None:
    (block,) = read_document("a.pdf", pdf_of_pages([text_at("F1", 10, 72, 700, "Hello")])).blocks
    box = block.locator["box"]
    assert isinstance(box, list)
    left, bottom, right, top = box
    assert (block.locator["page"], left) == (1, 72)
    assert 690 < bottom < 700 < top < 715
    assert 90 < right < 100


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(encrypted_pdf(), "protected by a password", id="password"),
        pytest.param(pdf_of_pages([b"", b"0 0 10 10 re f"]), r"no text layer \(2 pages of pictures\)", id="scan"),
        pytest.param(b"%PDF-1.4 broken", "damaged", id="damaged"),
        pytest.param(b"text", "not a PDF", id="no pdf"),
    ],
)
def test_a_pdf_without_readable_text_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(DocumentUnreadable, match=reason):
        read_document("a.pdf", content)
