"""Packs as values."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.packs import PackMember, PlannableBlock
from tokenopt_pipeline.domain.prefilter import BlockFacts

MEMBER = PackMember(block_no=1, ordinal=0, type=BlockType.PARAGRAPH, text="t", tokens=1, attempts_before=0)


def test_a_member_of_a_pack_cannot_be_changed_under_the_hands_of_whoever_asks_it() -> None:
    with pytest.raises(FrozenInstanceError):
        MEMBER.text = "other"  # type: ignore[misc]  # that it cannot be assigned is the point
    assert replace(MEMBER, attempts_before=1).text == "t"


def test_a_block_is_planned_without_its_text() -> None:
    facts = BlockFacts(type=BlockType.PARAGRAPH, is_blank=False, words=3)
    assert not hasattr(PlannableBlock(facts=facts, tokens=1, content="c", is_known=False), "text")
