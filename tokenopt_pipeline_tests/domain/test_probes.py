from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.probes import (
    Calibration,
    Probe,
    ProbeResult,
    Threshold,
    calibrate,
    ndcg_at,
    recall_at,
)
from tokenopt_pipeline.domain.ranking import SILENCE, Confidence

RESULTS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0])), max_size=25).map(
    lambda found: [result(nth, *each) for nth, each in enumerate(found)]
)


def result(nth: int, score: float, margin: float, recall: float) -> ProbeResult:
    return ProbeResult(
        probe=Probe(query=f"query {nth}", relevant=("a",)),
        recall=recall,
        confidence=Confidence(score=score, margin=margin),
    )


def test_recall_is_the_share_of_the_relevant_among_the_first_different_names() -> None:
    assert recall_at(["a", "a", "b", "c"], ["b", "z"], 2) == 0.5
    assert recall_at(["a", "b"], ["b"], 1) == 0


def test_ndcg_is_one_for_the_best_order_and_less_for_another() -> None:
    gains = {"a": 3.0, "b": 1.0}

    assert ndcg_at(["a", "b"], gains, 10) == 1
    assert ndcg_at(["b", "a"], gains, 10) == pytest.approx((1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3)))
    assert ndcg_at(["z"], gains, 10) == 0
    assert ndcg_at(["z"], {}, 10) == 0


@given(results=RESULTS, gate=st.floats(0, 1))
def test_a_threshold_keeps_its_gate_where_it_was_set(results: list[ProbeResult], gate: float) -> None:
    threshold = calibrate(results, gate=gate).threshold

    if threshold is not None:
        trusted = [each.recall for each in results if threshold.trusts(each.confidence) and _is_set_on(each)]
        assert sum(trusted) / len(trusted) >= gate


def test_silence_is_trusted_where_the_rules_speak_on_enough_probes_and_only_there() -> None:
    spoke = [result(nth, 1.0, 1.0, 1.0) for nth in range(38)]
    silent = [result(nth, SILENCE.score, SILENCE.margin, 0.0) for nth in range(38, 60)]

    measured = calibrate(spoke, gate=0.95, can_be_silent=True)
    assert measured.threshold is not None
    assert measured.threshold.trusts(SILENCE)
    for unsure in (calibrate(spoke + silent, gate=0.95, can_be_silent=True), calibrate(spoke, gate=0.95)):
        assert unsure.threshold is not None
        assert not unsure.threshold.trusts(SILENCE)
        assert unsure.threshold.trusts(Confidence(score=1, margin=1))


@given(results=RESULTS, gate=st.floats(0, 1))
def test_the_order_of_the_probes_does_not_matter(results: list[ProbeResult], gate: float) -> None:
    assert calibrate(results, gate=gate) == calibrate(results[::-1], gate=gate)


def test_what_a_threshold_keeps_is_measured_on_probes_it_has_not_seen() -> None:
    results = [result(nth, 0.9 if nth % 3 else 0.1, 0.5, 1.0 if nth % 3 else 0.0) for nth in range(60)]

    measured = calibrate(results, gate=1.0)

    assert measured.threshold == Threshold(score=0.9, margin=0.5)
    assert measured.recall == 1.0
    assert 0 < measured.trusted < measured.n < 60


def test_no_threshold_helps_a_search_that_finds_nothing() -> None:
    results = [result(nth, nth / 40, 0.5, 0.0) for nth in range(40)]

    measured = calibrate(results, gate=0.5)

    assert measured.threshold is None
    assert measured.recall is None
    assert measured.trusted == 0


def test_a_measurement_says_whose_rules_were_lent_to_it() -> None:
    results = [result(nth, nth / 40, 1.0, 0.5) for nth in range(40)]

    assert calibrate(results, gate=0.5, lent_by={"rules": "r1"}).lent_by == {"rules": "r1"}
    assert calibrate(results, gate=0.5).lent_by == {}


def test_without_probes_nothing_is_known() -> None:
    assert calibrate([], gate=0.9) == Calibration(threshold=None, recall=None, n=0, trusted=0)


@pytest.mark.parametrize(("score", "margin", "trusted"), [(0.5, 0.2, True), (0.49, 0.2, False), (0.5, 0.19, False)])
def test_both_bounds_are_inclusive(score: float, margin: float, trusted: bool) -> None:
    assert Threshold(score=0.5, margin=0.2).trusts(Confidence(score=score, margin=margin)) is trusted


def _is_set_on(each: ProbeResult) -> bool:
    alone = calibrate([each], gate=0.0)
    return alone.threshold is not None
