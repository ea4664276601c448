"""Gemini's two ways to say a schema: JSON Schema with a few rules, and an OpenAPI subset that is turned into it.

Source: the SDK's description of `response_json_schema` (google-genai 3.4.0) and
https://ai.google.dev/gemini-api/docs/structured-output, read 2026-11-22. What else the API finds too complex nobody documents.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache

import jsonschema_rs

from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_list, as_object

# What the OpenAPI subset has and JSON Schema has not.
_OPENAPI_ONLY = ("nullable", "propertyOrdering", "property_ordering", "example")


@lru_cache(maxsize=256)
def schema_refusal(schema: str) -> str | None:
    """The message for the first rule `schema` (JSON) breaks; remembered, because every pack of a run carries the same."""
    root: JsonObject = json.loads(schema)
    if not jsonschema_rs.meta.is_valid(root):
        return "The provided response_json_schema is not a valid JSON Schema."
    for node in _nodes(root):
        siblings = [key for key in node if not key.startswith("$")]
        if "$ref" in node and siblings:
            return (
                f"response_json_schema: a $ref may have no sibling but those that begin with $, found '{siblings[0]}'."
            )
    if _requires_itself(root):
        return "response_json_schema: a recursive reference is supported in properties that are not required only."
    return None


def from_openapi(schema: JsonObject) -> JsonObject:
    """A `responseSchema` as JSON Schema."""
    converted: JsonObject = {}
    for key, value in schema.items():
        match key:
            case "type":
                converted["type"] = str(value).lower()
            case "properties":
                converted["properties"] = {
                    name: from_openapi(as_object(child)) for name, child in as_object(value).items()
                }
            case "items":
                converted["items"] = from_openapi(as_object(value))
            case "anyOf" | "any_of":
                converted["anyOf"] = [from_openapi(as_object(child)) for child in as_list(value)]
            case "minItems" | "maxItems" | "min_items" | "max_items":
                # int64 travels as text in Google's JSON.
                converted[key.replace("_i", "I")] = int(str(value))
            case _ if key not in _OPENAPI_ONLY:
                converted[key] = value
    if schema.get("nullable") is True:
        if "type" in converted:
            converted["type"] = [converted["type"], "null"]
        if "enum" in converted:
            converted["enum"] = [*as_list(converted["enum"]), None]
    return converted


def _nodes(schema: Json) -> Iterator[JsonObject]:
    if not isinstance(schema, dict):
        return
    yield schema
    for key in ("properties", "$defs", "definitions"):
        for child in as_object(schema.get(key)).values():
            yield from _nodes(child)
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for child in as_list(schema.get(key)):
            yield from _nodes(child)
    yield from _nodes(schema.get("items"))


def _requires_itself(root: JsonObject) -> bool:
    """Whether following only what must be there leads back to where one has been."""

    def leads_back(node: JsonObject, path: tuple[str, ...]) -> bool:
        reference = node.get("$ref")
        if isinstance(reference, str):
            if reference in path:
                return True
            return leads_back(_target(reference, root), (*path, reference))
        properties = as_object(node.get("properties"))
        needed = [as_object(properties[str(name)]) for name in as_list(node.get("required")) if str(name) in properties]
        return any(leads_back(child, path) for child in needed)

    return leads_back(root, ("#",))


def _target(reference: str, root: JsonObject) -> JsonObject:
    node: Json = root
    for part in reference.removeprefix("#").split("/")[1:]:
        node = as_object(node).get(part.replace("~1", "/").replace("~0", "~"))
    return as_object(node)
