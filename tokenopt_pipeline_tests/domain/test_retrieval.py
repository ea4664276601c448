from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.contexts import PackChunks
from tokenopt_pipeline.domain.policy import RetrievalPolicy
from tokenopt_pipeline.domain.probes import Calibration, Threshold
from tokenopt_pipeline.domain.ranking import Confidence
from tokenopt_pipeline.domain.retrieval import (
    ContextCause,
    ContextKind,
    ContextPrices,
    IndexStanding,
    PackFindings,
    RetrievalLimits,
    decide_before_searching,
    decide_context,
    decide_pack,
    found_at_most,
    gave_up,
    limits_of,
    on_demand,
    search_failed,
    shared_usd,
)
from tokenopt_pipeline.domain.usage import TokenUsage

LIMITS = RetrievalLimits(enabled=True, recall_gate=0.9, min_probes=20, floor=Threshold(score=0.0, margin=0.0))
MEASURED = Calibration(threshold=Threshold(score=0.6, margin=0.1), recall=0.95, n=40, trusted=30)
INDEX = IndexStanding(name="style", is_stale=False, calibration=MEASURED)
FOUND = PackFindings(
    confidences=(Confidence(score=0.9, margin=0.5), Confidence(score=0.6, margin=0.1)),
    chunks=PackChunks(chunk_nos=(1, 2), tokens=1_500, missed=()),
    undecided_rules=0,
)


def sonnet(usage: TokenUsage) -> Decimal:
    """Dollars where a read costs a tenth, a short write a quarter more, a long one twice as much."""
    return (
        usage.input_uncached * Decimal(3)
        + usage.cache_write_5m * Decimal("3.75")
        + usage.cache_write_1h * Decimal(6)
        + usage.cache_read * Decimal("0.3")
    ) / 1_000_000


def before(
    retrieval: str = "eligible", index: IndexStanding | None = INDEX, limits: RetrievalLimits = LIMITS
) -> object:
    decision = decide_before_searching(retrieval, 1, [index], limits)
    return None if decision is None else (decision.kind, decision.cause)


def cause(found: PackFindings = FOUND, limits: RetrievalLimits = LIMITS) -> ContextCause:
    return decide_context(INDEX, found, limits, reference_tokens=25_000).cause


def test_a_schema_that_asks_for_nothing_gets_nothing() -> None:
    assert before("none") == (ContextKind.NONE, ContextCause.NOT_ASKED)
    decision = decide_before_searching("eligible", 0, [], LIMITS)
    assert decision is not None
    assert decision.kind is ContextKind.NONE


@given(stale=st.booleans(), measured=st.sampled_from([None, MEASURED]), enabled=st.booleans())
def test_a_critical_schema_always_gets_its_references_whole(
    stale: bool, measured: Calibration | None, enabled: bool
) -> None:
    index = IndexStanding(name="style", is_stale=stale, calibration=measured)

    assert before("critical", index, replace(LIMITS, enabled=enabled)) == (ContextKind.FULL, ContextCause.CRITICAL)


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        pytest.param(None, ContextCause.NO_INDEX, id="no index"),
        pytest.param(replace(INDEX, is_stale=True), ContextCause.STALE_INDEX, id="stale"),
        pytest.param(replace(INDEX, calibration=None), ContextCause.NOT_MEASURED, id="no probes"),
        pytest.param(
            replace(INDEX, calibration=replace(MEASURED, n=19)), ContextCause.NOT_MEASURED, id="19 of 20 probes"
        ),
        pytest.param(
            replace(INDEX, calibration=replace(MEASURED, recall=0.89)),
            ContextCause.RECALL_BELOW_GATE,
            id="recall .89 of .9",
        ),
        pytest.param(
            replace(INDEX, calibration=replace(MEASURED, threshold=None, recall=None)),
            ContextCause.RECALL_BELOW_GATE,
            id="no threshold reaches the gate",
        ),
        pytest.param(
            replace(INDEX, calibration=replace(MEASURED, recall=None)),
            ContextCause.RECALL_BELOW_GATE,
            id="none trusted",
        ),
    ],
)
def test_an_eligible_schema_gets_its_references_whole_when_the_index_is_in_doubt(
    index: IndexStanding | None, expected: ContextCause
) -> None:
    assert before("eligible", index) == (ContextKind.FULL, expected)


