"""JSON Schema as Gemini reads it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given

from tokenopt_pipeline.adapters.files import shipped_schemas
from tokenopt_pipeline.adapters.google_dialect import to_dialect
from tokenopt_pipeline.adapters.schema_dialects import fragments
from tokenopt_pipeline.adapters.schema_reading import NotExpressible
from tokenopt_pipeline.domain.prompts import output_schema
from tokenopt_pipeline.domain.schemas import parse_schema
from tokenopt_pipeline_tests.adapters.dialect_rules import an_object
from tokenopt_pipeline_tests.adapters.test_anthropic_dialect_properties import _SCHEMAS
from tokenopt_pipeline_tests.domain.generated import examples

#: Every keyword that Gemini reads, of those that we write (docstring of `response_json_schema`, SDK 3.4).
_TAKEN = {
    *("type", "enum", "anyOf", "$ref", "$defs", "definitions", "properties", "required", "items", "prefixItems"),
    *("additionalProperties", "format", "title", "description", "minItems", "maxItems", "minimum", "maximum"),
}


def translated(part: Any, **root: Any) -> Any:
    """The fragment as it is after translation, in the place of a property."""
    return to_dialect({**an_object(it=part), **root})["properties"]["it"]


def refused(schema: Any) -> str:
    with pytest.raises(NotExpressible) as caught:
        to_dialect(schema)
    return str(caught.value)


def assert_accepted(schema: dict[str, Any]) -> None:
    for _, part in fragments(schema):
        assert set(part) <= _TAKEN, part
        assert all(isinstance(choice, str | int | float) for choice in part.get("enum", ())), part
        assert not any(isinstance(choice, bool) for choice in part.get("enum", ())), part
        if part.get("type") == "object":
            assert part["additionalProperties"] is False
        assert "$ref" not in part or set(part) == {"$ref"}


@pytest.mark.parametrize(
    ("kind", "keyword", "value"),
    [
        ("string", "pattern", "^a$"),
        ("string", "minLength", 1),
        ("string", "format", "email"),
        ("number", "exclusiveMinimum", 0),
        ("number", "multipleOf", 5),
        ("array", "uniqueItems", True),
        ("object", "maxProperties", 2),
        ("object", "not", {"required": ["a"]}),
    ],
)
def test_a_keyword_that_gemini_does_not_read_is_told_in_the_description(kind: str, keyword: str, value: Any) -> None:
    more: dict[str, Any] = {"items": {"type": "string"}} if kind == "array" else {}
    more |= an_object(a={"type": "string"}) if kind == "object" else {}
    found = translated({"type": kind, **more, keyword: value})
    assert keyword not in found
    told = json.dumps(value, separators=(",", ":"), sort_keys=True)
    assert found["description"] == f"({keyword}: {told})"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "string", "format": "date", "title": "T", "description": "D"},
        {"type": "integer", "minimum": 1, "maximum": 9},
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 6},
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
        {"type": ["string", "null"]},
        {"type": "string", "enum": ["a", "b"]},
        {**an_object(a={"type": "string"}, b={"type": "null"}), "required": ["a"]},
    ],
    ids=str,
)
def test_what_gemini_reads_stays_as_it_is(part: dict[str, Any]) -> None:
    assert translated(part) == part


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"const": "a"}, {"type": "string", "enum": ["a"]}),
        ({"enum": ["a", None]}, {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}]}),
        ({"enum": ["a", 1]}, {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "integer", "enum": [1]}]}),
        ({"enum": [True, False]}, {"type": "boolean"}),
        ({"const": None}, {"type": "null"}),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        (
            {"type": ["string", "null"], "format": "date"},
            {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        ),
    ],
    ids=str,
)
def test_choices_and_unions_are_said_in_types_that_gemini_has(part: dict[str, Any], expected: dict[str, Any]) -> None:
    assert translated(part) == expected


def test_optional_properties_stay_optional() -> None:
    schema = {**an_object(a={"type": "string"}), "required": []}
    assert to_dialect(schema) == schema


@pytest.mark.parametrize("required", [[], ["next"]])
def test_recursion_may_only_stand_in_properties_that_may_be_left_out(required: list[str]) -> None:
    node = {**an_object(next={"$ref": "#/$defs/node"}), "required": required}
    schema = an_object(it={"$ref": "#/$defs/node"}) | {"$defs": {"node": node}}
    if required:
        assert refused(schema) == "recursion through #/$defs/node in a required property"
    else:
        assert to_dialect(schema)["$defs"] == {"node": node}


def test_recursion_over_two_definitions_is_seen() -> None:
    one, two = an_object(b={"$ref": "#/$defs/b"}), {**an_object(a={"$ref": "#/$defs/a"}), "required": []}
    assert "recursion" in refused(an_object(it={"$ref": "#/$defs/a"}) | {"$defs": {"a": one, "b": two}})


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ({"type": "object"}, "an object with arbitrary property names"),
        ({}, "a value of any type"),
        ({"type": "array"}, "a value of any type"),
        ({"$ref": "#/$defs/nowhere"}, "a reference that leads to no definition, #/$defs/nowhere"),
        ({"enum": [{}]}, "an enum without a string, number, boolean or null that its type allows"),
    ],
    ids=str,
)
def test_what_gemini_cannot_say_is_not_expressible(part: dict[str, Any], why: str) -> None:
    assert refused(an_object(it=part)) == why


@pytest.mark.parametrize("name", shipped_schemas())
def test_every_shipped_schema_is_expressible_in_its_own_order(name: str) -> None:
    asked: Any = output_schema(parse_schema(json.loads(shipped_schemas()[name]), name=name))
    schema = to_dialect(asked)
    assert_accepted(schema)
    entry = schema["properties"]["results"]["items"]
    assert list(entry["properties"]) == list(asked["properties"]["results"]["items"]["properties"])


@given(schema=_SCHEMAS)
@examples(150)
def test_a_translated_schema_has_no_keyword_that_gemini_lacks_whatever_the_original(schema: dict[str, Any]) -> None:
    before = json.dumps(schema)
    with suppress(NotExpressible):
        result = to_dialect(schema)
        assert_accepted(result)
        jsonschema_rs.meta.validate(result)
    assert json.dumps(schema) == before
