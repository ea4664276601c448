"""A batch whose id nobody stored is found again, never doubled, and never taken from somebody else."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.adoption import CLOCK_SKEW, Sighting, Verdict, sight
from tokenopt_pipeline.domain.batches import LIMITS, Batch, BatchOutcome, ProviderBatch
from tokenopt_pipeline_tests.domain.test_batches import NOW, a_batch

GRACE = timedelta(minutes=11)


def listed(batch_id: str = "b1", **changes: Any) -> ProviderBatch:
    values: dict[str, Any] = {
        "batch_id": batch_id,
        "created_at": NOW,
        "n_requests": 2,
        "tag": None,
        "outcome": None,
    }
    return ProviderBatch(**{**values, **changes})


def look(
    *found: ProviderBatch, provider: str, batch: Batch | None = None, now: datetime = NOW, **known: Any
) -> Sighting:
    return sight(
        replace(batch or a_batch(), not_ours=known.get("not_ours", ())),
        found,
        limits=LIMITS[provider],
        taken=known.get("taken", ()),
        grace=GRACE,
        now=now,
    )


@pytest.mark.parametrize("provider", ["openai", "google"])
def test_a_batch_with_our_tag_is_ours_whatever_else_is_listed_however_often(provider: str) -> None:
    ours = listed("b2", tag=a_batch().tag)
    found = look(listed("b1"), ours, ours, listed("b3", tag="tokenopt-other"), provider=provider)
    assert found == Sighting(verdict=Verdict.OURS, batch_ids=("b2",))


def test_two_batches_with_our_tag_are_both_named_the_oldest_first() -> None:
    tag = a_batch().tag
    late = listed("a", tag=tag, created_at=NOW + timedelta(seconds=1))
    assert look(late, listed("b", tag=tag), provider="openai").batch_ids == ("b", "a")


def test_without_tags_a_batch_of_our_size_and_time_is_waited_for_until_its_results_can_tell() -> None:
    running = listed("b1")
    assert look(running, provider="anthropic") == Sighting(verdict=Verdict.WAIT, batch_ids=("b1",))
    ended = replace(running, outcome=BatchOutcome.COMPLETED)
    assert look(ended, listed("b0"), provider="anthropic") == Sighting(verdict=Verdict.ASK, batch_ids=("b1",))


@pytest.mark.parametrize(
    "other",
    [
        listed(n_requests=3, outcome=BatchOutcome.COMPLETED),
        listed(created_at=NOW - CLOCK_SKEW - timedelta(seconds=1), outcome=BatchOutcome.COMPLETED),
        listed("known", outcome=BatchOutcome.COMPLETED),
        listed("foreign", outcome=BatchOutcome.COMPLETED),
    ],
)
def test_batches_of_another_size_time_or_owner_are_nobody_to_ask(other: ProviderBatch) -> None:
    found = look(other, provider="anthropic", taken={"known"}, not_ours=("foreign",))
    assert found == Sighting(verdict=Verdict.WAIT)


@pytest.mark.parametrize("provider", list(LIMITS))
def test_only_two_listings_a_grace_apart_and_a_grace_after_the_intent_say_that_there_is_none(provider: str) -> None:
    batch = a_batch()
    early, late = NOW + GRACE / 2, NOW + GRACE * 2
    assert look(provider=provider, batch=batch, now=late).verdict is Verdict.WAIT
    assert look(provider=provider, batch=replace(batch, unseen_since=early), now=early).verdict is Verdict.WAIT
    seen_late = replace(batch, unseen_since=late - GRACE / 2)
    assert look(provider=provider, batch=seen_late, now=late).verdict is Verdict.WAIT
    twice = replace(batch, unseen_since=early)
    assert look(provider=provider, batch=twice, now=early + GRACE).verdict is Verdict.UNBORN


def test_what_was_never_asked_for_is_unborn_at_once() -> None:
    assert look(provider="anthropic", batch=replace(a_batch(), asked_at=None)).verdict is Verdict.UNBORN


@given(
    st.lists(
        st.builds(
            listed,
            st.sampled_from("abcdef"),
            n_requests=st.sampled_from([None, 1, 2]),
            tag=st.sampled_from([None, "tokenopt-other"]),
            outcome=st.sampled_from([None, BatchOutcome.COMPLETED, BatchOutcome.EXPIRED]),
        )
    ),
    st.sampled_from(list(LIMITS)),
)
def test_no_foreign_batch_is_ever_taken_for_ours_and_ours_is_never_overlooked(
    others: list[ProviderBatch], provider: str
) -> None:
    batch = replace(a_batch(), unseen_since=NOW)
    late = NOW + GRACE
    assert look(*others, provider=provider, batch=batch, now=late).verdict is not Verdict.OURS
    ours = listed("ours", tag=batch.tag if LIMITS[provider].has_tags else None)
    found = look(*others, ours, provider=provider, batch=batch, now=late)
    assert found.verdict is not Verdict.UNBORN
    assert "ours" in found.batch_ids or found.verdict is Verdict.ASK
