"""OpenAI's strict dialect of JSON Schema, and the way back: nulls that only the dialect asked for leave the answer.

Source: structured outputs guide, as read in 2026-11. Strict mode requires every property; an optional one becomes nullable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokenopt_pipeline.adapters.schema_dialects import Dialect, Translation, fragments
from tokenopt_pipeline.adapters.schema_reading import (
    DEFINITIONS,
    NotExpressible,
    choices_of,
    definition,
    folded,
    types_of,
)

# Limits of one schema.
MOST_PROPERTIES = 5_000
MOST_LEVELS = 10
MOST_NAME_CHARS = 120_000
MOST_ENUM_VALUES = 1_000
LONG_ENUM_VALUES = 250
MOST_LONG_ENUM_CHARS = 15_000

_STRICT = Dialect(
    constraints=frozenset(
        {"pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
        | {"minItems", "maxItems"}
    ),
    formats=frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}),
    enum_types=frozenset({"string", "number", "integer", "boolean", "null"}),
    mixes_enum_types=True,
    requires_all=True,
)
_MOST_HOPS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class StrictSchema:
    """A schema that strict mode accepts."""

    schema: dict[str, Any]
    #: Whether answers may hold a null that the original schema knows nothing of.
    adds_null: bool


def to_dialect(schema: Mapping[str, object]) -> StrictSchema:
    """The schema as strict mode accepts it. Raises NotExpressible."""
    translation = Translation(schema, _STRICT)
    if translation.schema.get("type") != "object":
        raise NotExpressible("a root that is no object")
    _check_limits(translation.schema)
    return StrictSchema(schema=translation.schema, adds_null=translation.adds_null)


def _check_limits(schema: Mapping[str, Any]) -> None:
    properties = levels = name_chars = enum_values = 0
    for level, part in fragments(schema):
        properties += len(part.get("properties", ()))
        levels = max(levels, level + (part.get("type") in ("object", "array")))
        choices = part.get("enum", ())
        choice_chars = sum(len(str(choice)) for choice in choices)
        enum_values += len(choices)
        names = [*part.get("properties", ()), *(name for group in DEFINITIONS for name in part.get(group, ()))]
        name_chars += choice_chars + sum(map(len, names))
        if len(choices) > LONG_ENUM_VALUES and choice_chars > MOST_LONG_ENUM_CHARS:
            raise NotExpressible(f"an enum of {choice_chars} characters, the limit is {MOST_LONG_ENUM_CHARS}")
    for found, most, what in (
        (properties, MOST_PROPERTIES, "properties"),
        (levels, MOST_LEVELS, "levels of nesting"),
        (name_chars, MOST_NAME_CHARS, "characters of names and choices"),
        (enum_values, MOST_ENUM_VALUES, "enum values"),
    ):
        if found > most:
            raise NotExpressible(f"{found} {what}, the limit is {most}")


def without_added_nulls(text: str, schema: Mapping[str, object]) -> str:
    """The answer without members that are null because the dialect requires them; `schema` is the original.

    Of a cut answer, the whole entries are treated. A text with nothing to remove, or that is no answer, stays as it is.
    """
    for end, closing in ((len(text), ""), (_end_of_whole_entries(text), "]}")):
        try:
            answer = json.loads(text[:end] + closing, object_pairs_hook=_without_repeats)
            cleaned = _cleaned(schema, answer, schema)
        except (ValueError, RecursionError):
            continue
        return text if cleaned == answer else json.dumps(cleaned, ensure_ascii=False).removesuffix(closing)
    return text


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        # Whoever decodes the answer has to see that a member stands twice.
        raise ValueError("a member stands twice in one object")
    return members


def _end_of_whole_entries(text: str) -> int:
    """Where the last whole entry of the array in the outermost object ends."""
    depth = end = 0
    in_string = escaped = False
    for position, char in enumerate(text):
        if in_string:
            in_string = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            in_string = True
        elif char in "{[":
            depth += 1
        elif char in "}]":
            depth -= 1
            end = position + 1 if depth == 2 else end
    return end


def _cleaned(part: object, value: Any, root: Mapping[str, object]) -> Any:
    schema = _resolved(part, root)
    parts = schema.get("anyOf", schema.get("oneOf"))
    if "properties" not in schema and "items" not in schema and isinstance(parts, list):
        meant = next((alternative for alternative in parts if _is_meant(alternative, value, root)), None)
        return value if meant is None else _cleaned(meant, value, root)
    if isinstance(value, list):
        items = schema.get("items", {})
        return [_cleaned(items, child, root) for child in value]
    properties = schema.get("properties")
    if not isinstance(value, dict) or not isinstance(properties, Mapping):
        return value
    required = schema.get("required", [])
    return {
        name: _cleaned(properties.get(name, {}), child, root)
        for name, child in value.items()
        if child is not None
        or name not in properties
        or (isinstance(required, list) and name in required)
        or _allows_null(properties[name], root)
    }


def _is_meant(alternative: object, value: Any, root: Mapping[str, object]) -> bool:
    """Whether the value has the shape of this alternative of a union."""
    schema = _resolved(alternative, root)
    properties = schema.get("properties")
    if isinstance(value, list):
        return "items" in schema or schema.get("type") == "array"
    if not isinstance(value, dict) or not isinstance(properties, Mapping):
        return False
    # In strict mode an object has all its properties and no others.
    return set(value) == set(properties) and all(
        value[name] in choices_of(fixed, [])
        for name, fixed in ((name, _resolved(each, root)) for name, each in properties.items())
        if ("const" in fixed or "enum" in fixed) and value[name] is not None
    )


def _allows_null(part: object, root: Mapping[str, object]) -> bool:
    schema = _resolved(part, root)
    if "enum" in schema or "const" in schema:
        return None in choices_of(schema, types_of(schema) if "type" in schema else [])
    if "type" in schema:
        return "null" in types_of(schema)
    parts = schema.get("anyOf", schema.get("oneOf"))
    if isinstance(parts, list):
        return any(_allows_null(alternative, root) for alternative in parts)
    # Without a type, keywords about one type say nothing about null.
    return True


def _resolved(part: object, root: Mapping[str, object]) -> Mapping[str, object]:
    """The schema behind references, its allOf folded in; empty when there is none."""
    schema = part if isinstance(part, Mapping) else {}
    try:
        for _ in range(_MOST_HOPS):
            schema = folded(schema)
            ref = schema.get("$ref")
            if not isinstance(ref, str):
                return schema
            target = root if ref == "#" else definition(root, ref)[2]
            schema = target if isinstance(target, Mapping) else {}
    except NotExpressible:
        return {}
    return {}
