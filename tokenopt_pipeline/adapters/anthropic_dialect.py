"""Anthropic's structured-output dialect of JSON Schema: what it refuses moves into descriptions.

Source: structured outputs guide, read 2026-08. The answer is always validated against the original schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tokenopt_pipeline.domain.fingerprints import canonical_json

# Limits of one request, over all objects of the schema.
MOST_OPTIONAL_PROPERTIES = 24
MOST_UNIONS = 16

_KEPT = frozenset({"type", "enum", "const", "default", "description", "$ref", "required", "title"})
_SILENT = frozenset({"$schema", "$id", "$comment", "examples", "deprecated", "readOnly", "writeOnly"})
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_HARD_PATTERN = re.compile(r"\(\?|\\[bB1-9]|\{\d{4,}")


class NotExpressible(Exception):
    """The schema says something that the dialect cannot, such as recursion; another output method is needed."""


def to_dialect(schema: Mapping[str, object]) -> dict[str, Any]:
    """The schema as structured outputs accept it. Raises NotExpressible."""
    _refuse_recursion(schema)
    translated = _translate(schema)
    optional, unions = _count(translated)
    if optional > MOST_OPTIONAL_PROPERTIES:
        raise NotExpressible(f"{optional} optional properties, the limit is {MOST_OPTIONAL_PROPERTIES}")
    if unions > MOST_UNIONS:
        raise NotExpressible(f"{unions} unions, the limit is {MOST_UNIONS}")
    return translated


def _translate(schema: Mapping[str, object]) -> dict[str, Any]:
    translated: dict[str, Any] = {}
    moved: list[str] = []
    for key, value in schema.items():
        if key in _SILENT:
            continue
        if key in _KEPT:
            translated[key] = value
        elif key in ("properties", "$defs", "definitions") and isinstance(value, Mapping):
            translated[key] = {name: _translate(_as_mapping(fragment)) for name, fragment in value.items()}
        elif key == "items" and isinstance(value, Mapping):
            translated[key] = _translate(value)
        elif key in ("anyOf", "oneOf", "allOf") and isinstance(value, list):
            translated["anyOf" if key == "oneOf" else key] = [_translate(_as_mapping(part)) for part in value]
        elif key == "additionalProperties":
            if isinstance(value, Mapping):
                raise NotExpressible("an object with arbitrary property names")
        elif (
            (key == "minItems" and value in (0, 1))
            or (key == "format" and value in _FORMATS)
            or (key == "pattern" and not _HARD_PATTERN.search(str(value)))
        ):
            translated[key] = value
        else:
            moved.append(f"{key}: {canonical_json(value)}")
    if "properties" in translated or translated.get("type") == "object":
        translated["additionalProperties"] = False
    if moved:
        said = str(translated.get("description", ""))
        translated["description"] = f"{said} ({'; '.join(moved)})".strip()
    return translated


def _as_mapping(fragment: object) -> Mapping[str, object]:
    if isinstance(fragment, Mapping):
        return fragment
    raise NotExpressible(f"a schema that is {fragment!r}")


def _count(schema: object) -> tuple[int, int]:
    """(optional properties, union-typed fragments) of a translated schema, at any depth."""
    optional = unions = 0
    if isinstance(schema, Mapping):
        properties = schema.get("properties")
        if isinstance(properties, Mapping):
            optional += len(set(properties) - set(schema.get("required", ())))
        if "anyOf" in schema or isinstance(schema.get("type"), list):
            unions += 1
    children = schema.values() if isinstance(schema, Mapping) else schema if isinstance(schema, list) else ()
    for child in children:
        child_optional, child_unions = _count(child)
        optional, unions = optional + child_optional, unions + child_unions
    return optional, unions


def _refuse_recursion(schema: Mapping[str, object]) -> None:
    """Raises NotExpressible when following internal references comes back to where it was, or leaves the document."""

    def visit(node: object, open_refs: tuple[str, ...]) -> None:
        if isinstance(node, list):
            for child in node:
                visit(child, open_refs)
        if not isinstance(node, Mapping):
            return
        ref = node.get("$ref")
        if isinstance(ref, str):
            if ref in open_refs:
                raise NotExpressible(f"recursion through {ref}")
            visit(_resolve(schema, ref), (*open_refs, ref))
        for key, child in node.items():
            # Definitions are visited where they are used.
            if key not in ("$defs", "definitions"):
                visit(child, open_refs)

    visit(schema, ())


def _resolve(root: Mapping[str, object], ref: str) -> object:
    if ref == "#":
        raise NotExpressible("recursion through #")
    if not ref.startswith("#/"):
        raise NotExpressible(f"a reference to another document, {ref}")
    node: object = root
    for step in ref[2:].split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(node, Mapping) or name not in node:
            raise NotExpressible(f"a reference that leads nowhere, {ref}")
        node = node[name]
    return node