@pytest.mark.parametrize(
    ("measured", "searched", "said"),
    [
        ({}, {"rules": "r1"}, "without rules of other references, the run searches with rules of rules"),
        ({"a": "1", "b": "2"}, {}, "with rules of a, b, the run searches without rules of other references"),
        ({"rules": "r1"}, {"rules": "r2"}, "with rules of rules that have changed since"),
    ],
)
def test_recall_that_was_measured_with_other_rules_than_the_run_lends_says_nothing_of_the_run(
    measured: dict[str, str], searched: dict[str, str], said: str
) -> None:
    index = replace(INDEX, calibration=replace(MEASURED, lent_by=measured), lent_by=searched)

    decision = decide_before_searching("eligible", 1, [index], LIMITS)

    assert decision is not None
    assert decision.cause is ContextCause.MEASURED_OTHERWISE
    assert decision.reason == f"index style was measured {said}"
    assert before("eligible", replace(index, lent_by=measured)) is None


def test_retrieval_that_is_switched_off_sends_everything() -> None:
    assert before("eligible", INDEX, replace(LIMITS, enabled=False)) == (ContextKind.FULL, ContextCause.SWITCHED_OFF)


def test_one_reference_in_doubt_is_enough() -> None:
    decision = decide_before_searching("eligible", 2, [INDEX, None], LIMITS)

    assert decision is not None
    assert decision.cause is ContextCause.NO_INDEX


def test_with_a_trusted_index_the_blocks_are_looked_at() -> None:
    assert before("eligible") is None


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(replace(FOUND, undecided_rules=1), ContextCause.RULE_UNDECIDED, id="a rule took too long"),
        pytest.param(
            replace(FOUND, chunks=replace(FOUND.chunks, missed=(3,))),
            ContextCause.OVER_BUDGET,
            id="a needed chunk has no room",
        ),
        pytest.param(
            replace(FOUND, confidences=(Confidence(score=0.59, margin=1.0),)),
            ContextCause.SCORE_BELOW_THRESHOLD,
            id="score",
        ),
        pytest.param(
            replace(FOUND, confidences=(Confidence(score=0.9, margin=0.09),)),
            ContextCause.MARGIN_BELOW_THRESHOLD,
            id="margin",
        ),
        pytest.param(FOUND, ContextCause.RETRIEVED, id="at the thresholds"),
    ],
)
def test_one_unsure_block_is_enough_to_send_the_whole(found: PackFindings, expected: ContextCause) -> None:
    assert cause(found) is expected


def test_the_floor_of_the_policy_holds_beside_the_calibrated_threshold() -> None:
    assert cause(limits=replace(LIMITS, floor=Threshold(score=0.7, margin=0.0))) is ContextCause.SCORE_BELOW_THRESHOLD
    assert cause(limits=replace(LIMITS, floor=Threshold(score=0.0, margin=0.2))) is ContextCause.MARGIN_BELOW_THRESHOLD


def test_a_policy_sets_the_limits() -> None:
    policy = RetrievalPolicy(enabled=False, recall_gate=0.8, min_probes=7, min_score=0.3, min_margin=0.2)

    assert limits_of(policy) == RetrievalLimits(
        enabled=False, recall_gate=0.8, min_probes=7, floor=Threshold(score=0.3, margin=0.2)
    )


