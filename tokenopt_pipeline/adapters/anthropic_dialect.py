"""Anthropic's structured-output dialect of JSON Schema: what it refuses moves into descriptions.

Source: structured outputs guide, read 2026-08, and the SDK's own `transform_schema` (2.12).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tokenopt_pipeline.adapters.schema_dialects import Dialect, Translation, fragments
from tokenopt_pipeline.adapters.schema_reading import ANNOTATIONS, NotExpressible

__all__ = ["MOST_OPTIONAL_PROPERTIES", "MOST_UNIONS", "NotExpressible", "to_dialect"]

# Limits of one request, over all objects of the schema.
MOST_OPTIONAL_PROPERTIES = 24
MOST_UNIONS = 16

_GRAMMAR = Dialect(
    constraints=frozenset({"pattern", "format", "minItems"}),
    formats=frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}),
    enum_types=frozenset({"string", "number", "integer", "boolean", "null"}),
    mixes_enum_types=True,
    requires_all=False,
    types_choices=False,
    most_min_items=1,
    annotations=(*ANNOTATIONS, "default"),
)


def to_dialect(schema: Mapping[str, object]) -> dict[str, Any]:
    """The schema as structured outputs accept it. Raises NotExpressible."""
    translation = Translation(schema, _GRAMMAR)
    _refuse_recursion({start: [ref.target for ref in refs] for start, refs in translation.references.items()})
    optional, unions = grammar_load(translation.schema)
    if optional > MOST_OPTIONAL_PROPERTIES:
        raise NotExpressible(f"{optional} optional properties, the limit is {MOST_OPTIONAL_PROPERTIES}")
    if unions > MOST_UNIONS:
        raise NotExpressible(f"{unions} unions, the limit is {MOST_UNIONS}")
    return translation.schema


def _refuse_recursion(refers: Mapping[str, Iterable[str]]) -> None:
    done: set[str] = set()

    def visit(ref: str, path: tuple[str, ...]) -> None:
        if ref in path:
            raise NotExpressible(f"recursion through {ref}")
        if ref not in done:
            for target in refers[ref]:
                visit(target, (*path, ref))
            done.add(ref)

    visit("#", ())


def grammar_load(schema: Mapping[str, Any]) -> tuple[int, int]:
    """(optional properties, unions) of a translated schema, at any depth. The limits are for all of a request's schemas."""
    optional = unions = 0
    for _, part in fragments(schema):
        optional += len(set(part.get("properties", ())) - set(part.get("required", ())))
        unions += "anyOf" in part or isinstance(part.get("type"), list)
    return optional, unions
