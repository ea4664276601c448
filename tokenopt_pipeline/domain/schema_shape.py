"""The shape of a schema: how complex it is and which kinds of field it asks for, as routing rules may look at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tokenopt_pipeline.domain.variants import followed

#: Kinds of field a rule can ask for.
FIELD_KINDS = ("array", "boolean", "date", "enum", "free_text", "number", "object", "union")
#: Deeper than this a schema refers to itself; its shape does not grow any more.
_MOST_LEVELS = 12
_DATE_WORDS = ("date", "deadline", "day", "expiry", "birthday")


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaShape:
    """Counts over a whole answer schema, items of arrays and alternatives included."""

    #: Fields that hold a value: properties without parts of their own, and items of arrays that are no objects.
    fields: int
    #: Levels of objects and arrays below the answer itself: 0 for a flat answer.
    depth: int
    arrays: int
    #: Alternatives beyond the first, of every anyOf, oneOf and type list; `null` beside one type is none.
    alternatives: int
    #: Values of all enums.
    choices: int
    kinds: frozenset[str]

    @property
    def complexity(self) -> int:
        """One number for rules: fields + 3 per level + 2 per array + 2 per further alternative + 1 per ten choices.

        A flat schema of n plain fields has complexity n. The weights are declared, not fitted: what a complexity is worth
        for a task is measured by `tokenopt route fit`, and unfitted it is worth little.
        """
        return self.fields + 3 * self.depth + 2 * self.arrays + 2 * self.alternatives + self.choices // 10


def shape_of(schema: Mapping[str, object]) -> SchemaShape:
    """The shape of a JSON Schema of one block's answer. Same schema, same shape; keyword order does not matter."""
    parts = list(_parts(schema, schema, "", 0))
    return SchemaShape(
        fields=sum(part.is_field for part in parts),
        depth=max((part.depth for part in parts), default=0),
        arrays=sum("array" in part.kinds for part in parts),
        alternatives=sum(part.alternatives for part in parts),
        choices=sum(part.choices for part in parts),
        kinds=frozenset(kind for part in parts for kind in part.kinds),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """One place of a schema."""

    depth: int
    is_field: bool
    kinds: frozenset[str]
    alternatives: int
    choices: int


def _parts(schema: Mapping[str, object], root: Mapping[str, object], name: str, depth: int) -> Iterator[_Part]:
    if depth > _MOST_LEVELS:
        return
    schema = followed(schema, root)
    properties, items, enum = schema.get("properties"), schema.get("items"), schema.get("enum")
    options = [
        o for key in ("anyOf", "oneOf") for o in _mappings(schema.get(key)) if followed(o, root).get("type") != "null"
    ]
    types = _types(schema)
    is_object = isinstance(properties, Mapping)
    # An object's and an array's own parts are told by the parts themselves.
    if name or not is_object:
        yield _Part(
            depth=depth,
            is_field=not is_object and not isinstance(items, Mapping) and not options,
            kinds=frozenset(_kinds(schema, name, types, has_options=len(options) > 1)),
            alternatives=max(len(options) - 1, 0) + max(len(types) - 1, 0),
            choices=len(enum) if isinstance(enum, list) else 0,
        )
    if isinstance(properties, Mapping):
        for child, part in properties.items():
            if isinstance(part, Mapping):
                yield from _parts(part, root, str(child), depth + bool(name))
    if isinstance(items, Mapping):
        yield from _parts(items, root, name, depth + 1)
    for option in options:
        yield from _parts(option, root, name, depth)


def _kinds(schema: Mapping[str, object], name: str, types: list[str], *, has_options: bool) -> Iterator[str]:
    if "enum" in schema or "const" in schema:
        yield "enum"
    elif schema.get("format") in ("date", "date-time") or any(word in name.lower().split("_") for word in _DATE_WORDS):
        yield "date"
    elif "string" in types or (not types and not has_options and "properties" not in schema and "items" not in schema):
        yield "free_text"
    if "number" in types or "integer" in types:
        yield "number"
    yield from (kind for kind in ("array", "boolean", "object") if kind in types)
    if has_options or len(types) > 1:
        yield "union"


def _types(schema: Mapping[str, object]) -> list[str]:
    declared = schema.get("type")
    types = declared if isinstance(declared, list) else [declared] if isinstance(declared, str) else []
    if not types:
        types = [name for name, key in (("object", "properties"), ("array", "items")) if key in schema]
    return [str(t) for t in types if t != "null"]


def _mappings(options: object) -> list[Mapping[str, object]]:
    return [o for o in options if isinstance(o, Mapping)] if isinstance(options, list) else []
