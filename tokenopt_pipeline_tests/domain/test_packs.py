"""Packs as values."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.knowledge import NO_CONTEXT, CarriedContext
from tokenopt_pipeline.domain.moves import Asks, Origin
from tokenopt_pipeline.domain.packs import OpenPack, PackMember, PlannableBlock
from tokenopt_pipeline.domain.prefilter import BlockFacts
from tokenopt_pipeline.domain.retrieval import ContextCause, ContextKind
from tokenopt_pipeline.domain.routing import ModelRef, Route
from tokenopt_pipeline.domain.runs import Shard

MEMBER = PackMember(block_no=1, ordinal=0, type=BlockType.PARAGRAPH, text="t", tokens=1, attempts_before=0)


def test_a_member_of_a_pack_cannot_be_changed_under_the_hands_of_whoever_asks_it() -> None:
    with pytest.raises(FrozenInstanceError):
        MEMBER.text = "other"  # type: ignore[misc]  # that it cannot be assigned is the point
    assert replace(MEMBER, attempts_before=1).text == "t"


def test_a_block_is_planned_without_its_text() -> None:
    facts = BlockFacts(type=BlockType.PARAGRAPH, is_blank=False, words=3)
    assert not hasattr(PlannableBlock(facts=facts, tokens=1, content="c", is_known=False), "text")


WHOLE = CarriedContext(
    kind=ContextKind.FULL, cause=ContextCause.CRITICAL, reason="critical", tokens=900, text_ids=("a" * 32,)
)


@pytest.mark.parametrize(
    ("asks", "carried", "converses"),
    [(Asks.ANSWER, WHOLE, True), (Asks.SECOND_OPINION, WHOLE, True), (Asks.CLASSIFICATION, NO_CONTEXT, False)],
)
def test_a_first_pass_carries_no_reference_and_has_no_tools_whatever_its_blocks_will_need(
    asks: Asks, carried: CarriedContext, converses: bool
) -> None:
    pack = OpenPack(
        pack_no=1,
        shard=Shard(run_no=1, shard_no=0),
        route=Route(tier="mid", model=ModelRef(provider="a", model="b"), mode="sync", rule_id="r", reason="r"),
        origin=Origin(first_tier="mid", asks=asks),
        cache_ttl=None,
        cache_reason="",
        input_tokens=1,
        output_tokens=1,
        max_tokens=1,
        output_scale=1,
        generation=0,
        tries=0,
        context=WHOLE,
        tools=True,
    )
    assert (pack.carried, pack.converses) == (carried, converses)
    assert not replace(pack, tools=False).converses
