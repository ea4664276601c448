"""The demo collection exercises every block type and everything that a pre-filter can skip."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from demo.make_binary_documents import contract_docx, survey_pdf
from tokenopt_pipeline.adapters.readers import read_document
from tokenopt_pipeline.domain.documents import BlockType, ReadBlock

COLLECTION = Path(__file__).resolve().parents[3] / "demo" / "collection"


@pytest.fixture(scope="module")
def blocks_by_file() -> dict[str, tuple[ReadBlock, ...]]:
    files = sorted(COLLECTION.iterdir())
    return {file.name: read_document(file.name, file.read_bytes()).blocks for file in files}


@pytest.fixture(scope="module")
def blocks(blocks_by_file: dict[str, tuple[ReadBlock, ...]]) -> list[ReadBlock]:
    return [block for found in blocks_by_file.values() for block in found]


def test_every_block_type_occurs(blocks: list[ReadBlock]) -> None:
    assert {block.type for block in blocks} == set(BlockType)
    assert 150 <= len(blocks) <= 250


def test_there_is_a_block_for_every_reason_to_skip(blocks: list[ReadBlock]) -> None:
    assert any(block.text == "" and block.type is BlockType.PARAGRAPH for block in blocks)
    assert any(block.text != "" and not block.text.strip() for block in blocks)
    figures = [block for block in blocks if block.type is BlockType.FIGURE]
    assert {bool(block.text) for block in figures} == {True, False}
    n_words = [len(block.text.split()) for block in blocks if block.type is BlockType.HEADING]
    assert min(n_words) < 5 <= max(n_words)


def test_boilerplate_is_repeated_inside_a_document_and_across_documents(
    blocks_by_file: dict[str, tuple[ReadBlock, ...]],
) -> None:
    paragraphs = {
        name: Counter(block.text for block in blocks if block.type is BlockType.PARAGRAPH and len(block.text) > 80)
        for name, blocks in blocks_by_file.items()
    }
    assert any(count > 1 for texts in paragraphs.values() for count in texts.values())
    files_with = Counter(text for texts in paragraphs.values() for text in texts)
    assert max(files_with.values()) >= 4


def test_the_binary_documents_are_what_the_script_writes() -> None:
    for name, written in (("maintenance-contract.docx", contract_docx()), ("site-survey.pdf", survey_pdf())):
        assert read_document(name, written) == read_document(name, (COLLECTION / name).read_bytes())
