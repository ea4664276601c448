"""Calls as values."""

from __future__ import annotations

from dataclasses import fields

from tokenopt_pipeline.domain.calls import AnsweredCall


def test_only_an_answered_call_without_a_response_may_carry_an_error() -> None:
    optional = {f.name for f in fields(AnsweredCall) if f.default is None}
    assert optional == {"error_class", "error_message"}
