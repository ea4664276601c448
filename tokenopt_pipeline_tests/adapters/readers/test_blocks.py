"""Blocks that somebody else has cut: read as they are, or refused with the line's number."""

from __future__ import annotations

import pytest

from tokenopt_pipeline.adapters.readers import read_document
from tokenopt_pipeline.domain.documents import BlockType, ReadBlock
from tokenopt_pipeline.domain.errors import DocumentUnreadable


def test_type_and_locator_have_defaults_and_empty_text_is_kept() -> None:
    content = '{"text": "a\u2028b"}\n\n{"text": "", "type": "form_region", "locator": {"page": 2}}\n'
    assert read_document("a.jsonl", content.encode()).blocks == (
        ReadBlock(type=BlockType.PARAGRAPH, text="a\u2028b", locator={"line": 1}),
        ReadBlock(type=BlockType.FORM_REGION, text="", locator={"page": 2}),
    )


def test_every_type_is_accepted() -> None:
    lines = "\n".join(f'{{"text": "x", "type": "{kind}"}}' for kind in BlockType)
    assert {block.type for block in read_document("a.jsonl", lines.encode()).blocks} == set(BlockType)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not valid JSON"),
        ("[]", "expected a JSON object, found list"),
        ('{"type": "paragraph"}', "'text' is missing"),
        ('{"text": 1}', "'text' must be a string, found int"),
        ('{"text": "a", "kind": "x"}', "unknown key 'kind'"),
        ('{"text": "a", "type": "image"}', "unknown type 'image'"),
        ('{"text": "a", "type": ["list"]}', "unknown type"),
        ('{"text": "a", "locator": 3}', "'locator' must be an object"),
        ('{"text": "a", "text": "b"}', "'text' occurs twice"),
        ('{"text": "a\\u0000"}', "NUL character"),
        ('{"text": "\\ud800"}', "surrogate"),
        ('{"text": "a", "locator": {"x": "\\u0000"}}', "'locator' contains a NUL"),
        ('{"text": "a", "locator": {"x": NaN}}', "NaN is not valid JSON"),
        ('{"text": "a", "locator": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
    ],
)
def test_a_broken_line_is_refused_with_its_number(line: str, reason: str) -> None:
    with pytest.raises(DocumentUnreadable, match=f"line 2: .*{reason}"):
        read_document("a.jsonl", f'{{"text": "fine"}}\n{line}\n'.encode())