@pytest.mark.parametrize(
    ("ttl", "dollars"),
    [
        # 25,000 tokens, 100 calls: w + 99 r, by 100.
        ("5m", "0.0083625"),
        ("1h", "0.008925"),
        # What caches by itself is not charged for writing.
        ("auto", "0.008175"),
        # Without a mark every call pays the plain price.
        (None, "0.075"),
    ],
)
def test_a_shared_prefix_is_written_once_and_read_by_the_others(ttl: str | None, dollars: str) -> None:
    assert shared_usd(sonnet, 25_000, calls=100, ttl=ttl) == Decimal(dollars)


@pytest.mark.parametrize("ttl", ["5m", None])
def test_an_unknown_price_stays_unknown(ttl: str | None) -> None:
    assert shared_usd(lambda usage: None, 25_000, calls=100, ttl=ttl) is None


def test_a_read_without_a_price_makes_the_whole_unknown() -> None:
    assert shared_usd(lambda usage: None if usage.cache_read else Decimal(1), 10, calls=2, ttl="5m") is None


@given(tokens=st.integers(1, 100_000), calls=st.integers(1, 1_000), ttl=st.sampled_from(["5m", "1h", "auto"]))
def test_a_shared_prefix_is_never_dearer_for_more_calls(tokens: int, calls: int, ttl: str) -> None:
    fewer, more = (shared_usd(sonnet, tokens, calls=n, ttl=ttl) for n in (calls, calls + 1))

    assert fewer is not None
    assert more is not None
    assert more <= fewer


SAFE = decide_context(INDEX, FOUND, LIMITS, reference_tokens=25_000)


def test_the_cheaper_of_the_two_is_sent_at_equal_safety() -> None:
    def decided(whole: str, found: str) -> ContextCause:
        return decide_pack([SAFE], ContextPrices(whole_usd=Decimal(whole), found_usd=Decimal(found))).cause

    assert decided("0.0084", "0.0045") is ContextCause.RETRIEVED
    assert decided("0.0044", "0.0045") is ContextCause.FULL_IS_CHEAPER
    assert decided("0.0045", "0.0045") is ContextCause.FULL_IS_CHEAPER


def test_one_reference_that_has_to_be_whole_makes_all_of_them_whole() -> None:
    unsure = search_failed("no answer")
    cheap = ContextPrices(whole_usd=Decimal(9), found_usd=Decimal(1))

    assert decide_pack([SAFE, unsure], cheap) == unsure
    assert (unsure.kind, unsure.cause) == (ContextKind.FULL, ContextCause.SEARCH_FAILED)
    both = decide_pack([SAFE, SAFE], cheap)
    assert (both.kind, both.reason) == (ContextKind.RETRIEVED, f"{SAFE.reason}; {SAFE.reason}")


def test_without_prices_the_chunks_are_taken() -> None:
    assert decide_pack([SAFE], None).kind is ContextKind.RETRIEVED


def test_a_model_with_a_search_tool_gets_nothing_at_first_and_everything_when_it_gives_up() -> None:
    assert (on_demand().kind, on_demand().cause) == (ContextKind.ON_DEMAND, ContextCause.ON_DEMAND)
    ended = gave_up("turns: 6")
    assert (ended.kind, ended.cause, ended.reason) == (ContextKind.FULL, ContextCause.BRIDGE_GAVE_UP, "turns: 6")
    assert found_at_most(2_500).reason == "up to 2,500 tokens may be found"


@given(score=st.floats(0, 1), margin=st.floats(0, 1), undecided=st.integers(0, 2), tokens=st.integers(1, 50_000))
def test_every_decision_has_a_reason_and_a_retrieved_one_no_doubt(
    score: float, margin: float, undecided: int, tokens: int
) -> None:
    found = replace(FOUND, confidences=(Confidence(score=score, margin=margin),), undecided_rules=undecided)

    decision = decide_context(INDEX, found, LIMITS, reference_tokens=tokens)

    assert decision.reason
    assert "\n" not in decision.reason
    if decision.kind is ContextKind.RETRIEVED:
        assert undecided == 0
        assert score >= 0.6
        assert margin >= 0.1
