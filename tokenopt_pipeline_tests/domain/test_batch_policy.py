"""A pack goes in a batch only for a declared reason, and its blocks leave the last round in one declared way."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tokenopt_pipeline.domain.batch_policy import (
    BatchPolicy,
    Mode,
    after_last_round,
    batches_in_a_row,
    choose_mode,
    hit_share,
    out_of_time,
    primes,
)

PATIENT = BatchPolicy(deadline_h=48)


def mode(policy: BatchPolicy = PATIENT, **changes: Any) -> Mode:
    values: dict[str, Any] = {
        "asked": "auto",
        "provider": "openai",
        "packs": 100,
        "usd_sync": Decimal(2),
        "usd_batch": Decimal(1),
    }
    return choose_mode(policy, **{**values, **changes})


@pytest.mark.parametrize(
    ("policy", "changes", "name", "reason"),
    [
        (PATIENT, {}, "async", "100 packs go there"),
        (PATIENT, {"usd_batch": None}, "async", "100 packs go there"),
        (PATIENT, {"asked": "sync"}, "sync", "asked for in sync mode"),
        (BatchPolicy(), {"asked": "async", "packs": 1}, "async", "asked for in async mode"),
        (PATIENT, {"asked": "async", "provider": "mine"}, "sync", "Provider mine takes no batches."),
        (BatchPolicy(), {}, "sync", "Answers may take 0 h, and a batch at openai may take 24 h."),
        (BatchPolicy(deadline_h=24), {"provider": "google"}, "sync", "a batch at google may take 48 h"),
        (BatchPolicy(deadline_h=24), {}, "async", "answers may take 24 h"),
        (
            BatchPolicy(deadline_h=47),
            {"converses": True},
            "sync",
            "a conversation's 2 batches at openai may take 48 h",
        ),
        (BatchPolicy(deadline_h=48), {"converses": True}, "async", "answers may take 48 h"),
        (PATIENT, {"packs": 19}, "sync", "Only 19 packs go there, and a batch takes 20 or more."),
        (PATIENT, {"usd_batch": Decimal(2)}, "sync", "In batches they would cost $2.0000 there, and"),
    ],
)
def test_the_mode_follows_from_declared_inputs_and_says_why(
    policy: BatchPolicy, changes: dict[str, Any], name: str, reason: str
) -> None:
    found = mode(policy, **changes)
    assert found.name == name
    assert reason in found.reason
    assert found.reason.endswith(".")


def test_a_conversation_is_out_of_time_when_one_more_batch_could_end_after_the_deadline() -> None:
    policy = BatchPolicy(deadline_h=48)
    assert out_of_time(policy, provider="openai", age_h=24.0) is None
    late = out_of_time(policy, provider="openai", age_h=24.1)
    assert late == "it began 24.1 h ago, and one more batch at openai may take 24 h"
    assert out_of_time(BatchPolicy(), provider="openai", age_h=1_000.0) is None


def test_blocks_leave_the_last_round_as_the_policy_says() -> None:
    policy = BatchPolicy(rounds=2)
    assert after_last_round(policy, rounds=1) is None
    left = after_last_round(policy, rounds=2)
    assert left is not None
    assert left.name == "sync"
    failing = after_last_round(replace(policy, finish_sync=False), rounds=2)
    assert failing is not None
    assert failing.name == "fail"


def test_an_answer_takes_one_batch_and_a_conversation_two_and_both_have_a_bound() -> None:
    policy = BatchPolicy(rounds=3)
    assert batches_in_a_row(policy, max_turns=None, is_primed=False) == (1, 3)
    assert batches_in_a_row(policy, max_turns=None, is_primed=True) == (2, 4)
    assert batches_in_a_row(policy, max_turns=6, is_primed=False) == (2, 9)
    # A model that may be asked once answers at once.
    assert batches_in_a_row(policy, max_turns=1, is_primed=False) == (1, 4)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (BatchPolicy(), True),
        (BatchPolicy(prime=False), False),
        (BatchPolicy(deadline_h=24), False),
        (BatchPolicy(deadline_h=48), True),
        (BatchPolicy(cold_hit_share=0.9, primed_hit_share=0.9), False),
    ],
)
def test_a_request_goes_first_when_there_is_time_and_it_helps(policy: BatchPolicy, expected: bool) -> None:
    assert primes(policy, "anthropic", converses=False) is expected
    shares = (policy.cold_hit_share, policy.primed_hit_share)
    assert hit_share(policy, "anthropic", mode="async", converses=False) == shares[expected]
    assert hit_share(policy, "anthropic", mode="sync", converses=False) == 1.0


@pytest.mark.parametrize(("deadline_h", "expected"), [(0, True), (48, False), (71, False), (72, True)])
def test_with_tools_a_request_goes_first_where_its_batch_leaves_time_for_two_more(
    deadline_h: float, expected: bool
) -> None:
    policy = BatchPolicy(deadline_h=deadline_h)
    assert primes(policy, "anthropic", converses=True) is expected
    assert hit_share(policy, "anthropic", mode="async", converses=True) == float(expected)
