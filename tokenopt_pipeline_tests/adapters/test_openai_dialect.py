"""JSON Schema as OpenAI's strict mode takes it, and answers without the nulls that only strict mode asked for."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given

from tokenopt_pipeline.adapters.files import shipped_schemas
from tokenopt_pipeline.adapters.openai_dialect import StrictSchema, to_dialect, without_added_nulls
from tokenopt_pipeline.adapters.schema_dialects import fragments
from tokenopt_pipeline.adapters.schema_reading import NotExpressible
from tokenopt_pipeline.domain.outputs import Finding, decode_answer
from tokenopt_pipeline.domain.prompts import output_schema
from tokenopt_pipeline.domain.requests import StopReason
from tokenopt_pipeline.domain.schemas import parse_schema
from tokenopt_pipeline_tests.adapters.dialect_rules import an_object
from tokenopt_pipeline_tests.adapters.test_anthropic_dialect_properties import _SCHEMAS
from tokenopt_pipeline_tests.domain.generated import examples

#: Every keyword that may stand in a strict schema.
_TAKEN = {
    *("type", "enum", "anyOf", "$ref", "$defs", "definitions", "properties", "required", "items", "title"),
    *("additionalProperties", "format", "pattern", "minItems", "maxItems", "description", "minimum", "maximum"),
    *("exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}


def an_optional(part: Any, **root: Any) -> dict[str, Any]:
    """An object whose one property may be left out."""
    return {**an_object(it=part), "required": [], **root}


def translated(part: Any, **root: Any) -> Any:
    """The fragment as it is after translation, in the place of a required property."""
    return to_dialect({**an_object(it=part), **root}).schema["properties"]["it"]


def nullable(part: Any, **root: Any) -> Any:
    """The same in the place of an optional property."""
    return to_dialect(an_optional(part, **root)).schema["properties"]["it"]


def refused(schema: Any) -> str:
    with pytest.raises(NotExpressible) as caught:
        to_dialect(schema)
    return str(caught.value)


def assert_accepted(strict: StrictSchema) -> None:
    assert strict.schema["type"] == "object"
    for _, part in fragments(strict.schema):
        assert set(part) <= _TAKEN, part
        if part.get("type") == "object":
            assert part["required"] == list(part["properties"])
            assert part["additionalProperties"] is False
        assert set(part) & {"type", "anyOf", "$ref"}, part
        assert "$ref" not in part or set(part) == {"$ref"}


# --- the schema


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "string"}, {"type": ["string", "null"]}),
        ({"type": "integer", "description": "D"}, {"type": ["integer", "null"], "description": "D"}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ({"enum": ["a", 1]}, {"type": ["string", "integer", "null"], "enum": ["a", 1, None]}),
        ({"enum": ["a", None]}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"const": True}, {"type": ["boolean", "null"], "enum": [True, None]}),
        (
            {"type": "string", "format": "date"},
            {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        ),
        (
            {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
        ),
        (an_object(a={"type": "null"}), {"anyOf": [an_object(a={"type": "null"}), {"type": "null"}]}),
    ],
    ids=str,
)
def test_an_optional_property_is_required_and_nullable(part: dict[str, Any], expected: dict[str, Any]) -> None:
    strict = to_dialect(an_optional(part))
    assert strict.schema["required"] == ["it"]
    assert strict.schema["properties"]["it"] == expected
    assert strict.adds_null


def test_an_optional_reference_becomes_a_union_with_null() -> None:
    found = nullable({"$ref": "#/$defs/x"}, **{"$defs": {"x": {"type": "string"}}})
    assert found == {"anyOf": [{"$ref": "#/$defs/x"}, {"type": "null"}]}


def test_a_schema_whose_properties_are_all_required_adds_no_null() -> None:
    assert not to_dialect(an_object(a={"type": ["string", "null"]})).adds_null


@pytest.mark.parametrize(
    ("kind", "keyword", "value"),
    [
        ("string", "minLength", 1),
        ("string", "maxLength", 300),
        ("string", "format", "uri"),
        ("string", "pattern", "(?<=a)b"),
        ("string", "not", {"const": "x"}),
        ("string", "default", None),
        ("array", "uniqueItems", True),
        ("array", "prefixItems", [{"type": "string"}]),
        ("object", "minProperties", 1),
        ("object", "patternProperties", {"^x": {"type": "string"}}),
        ("object", "if", {"required": ["a"]}),
        ("object", "dependentRequired", {"a": ["a"]}),
    ],
)
def test_a_refused_keyword_is_told_in_the_description(kind: str, keyword: str, value: Any) -> None:
    more: dict[str, Any] = {"items": {"type": "string"}} if kind == "array" else {}
    more |= an_object(a={"type": "string"}) if kind == "object" else {}
    found = translated({"type": kind, **more, "description": "A thing.", keyword: value})
    assert keyword not in found
    told = json.dumps(value, separators=(",", ":"), sort_keys=True)
    assert found["description"] == ("A thing." if keyword == "default" else f"A thing. ({keyword}: {told})")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "string", "format": "date"},
        {"type": "string", "pattern": r"^[A-Z]{2}\d{4}$"},
        {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "multipleOf": 0.5},
        {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 4},
        {"type": ["string", "null"], "enum": ["a", None]},
        {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "T"},
    ],
    ids=str,
)
def test_what_strict_mode_has_stays_as_it_is(part: dict[str, Any]) -> None:
    assert translated(part) == part


def test_recursion_stays_and_only_definitions_that_are_used() -> None:
    node = an_object(next={"$ref": "#/$defs/node"})
    schema = an_object(it={"$ref": "#/$defs/node"}) | {"$defs": {"node": node, "unused": {}}}
    assert to_dialect(schema).schema["$defs"] == {"node": node}


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "array", "items": {"type": "string"}}, "a root that is no object"),
        ({"anyOf": [an_object(), an_object(a={"type": "null"})]}, "a root that is no object"),
        (an_object(it={"type": "object"}), "an object with arbitrary property names"),
        (an_object(it={}), "a value of any type"),
        (an_object(it={"$ref": "http://example.com"}), "a reference to another document, http://example.com"),
        (an_object(**{f"p{i}": {"type": "null"} for i in range(5001)}), "5001 properties, the limit is 5000"),
        (an_object(it={"enum": list(range(1001))}), "1001 enum values, the limit is 1000"),
        (an_object(it={"enum": [f"{i:060}" for i in range(251)]}), "an enum of 15060 characters, the limit is 15000"),
        (an_object(**{"x" * 120_001: {"type": "null"}}), "120001 characters of names and choices, the limit is 120000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_strict_mode_cannot_say_is_not_expressible(schema: dict[str, Any], why: str) -> None:
    assert refused(schema) == why


@pytest.mark.parametrize("levels", [10, 11])
def test_more_than_ten_levels_are_not_expressible(levels: int) -> None:
    schema = an_object(a={"type": "string"})
    for _ in range(levels - 1):
        schema = an_object(a=schema)
    if levels == 10:
        assert_accepted(to_dialect(schema))
    else:
        assert refused(schema) == "11 levels of nesting, the limit is 10"


@pytest.mark.parametrize("name", shipped_schemas())
def test_every_shipped_schema_is_expressible_in_its_own_order(name: str) -> None:
    asked: Any = output_schema(parse_schema(json.loads(shipped_schemas()[name]), name=name))
    strict = to_dialect(asked)
    assert_accepted(strict)
    entry = strict.schema["properties"]["results"]["items"]
    assert list(entry["properties"]) == list(asked["properties"]["results"]["items"]["properties"])


@given(schema=_SCHEMAS)
@examples(150)
def test_a_translated_schema_has_no_refused_keyword_whatever_the_original(schema: dict[str, Any]) -> None:
    before = json.dumps(schema)
    with suppress(NotExpressible):
        strict = to_dialect(schema)
        assert_accepted(strict)
        jsonschema_rs.meta.validate(strict.schema)
    assert json.dumps(schema) == before


# --- the answer


def cleaned(value: Any, schema: dict[str, Any]) -> Any:
    return json.loads(without_added_nulls(json.dumps(value), schema))


@pytest.mark.parametrize(
    ("part", "stays"),
    [
        ({"type": "string"}, False),
        ({"enum": ["a"]}, False),
        ({"type": "string", "enum": ["a", None]}, False),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, False),
        ({"$ref": "#/$defs/x"}, False),
        ({"allOf": [{"type": "string"}, {"maxLength": 3}]}, False),
        ({"type": ["string", "null"]}, True),
        ({"enum": ["a", None]}, True),
        ({"const": None}, True),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, True),
        ({"$ref": "#/$defs/y"}, True),
        ({}, True),
    ],
    ids=str,
)
def test_a_null_goes_exactly_when_the_original_knows_none(part: dict[str, Any], stays: bool) -> None:
    definitions = {"x": {"type": "string"}, "y": {"type": "null"}}
    schema = an_optional(part, **{"$defs": definitions})
    assert cleaned({"it": None}, schema) == ({"it": None} if stays else {})
    jsonschema_rs.validate(schema, cleaned({"it": None}, schema))


def test_a_null_of_a_required_property_stays_for_the_validation_to_see() -> None:
    assert cleaned({"it": None}, an_object(it={"type": "string"})) == {"it": None}


def test_nulls_go_at_every_depth_through_arrays_references_and_unions() -> None:
    inner = an_optional({"type": "string"}) | {"required": []}
    kinds = [
        {**an_object(kind={"const": "a"}, x={"type": "string"}), "required": ["kind"]},
        {**an_object(kind={"const": "b"}, x={"type": ["string", "null"]}), "required": ["kind"]},
    ]
    schema = an_object(
        many={"type": "array", "items": {"$ref": "#/$defs/inner"}},
        some={"type": "array", "items": {"anyOf": [*kinds, {"type": "null"}]}},
        maybe={"anyOf": [{"type": "array", "items": inner}, {"type": "null"}]},
    ) | {"$defs": {"inner": inner}}
    answer = {
        "many": [{"it": None}, {"it": "x"}],
        "some": [{"kind": "a", "x": None}, {"kind": "b", "x": None}, None],
        "maybe": [{"it": None}],
    }
    expected = {"many": [{}, {"it": "x"}], "some": [{"kind": "a"}, {"kind": "b", "x": None}, None], "maybe": [{}]}
    assert cleaned(answer, schema) == expected


_ENTRY = {**an_object(n={"type": "integer"}, a={"type": "string"}), "required": ["n"]}
_ANSWER = an_object(results={"type": "array", "items": _ENTRY})


@pytest.mark.parametrize(
    "text",
    [
        '{"results": [{"n": 1,  "a": "x"}]}',
        "not JSON",
        "[]",
        "",
        '"text"',
        '{"results": [{"n": 1, "a": null, "a": "x"}]}',
        '{"results": [{"n": 1, "a": ',
        "[" * 100_000,
    ],
    ids=lambda text: text[:30],
)
def test_a_text_with_nothing_to_remove_stays_to_the_letter(text: str) -> None:
    assert without_added_nulls(text, _ANSWER) == text


@pytest.mark.parametrize(
    "tail", ["", ",", ', {"n": 3, "a": nu', ', {"n": 3, "a": "}] \\"', ', {"n": 3, "a": null', "]"], ids=repr
)
def test_the_whole_entries_of_a_cut_answer_lose_their_nulls(tail: str) -> None:
    text = r'{"results": [{"n": 1, "a": null}, {"n": 2, "a": "\\\"}]"}' + tail
    read = decode_answer(
        without_added_nulls(text, _ANSWER),
        stop=StopReason.TRUNCATED,
        asked=3,
        ordinal_key="n",
        violation=lambda values: "null" if None in values.values() else None,
    )
    findings = [output.finding for output in read.outputs]
    assert findings == [Finding.VALID, Finding.VALID, Finding.TRUNCATED]
