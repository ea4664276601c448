"""JSON Schema as Anthropic's structured outputs take it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tokenopt_pipeline.adapters.anthropic_dialect import NotExpressible, to_dialect
from tokenopt_pipeline_tests.adapters.dialect_rules import an_object, assert_accepted


def translated(fragment: Any, **root: Any) -> Any:
    """The fragment as it is after translation, in the place of a property."""
    return to_dialect({**an_object(it=fragment), **root})["properties"]["it"]


def refused(fragment: Any, **root: Any) -> str:
    with pytest.raises(NotExpressible) as caught:
        translated(fragment, **root)
    return str(caught.value)


# --- what moves into the description


@pytest.mark.parametrize(
    ("kind", "keyword", "value"),
    [
        ("integer", "minimum", 1),
        ("integer", "maximum", 9),
        ("number", "exclusiveMinimum", 0),
        ("number", "exclusiveMaximum", 1.5),
        ("number", "multipleOf", 5),
        ("string", "minLength", 1),
        ("string", "maxLength", 300),
        ("string", "contentEncoding", "base64"),
        ("string", "format", "iri"),
        ("string", "pattern", "(?<=a)b"),
        ("string", "not", {"const": "x"}),
        ("string", "x-of-my-own", True),
        ("array", "maxItems", 10),
        ("array", "uniqueItems", True),
        ("array", "contains", {"const": 1}),
        ("object", "minProperties", 1),
        ("object", "maxProperties", 2),
        ("object", "patternProperties", {"^x": {"type": "string"}}),
        ("object", "propertyNames", {"maxLength": 3}),
        ("object", "dependentRequired", {"a": ["b"]}),
        ("object", "if", {"required": ["a"]}),
    ],
)
def test_a_refused_keyword_is_told_in_the_description(kind: str, keyword: str, value: Any) -> None:
    more: dict[str, Any] = {"items": {"type": "string"}} if kind == "array" else {}
    more |= an_object(a={"type": "string"}) if kind == "object" else {}
    fragment = translated({"type": kind, **more, "description": "A thing.", keyword: value})
    told = json.dumps(value, separators=(",", ":"), sort_keys=True)
    assert keyword not in fragment
    assert fragment["description"] == f"A thing. ({keyword}: {told})"


def test_several_refused_keywords_share_one_description() -> None:
    assert translated({"type": "string", "minLength": 1, "maxLength": 2}) == {
        "type": "string",
        "description": "(minLength: 1; maxLength: 2)",
    }


@pytest.mark.parametrize(
    "fragment",
    [
        {"type": "string"},
        {"type": ["string", "null"]},
        {"type": "string", "format": "date", "title": "T", "description": "D", "default": "2026-01-01"},
        {"type": "string", "pattern": r"^[A-Z]{2}\d{4}$"},
        {"type": "array", "items": {"type": "integer"}, "minItems": 1},
        {"enum": ["a", "b", None]},
        {"const": 3},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {"type": "object", "properties": {}, "additionalProperties": False},
        an_object(a={"type": "boolean"}),
    ],
    ids=str,
)
def test_what_the_dialect_has_stays_as_it_is(fragment: dict[str, Any]) -> None:
    assert translated(fragment) == fragment


def test_words_about_the_schema_itself_are_dropped() -> None:
    said = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:x", "$comment": "c", "examples": [1]}
    assert translated({"type": "string", **said}) == {"type": "string"}


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        (r"^\d{3}-[a-z]+$", True),
        (r"(ab|cd)*", True),
        (r"a(?=b)", False),
        (r"(?:a)", False),
        (r"(a)\1", False),
        (r"\bword\b", False),
        (r"\p{L}+", False),
        (r"a{1000}", False),
        (r"a{0,9999}", False),
    ],
)
def test_only_a_simple_pattern_is_kept(pattern: str, kept: bool) -> None:
    assert ("pattern" in translated({"type": "string", "pattern": pattern})) is kept


@pytest.mark.parametrize(("least", "kept", "told"), [(0, 0, False), (1, 1, False), (4, 1, True)])
def test_a_minimum_of_items_above_one_is_one_and_told(least: int, kept: int, told: bool) -> None:
    fragment = translated({"type": "array", "items": {"type": "string"}, "minItems": least})
    assert fragment["minItems"] == kept
    assert ("description" in fragment) is told


# --- enums


def test_the_types_beside_an_enum_go_because_the_api_refuses_a_choice_that_is_not_of_a_list_of_types() -> None:
    """400 "Enum value 'low' does not match declared type '['string', 'null']'" (BerriAI/litellm issue 37881)."""
    fragment = {"type": ["string", "null"], "enum": ["low", None], "description": "D"}
    assert translated(fragment) == {"enum": ["low", None], "description": "D"}


def test_a_choice_that_the_type_rules_out_goes() -> None:
    assert translated({"type": "string", "enum": ["a", 1, None, True]}) == {"enum": ["a"]}
    assert translated({"type": "integer", "enum": [1, 2.0, 2.5, True]}) == {"enum": [1, 2.0]}


def test_choices_that_are_no_scalars_go_and_without_any_other_nothing_can_be_said() -> None:
    assert translated({"enum": ["a", {"b": 1}, []]}) == {"enum": ["a"]}
    assert "enum" in refused({"enum": [{"b": 1}]})
    assert "enum" in refused({"enum": []})
    assert "enum" in refused({"const": {"b": 1}})


# --- unions


def test_one_of_becomes_any_of() -> None:
    parts = [{"type": "string", "maxLength": 3}, {"type": "null"}]
    assert translated({"oneOf": parts}) == {
        "anyOf": [{"type": "string", "description": "(maxLength: 3)"}, {"type": "null"}]
    }


def test_beside_any_of_one_of_is_told() -> None:
    fragment = translated({"anyOf": [{"type": "string"}, {"type": "null"}], "oneOf": [{"const": "a"}]})
    assert fragment["anyOf"] == [{"type": "string"}, {"type": "null"}]
    assert "oneOf" in fragment["description"]


def test_a_union_that_only_narrows_the_object_beside_it_is_told() -> None:
    choice = [{"required": ["a"]}, {"required": ["b"]}]
    fragment = translated({**an_object(a={"type": "string"}, b={"type": "string"}), "required": [], "anyOf": choice})
    assert set(fragment["properties"]) == {"a", "b"}
    assert "anyOf" in fragment["description"]


def test_a_union_of_whole_objects_replaces_the_bare_type_beside_it() -> None:
    parts = [an_object(a={"type": "string"}), an_object(b={"type": "string"})]
    assert translated({"type": "object", "anyOf": parts}) == {"anyOf": parts}


def test_a_nullable_object_becomes_a_union_that_closes_the_object() -> None:
    schema = an_object(a={"type": "string"})
    fragment = translated({**schema, "type": ["object", "null"], "description": "D"})
    assert fragment == {"description": "D", "anyOf": [schema, {"type": "null"}]}


def test_a_nullable_date_becomes_a_union() -> None:
    fragment = translated({"type": ["string", "null"], "format": "date"})
    assert fragment == {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}


def test_all_of_is_folded_into_one_object_because_closed_parts_shut_each_other_out() -> None:
    parts = [{"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"properties": {"b": {"type": "null"}}}]
    fragment = translated({"type": "object", "allOf": parts})
    assert set(fragment["properties"]) == {"a", "b"}
    assert fragment["required"] == ["a"]
    assert "allOf" in refused({"allOf": [{"type": "string"}, {"type": "null"}]})


def test_a_reference_in_all_of_stands_alone() -> None:
    definitions = {"$defs": {"x": {"type": "string"}}}
    assert translated({"allOf": [{"$ref": "#/$defs/x"}], "description": "D"}, **definitions) == {"$ref": "#/$defs/x"}


# --- objects


def test_every_object_is_closed_at_every_depth() -> None:
    inner = {"properties": {"b": {"type": "string"}}}
    schema = to_dialect({"type": "object", "properties": {"a": {"type": "array", "items": inner}}})
    assert schema["additionalProperties"] is False
    assert schema["properties"]["a"]["items"]["additionalProperties"] is False


@pytest.mark.parametrize(
    "fragment",
    [
        pytest.param({"type": "object"}, id="no properties"),
        pytest.param({"type": "object", "additionalProperties": True}, id="open"),
        pytest.param({"type": "object", "additionalProperties": {"type": "string"}}, id="a map"),
        pytest.param({"type": "object", "patternProperties": {"^x": {}}}, id="names by pattern"),
        pytest.param({"type": ["object", "null"]}, id="nullable"),
    ],
)
def test_an_object_of_arbitrary_names_is_not_expressible_rather_than_forced_to_be_empty(
    fragment: dict[str, Any],
) -> None:
    assert refused(fragment) == "an object with arbitrary property names"


def test_a_required_property_that_could_never_be_given_is_not_expressible() -> None:
    assert "required" in refused({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]})


@pytest.mark.parametrize(
    "fragment", [{}, True, {"description": "D"}, {"type": "array"}, {"type": "array", "items": {}}]
)
def test_a_value_of_any_type_is_not_expressible(fragment: Any) -> None:
    assert refused(fragment) == "a value of any type"


def test_a_schema_without_a_type_means_the_type_its_keywords_are_about() -> None:
    assert translated({"minLength": 1})["type"] == "string"
    assert translated({"minimum": 1})["type"] == "number"
    assert translated({"items": {"type": "null"}})["type"] == "array"


def test_properties_named_like_keywords_are_properties() -> None:
    names = ("anyOf", "$ref", "$defs", "type", "properties", "minimum", "allOf", "enum")
    schema = to_dialect(an_object(**{name: {"type": "string"} for name in names}))
    assert schema["properties"] == {name: {"type": "string"} for name in names}


# --- references


def test_definitions_are_kept_where_something_refers_to_them_and_only_there() -> None:
    definitions = {"x": {"type": "string", "maxLength": 3}, "unused": {"$ref": "#/$defs/unused"}}
    schema = to_dialect({**an_object(a={"$ref": "#/$defs/x"}), "$defs": definitions})
    assert schema["properties"]["a"] == {"$ref": "#/$defs/x"}
    assert schema["$defs"] == {"x": {"type": "string", "description": "(maxLength: 3)"}}


@pytest.mark.parametrize(
    ("ref", "definitions", "why"),
    [
        ("#", {}, "recursion"),
        ("#/$defs/x", {"x": {"$ref": "#/$defs/x"}}, "recursion"),
        ("#/$defs/x", {"x": an_object(y={"$ref": "#/$defs/y"}), "y": {"$ref": "#/$defs/x"}}, "recursion"),
        ("#/$defs/nowhere", {}, "leads to no definition"),
        ("#/properties/it", {}, "leads to no definition"),
        ("http://example.com/x.json", {}, "another document"),
        ("x.json#/a", {}, "another document"),
        (5, {}, "a reference that is 5"),
    ],
)
def test_recursion_and_references_that_lead_elsewhere_are_not_expressible(
    ref: object, definitions: dict[str, Any], why: str
) -> None:
    assert why in refused({"$ref": ref}, **{"$defs": definitions})


def test_a_reference_in_a_value_that_is_no_schema_is_none() -> None:
    assert translated({"type": "string", "default": {"$ref": "#"}})["default"] == {"$ref": "#"}


def test_definitions_that_double_forty_times_are_counted_in_no_time() -> None:
    doubling = {f"d{i}": an_object(**{n: {"$ref": f"#/$defs/d{i + 1}"} for n in "ab"}) for i in range(40)}
    schema = {**an_object(a={"$ref": "#/$defs/d0"}), "$defs": {**doubling, "d40": {"type": "string"}}}
    assert len(to_dialect(schema)["$defs"]) == 41


def test_a_schema_nested_too_deeply_is_not_expressible() -> None:
    fragment: dict[str, Any] = {"type": "string"}
    for _ in range(5_000):
        fragment = {"type": "array", "items": fragment}
    assert refused(fragment) == "it is nested too deeply"


# --- limits


@pytest.mark.parametrize("optional", [24, 25])
def test_more_than_24_optional_properties_are_not_expressible(optional: int) -> None:
    half = an_object(**{f"p{i}": {"type": "string"} for i in range(12)}) | {"required": []}
    schema = an_object(a=half, b={"type": "array", "items": half}, c={"type": "string"})
    schema["required"] = schema["required"][: 27 - optional]
    if optional == 24:
        assert_accepted(to_dialect(schema))
    else:
        with pytest.raises(NotExpressible, match="25 optional properties, the limit is 24"):
            to_dialect(schema)


@pytest.mark.parametrize("unions", [16, 17])
def test_more_than_16_unions_are_not_expressible(unions: int) -> None:
    nullable = [{"type": ["string", "null"]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}]
    schema = an_object(**{f"p{i}": nullable[i % 2] for i in range(unions)})
    if unions == 16:
        assert_accepted(to_dialect(schema))
    else:
        with pytest.raises(NotExpressible, match="17 unions, the limit is 16"):
            to_dialect(schema)
