"""Calls as values."""

from __future__ import annotations

from dataclasses import fields

from tokenopt_pipeline.domain.calls import AnsweredCall


def test_an_error_is_all_that_an_answered_call_may_leave_out() -> None:
    optional = {f.name for f in fields(AnsweredCall) if f.default is None}
    assert optional == {"error_class", "error_message"}
