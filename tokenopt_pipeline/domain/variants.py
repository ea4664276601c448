"""Variants: which alternative of a JSON Schema a value is an instance of, as far as its constants and members tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

_POINTERS = ("#/$defs/", "#/definitions/")


def variant_for(schema: Mapping[str, object], value: object, root: Mapping[str, object]) -> Mapping[str, object]:
    """The part of a schema that speaks about the value: references followed, the fitting alternative chosen.

    Of several alternatives the one whose constants the value has; else the one that has most of the value's members; the
    schema itself when it has no alternatives. A reference that leads nowhere, or in a circle, gives an empty schema.
    """
    for _ in range(20):
        if "$ref" in schema:
            schema = followed(schema, root)
            continue
        options = next((schema[key] for key in ("oneOf", "anyOf") if isinstance(schema.get(key), list)), None)
        if options is None:
            return schema
        fitting = [o for o in cast("list[object]", options) if isinstance(o, Mapping) and _may_be(o, value)]
        if not fitting:
            return schema
        schema = max(fitting, key=lambda option: _likeness(option, value))
    return {}


def alternatives_of(schema: Mapping[str, object], root: Mapping[str, object]) -> list[Mapping[str, object]]:
    """The alternatives of an anyOf or oneOf that constants tell apart, in order; none when there are no such."""
    schema = followed(schema, root)
    options = next((schema[key] for key in ("oneOf", "anyOf") if isinstance(schema.get(key), list)), [])
    found = [followed(o, root) for o in cast("list[object]", options) if isinstance(o, Mapping)]
    return [option for option in found if constants_of(option)]


def constants_of(schema: Mapping[str, object]) -> dict[str, object]:
    """Property -> its one allowed value, of the properties that have one."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return {}
    return {name: part["const"] for name, part in properties.items() if isinstance(part, Mapping) and "const" in part}


def followed(schema: Mapping[str, object], root: Mapping[str, object]) -> Mapping[str, object]:
    """What a reference into the root's own definitions leads to; empty when it leads nowhere, the schema when it is none."""
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    for pointer in _POINTERS:
        definitions = root.get(pointer[2:-1])
        if reference.startswith(pointer) and isinstance(definitions, Mapping):
            found = definitions.get(reference.removeprefix(pointer))
            return found if isinstance(found, Mapping) else {}
    return {}


def _may_be(option: Mapping[str, object], value: object) -> bool:
    """Whether nothing visible speaks against the value being this alternative."""
    kinds = option.get("type")
    if value is None and kinds is not None:
        return kinds == "null" or (isinstance(kinds, list) and "null" in kinds)
    if kinds == "null":
        return False
    if isinstance(value, Mapping):
        return all(value.get(name) == constant for name, constant in constants_of(option).items())
    return True


def _likeness(option: Mapping[str, object], value: object) -> int:
    """How many members of the value the alternative knows, constants counting double."""
    properties = option.get("properties")
    if not isinstance(value, Mapping) or not isinstance(properties, Mapping):
        kinds = option.get("type")
        wanted = {"array": list, "object": dict, "string": str, "boolean": bool, "number": float, "integer": int}
        return int(isinstance(kinds, str) and type(value) is wanted.get(kinds))
    return sum(name in properties for name in value) + len(constants_of(option))
