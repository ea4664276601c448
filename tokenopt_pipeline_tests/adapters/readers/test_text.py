"""Plain text: only what is unmistakable is more than a paragraph."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.adapters.readers import read_document


def cut(source: str) -> list[tuple[str, str]]:
    return [(block.type.value, block.text) for block in read_document("a.txt", source.encode()).blocks]


@pytest.mark.parametrize(
    ("source", "blocks"),
    [
        pytest.param("a\nb\n\n \nc\n", [("paragraph", "a\nb"), ("paragraph", "c")], id="paragraphs"),
        pytest.param("Title\n=====\nText", [("heading", "Title"), ("paragraph", "Text")], id="underlined"),
        pytest.param("=====\nTitle\n=====\n", [("heading", "Title")], id="between rules"),
        pytest.param("SCOPE OF WORK\n\nx", [("heading", "SCOPE OF WORK"), ("paragraph", "x")], id="capitals"),
        pytest.param("STOP, HE SAID.", [("paragraph", "STOP, HE SAID.")], id="a shouted sentence"),
        pytest.param("- a\n- b\n  more", [("list_item", "a"), ("list_item", "b\n  more")], id="bullets"),
        pytest.param("Bring:\n* a\n* b", [("paragraph", "Bring:"), ("list_item", "a"), ("list_item", "b")],
                     id="bullets after prose"),
        pytest.param("1. a\n2. b", [("list_item", "a"), ("list_item", "b")], id="numbers"),
        pytest.param("1. The Buyer pays.", [("paragraph", "1. The Buyer pays.")], id="one number is a clause"),
        pytest.param("1. a\n7. b", [("paragraph", "1. a\n7. b")], id="numbers that do not count"),
        pytest.param("a\n\n* * *\n\nb", [("paragraph", "a"), ("divider", "* * *"), ("paragraph", "b")], id="divider"),
    ],
)  # fmt: skip
def test_each_shape_becomes_its_type(source: str, blocks: list[tuple[str, str]]) -> None:
    assert cut(source) == blocks


@given(
    st.lists(st.sampled_from(["a b", "TITLE", "- ", "1. ", "2. ", "---", "===", "\n", "\n\n", "\r\n", " ", "•", "é"]))
)
def test_every_block_is_the_slice_that_its_locator_names_and_no_word_is_lost(pieces: list[str]) -> None:
    source = "".join(pieces)
    if not source:
        return
    blocks = read_document("a.txt", source.encode()).blocks
    starts = [int(str(block.locator["start"])) for block in blocks]
    assert starts == sorted(starts)
    for block in blocks:
        assert source[int(str(block.locator["start"])) : int(str(block.locator["end"]))] == block.text
    assert sum(block.text.count("a b") for block in blocks) == source.count("a b")
