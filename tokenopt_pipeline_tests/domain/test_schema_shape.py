"""Complexity is a declared count over the schema, whatever its keywords' order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.schema_shape import FIELD_KINDS, SchemaShape, shape_of
from tokenopt_pipeline_tests.domain.generated import JSON_VALUES, examples


def _shape(**properties: Any) -> SchemaShape:
    return shape_of({"type": "object", "properties": properties})


def test_a_flat_schema_of_plain_fields_is_as_complex_as_it_has_fields() -> None:
    shape = _shape(a={"type": "string"}, b={"type": "number"}, c={})
    assert (shape.fields, shape.depth, shape.complexity) == (3, 0, 3)
    assert shape.kinds == {"free_text", "number"}


@pytest.mark.parametrize(
    ("part", "kinds", "complexity"),
    [
        pytest.param({"type": "integer"}, {"number"}, 1, id="number"),
        pytest.param({"type": "boolean"}, {"boolean"}, 1, id="switch"),
        pytest.param({"enum": ["x"] * 20}, {"enum"}, 1 + 20 // 10, id="enum: ten choices count one"),
        pytest.param({"const": 1}, {"enum"}, 1, id="constant"),
        pytest.param({"type": "string", "format": "date"}, {"date"}, 1, id="date"),
        pytest.param({"type": ["string", "null"]}, {"free_text"}, 1, id="null is no alternative"),
        pytest.param({"type": ["string", "number"]}, {"free_text", "number", "union"}, 1 + 2, id="two types"),
        pytest.param({"type": "array", "items": {"type": "string"}}, {"array", "free_text"}, 1 + 3 + 2, id="array"),
        pytest.param({"type": "array"}, {"array"}, 1 + 2, id="array of anything"),
        pytest.param({"type": "object"}, {"object"}, 1, id="object of anything"),
        pytest.param(
            {"type": "object", "properties": {"x": {}, "y": {"type": "number"}}},
            {"object", "free_text", "number"},
            2 + 3,
            id="object: two fields, a level",
        ),
        pytest.param(
            {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "null"}]},
            {"union", "free_text", "number"},
            2 + 2,
            id="alternatives: each a field, one further",
        ),
        pytest.param({"oneOf": [{"$ref": "#/$defs/none"}, {"type": "string"}]}, {"free_text"}, 1, id="only one left"),
        pytest.param({"$ref": "#/$defs/money"}, {"object", "number"}, 1 + 3, id="reference"),
    ],
)
def test_each_kind_of_field_counts_as_declared(part: Any, kinds: set[str], complexity: int) -> None:
    definitions = {
        "none": {"type": "null"},
        "money": {"type": "object", "properties": {"usd": {"type": "number"}}},
    }
    shape = shape_of({"properties": {"a": part}, "$defs": definitions})
    assert (set(shape.kinds), shape.complexity) == (kinds, complexity)


def test_a_field_named_after_a_date_is_one() -> None:
    assert _shape(due_date={"type": "string"}).kinds == {"date"}
    assert _shape(candidate={"type": "string"}).kinds == {"free_text"}


def test_a_schema_that_refers_to_itself_has_an_end() -> None:
    node = {"type": "object", "properties": {"child": {"$ref": "#/$defs/node"}, "name": {"type": "string"}}}
    assert shape_of({"properties": {"root": {"$ref": "#/$defs/node"}}, "$defs": {"node": node}}).depth == 12


def test_what_is_no_schema_counts_nothing() -> None:
    empty = SchemaShape(fields=0, depth=0, arrays=0, alternatives=0, choices=0, kinds=frozenset())
    assert shape_of({"properties": {"a": 5, "b": True}}) == empty
    assert _shape(a={"anyOf": 5}).fields == 1


@examples(60)
@given(st.dictionaries(st.sampled_from(["type", "properties", "items", "anyOf", "enum", "$ref"]), JSON_VALUES))
def test_any_mapping_has_a_shape_of_known_kinds(schema: dict[str, Any]) -> None:
    shape = shape_of(schema)
    assert shape.kinds <= set(FIELD_KINDS)
    assert shape.complexity >= 0


def test_a_further_field_never_makes_a_schema_simpler() -> None:
    parts: list[dict[str, Any]] = [{}, {"type": "array", "items": {}}, {"anyOf": [{}, {"enum": [1]}]}]
    sizes = [_shape(**{f"f{i}": part for i, part in enumerate(parts[:n])}).complexity for n in range(4)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 4
