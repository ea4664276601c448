"""Calls as values."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal
from typing import Any

import pytest

from tokenopt_pipeline.domain.calls import AnsweredCall, seen_tokens
from tokenopt_pipeline.domain.moves import Origin
from tokenopt_pipeline.domain.outputs import DecodedAnswer, DecodedOutput, Finding
from tokenopt_pipeline.domain.packs import OpenPack
from tokenopt_pipeline.domain.requests import ModelResponse, StopReason
from tokenopt_pipeline.domain.retries import NextStep
from tokenopt_pipeline.domain.routing import Route, parse_model_ref
from tokenopt_pipeline.domain.runs import Shard
from tokenopt_pipeline.domain.usage import CallAssumptions, TokenUsage
from tokenopt_pipeline_tests.factories import a_request, a_response


def test_an_error_is_all_that_an_answered_call_may_leave_out() -> None:
    optional = {f.name for f in fields(AnsweredCall) if f.default is None}
    assert optional == {"error_class", "error_message"}


def _answered(response: ModelResponse | None) -> AnsweredCall:
    """An answer with an entry of 30 characters, none, and one of 60."""
    outputs = [
        DecodedOutput(ordinal=n, finding=Finding.VALID if said else Finding.MISSING, said_chars=said)
        for n, said in enumerate((30, 0, 60), start=1)
    ]
    route = Route(tier="mid", model=parse_model_ref("a/b"), mode="sync", rule_id="default", reason="")
    counts: dict[str, Any] = {"input_tokens": 0, "output_tokens": 0, "max_tokens": 0}
    return AnsweredCall(
        call_no=1,
        pack=OpenPack(
            pack_no=1,
            shard=Shard(run_no=1, shard_no=0),
            route=route,
            origin=Origin(first_tier="mid"),
            cache_ttl=None,
            cache_reason="",
            output_scale=1,
            generation=0,
            tries=0,
            **counts,
        ),
        members=(),
        request_fingerprint="",
        prefix=a_request().prefix,
        response=response,
        usd=None,
        latency_ms=0,
        assumptions=CallAssumptions(
            pack_blocks=3, table_input_tokens=0, prefix_tokens=0, usd_ceiling=Decimal(0), **counts
        ),
        answer=DecodedAnswer(outputs=tuple(outputs), strays=0),
        next_step=NextStep(done=(), again=(), failed=(), attempts=()),
        again=(),
    )


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        pytest.param(a_response(usage=TokenUsage(output=90), text="x" * 140), (27, None, 54), id="a whole answer"),
        pytest.param(
            a_response(usage=TokenUsage(output=90), text="x" * 180, stop=StopReason.TRUNCATED),
            (15, None, 30),
            id="a cut one",
        ),
        pytest.param(None, (None, None, None), id="none"),
    ],
)
def test_every_block_with_an_entry_has_its_share_of_the_answers_tokens(
    response: ModelResponse | None, expected: tuple[int | None, ...]
) -> None:
    assert _answered(response).answer_tokens == expected


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        pytest.param(a_response(usage=TokenUsage(output=90), text="x" * 180), 0, id="a whole answer shows nothing new"),
        pytest.param(
            a_response(usage=TokenUsage(output=90), text="x" * 180, stop=StopReason.TRUNCATED), 45, id="what was left"
        ),
        pytest.param(
            a_response(usage=TokenUsage(output=90), text="x" * 90, stop=StopReason.TRUNCATED), 60, id="the longest"
        ),
        pytest.param(None, 0, id="none"),
    ],
)
def test_a_cut_text_shows_how_long_one_answer_is_at_least(response: ModelResponse | None, expected: int) -> None:
    assert _answered(response).seen_tokens == expected


def test_a_cut_answer_about_one_block_alone_shows_nothing() -> None:
    alone = DecodedAnswer(outputs=(DecodedOutput(ordinal=1, finding=Finding.TRUNCATED),), strays=0)
    assert seen_tokens(alone, a_response(stop=StopReason.TRUNCATED)) == 0
