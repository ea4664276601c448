"""Which JSON Schemas Anthropic's grammar compiler accepts, for `output_config.format` and strict tools.

Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs, read 2026-11-22. The wording of messages
follows public issues where one quotes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_list, as_object

MAX_STRICT_TOOLS = 20
MAX_OPTIONAL_PARAMETERS = 24
MAX_UNION_PARAMETERS = 16

_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"},
)
_UNSUPPORTED = {
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength"),
    "array": ("maxItems", "uniqueItems", "prefixItems", "contains", "minContains", "maxContains", "unevaluatedItems"),
    "object": (
        "minProperties",
        "maxProperties",
        "patternProperties",
        "propertyNames",
        "dependentRequired",
        "dependentSchemas",
        "unevaluatedProperties",
    ),
}
_UNSUPPORTED_ANYWHERE = ("oneOf", "not", "if", "then", "else", "$dynamicRef", "$recursiveRef")
# Lookaround, backreferences and word boundaries.
_UNSUPPORTED_PATTERN = re.compile(r"\(\?[=!<]|\\[1-9]|\\k<|\\b|\\B")
_SCALARS = (str, int, float, bool, type(None))


class SchemaRefused(ValueError):
    """A schema the grammar compiler does not take; the text is the API's message without its location."""


@dataclass(slots=True)
class GrammarLoad:
    """What the limits per request count, summed over every grammar of the request."""

    optional_parameters: int = 0
    union_parameters: int = 0

    def add(self, schema: JsonObject) -> None:
        """Count `schema`, refusing what is unsupported. Raises SchemaRefused."""
        if _is_recursive(schema):
            raise SchemaRefused("Recursive schemas are not supported")
        for node in _nodes(schema):
            _check(node, schema)
            properties = as_object(node.get("properties"))
            required = set(map(str, as_list(node.get("required"))))
            self.optional_parameters += sum(name not in required for name in properties)
            self.union_parameters += sum(_is_union(as_object(child)) for child in properties.values())

    def check_limits(self) -> None:
        """Raises SchemaRefused."""
        if self.optional_parameters > MAX_OPTIONAL_PARAMETERS:
            raise SchemaRefused(
                f"Schemas contains too many optional parameters ({self.optional_parameters}), which would make grammar"
                " compilation inefficient. Reduce the number of optional parameters in your tool schemas"
                f" (limit: {MAX_OPTIONAL_PARAMETERS})."
            )
        if self.union_parameters > MAX_UNION_PARAMETERS:
            raise SchemaRefused(
                f"Schemas contains too many parameters with union types ({self.union_parameters} parameters with type"
                " arrays or anyOf) which would cause exponential compilation cost. Reduce the number of parameters with"
                f" union types (limit: {MAX_UNION_PARAMETERS})."
            )


def _nodes(schema: Json) -> Iterator[JsonObject]:
    """Every schema inside `schema`, itself first; definitions are counted once however often they are referred to."""
    if not isinstance(schema, dict):
        return
    yield schema
    for key in ("properties", "$defs", "definitions"):
        for child in as_object(schema.get(key)).values():
            yield from _nodes(child)
    for key in ("anyOf", "allOf"):
        for child in as_list(schema.get(key)):
            yield from _nodes(child)
    yield from _nodes(schema.get("items"))


def _check(node: JsonObject, root: JsonObject) -> None:
    found = [key for key in _UNSUPPORTED_ANYWHERE if key in node]
    if found:
        raise SchemaRefused(f"Schema type '{found[0]}' is not supported")
    _check_reference(node, root)
    for kind in _types(node):
        _check_typed(node, kind)
    if any(not isinstance(choice, _SCALARS) for choice in as_list(node.get("enum"))):
        raise SchemaRefused("Enum values must be strings, numbers, booleans or null")
    if any("$ref" in as_object(branch) for branch in as_list(node.get("allOf"))):
        raise SchemaRefused("'$ref' inside 'allOf' is not supported")


def _check_reference(node: JsonObject, root: JsonObject) -> None:
    reference = node.get("$ref")
    if reference is None:
        return
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise SchemaRefused(f"External references are not supported: {reference}")
    if _target(reference, root) is None:
        raise SchemaRefused(f"Reference does not resolve: {reference}")


def _check_typed(node: JsonObject, kind: str) -> None:
    found = sorted(key for key in _UNSUPPORTED.get(kind, ()) if key in node)
    if len(found) == 1:
        raise SchemaRefused(f"For '{kind}' type, property '{found[0]}' is not supported")
    if found:
        raise SchemaRefused(f"For '{kind}' type, properties {', '.join(found)} are not supported")
    if kind == "object" and node.get("additionalProperties") is not False:
        raise SchemaRefused("For 'object' type, 'additionalProperties' must be explicitly set to false")
    if kind == "array" and node.get("minItems", 0) not in (0, 1):
        raise SchemaRefused("For 'array' type, 'minItems' values other than 0 or 1 are not supported")
    if kind == "string":
        _check_string(node)


def _check_string(node: JsonObject) -> None:
    text_format, pattern = node.get("format"), node.get("pattern")
    if text_format is not None and text_format not in _FORMATS:
        raise SchemaRefused(f"For 'string' type, format '{text_format}' is not supported")
    if isinstance(pattern, str) and _UNSUPPORTED_PATTERN.search(pattern):
        raise SchemaRefused(f"For 'string' type, pattern '{pattern}' uses unsupported regex features")


def _types(node: JsonObject) -> list[str]:
    """Declared types; without any, those its keywords imply, so that leaving `type` out hides nothing."""
    declared = node.get("type")
    if isinstance(declared, str):
        return [declared]
    if isinstance(declared, list):
        return [str(kind) for kind in declared]
    implied = [kind for kind, keywords in _UNSUPPORTED.items() if any(key in node for key in keywords)]
    return [*implied, "object"] if "properties" in node else implied


def _is_union(node: JsonObject) -> bool:
    return "anyOf" in node or isinstance(node.get("type"), list)


def _target(reference: str, root: JsonObject) -> Json:
    node: Json = root
    for part in reference.removeprefix("#").split("/")[1:]:
        node = as_object(node).get(part.replace("~1", "/").replace("~0", "~"))
    return node


def _is_recursive(root: JsonObject) -> bool:
    """Whether some reference leads back to itself."""
    edges: dict[str, set[str]] = {}

    def references(node: Json) -> set[str]:
        return {str(child["$ref"]) for child in _nodes(node) if "$ref" in child}

    # "#" reaches what is outside the definitions; following it covers schemas that refer to their own root.
    outside = {key: value for key, value in root.items() if key not in ("$defs", "definitions")}
    edges["#"] = references(outside)
    waiting = list(edges["#"])
    while waiting:
        name = waiting.pop()
        if name not in edges:
            edges[name] = references(_target(name, root))
            waiting.extend(edges[name])
    done: set[str] = set()
    return any(_reaches_itself(start, edges, done, path=()) for start in edges)


def _reaches_itself(name: str, edges: dict[str, set[str]], done: set[str], path: tuple[str, ...]) -> bool:
    if name in path:
        return True
    if name in done:
        return False
    if any(_reaches_itself(child, edges, done, (*path, name)) for child in edges.get(name, ())):
        return True
    done.add(name)
    return False
