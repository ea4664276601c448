"""What people confirmed says how right each tier's answers were."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.reviews import ReviewedAnswer, agreement, rows_of_reviews
from tokenopt_pipeline.domain.routing import RouteFacts

_FACTS = RouteFacts(block_type=BlockType.PARAGRAPH, n_tokens=9)


def _answer(**changes: Any) -> ReviewedAnswer:
    answer = ReviewedAnswer(
        block_uid="d:0",
        run_id="r1",
        facts=_FACTS,
        tier="small",
        model="a/s",
        usd=0.001,
        staged={"a": 1, "b": "x"},
        confirmed=None,
        doubts=frozenset({"schema"}),
    )
    return replace(answer, **changes)


_MID = {"run_id": "r2", "tier": "mid", "model": "a/m", "usd": 0.01, "staged": {"a": 1, "b": "y"}}


def test_a_block_confirmed_in_one_run_scores_the_answers_of_all() -> None:
    answers = [_answer(), _answer(**_MID, confirmed={"a": 1, "b": "y"})]
    (row,), models = rows_of_reviews(answers)
    assert models == {"small": "a/s", "mid": "a/m"}
    assert {tier: (o.score, o.usd) for tier, o in row.tiers.items()} == {"small": (0.5, 0.001), "mid": (1.0, 0.01)}
    assert (row.query_id, row.facts, row.tiers["small"].doubts) == ("d:0", _FACTS, frozenset({"schema"}))


def test_blocks_that_were_not_reviewed_or_not_answered_by_every_tier_are_left_out() -> None:
    answers = [
        _answer(),
        _answer(**_MID, confirmed={"a": 1}),
        _answer(block_uid="d:1"),
        _answer(block_uid="d:2", confirmed={"a": 1}),
    ]
    rows, _ = rows_of_reviews(answers)
    assert [row.query_id for row in rows] == ["d:0"]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([_answer()], ["no", "confirmed"]),
        ([_answer(confirmed={}), _answer(run_id="r2", model="b/s")], ["small", "a/s", "b/s"]),
        ([_answer(confirmed={}), _answer(run_id="r2")], ["r1", "r2", "d:0", "small"]),
        ([_answer(confirmed={}, usd=None)], ["r1", "a/s", "no known price"]),
        ([_answer(confirmed={}), _answer(**_MID, block_uid="d:1")], ["every tier", "small, mid"]),
    ],
)
def test_reviews_that_cannot_be_compared_are_refused(answers: list[ReviewedAnswer], words: list[str]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        rows_of_reviews(answers)
    assert all(word in str(refusal.value) for word in words), str(refusal.value)


@pytest.mark.parametrize(
    ("staged", "confirmed", "share"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, 1.0),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, 0.5),
        ({"a": 1}, {"a": True}, 0.0),
        ({"a": 1, "b": None}, {"a": 1, "b": ""}, 1.0),
        ({"a": 1, "b": None}, {"a": 1, "b": 2}, 0.5),
        ({"a": None}, {}, 1.0),
        ({"a": 1}, None, 0.0),
    ],
)
def test_agreement_is_the_share_of_fields_left_as_they_were(
    staged: dict[str, Any], confirmed: dict[str, Any] | None, share: float
) -> None:
    assert agreement(staged, confirmed) == share
