"""Batches are called so that they are found again, hold what their provider takes, and only move forward."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.batches import (
    CUSTOM_ID_PATTERN,
    LIMITS,
    Batch,
    BatchLimits,
    BatchState,
    batch_key,
    custom_id,
    key_in,
    look_again_s,
    split_by_limits,
    supports_batches,
    tag_of,
)
from tokenopt_pipeline.domain.errors import InvalidInput

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def a_limit(*, requests: int, size: int) -> BatchLimits:
    return BatchLimits(max_requests=requests, max_bytes=size, has_tags=True, expires_h=24)


def a_batch() -> Batch:
    return Batch(
        batch_no=1,
        run_no=1,
        shard_no=0,
        model="openai/gpt-6-luna",
        key=batch_key("r1", 0, "openai/gpt-6-luna", [7, 8]),
        round=1,
        state=BatchState.INTENDED,
        n_requests=2,
        intended_at=NOW,
        asked_at=NOW,
    )


@given(st.lists(st.integers(1, 50)), st.integers(1, 9), st.integers(50, 200))
def test_every_request_is_in_exactly_one_batch_within_both_limits(sizes: list[int], requests: int, size: int) -> None:
    batches = split_by_limits(sizes, a_limit(requests=requests, size=size))
    assert [i for batch in batches for i in batch] == list(range(len(sizes)))
    for batch in batches:
        assert 1 <= len(batch) <= requests
        assert sum(sizes[i] for i in batch) <= size


@given(st.lists(st.integers(1, 50), min_size=1), st.integers(1, 9), st.integers(50, 200))
def test_no_batch_could_have_taken_the_next_request_as_well(sizes: list[int], requests: int, size: int) -> None:
    batches = split_by_limits(sizes, a_limit(requests=requests, size=size))
    for batch in batches[:-1]:
        grown = range(batch.start, batch.stop + 1)
        assert len(grown) > requests or sum(sizes[i] for i in grown) > size


def test_a_request_that_no_batch_holds_is_refused() -> None:
    with pytest.raises(InvalidInput, match="a request of 11 bytes fits into no batch; the limit is 10"):
        split_by_limits([1, 11], a_limit(requests=5, size=10))


@given(st.text(min_size=1), st.integers(0), st.text(), st.lists(st.integers(1), min_size=1), st.integers(1, 2**62))
def test_ids_of_requests_keep_to_the_narrowest_rule_and_name_their_batch(
    run_id: str, shard_no: int, model: str, call_nos: list[int], call_no: int
) -> None:
    key = batch_key(run_id, shard_no, model, call_nos)
    made = custom_id(key, call_no)
    assert re.fullmatch(CUSTOM_ID_PATTERN, made)
    assert key_in(made) == key


def test_a_batch_of_other_calls_has_another_key_and_the_order_of_calls_does_not_matter() -> None:
    assert batch_key("r", 0, "m", [1, 2]) == batch_key("r", 0, "m", [2, 1]) != batch_key("r", 0, "m", [1, 3])


@pytest.mark.parametrize("foreign", ["", "request-1", "0123456789abcdef", "0123456789abcdef-x", "0123456789abcde-1"])
def test_ids_that_are_not_ours_name_no_batch(foreign: str) -> None:
    assert key_in(foreign) == ""


def test_a_batch_knows_its_provider_and_what_it_is_called_there() -> None:
    batch = a_batch()
    assert batch.provider == "openai"
    assert batch.tag == tag_of(batch.key) == f"tokenopt-{batch.key}"


def test_only_vendors_with_known_limits_take_batches() -> None:
    assert [p for p in ("anthropic", "openai", "google", "mine") if supports_batches(p)] == list(LIMITS)


@given(st.floats(0, 2e5), st.floats(0, 2e5))
def test_older_batches_are_looked_at_no_more_often_and_within_bounds(a: float, b: float) -> None:
    young, old = sorted((a, b))
    assert 5 <= look_again_s(young) <= look_again_s(old) <= 300


def test_a_day_of_looking_at_a_batch_costs_few_requests() -> None:
    age, looks = 0.0, 0
    while age < 24 * 3600:
        age, looks = age + look_again_s(age), looks + 1
    assert looks < 340
