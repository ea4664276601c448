"""What a request is billed for is its texts and what the vendor adds to each of its parts."""

from __future__ import annotations

from typing import Any

import pytest

from tokenopt_pipeline.domain.counting import RequestShape, TokenRule, expected_tokens

RULE = TokenRule(
    base_tokens=7,
    message_tokens=4,
    schema_tokens=140,
    schema_ratio=0.5,
    first_tool_tokens=470,
    tool_tokens=30,
    tool_ratio=2.0,
    forced_tool_tokens=100,
    call_tokens=60,
    seal_ratio=0.1,
    thinking_tokens=28,
)


@pytest.mark.parametrize(
    ("shape", "tokens"),
    [
        # 7 + 1.5 * 100
        ({}, 157),
        # + 2 * 4
        ({"messages": 3}, 165),
        # + 140 + 0.5 * 40
        ({"schema": 40}, 317),
        # + 470 + 2 * 30 + 2.0 * 90
        ({"tools": 2, "tool_tokens": 90}, 867),
        # + 100
        ({"tools": 2, "tool_tokens": 90, "is_forced": True}, 967),
        ({"is_forced": True}, 157),
        # + 2 * 60 + 0.1 * 500
        ({"calls": 2, "seal_chars": 500}, 327),
        ({"thinks": True}, 185),
    ],
)
def test_every_part_adds_its_own(shape: dict[str, Any], tokens: int) -> None:
    assert expected_tokens(RULE, 1.5, RequestShape(text=100, **shape)) == tokens


def test_a_rule_that_adds_nothing_bills_what_is_written() -> None:
    assert expected_tokens(TokenRule(), 1.0, RequestShape(text=10, schema=5, tools=1, tool_tokens=7)) == 22
    assert expected_tokens(TokenRule(), 1.0, RequestShape(text=0)) == 1
