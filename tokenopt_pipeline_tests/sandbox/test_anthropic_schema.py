"""Which schemas the grammar compiler refuses."""

from __future__ import annotations

from typing import Any

import anthropic
import pydantic
import pytest

from tokenopt_pipeline.sandbox.anthropic_schema import GrammarLoad, SchemaRefused


def an_object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def refusal(schema: dict[str, Any]) -> str | None:
    load = GrammarLoad()
    try:
        load.add(schema)
        load.check_limits()
    except SchemaRefused as refused:
        return str(refused)
    return None


@pytest.mark.parametrize(
    ("node", "says"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 5}, "For 'integer' type, properties maximum, minimum are not"),
        ({"type": "number", "multipleOf": 2}, "For 'number' type, property 'multipleOf' is not supported"),
        ({"type": ["number", "null"], "exclusiveMinimum": 0}, "'exclusiveMinimum' is not supported"),
        ({"minimum": 1}, "'minimum' is not supported"),
        ({"type": "string", "minLength": 1}, "'minLength' is not supported"),
        ({"type": "string", "maxLength": 9}, "'maxLength' is not supported"),
        ({"type": "string", "format": "text"}, "format 'text' is not supported"),
        ({"type": "string", "pattern": "^(?=a)"}, "unsupported regex"),
        ({"type": "string", "pattern": r"\bword"}, "unsupported regex"),
        ({"type": "array", "items": {}, "maxItems": 3}, "'maxItems' is not supported"),
        ({"type": "array", "items": {}, "minItems": 2}, "'minItems' values other than 0 or 1"),
        ({"type": "array", "items": {"type": "string", "maxLength": 1}}, "'maxLength' is not supported"),
        ({"type": "object", "properties": {}}, "'additionalProperties' must be explicitly set to false"),
        ({"properties": {}}, "'additionalProperties' must be explicitly set to false"),
        ({"type": "object", "additionalProperties": True}, "must be explicitly set to false"),
        ({"oneOf": [{"type": "string"}]}, "'oneOf' is not supported"),
        ({"not": {"type": "string"}}, "'not' is not supported"),
        ({"enum": [{"a": 1}]}, "Enum values must be"),
        ({"$ref": "https://example.com/x.json"}, "External references"),
        ({"$ref": "#/$defs/absent"}, "does not resolve"),
        ({"allOf": [{"$ref": "#"}]}, "Recursive"),
    ],
)
def test_a_schema_the_real_api_refuses_is_refused(node: dict[str, Any], says: str) -> None:
    found = refusal(an_object(field=node))
    assert found is not None
    assert says in found


@pytest.mark.parametrize(
    "node",
    [
        {"type": "string", "format": "date", "description": "when"},
        {"type": "string", "pattern": "^[A-Z]{3}$"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        {"enum": ["a", 1, None, True]},
        {"allOf": [{"type": "string"}]},
    ],
)
def test_a_schema_the_real_api_takes_is_taken(node: dict[str, Any]) -> None:
    assert refusal(an_object(field=node)) is None


def test_definitions_are_looked_into() -> None:
    schema = {**an_object(a={"$ref": "#/$defs/d"}), "$defs": {"d": {"type": "string", "maxLength": 1}}}
    assert "maxLength" in (refusal(schema) or "")


def test_a_definition_that_leads_back_to_itself_is_refused() -> None:
    node = an_object(next={"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]})
    schema = {**an_object(head={"$ref": "#/$defs/node"}), "$defs": {"node": node}}
    assert refusal(schema) == "Recursive schemas are not supported"


def test_two_uses_of_one_definition_are_no_recursion() -> None:
    schema = {**an_object(a={"$ref": "#/$defs/d"}, b={"$ref": "#/$defs/d"}), "$defs": {"d": {"type": "string"}}}
    assert refusal(schema) is None


def test_optional_parameters_are_limited_to_24() -> None:
    properties = {f"p{number}": {"type": "string"} for number in range(25)}
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    assert "too many optional parameters (25)" in (refusal(schema) or "")
    assert refusal({**schema, "required": ["p0"]}) is None


def test_union_parameters_are_limited_to_16() -> None:
    unions = {f"p{number}": {"type": ["string", "null"]} for number in range(17)}
    assert "too many parameters with union types (17" in (refusal(an_object(**unions)) or "")
    unions.pop("p0")
    assert refusal(an_object(**unions)) is None


def test_what_the_sdk_makes_of_a_model_is_taken() -> None:
    class Money(pydantic.BaseModel):
        amount: float = pydantic.Field(ge=0)
        currency: str = pydantic.Field(max_length=3)

    class Clause(pydantic.BaseModel):
        title: str
        money: Money | None
        tags: list[str] = pydantic.Field(min_length=2)

    assert refusal(anthropic.transform_schema(Clause)) is None
