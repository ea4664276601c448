"""Priming: whose turn it is among packs that share a prefix."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tokenopt_pipeline.domain.batch_policy import BatchPolicy
from tokenopt_pipeline.domain.caching import AUTOMATIC, LONG
from tokenopt_pipeline.domain.priming import PrimingBatch, Turn, prefix_of, whose_turn
from tokenopt_pipeline_tests.factories import an_open_pack

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def turn(*known: PrimingBatch, **changes: Any) -> Turn:
    asked: dict[str, Any] = {
        "policy": BatchPolicy(),
        "key": "k",
        "ttl": LONG,
        "provider": "anthropic",
        "shard_no": 0,
        "waiting": 20,
        "converses": False,
        "now": NOW,
        **changes,
    }
    return whose_turn(asked.pop("policy"), known=known, **asked)


def batch(*, shard_no: int = 0, key: str = "k", ended_min: int | None = None, has_kept: bool = True) -> PrimingBatch:
    ended_at = None if ended_min is None else NOW - timedelta(minutes=ended_min)
    return PrimingBatch(shard_no=shard_no, key=key, is_open=ended_at is None, ended_at=ended_at, has_kept=has_kept)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ([], Turn.FIRST),
        ([batch()], Turn.WAIT),
        ([batch(ended_min=47)], Turn.GO),
        ([batch(ended_min=49)], Turn.GO_PLAIN),
        ([batch(ended_min=1, has_kept=False)], Turn.GO_PLAIN),
        ([batch(key="other")], Turn.FIRST),
        ([batch(shard_no=1)], Turn.WAIT),
        ([batch(shard_no=1, ended_min=47)], Turn.GO),
        ([batch(shard_no=1, ended_min=49)], Turn.FIRST),
        ([batch(shard_no=1, ended_min=49), batch(shard_no=2)], Turn.FIRST),
        ([batch(shard_no=1, ended_min=49), batch(shard_no=2, ended_min=1)], Turn.GO),
        ([batch(shard_no=1, ended_min=1, has_kept=False)], Turn.FIRST),
    ],
)
def test_one_goes_first_for_all_shards_and_after_a_disappointment_for_its_own(
    known: list[PrimingBatch], expected: Turn
) -> None:
    assert turn(*known) is expected


@pytest.mark.parametrize(
    "changes",
    [{"ttl": None}, {"ttl": AUTOMATIC}, {"policy": BatchPolicy(prime=False)}],
    ids=["not kept", "kept for nothing", "off"],
)
def test_nobody_waits_where_waiting_brings_nothing(changes: dict[str, Any]) -> None:
    assert turn(**changes) is Turn.GO


def test_what_is_alone_pays_for_no_prefix_that_nobody_reads() -> None:
    assert turn(waiting=1) is Turn.GO_PLAIN
    assert turn(batch(shard_no=1, ended_min=1), waiting=1) is Turn.GO


def test_conversations_come_back_to_their_prefix_and_always_keep_it() -> None:
    assert turn(waiting=1, converses=True) is Turn.GO
    assert turn(batch(ended_min=600), converses=True) is Turn.GO
    assert turn(converses=True) is Turn.FIRST


def test_packs_that_ask_for_another_lifetime_have_another_prefix() -> None:
    pack = an_open_pack()
    assert prefix_of(pack) == prefix_of(replace(pack, pack_no=pack.pack_no + 1))
    assert prefix_of(pack) != prefix_of(replace(pack, cache_ttl="1h"))
