"""JSON Schema put into a provider's dialect: what the dialect lacks moves into descriptions, every object is closed.

The answer is always validated against the original schema, so a translation may allow less or more than the original, but
never make it unanswerable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tokenopt_pipeline.adapters.schema_reading import (
    ABOUT,
    ANNOTATIONS,
    DEFINITIONS,
    SILENT,
    NotExpressible,
    as_schema,
    choices_of,
    definition,
    folded,
    json_type,
    types_of,
)
from tokenopt_pipeline.domain.fingerprints import canonical_json

_UNIONS = ("anyOf", "oneOf")
# Groups with a question mark, property classes, boundaries, back references, many repeats.
_HARD_PATTERN = re.compile(r"\(\?|\\[bBpP1-9k]|\{\d*,?\d{4,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What a provider's grammar takes beside objects, arrays, unions, references, titles and descriptions."""

    #: Constraints that are kept as they are.
    constraints: frozenset[str]
    #: Values of `format` that are kept.
    formats: frozenset[str]
    #: JSON types whose values may stand in an enum.
    enum_types: frozenset[str]
    #: Whether values of several types may stand in one enum.
    mixes_enum_types: bool
    #: Whether every property has to be required, so that an optional one has to be nullable instead.
    requires_all: bool
    #: Whether the types of choices stand beside them; one that takes every scalar may refuse choices beside a list of types.
    types_choices: bool = True
    #: Largest `minItems`; None: any.
    most_min_items: int | None = None
    #: What a schema says about itself without binding its values.
    annotations: tuple[str, ...] = ANNOTATIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A `$ref` and where it stands."""

    target: str
    #: Whether an optional property is on the way to it.
    is_optional: bool


class Translation:
    """One schema in one dialect. Raises NotExpressible when it is made."""

    def __init__(self, root: Mapping[str, object], dialect: Dialect) -> None:
        self._dialect = dialect
        #: Where a definition or the root (`#`) leads: its references, in order.
        self.references: dict[str, list[Reference]] = {"#": []}
        #: Whether some optional property became nullable.
        self.adds_null = False
        self._current = self.references["#"]
        try:
            self.schema = self._fragment(root, is_optional=False)
            self._add_definitions(root)
        except RecursionError as problem:
            raise NotExpressible("it is nested too deeply") from problem

    def _add_definitions(self, root: Mapping[str, object]) -> None:
        """Only those that something refers to."""
        waiting = [reference.target for reference in self.references["#"]]
        while waiting:
            target = waiting.pop()
            if target in self.references:
                continue
            group, name, fragment = definition(root, target)
            self._current = self.references[target] = []
            self.schema.setdefault(group, {})[name] = self._fragment(fragment, is_optional=False)
            waiting += [reference.target for reference in self._current]

    def _fragment(self, part: object, *, is_optional: bool) -> dict[str, Any]:
        schema = folded(as_schema(part))
        if any(key in schema for key in ("$dynamicRef", "$recursiveRef")):
            raise NotExpressible("a dynamic reference")
        if "$ref" in schema:
            return self._reference(schema, is_optional=is_optional)
        annotations = {key: schema[key] for key in self._dialect.annotations if key in schema}
        types = types_of(schema)
        if "enum" in schema or "const" in schema:
            return self._with_moved({**annotations, **self._choices(schema, types)}, schema, {"enum", "const", "type"})
        union = next((key for key in _UNIONS if key in schema), None)
        if union is not None:
            parts = _alternatives(schema, union, types)
            if parts:
                any_of = [self._fragment(alternative, is_optional=is_optional) for alternative in parts]
                return self._with_moved({**annotations, "anyOf": any_of}, schema, {union, "type"})
        if not types:
            raise NotExpressible("a value of any type")
        if len(types) > 1:
            return self._of_several_types(schema, types, annotations, is_optional=is_optional)
        typed, said = self._of_type(types[0], schema, is_optional=is_optional)
        unsaid = {key for key in typed if key in ("minItems",) and typed[key] != schema[key]}
        return self._with_moved({"type": types[0], **annotations, **typed}, schema, {"type", *typed, *said} - unsaid)

    def _reference(self, schema: Mapping[str, object], *, is_optional: bool) -> dict[str, Any]:
        others = set(schema) - {"$ref", "type", *ANNOTATIONS, *SILENT}
        if others & (ABOUT["object"] | {"items", "enum", "const", *_UNIONS}):
            raise NotExpressible("a reference beside other structure")
        target = schema["$ref"]
        if not isinstance(target, str):
            raise NotExpressible(f"a reference that is {target!r}")
        self._current.append(Reference(target=target, is_optional=is_optional))
        # No provider takes anything beside a reference.
        return {"$ref": target}

    def _choices(self, schema: Mapping[str, object], types: list[str]) -> dict[str, Any]:
        """The scalars that the enum or const leaves possible, with their types."""
        by_type: dict[str, list[Any]] = {}
        choices = choices_of(schema, types)
        if choices and not self._dialect.types_choices:
            return {"const": choices[0]} if "const" in schema else {"enum": choices}
        for choice in choices:
            by_type.setdefault(json_type(choice), []).append(choice)
        if not by_type:
            raise NotExpressible("an enum without a string, number, boolean or null that its type allows")
        if self._dialect.mixes_enum_types and set(by_type) <= self._dialect.enum_types:
            kinds = list(by_type)
            return {
                "type": kinds if len(kinds) > 1 else kinds[0],
                "enum": [c for some in by_type.values() for c in some],
            }
        alternatives: list[dict[str, Any]] = [
            {"type": kind, "enum": choices} if kind in self._dialect.enum_types else {"type": kind}
            for kind, choices in by_type.items()
        ]
        return alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}

    def _of_several_types(
        self, schema: Mapping[str, object], types: list[str], annotations: dict[str, Any], *, is_optional: bool
    ) -> dict[str, Any]:
        """A list of types while nothing is said about any of them, otherwise one alternative each."""
        about = frozenset[str]().union(*ABOUT.values())
        plain = not about & set(schema) and not {"object", "array"} & set(types)
        if plain and len(types) == 2 and "null" in types:
            return self._with_moved({"type": types, **annotations}, schema, {"type"})
        any_of = []
        for kind in types:
            own = ABOUT.get("number" if kind == "integer" else kind, frozenset())
            narrowed = {"type": kind, **{key: value for key, value in schema.items() if key in own}}
            any_of.append(self._fragment(narrowed, is_optional=is_optional))
        return self._with_moved({**annotations, "anyOf": any_of}, schema, {"type", *about})

    def _of_type(
        self, kind: str, schema: Mapping[str, object], *, is_optional: bool
    ) -> tuple[dict[str, Any], frozenset[str]]:
        """(keywords of the translation, keywords of the original that they say)."""
        about = ABOUT.get("number" if kind == "integer" else kind, frozenset()) | {"format"}
        kept: dict[str, Any] = {key: schema[key] for key in schema if key in about and self._takes(key, schema[key])}
        if self._dialect.most_min_items is not None and "minItems" in kept:
            kept["minItems"] = min(int(kept["minItems"]), self._dialect.most_min_items)
        if kind == "object":
            return self._of_object(schema, is_optional=is_optional), frozenset({"required", "additionalProperties"})
        if kind == "array":
            return {**self._of_array(schema, is_optional=is_optional), **kept}, frozenset({"items"})
        return kept, frozenset()

    def _takes(self, keyword: str, value: object) -> bool:
        if keyword not in self._dialect.constraints:
            return False
        if keyword == "format":
            return isinstance(value, str) and value in self._dialect.formats
        if keyword == "pattern":
            return isinstance(value, str) and not _HARD_PATTERN.search(value)
        return isinstance(value, int | float) and not isinstance(value, bool)

    def _of_object(self, schema: Mapping[str, object], *, is_optional: bool) -> dict[str, Any]:
        properties = schema.get("properties", {})
        more = schema.get("additionalProperties", True)
        if not isinstance(properties, Mapping) or isinstance(more, Mapping) or (not properties and more is not False):
            raise NotExpressible("an object with arbitrary property names")
        required = schema.get("required", [])
        if not isinstance(required, list) or not all(name in properties for name in required if isinstance(name, str)):
            raise NotExpressible("a required property that is not among the properties")
        translated: dict[str, Any] = {}
        for name, part in properties.items():
            absent = name not in required
            translated[name] = self._fragment(part, is_optional=is_optional or absent)
            if absent and self._dialect.requires_all:
                self.adds_null = True
                translated[name] = _nullable(translated[name])
        listed = {"required": required} if "required" in schema else {}
        if self._dialect.requires_all:
            listed = {"required": list(properties)}
        return {"properties": translated, **listed, "additionalProperties": False}

    def _of_array(self, schema: Mapping[str, object], *, is_optional: bool) -> dict[str, Any]:
        first = schema.get("prefixItems")
        if "prefixItems" in self._dialect.constraints and isinstance(first, list) and first:
            prefix = {"prefixItems": [self._fragment(part, is_optional=is_optional) for part in first]}
            return prefix if not schema.get("items") else {**prefix, **self._items(schema, is_optional=is_optional)}
        return self._items(schema, is_optional=is_optional)

    def _items(self, schema: Mapping[str, object], *, is_optional: bool) -> dict[str, Any]:
        return {"items": self._fragment(schema.get("items"), is_optional=is_optional)}

    def _with_moved(
        self, translated: dict[str, Any], schema: Mapping[str, object], said: set[str] | frozenset[str]
    ) -> dict[str, Any]:
        """The translation with everything that it does not say already told in its description."""
        silent = {*said, *self._dialect.annotations, *SILENT}
        moved = [f"{key}: {canonical_json(value)}" for key, value in schema.items() if key not in silent]
        if moved:
            translated["description"] = f"{translated.get('description', '')} ({'; '.join(moved)})".strip()
        return translated


def fragments(schema: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(levels of objects and arrays above it, schema) for every schema in a translated one, definitions included."""
    waiting: list[tuple[int, Mapping[str, Any]]] = [(0, schema)]
    while waiting:
        level, part = waiting.pop()
        yield level, part
        inner = level + (part.get("type") in ("object", "array"))
        children = [*part.get("properties", {}).values(), *part.get("prefixItems", ())]
        children += [part["items"]] if "items" in part else []
        waiting += [(inner, child) for child in children]
        waiting += [(level, alternative) for alternative in part.get("anyOf", ())]
        waiting += [(0, child) for group in DEFINITIONS for child in part.get(group, {}).values()]


