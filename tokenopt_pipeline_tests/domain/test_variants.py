"""A value is told from its constants and members which alternative of a schema it is."""

from __future__ import annotations

from typing import Any

import pytest

from tokenopt_pipeline.domain.variants import alternatives_of, constants_of, followed, variant_for

_BUY = {"properties": {"kind": {"const": "buy"}, "price": {"type": "number"}}}
_SELL = {"properties": {"kind": {"const": "sell"}, "price": {"type": "number"}, "to": {}}}
_ROOT: dict[str, Any] = {
    "$defs": {"buy": _BUY, "loop": {"$ref": "#/$defs/loop"}, "odd": 5},
    "definitions": {"sell": _SELL},
}


@pytest.mark.parametrize(
    ("schema", "value", "chosen"),
    [
        pytest.param({"type": "string"}, "x", {"type": "string"}, id="no alternatives"),
        pytest.param({"anyOf": [_BUY, _SELL]}, {"kind": "sell"}, _SELL, id="by its constant"),
        pytest.param(
            {"oneOf": [_BUY, _SELL]}, {"kind": "buy", "to": 1}, _BUY, id="the constant counts, not the members"
        ),
        pytest.param({"oneOf": [{"$ref": "#/$defs/buy"}, _SELL]}, {"kind": "buy"}, _BUY, id="through a reference"),
        pytest.param({"$ref": "#/definitions/sell"}, {"kind": "sell"}, _SELL, id="older definitions"),
        pytest.param(
            {"anyOf": [{"properties": {"a": {}}}, {"properties": {"b": {}, "c": {}}}]},
            {"b": 1},
            {"properties": {"b": {}, "c": {}}},
            id="by its members",
        ),
        pytest.param({"anyOf": [{"type": "number"}, {"type": "string"}]}, "x", {"type": "string"}, id="by its type"),
        pytest.param({"anyOf": [{"type": "string"}, {"type": "null"}]}, None, {"type": "null"}, id="null"),
        pytest.param(
            {"anyOf": [{"type": ["string", "null"]}, {"type": "null"}]}, "x", {"type": ["string", "null"]}, id="types"
        ),
        pytest.param(
            {"anyOf": [{"type": "string"}, {"type": ["number", "null"]}]},
            None,
            {"type": ["number", "null"]},
            id="null among types",
        ),
        pytest.param({"anyOf": [{"anyOf": [{"type": "string"}]}]}, "x", {"type": "string"}, id="nested"),
        pytest.param({"$ref": "#/$defs/loop"}, 1, {}, id="a circle"),
        pytest.param({"$ref": "#/$defs/nowhere"}, 1, {}, id="nowhere"),
        pytest.param({"$ref": "#/$defs/odd"}, 1, {}, id="no schema"),
        pytest.param({"$ref": "https://x"}, 1, {}, id="elsewhere"),
        pytest.param({"anyOf": []}, 1, {"anyOf": []}, id="no alternative at all"),
        pytest.param({"anyOf": [5]}, 1, {"anyOf": [5]}, id="alternatives that are none"),
    ],
)
def test_the_fitting_alternative_is_chosen(schema: dict[str, Any], value: object, chosen: dict[str, Any]) -> None:
    assert variant_for(schema, value, _ROOT) == chosen


def test_a_value_that_fits_no_constant_leaves_the_choice_open() -> None:
    schema = {"anyOf": [_BUY, _SELL]}
    assert variant_for(schema, {"kind": "swap"}, _ROOT) == schema


def test_constants_are_the_properties_with_one_allowed_value() -> None:
    assert constants_of(_BUY) == {"kind": "buy"}
    assert constants_of({}) == {}
    assert constants_of({"properties": {"a": 5, "b": {}}}) == {}


def test_alternatives_are_those_that_constants_tell_apart() -> None:
    assert alternatives_of({"anyOf": [{"$ref": "#/$defs/buy"}, {"type": "null"}, 5]}, _ROOT) == [_BUY]
    assert alternatives_of({"type": "string"}, _ROOT) == []


def test_a_reference_that_is_no_text_is_none() -> None:
    assert followed({"$ref": 5}, _ROOT) == {"$ref": 5}
    assert variant_for({"$ref": 5}, 1, _ROOT) == {}
