from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.contexts import PackChunks
from tokenopt_pipeline.domain.probes import Calibration, Threshold
from tokenopt_pipeline.domain.ranking import Confidence
from tokenopt_pipeline.domain.retrieval import (
    ContextCause,
    ContextKind,
    IndexStanding,
    PackFindings,
    RetrievalLimits,
    TokenPrices,
    decide_before_searching,
    decide_context,
    full_usd,
    retrieved_usd,
)

LIMITS = RetrievalLimits(enabled=True, recall_gate=0.9, min_probes=20, floor=Threshold(score=0.0, margin=0.0))
MEASURED = Calibration(threshold=Threshold(score=0.6, margin=0.1), recall=0.95, n=40, trusted=30)
INDEX = IndexStanding(name="style", is_stale=False, calibration=MEASURED)
FOUND = PackFindings(
    confidences=(Confidence(score=0.9, margin=0.5), Confidence(score=0.6, margin=0.1)),
    chunks=PackChunks(chunk_nos=(1, 2), tokens=1_500, missed=()),
    undecided_rules=0,
)
# Sonnet-like: a read costs a tenth, a write a quarter more.
PRICES = TokenPrices(fresh_usd=Decimal(3), cache_read_usd=Decimal("0.3"), cache_write_usd=Decimal("3.75"))


def before(
    retrieval: str = "eligible", index: IndexStanding | None = INDEX, limits: RetrievalLimits = LIMITS
) -> object:
    decision = decide_before_searching(retrieval, 1, [index], limits)
    return None if decision is None else (decision.kind, decision.cause)


def cause(
    found: PackFindings = FOUND, limits: RetrievalLimits = LIMITS, *, tokens: int = 25_000, calls: int = 100
) -> ContextCause:
    return decide_context(INDEX, found, limits, reference_tokens=tokens, calls=calls, prices=PRICES).cause


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


def test_the_cheaper_of_the_two_is_sent_at_equal_safety() -> None:
    # 100 calls: (25,000 x 3.75 + 99 x 25,000 x 0.3) / 100 / 1e6 = $0.0083625 a call; 1,500 x 3 / 1e6 = $0.0045.
    assert full_usd(25_000, 100, PRICES) == Decimal("0.0083625")
    assert retrieved_usd(1_500, PRICES) == Decimal("0.0045")
    assert cause(tokens=25_000) is ContextCause.RETRIEVED
    # A reference of 10,000 tokens costs $0.003345 a call.
    assert cause(tokens=10_000) is ContextCause.FULL_IS_CHEAPER


def test_without_prices_the_chunks_are_taken() -> None:
    decision = decide_context(INDEX, FOUND, LIMITS, reference_tokens=10, calls=1, prices=None)

    assert decision.kind is ContextKind.RETRIEVED


@given(tokens=st.integers(1, 100_000), calls=st.integers(1, 1_000))
def test_a_whole_reference_is_never_dearer_for_more_calls(tokens: int, calls: int) -> None:
    assert full_usd(tokens, calls + 1, PRICES) <= full_usd(tokens, calls, PRICES)


@given(score=st.floats(0, 1), margin=st.floats(0, 1), undecided=st.integers(0, 2), tokens=st.integers(1, 50_000))
def test_every_decision_has_a_reason_and_a_retrieved_one_no_doubt(
    score: float, margin: float, undecided: int, tokens: int
) -> None:
    found = replace(FOUND, confidences=(Confidence(score=score, margin=margin),), undecided_rules=undecided)

    decision = decide_context(INDEX, found, LIMITS, reference_tokens=tokens, calls=10, prices=PRICES)

    assert decision.reason
    assert "\n" not in decision.reason
    if decision.kind is ContextKind.RETRIEVED:
        assert undecided == 0
        assert score >= 0.6
        assert margin >= 0.1