def _alternatives(schema: Mapping[str, object], key: str, types: list[str]) -> list[Mapping[str, object]]:
    """The parts of a union; none when they only narrow what the schema says by itself."""
    parts = schema[key]
    if not isinstance(parts, list) or not parts:
        raise NotExpressible(f"{key} without alternatives")
    alternatives = [as_schema(part) for part in parts]
    if types and ("properties" in schema or not all(_stands_alone(part) for part in alternatives)):
        if any("properties" in part for part in alternatives):
            raise NotExpressible(f"{key} that adds properties to those beside it")
        return []
    return alternatives


def _stands_alone(schema: Mapping[str, object]) -> bool:
    return "properties" in schema or any(key in schema for key in ("type", "enum", "const", "$ref", "allOf", *_UNIONS))


def _nullable(fragment: dict[str, Any]) -> dict[str, Any]:
    """The translated fragment, null allowed."""
    kind, choices = fragment.get("type"), fragment.get("enum")
    kinds = kind if isinstance(kind, list) else [kind]
    if "null" in kinds:
        return fragment
    if isinstance(choices, list):
        return {**fragment, "type": [*kinds, "null"], "enum": [*choices, None]}
    if any(alternative.get("type") == "null" for alternative in fragment.get("anyOf", ())):
        return fragment
    if isinstance(kind, str) and set(fragment) <= {"type", *ANNOTATIONS} and kind not in ("object", "array"):
        return {**fragment, "type": [kind, "null"]}
    if "anyOf" in fragment:
        return {**fragment, "anyOf": [*fragment["anyOf"], {"type": "null"}]}
    return {"anyOf": [fragment, {"type": "null"}]}
