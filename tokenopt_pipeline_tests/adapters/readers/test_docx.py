"""Word documents: kinds by style and content, margins, notes, and archives that are refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from docx import Document
from docx.document import Document as WordDocument
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from tokenopt_pipeline.adapters.readers import read_document
from tokenopt_pipeline.adapters.readers.docx import MAX_UNPACKED_BYTES
from tokenopt_pipeline.domain.documents import ReadDocument
from tokenopt_pipeline.domain.errors import DocumentUnreadable
from tokenopt_pipeline_tests.adapters.readers import broken_files


def read(document: WordDocument) -> ReadDocument:
    saved = io.BytesIO()
    document.save(saved)
    return read_document("a.docx", saved.getvalue())


def cut(document: WordDocument) -> list[tuple[str, str]]:
    return [(block.type.value, block.text) for block in read(document).blocks]


def append(document: WordDocument, xml: str) -> None:
    document.element.body.insert(len(document.element.body) - 1, parse_xml(xml.replace(">", f" {nsdecls('w')}>", 1)))


def test_styles_decide_the_kind() -> None:
    document = Document()
    document.add_paragraph("T", style="Title")
    document.add_heading("H", level=2)
    document.add_paragraph("p")
    document.add_paragraph("")
    document.add_paragraph("i", style="List Bullet")
    document.add_paragraph("c", style="Caption")
    document.add_paragraph("x = 1", style="macro")
    document.add_paragraph("  y", style="macro")
    document.add_paragraph("☒ done")
    assert cut(document) == [
        ("heading", "T"), ("heading", "H"), ("paragraph", "p"), ("list_item", "i"), ("caption", "c"),
        ("code_block", "x = 1\n  y"), ("checkbox", "☒ done"),
    ]  # fmt: skip
    assert read(document).title == "T"


def test_a_table_is_one_block_with_a_line_per_row() -> None:
    document = Document()
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip((cell for row in table.rows for cell in row.cells), "abcd", strict=True):
        cell.text = text
    document.add_table(rows=1, cols=1)
    assert cut(document) == [("table", "a | b\nc | d"), ("table", "")]


def test_margins_stand_around_their_section_and_notes_at_the_end() -> None:
    document = Document()
    document.sections[0].header.paragraphs[0].text = "head"
    document.sections[0].footer.paragraphs[0].text = "foot"
    document.sections[0].first_page_header.paragraphs[0].text = "switched off"
    document.sections[0].different_first_page_header_footer = False
    document.add_paragraph("one")
    document.add_section()
    document.add_paragraph("two")
    document.sections[1].header.is_linked_to_previous = False
    document.sections[1].header.paragraphs[0].text = "second head"
    assert cut(document) == [
        ("page_header", "head"), ("paragraph", "one"), ("page_footer", "foot"),
        ("page_header", "second head"), ("paragraph", "two"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("xml", "blocks"),
    [
        pytest.param("<w:sdt><w:sdtContent><w:p><w:r><w:t>a</w:t></w:r></w:p></w:sdtContent></w:sdt>",
                     [("paragraph", "a")], id="content control"),
        pytest.param("<w:p><w:ins><w:r><w:t>new</w:t></w:r></w:ins><w:del><w:r><w:t>old</w:t></w:r></w:del></w:p>",
                     [("paragraph", "new")], id="tracked changes"),
        pytest.param("<w:p><w:pPr><w:pBdr><w:bottom w:val='single'/></w:pBdr></w:pPr></w:p>", [("divider", "")],
                     id="rule"),
        pytest.param("<w:p><w:pPr><w:numPr><w:numId w:val='1'/></w:numPr></w:pPr><w:r><w:t>a</w:t></w:r></w:p>",
                     [("list_item", "a")], id="numbered by hand"),
        pytest.param("<w:p><w:r><w:t>a</w:t><w:br/><w:t>b</w:t><w:tab/><w:t>c</w:t></w:r></w:p>",
                     [("paragraph", "a\nb\tc")], id="breaks and tabs"),
    ],
)  # fmt: skip
def test_what_the_page_shows_is_read(xml: str, blocks: list[tuple[str, str]]) -> None:
    document = Document()
    append(document, xml)
    assert cut(document) == blocks


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        pytest.param(broken_files.encrypted_office_file, "protected by a password", id="password"),
        pytest.param(broken_files.zip_with_password_flag, "protected by a password", id="zip password"),
        pytest.param(broken_files.old_word_file, "old binary Word file", id="doc"),
        pytest.param(lambda: b"PK\x03\x04 broken", "ZIP archive is damaged", id="corrupt zip"),
        pytest.param(lambda: b"plain text", "ZIP archive is damaged", id="no zip"),
        pytest.param(lambda: broken_files.zip_of({"a.txt": b"x"}), "without \\[Content_Types\\].xml", id="other zip"),
        pytest.param(lambda: broken_files.zip_of({"[Content_Types].xml": b"<no"}), "damaged or malformed", id="bad xml"),
        pytest.param(lambda: broken_files.zip_bomb(MAX_UNPACKED_BYTES + 1),
                     "unpacks to 400,000,001 bytes; the limit is 400,000,000 bytes", id="bomb"),
    ],
)  # fmt: skip
def test_an_archive_that_is_no_word_document_is_refused(build: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(DocumentUnreadable, match=reason):
        read_document("a.docx", build())


def test_footnotes_and_endnotes_follow_the_body(shared_block_types: Path) -> None:
    blocks = read_document("a.docx", (shared_block_types / "docx" / "pandoc__notes.docx").read_bytes()).blocks
    assert [(block.type.value, block.locator["part"]) for block in blocks[-2:]] == [
        ("footnote", "footnotes"),
        ("footnote", "endnotes"),
    ]
    assert blocks[-2].text == "My note."
