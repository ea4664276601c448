"""What a translated schema must be, by the guide and by the sandbox's own rules."""

from __future__ import annotations

from typing import Any

from tokenopt_pipeline.sandbox.anthropic_schema import GrammarLoad

#: Every keyword that may stand in a translated schema (structured outputs guide, 2026-08).
TAKEN = {
    *("type", "enum", "const", "anyOf", "$ref", "$defs", "definitions", "properties", "required", "items"),
    *("additionalProperties", "format", "pattern", "minItems", "title", "description", "default"),
}


def an_object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def fragments(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Every schema inside a translated one, itself first."""
    children = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    children += [schema["items"]] if "items" in schema else []
    for group in ("$defs", "definitions"):
        children += schema.get(group, {}).values()
    return [schema, *(found for child in children for found in fragments(child))]


def assert_accepted(schema: dict[str, Any]) -> None:
    """By the keyword table above and by the sandbox's own rules."""
    for fragment in fragments(schema):
        assert set(fragment) <= TAKEN, fragment
        assert "type" not in fragment or not {"enum", "const"} & set(fragment), fragment
        if fragment.get("type") == "object":
            assert fragment["additionalProperties"] is False
            assert set(fragment.get("required", [])) <= set(fragment["properties"])
    load = GrammarLoad()
    load.add(schema)
    load.check_limits()
