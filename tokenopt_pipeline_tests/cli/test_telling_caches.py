"""A block's story says what became of the prefix of each of its calls."""

from __future__ import annotations

from typing import Any

from tokenopt_pipeline.cli.telling import add_cache_outcomes
from tokenopt_pipeline.domain.cache_breaks import CacheFinding, CacheOutcome


def test_each_call_is_told_its_own_outcome_and_a_call_without_one_that_it_has_none() -> None:
    story: dict[str, Any] = {"calls": [{"call_no": 7}, {"call_no": 8}, {"call_no": None}]}
    add_cache_outcomes(story, [CacheFinding(call_no=7, outcome=CacheOutcome.TTL_PASSED, detail="Too late.")])
    assert [call["cache"] for call in story["calls"]] == [{"outcome": "ttl_passed", "why": "Too late."}, None, None]
