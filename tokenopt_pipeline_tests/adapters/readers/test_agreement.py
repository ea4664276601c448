"""Floors under the agreement with other people's tools; docs/block-types.md says what the remainder is."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import block_type_agreement as agreement
from benchmarks.block_type_truth import Truth


@pytest.mark.parametrize("name", agreement.MARKDOWN_SETS)
def test_markdown_agrees_with_pandoc(shared_block_types: Path, name: str) -> None:
    assert agreement.markdown_tally(shared_block_types, name).agreement() >= 0.995


def test_markdown_agrees_with_the_commonmark_specification(shared_block_types: Path) -> None:
    assert agreement.commonmark_tally(shared_block_types).agreement() >= 0.99


def test_word_agrees_with_pandoc_for_every_type_that_is_frequent(shared_block_types: Path) -> None:
    tally = agreement.tallies(shared_block_types)["docx, all sets (pandoc)"]
    assert tally.agreement() >= 0.95
    for kind in ("heading", "paragraph", "list_item", "table", "code_block"):
        assert tally.agreement(kind) >= 0.95, kind


def test_word_agrees_with_docling(shared_block_types: Path) -> None:
    assert agreement.docling_tally(shared_block_types).agreement() >= 0.97


def test_a_wrong_type_is_counted_against_us() -> None:
    truth = [Truth(type="heading", text="a"), Truth(type="paragraph", text="b")]
    tally = agreement.align(truth, [("paragraph", "a"), ("paragraph", "b")], {})
    assert (tally.agreement("heading"), tally.agreement("paragraph")) == (0.0, 0.5)
    assert len(tally.disagreements) == 2
