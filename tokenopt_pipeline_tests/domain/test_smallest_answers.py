"""The shortest answer is bounded from below, so that only what can never fit is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from tokenopt_pipeline.domain.codings import coded_schema
from tokenopt_pipeline.domain.smallest_answers import smallest_answer_tokens
from tokenopt_pipeline_tests.domain.coded_schemas import schema_and_values
from tokenopt_pipeline_tests.domain.generated import examples


def _of(fragment: Any, **more: Any) -> int:
    return smallest_answer_tokens({"type": "object", "properties": {"a": fragment}, "required": ["a"], **more})


@pytest.mark.parametrize(
    ("fragment", "chars"),
    [
        pytest.param({"type": "string"}, 2, id="a text may be empty"),
        pytest.param({"type": "string", "minLength": 8_000}, 8_002, id="a long text"),
        pytest.param({"type": ["string"], "minLength": 8_000}, 8_002, id="one type of one"),
        pytest.param({"type": ["string", "null"], "minLength": 8_000}, 0, id="or nothing"),
        pytest.param({"type": "array", "minItems": 4_000, "items": {"type": "integer"}}, 4_002, id="many entries"),
        pytest.param(
            {"type": "array", "minItems": 1_000, "items": {"type": "string", "minLength": 7}}, 10_002, id="texts"
        ),
        pytest.param({"const": "x" * 800}, 802, id="a constant"),
        pytest.param({"enum": ["x" * 800, "y" * 1_600]}, 802, id="the shortest choice"),
        pytest.param({"anyOf": [{"type": "string", "minLength": 800}, {"const": "z" * 1_000}]}, 802, id="alternatives"),
        pytest.param({"oneOf": [{"type": "string", "minLength": 800}, {}]}, 0, id="or anything"),
        pytest.param({"$ref": "#/$defs/long"}, 802, id="a definition"),
        pytest.param({"$ref": "#/$defs/self"}, 12 * 6, id="a definition that refers to itself"),
        pytest.param({"type": "string", "minLength": True}, 2, id="no number"),
        pytest.param(True, 0, id="anything"),
        pytest.param({"type": "object", "properties": {"b": {"const": 1}}, "required": ["c"]}, 2, id="optional fields"),
    ],
)
def test_no_valid_answer_has_fewer_characters(fragment: Any, chars: int) -> None:
    definitions = {
        "long": {"type": "string", "minLength": 800},
        "self": {"type": "object", "properties": {"s": {"$ref": "#/$defs/self"}}, "required": ["s"]},
    }
    assert _of(fragment, **{"$defs": definitions}) == pytest.approx((2 + 4 + chars) // 8, abs=1)


@examples(200)
@given(schema_and_values())
def test_every_answer_is_at_least_as_long_in_either_form(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    schema, values = pair
    coding, asked = coded_schema(schema)
    assert smallest_answer_tokens(schema) <= len(json.dumps(values, ensure_ascii=False)) / 8 + 1
    assert smallest_answer_tokens(asked) <= len(json.dumps(coding.encoded(values), ensure_ascii=False)) / 8 + 1
