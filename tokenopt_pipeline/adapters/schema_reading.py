"""JSON Schema as it is read before it is put into a provider's dialect: types, choices, allOf, definitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ANNOTATIONS = ("title", "description")
DEFINITIONS = ("$defs", "definitions")
SILENT = frozenset(
    {"$schema", "$id", "$anchor", "$dynamicAnchor", "$vocabulary", "$comment", *DEFINITIONS}
    | {"examples", "deprecated", "readOnly", "writeOnly", "default"}
)
# Keywords that only say something about values of one type; a schema that names no type is taken to mean that type.
ABOUT = {
    "object": frozenset(
        {"properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties"}
        | {"maxProperties", "dependentRequired", "dependentSchemas", "unevaluatedProperties"}
    ),
    "array": frozenset(
        {"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains"}
        | {"additionalItems", "unevaluatedItems"}
    ),
    "string": frozenset({"pattern", "format", "minLength", "maxLength", "contentEncoding", "contentMediaType"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
}
_TYPES = ("string", "number", "integer", "boolean", "null", "array", "object")


class NotExpressible(Exception):
    """The schema says something that the dialect cannot; the answer has to be asked for in words."""


def types_of(schema: Mapping[str, object]) -> list[str]:
    """The declared types, otherwise the one its keywords are about; empty when nothing tells."""
    declared = schema.get("type")
    if declared is None:
        return [kind for kind, keywords in ABOUT.items() if keywords & set(schema)][:1]
    listed = declared if isinstance(declared, list) else [declared]
    types = [kind for kind in listed if isinstance(kind, str) and kind in _TYPES]
    if not types or len(types) < len(listed):
        raise NotExpressible(f"the type {declared!r}")
    return types


def choices_of(schema: Mapping[str, object], types: list[str]) -> list[Any]:
    """The scalars that an enum or const allows beside its declared types."""
    listed = schema.get("enum", [schema.get("const")])
    found = listed if isinstance(listed, list) else []
    if "const" in schema:
        found = [choice for choice in found if _same(choice, schema["const"])]
    scalars = [choice for choice in found if not isinstance(choice, list | dict)]
    return [choice for choice in scalars if "type" not in schema or any(_is_of(choice, kind) for kind in types)]


def json_type(scalar: object) -> str:
    """The JSON type of a scalar; a number without a fraction is an integer."""
    if scalar is None:
        return "null"
    if isinstance(scalar, bool):
        return "boolean"
    return {int: "integer", float: "number"}.get(type(scalar), "string")


def folded(schema: Mapping[str, object]) -> Mapping[str, object]:
    """The schema with its allOf folded into it: closed one by one, the parts would shut each other out."""
    if "allOf" not in schema:
        return schema
    parts = schema["allOf"]
    whole = {key: value for key, value in schema.items() if key != "allOf"}
    for part in parts if isinstance(parts, list) else [parts]:
        for key, value in folded(as_schema(part)).items():
            whole[key] = _both(key, whole[key], value) if key in whole else value
    return whole


def definition(root: Mapping[str, object], ref: str) -> tuple[str, str, object]:
    """(keyword, name, schema) of a definition of the root. Raises NotExpressible."""
    if not ref.startswith("#"):
        raise NotExpressible(f"a reference to another document, {ref}")
    _, group, name, *deeper = [*ref.split("/"), "", ""]
    name = name.replace("~1", "/").replace("~0", "~")
    definitions = root.get(group)
    if any(deeper) or group not in DEFINITIONS or not isinstance(definitions, Mapping) or name not in definitions:
        raise NotExpressible(f"a reference that leads to no definition, {ref}")
    return group, name, definitions[name]


def as_schema(fragment: object) -> Mapping[str, object]:
    if isinstance(fragment, Mapping):
        return fragment
    raise NotExpressible("a value of any type" if fragment in (None, True) else f"a schema that is {fragment!r}")


def _both(key: str, one: Any, other: Any) -> object:
    if one == other or key in ANNOTATIONS or key in SILENT:
        return one
    if key == "required" and isinstance(one, list) and isinstance(other, list):
        return [*one, *(name for name in other if name not in one)]
    if key == "properties" and _agree(one, other):
        return {**one, **other}
    raise NotExpressible(f"allOf whose parts differ in {key}")


def _same(one: object, other: object) -> bool:
    # To Python, 1 and true are equal.
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _is_of(scalar: object, kind: str) -> bool:
    own = json_type(scalar)
    whole = isinstance(scalar, float) and scalar.is_integer()
    return kind == own or (kind == "number" and own == "integer") or (kind == "integer" and whole)


def _agree(one: object, other: object) -> bool:
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return False
    return all(one[name] == other[name] for name in one.keys() & other.keys())
