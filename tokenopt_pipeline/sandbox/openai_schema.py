"""Which JSON Schemas OpenAI's strict mode accepts.

Source: https://developers.openai.com/api/docs/guides/structured-outputs, read 2026-11-22. The wording of a property missing from
`required` follows public issues; the rest is modelled on it.
"""

from __future__ import annotations

import json
from functools import lru_cache

from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_list, as_object

MAX_PROPERTIES = 5000
MAX_DEPTH = 10
MAX_NAME_CHARS = 120_000
MAX_ENUM_VALUES = 1000
MAX_LARGE_ENUM_CHARS = 15_000
_LARGE_ENUM = 250

_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"},
)
_PERMITTED = frozenset(
    {
        *("type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf"),
        *("$ref", "$defs", "definitions", "$schema", "$id", "title", "description", "pattern", "format"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems"),
    }
)
_Path = tuple[str, ...]


class StrictSchemaRefused(ValueError):
    """A schema strict mode does not take; the text is the API's message without the schema's name."""


@lru_cache(maxsize=256)
def strict_refusal(schema: str) -> str | None:
    """The message for the first rule `schema` (JSON) breaks; remembered, because every pack of a run carries the same."""
    root: JsonObject = json.loads(schema)
    try:
        _check_root(root)
        load = _Load()
        _check(root, root, (), 0, load)
        for key in ("$defs", "definitions"):
            for name, definition in as_object(root.get(key)).items():
                _check(definition, root, (key, name), 0, load)
        load.check()
    except StrictSchemaRefused as refusal:
        return str(refusal)
    return None


class _Load:
    """What the limits per schema count."""

    def __init__(self) -> None:
        self.properties = 0
        self.name_chars = 0
        self.enum_values = 0

    def check(self) -> None:
        if self.properties > MAX_PROPERTIES:
            raise StrictSchemaRefused(
                f"schema exceeds the maximum of {MAX_PROPERTIES} properties, found {self.properties}."
            )
        if self.name_chars > MAX_NAME_CHARS:
            raise StrictSchemaRefused(f"schema exceeds the maximum total string length of {MAX_NAME_CHARS} characters.")
        if self.enum_values > MAX_ENUM_VALUES:
            raise StrictSchemaRefused(
                f"schema exceeds the maximum of {MAX_ENUM_VALUES} enum values, found {self.enum_values}."
            )


def _check_root(root: JsonObject) -> None:
    if "anyOf" in root:
        raise StrictSchemaRefused("schema must have type 'object' and not have 'anyOf' at the top level.")
    if root.get("type") != "object":
        raise StrictSchemaRefused(
            f"schema must be a JSON Schema of 'type: \"object\"', got 'type: {json.dumps(root.get('type'))}'."
        )


def _check(node: Json, root: JsonObject, path: _Path, depth: int, load: _Load) -> None:
    if not isinstance(node, dict):
        raise StrictSchemaRefused(f"In context={path}, schema must be an object.")
    if "$ref" in node:
        _check_reference(node, root, path)
        return
    for key in node:
        if key not in _PERMITTED:
            raise StrictSchemaRefused(f"In context={path}, '{key}' is not permitted.")
    if not any(key in node for key in ("type", "anyOf", "enum", "const")):
        raise StrictSchemaRefused(f"In context={path}, schema must have a 'type' key.")
    kinds = [node["type"]] if isinstance(node.get("type"), str) else as_list(node.get("type"))
    if "object" in kinds or "properties" in node:
        _check_object(node, root, path, depth + 1, load)
    if "array" in kinds:
        if "items" not in node:
            raise StrictSchemaRefused(f"In context={path}, array schema missing items.")
        _check(node["items"], root, (*path, "items"), depth, load)
    _check_values(node, path, load)
    for index, branch in enumerate(as_list(node.get("anyOf"))):
        _check(branch, root, (*path, "anyOf", str(index)), depth, load)


def _check_object(node: JsonObject, root: JsonObject, path: _Path, depth: int, load: _Load) -> None:
    if depth > MAX_DEPTH:
        raise StrictSchemaRefused(f"schema exceeds the maximum nesting of {MAX_DEPTH} levels.")
    if node.get("additionalProperties") is not False:
        raise StrictSchemaRefused(
            f"In context={path}, 'additionalProperties' is required to be supplied and to be false."
        )
    properties = as_object(node.get("properties"))
    required = node.get("required")
    listed = as_list(required)
    lacking = [name for name in properties if name not in listed]
    if lacking or (properties and not isinstance(required, list)):
        raise StrictSchemaRefused(
            f"In context={path}, 'required' is required to be supplied and to be an array including every key in"
            f" properties. Missing '{lacking[0]}'."
        )
    extra = [name for name in listed if name not in properties]
    if extra:
        raise StrictSchemaRefused(f"In context={path}, 'required' names '{extra[0]}', which is not a property.")
    load.properties += len(properties)
    for name, child in properties.items():
        load.name_chars += len(name)
        _check(child, root, (*path, "properties", name), depth, load)


def _check_values(node: JsonObject, path: _Path, load: _Load) -> None:
    values = [*as_list(node.get("enum")), *([node["const"]] if "const" in node else [])]
    chars = sum(len(value) for value in values if isinstance(value, str))
    load.enum_values += len(values)
    load.name_chars += chars
    if len(values) > _LARGE_ENUM and chars > MAX_LARGE_ENUM_CHARS:
        raise StrictSchemaRefused(
            f"In context={path}, enum of more than {_LARGE_ENUM} values exceeds {MAX_LARGE_ENUM_CHARS} characters."
        )
    text_format = node.get("format")
    if text_format is not None and text_format not in _FORMATS:
        raise StrictSchemaRefused(f"In context={path}, '{text_format}' is not a valid format.")


def _check_reference(node: JsonObject, root: JsonObject, path: _Path) -> None:
    siblings = sorted(key for key in node if key not in ("$ref", "$defs", "definitions"))
    if siblings:
        raise StrictSchemaRefused(f"In context={path}, $ref cannot have keywords {set(siblings[:1])}.")
    reference = node["$ref"]
    if reference == "#":
        return
    parts = str(reference).split("/")
    known = len(parts) == 3 and parts[0] == "#" and parts[2] in as_object(root.get(parts[1]))
    if not known or parts[1] not in ("$defs", "definitions"):
        raise StrictSchemaRefused(
            f"In context={path}, reference can only point to definitions defined at the top level of the schema."
        )
