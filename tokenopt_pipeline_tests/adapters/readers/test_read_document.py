"""The door of the readers: dispatch, refusals that all formats share, and that nothing foreign escapes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.make_binary_documents import contract_docx, survey_pdf
from tokenopt_pipeline.adapters.readers import MAX_FILE_BYTES, SUFFIXES, read_document, refuse_by_size, source_type_of
from tokenopt_pipeline.domain.documents import SourceType
from tokenopt_pipeline.domain.errors import DocumentUnreadable

TEXT_FORMATS = ("a.md", "a.txt", "a.html", "a.jsonl")


@pytest.mark.parametrize("name", [f"a{suffix}" for suffix in SUFFIXES])
def test_a_file_of_zero_bytes_is_refused_by_name(name: str) -> None:
    with pytest.raises(DocumentUnreadable, match=r"0 bytes") as refused:
        read_document(name, b"")
    assert refused.value.name == name


def test_a_file_over_the_limit_is_refused_with_what_was_found_and_the_limit() -> None:
    refuse_by_size("big.md", MAX_FILE_BYTES)
    with pytest.raises(DocumentUnreadable, match=r"100,000,001 bytes; the limit is 100,000,000 bytes"):
        refuse_by_size("big.md", MAX_FILE_BYTES + 1)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a.odt", r"'\.odt' is not one that can be read"), ("README", "no suffix"), ("x/.md", "no suffix")],
)
def test_an_unknown_suffix_is_refused_with_the_known_ones(name: str, reason: str) -> None:
    with pytest.raises(DocumentUnreadable, match=reason) as refused:
        read_document(name, b"text")
    assert ".markdown" in refused.value.reason


def test_the_suffix_is_compared_without_regard_to_case() -> None:
    assert source_type_of("Reports/A.MD") is SourceType.MARKDOWN


def test_a_given_source_type_overrides_the_suffix() -> None:
    assert read_document("notes.txt", b"# H", SourceType.MARKDOWN).blocks[0].text == "H"


@pytest.mark.parametrize("name", TEXT_FORMATS)
def test_invalid_utf8_is_refused_at_its_byte_offset(name: str) -> None:
    with pytest.raises(DocumentUnreadable, match=r"invalid UTF-8 at byte offset 3 \(byte 0xff\)"):
        read_document(name, b"abc\xff")


@pytest.mark.parametrize("name", TEXT_FORMATS)
def test_offsets_in_a_refusal_count_the_byte_order_mark(name: str) -> None:
    for wrong in (b"\xff", b"\0"):
        with pytest.raises(DocumentUnreadable, match=r"byte offset 4\b"):
            read_document(name, b"\xef\xbb\xbfa" + wrong)


@pytest.mark.parametrize("name", TEXT_FORMATS)
def test_a_nul_byte_is_refused_at_its_byte_offset(name: str) -> None:
    with pytest.raises(DocumentUnreadable, match=r"NUL byte at byte offset 1\b"):
        read_document(name, b"a\0b")


@pytest.mark.parametrize("name", TEXT_FORMATS)
def test_utf16_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(DocumentUnreadable, match="UTF-16"):
        read_document(name, "text".encode("utf-16"))


@pytest.mark.parametrize("name", ["a.md", "a.txt", "a.html"])
def test_a_byte_order_mark_is_dropped(name: str) -> None:
    (block,) = read_document(name, b"\xef\xbb\xbfHello there.").blocks
    assert block.text == "Hello there."


def test_a_document_of_white_space_has_no_blocks() -> None:
    assert read_document("a.md", b" \n\n").blocks == ()


def test_reading_markdown_imports_neither_the_pdf_nor_the_word_library() -> None:
    program = (
        "import sys; from tokenopt_pipeline.adapters.readers import read_document; read_document('a.md', b'# H');"
        "print([name for name in ('pypdfium2', 'docx', 'selectolax') if name in sys.modules])"
    )
    root = Path(__file__).resolve().parents[3]
    found = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@settings(max_examples=60, deadline=None)
@given(source_type=st.sampled_from(SourceType), content=st.binary(min_size=1, max_size=400))
def test_arbitrary_bytes_are_read_or_refused_and_nothing_else(source_type: SourceType, content: bytes) -> None:
    with contextlib.suppress(DocumentUnreadable):
        read_document("fuzz", content, source_type)


@settings(max_examples=60, deadline=None)
@given(binary=st.sampled_from(["docx", "pdf"]), data=st.data())
def test_a_damaged_binary_document_is_read_or_refused_and_nothing_else(binary: str, data: st.DataObject) -> None:
    content = bytearray(contract_docx() if binary == "docx" else survey_pdf())
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DocumentUnreadable):
        for block in read_document("damaged", bytes(content), SourceType(binary)).blocks:
            assert "\0" not in block.text
            block.text.encode("utf-8")
