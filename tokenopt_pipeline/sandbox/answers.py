"""An answer that fits a schema, made from one block's text and nothing else.

The same block gets the same answer alone, packed, first or last: every choice hashes the field's path and the text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache

import jsonschema_rs

from tokenopt_pipeline.sandbox.choice import Choice
from tokenopt_pipeline.sandbox.constraints import constraints_of, count_at
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_list, as_object, compact
from tokenopt_pipeline.sandbox.prose import compose_string
from tokenopt_pipeline.sandbox.quantities import compose_integer, compose_number

# Of four nullable fields one is null, of four optional ones one is left out: both sides of a contract get used.
_ABSENT_ONE_IN = 4
_MOST_ENTRIES = 2
_MOST_ATTEMPTS = 8
_DEEPEST_OPTIONAL = 6
_DEEPEST = 24
_TYPE_OF_KEYWORD = {
    "properties": "object",
    "additionalProperties": "object",
    "items": "array",
    "prefixItems": "array",
    "minItems": "array",
    "minimum": "number",
    "maximum": "number",
    "multipleOf": "number",
}


def answerer_for(schema: JsonObject, original: JsonObject | None, *, without: str | None = None) -> Answerer:
    """The answerer for `schema`; `original` is the schema it was reduced from, `without` a property not to answer."""
    return _answerer(compact(schema), None if original is None else compact(original), without)


@lru_cache(maxsize=128)
def _answerer(schema: str, original: str | None, without: str | None) -> Answerer:
    return Answerer(json.loads(schema), None if original is None else json.loads(original), without=without)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spot:
    """One place of the answer being made: what the output schema says there and what the original says."""

    node: JsonObject
    original: JsonObject | None
    choice: Choice
    depth: int


class Answerer:
    """Makes answers for one pair of schemas."""

    def __init__(self, schema: JsonObject, original: JsonObject | None, *, without: str | None = None) -> None:
        self._schema = schema
        self._original = original
        self._without = without
        self._validator = None if without is not None else _validator(schema)
        self._original_validator = None if original is None else _validator(original)

    def answer(self, text: str) -> Json:
        """The answer about `text`."""
        choice = Choice.of(text)
        value: Json = None
        for attempt in range(_MOST_ATTEMPTS):
            value = self._compose(
                _Spot(node=self._schema, original=self._original, choice=choice.again(attempt), depth=0), text
            )
            if self._is_valid(value):
                break
        return value

    def _is_valid(self, value: Json) -> bool:
        if self._validator is not None and not self._validator.is_valid(value):
            return False
        original = self._original_validator
        return original is None or original.is_valid(self._without_added_nulls(value, self._original or {}))

    def _without_added_nulls(self, value: Json, original: JsonObject) -> Json:
        """The value without the nulls that stand for absent fields of the original schema."""
        node = self._resolve(original, self._original or {})
        if isinstance(value, list):
            return [self._without_added_nulls(entry, as_object(node.get("items"))) for entry in value]
        if not isinstance(value, dict):
            return value
        properties, required = as_object(node.get("properties")), as_list(node.get("required"))
        return {
            name: self._without_added_nulls(member, as_object(properties.get(name)))
            for name, member in value.items()
            if member is not None or name not in properties or name in required
        }

    def _compose(self, spot: _Spot, text: str) -> Json:
        spot = self._resolved(spot)
        node, original = spot.node, spot.original
        if "const" in node:
            return node["const"]
        if original is not None and "const" in original and "enum" not in node:
            return original["const"]
        choices = _enumerated(node, original)
        if choices:
            return spot.choice.one_of(choices, "enum")
        branches = as_list(node.get("anyOf")) or as_list(node.get("oneOf"))
        if branches:
            return self._compose(self._branch(spot, branches), text)
        return self._typed(spot, _type(spot), text)

    def _typed(self, spot: _Spot, kind: str, text: str) -> Json:
        match kind:
            case "object":
                return self._object(spot, text)
            case "array":
                return self._array(spot, text)
            case "boolean":
                return spot.choice.below(2, "boolean") == 1
            case "null":
                return None
            case _:
                compose = {"integer": compose_integer, "number": compose_number}.get(kind, compose_string)
                return compose(text, constraints_of(spot.node, spot.original), spot.choice)

    def _object(self, spot: _Spot, text: str) -> JsonObject:
        properties = as_object(spot.node.get("properties"))
        required = [str(name) for name in as_list(spot.node.get("required")) if name in properties]
        original = spot.original or {}
        originals = as_object(original.get("properties"))
        needed = {*required, *map(str, as_list(original.get("required")))}
        answer: JsonObject = {}
        # Grammars emit required properties first, then the optional ones.
        for name in dict.fromkeys([*required, *properties]):
            if spot.depth == 0 and name == self._without:
                continue
            original_part = as_object(originals[name]) if isinstance(originals.get(name), dict) else None
            child = _Spot(
                node=as_object(properties[name]),
                original=original_part,
                choice=spot.choice.at(_meant(name, original_part)),
                depth=spot.depth + 1,
            )
            if name not in needed and self._is_left_out(child):
                continue
            is_optional = name in originals and name not in as_list(original.get("required"))
            if is_optional and self._takes_null(child) and self._is_left_out(child):
                # A dialect without optional fields made it nullable instead.
                answer[name] = None
                continue
            answer[name] = self._compose(child, text)
        return answer

    @staticmethod
    def _is_left_out(spot: _Spot) -> bool:
        # The same draw as for null: dialects without optional fields make them nullable, and the answer is to be the same.
        return spot.depth > _DEEPEST_OPTIONAL or spot.choice.below(_ABSENT_ONE_IN, "null") == 0

    def _takes_null(self, spot: _Spot) -> bool:
        node = self._resolve(spot.node, self._schema)
        branches = [self._resolve(as_object(b), self._schema) for b in as_list(node.get("anyOf"))]
        return any("null" in _declared_types(part) for part in (node, *branches))

    def _array(self, spot: _Spot, text: str) -> list[Json]:
        constraints = constraints_of(spot.node, spot.original)
        least = count_at(constraints, "minItems") or 0
        most = count_at(constraints, "maxItems")
        if most is None:
            most = max(least, _MOST_ENTRIES)
        extra = 0 if spot.depth > _DEEPEST_OPTIONAL else spot.choice.below(_MOST_ENTRIES + 1, "entries")
        wanted = max(least, min(most, extra))
        original_entry = (spot.original or {}).get("items")
        first_nodes = [as_object(node) for node in as_list(spot.node.get("prefixItems"))]
        answer: list[Json] = []
        for index in range(4 * wanted):
            if len(answer) == wanted:
                break
            position = len(answer)
            child = _Spot(
                node=first_nodes[position] if position < len(first_nodes) else as_object(spot.node.get("items")),
                original=original_entry if isinstance(original_entry, dict) else None,
                choice=spot.choice.at(str(index)),
                depth=spot.depth + 1,
            )
            entry = self._compose(child, text)
            if constraints.get("uniqueItems") is not True or entry not in answer:
                answer.append(entry)
        return answer

    def _branch(self, spot: _Spot, branches: list[Json]) -> _Spot:
        originals: list[Json] = []
        if spot.original is not None:
            originals = as_list(spot.original.get("anyOf")) or as_list(spot.original.get("oneOf"))
        paired = len(originals) == len(branches)
        nodes = [as_object(branch) for branch in branches]
        indexes = list(range(len(nodes)))
        nulls = [index for index in indexes if self._resolve(nodes[index], self._schema).get("type") == "null"]
        if nulls and (len(nulls) == len(nodes) or _chooses_null(spot)):
            index = nulls[0]
        else:
            index = spot.choice.one_of([index for index in indexes if index not in nulls], "branch")
        original = as_object(originals[index]) if paired else (None if originals else spot.original)
        return _Spot(node=nodes[index], original=original, choice=spot.choice, depth=spot.depth + 1)

    def _resolved(self, spot: _Spot) -> _Spot:
        if spot.depth > _DEEPEST:
            return _Spot(node={"type": "null"}, original=None, choice=spot.choice, depth=spot.depth)
        original = None if spot.original is None else self._resolve(spot.original, self._original or {})
        return _Spot(
            node=self._resolve(spot.node, self._schema), original=original, choice=spot.choice, depth=spot.depth
        )

    def _resolve(self, node: JsonObject, root: JsonObject) -> JsonObject:
        """`node` with its reference followed and its `allOf` folded in."""
        for _ in range(_DEEPEST):
            reference = node.get("$ref")
            if not isinstance(reference, str):
                break
            siblings = {key: value for key, value in node.items() if key != "$ref"}
            node = {**as_object(_target(reference, root)), **siblings}
        parts = as_list(node.get("allOf"))
        if not parts:
            return node
        merged: JsonObject = {key: value for key, value in node.items() if key != "allOf"}
        for part in parts:
            merged = _merged(merged, self._resolve(as_object(part), root))
        return merged


def _meant(name: str, original: JsonObject | None) -> str:
    """The field behind a short name: its description begins with it (docs/pack-prompt.md, the compact form).

    A model reads it there, and answers as it would under the whole name.
    """
    said = str((original or {}).get("description", "")).split(" | ")[0]
    is_name = len(said) > len(name) and re.fullmatch(r"\w+", said) is not None and said[:1].lower() == name[:1].lower()
    return said if is_name else name


def _validator(schema: JsonObject) -> jsonschema_rs.Validator | None:
    try:
        return jsonschema_rs.validator_for(schema, validate_formats=True)
    except (ValueError, jsonschema_rs.ReferencingError):
        return None  # a schema nobody can validate against still deserves an answer of its shape


def _target(reference: str, root: JsonObject) -> Json:
    node: Json = root
    for part in reference.removeprefix("#").split("/")[1:]:
        node = as_object(node).get(part.replace("~1", "/").replace("~0", "~"))
    return node


def _merged(left: JsonObject, right: JsonObject) -> JsonObject:
    both = {**left, **right}
    for key in ("properties", "$defs"):
        if key in left and key in right:
            both[key] = {**as_object(left[key]), **as_object(right[key])}
    if "required" in left and "required" in right:
        both["required"] = [*as_list(left["required"]), *as_list(right["required"])]
    return both


def _enumerated(node: JsonObject, original: JsonObject | None) -> list[Json]:
    allowed = as_list(node.get("enum"))
    originals = as_list((original or {}).get("enum"))
    if not allowed:
        return originals if "anyOf" not in node else []
    return [value for value in allowed if value in originals] or allowed


def _type(spot: _Spot) -> str:
    kinds = _declared_types(spot.node)
    originals = _declared_types(spot.original or {})
    if originals:
        kinds = [kind for kind in kinds if kind in originals or (kind == "integer" and "number" in originals)] or [
            "integer" if kind == "number" and "integer" in originals else kind for kind in kinds
        ]
    if not kinds:
        implied = [kind for keyword, kind in _TYPE_OF_KEYWORD.items() if keyword in spot.node]
        return (originals or implied or ["string"])[0]
    if "null" in kinds and (len(kinds) == 1 or _chooses_null(spot)):
        return "null"
    return spot.choice.one_of([kind for kind in kinds if kind != "null"], "type")


def _declared_types(node: JsonObject) -> list[str]:
    declared = node.get("type")
    return [declared] if isinstance(declared, str) else [str(kind) for kind in as_list(declared)]


def _chooses_null(spot: _Spot) -> bool:
    """Whether a nullable place is null; never where the original schema knows no null."""
    if spot.depth > _DEEPEST_OPTIONAL:
        return True
    original = spot.original
    if original is not None:
        branches = [as_object(branch) for branch in as_list(original.get("anyOf")) or as_list(original.get("oneOf"))]
        kinds = [kind for node in (original, *branches) for kind in _declared_types(node)]
        if kinds and "null" not in kinds:
            return False
    return spot.choice.below(_ABSENT_ONE_IN, "null") == 0
