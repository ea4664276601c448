"""Anthropic's structured-output dialect of JSON Schema: what it refuses moves into descriptions.

Source: structured outputs guide, read 2026-08, and the SDK's own `transform_schema` (2.12). The answer is always validated
against the original schema, so a translation may allow less or more than the original, but never make it unanswerable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tokenopt_pipeline.domain.fingerprints import canonical_json

# Limits of one request, over all objects of the schema.
MOST_OPTIONAL_PROPERTIES = 24
MOST_UNIONS = 16

_ANNOTATIONS = ("title", "description", "default")
_SILENT = frozenset(
    {"$schema", "$id", "$anchor", "$dynamicAnchor", "$vocabulary", "$comment", "$defs", "definitions"}
    | {"examples", "deprecated", "readOnly", "writeOnly"}
)
_DEFINITIONS = ("$defs", "definitions")
_UNIONS = ("anyOf", "oneOf")
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
# Groups with a question mark, property classes, boundaries, back references, many repeats.
_HARD_PATTERN = re.compile(r"\(\?|\\[bBpP1-9k]|\{\d*,?\d{4,}")
# Keywords that only say something about values of one type; a schema that names no type is taken to mean that type.
_ABOUT = {
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
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}


class NotExpressible(Exception):
    """The schema says something that the dialect cannot, such as recursion; another output method is needed."""


def to_dialect(schema: Mapping[str, object]) -> dict[str, Any]:
    """The schema as structured outputs accept it. Raises NotExpressible."""
    try:
        return _document(schema)
    except RecursionError as problem:
        raise NotExpressible("it is nested too deeply") from problem


def _document(schema: Mapping[str, object]) -> dict[str, Any]:
    """The translated root with the definitions that something refers to, and no others."""
    refers: dict[str, list[str]] = {"#": []}
    translated = _fragment(schema, refers["#"])
    waiting = list(refers["#"])
    while waiting:
        ref = waiting.pop()
        if ref in refers:
            continue
        group, name, fragment = _definition(schema, ref)
        refers[ref] = []
        translated.setdefault(group, {})[name] = _fragment(fragment, refers[ref])
        waiting += refers[ref]
    _refuse_recursion(refers)
    optional, unions = grammar_load(translated)
    if optional > MOST_OPTIONAL_PROPERTIES:
        raise NotExpressible(f"{optional} optional properties, the limit is {MOST_OPTIONAL_PROPERTIES}")
    if unions > MOST_UNIONS:
        raise NotExpressible(f"{unions} unions, the limit is {MOST_UNIONS}")
    return translated


def _fragment(fragment: object, refs: list[str]) -> dict[str, Any]:
    """One schema, translated with all that is in it; what it refers to is added to `refs`."""
    schema = _without_all_of(_as_schema(fragment))
    if any(key in schema for key in ("$dynamicRef", "$recursiveRef")):
        raise NotExpressible("a dynamic reference")
    if "$ref" in schema:
        return _reference(schema, refs)
    translated: dict[str, Any] = {key: schema[key] for key in _ANNOTATIONS if key in schema}
    types = _types(schema)
    if "enum" in schema or "const" in schema:
        choices = _choices(schema, types)
        # Beside a list of types the API refuses every choice, so the types go.
        translated |= {"const": choices[0]} if "const" in schema else {"enum": choices}
        return _with_moved(translated, schema, {"enum", "const", "type"})
    if any(key in schema for key in _UNIONS) and (union := _union(schema, types, refs)) is not None:
        key, translated["anyOf"] = union
        return _with_moved(translated, schema, {key, "type"})
    if not types:
        raise NotExpressible("a value of any type")
    if len(types) > 1:
        return _of_several_types(schema, types, refs)
    typed = _OF_TYPE.get(types[0], _of_plain_type)(schema, refs)
    said = set(typed) | {"type", "additionalProperties", *(("items",) if types[0] == "array" else ())}
    if typed.get("minItems", schema.get("minItems")) != schema.get("minItems"):
        said.discard("minItems")
    return _with_moved({"type": types[0], **translated, **typed}, schema, said)


def _reference(schema: Mapping[str, object], refs: list[str]) -> dict[str, Any]:
    others = set(schema) - {"$ref", "type", *_ANNOTATIONS, *_SILENT}
    if others & (_ABOUT["object"] | {"items", "enum", "const", *_UNIONS}):
        raise NotExpressible("a reference beside other structure")
    ref = schema["$ref"]
    if not isinstance(ref, str):
        raise NotExpressible(f"a reference that is {ref!r}")
    refs.append(ref)
    # The SDK leaves out whatever stands beside a reference.
    return {"$ref": ref}


def _choices(schema: Mapping[str, object], types: list[str]) -> list[Any]:
    """The scalars that the enum or const leaves possible."""
    listed = schema.get("enum", [schema.get("const")])
    found = listed if isinstance(listed, list) else []
    if "const" in schema:
        found = [choice for choice in found if _same(choice, schema["const"])]
    declared = types if "type" in schema else list(_PYTHON_TYPES)
    choices = [c for c in found if not isinstance(c, list | dict) and any(_is_of(c, kind) for kind in declared)]
    if not choices:
        raise NotExpressible("an enum without a string, number, boolean or null that its type allows")
    return choices


def _same(one: object, other: object) -> bool:
    # To Python, 1 and true are equal.
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _is_of(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _PYTHON_TYPES.get(kind, ()))


def _union(schema: Mapping[str, object], types: list[str], refs: list[str]) -> tuple[str, list[dict[str, Any]]] | None:
    """(keyword, alternatives); None when the alternatives only narrow what the schema says by itself."""
    key = "anyOf" if "anyOf" in schema else "oneOf"
    parts = schema[key]
    if not isinstance(parts, list) or not parts:
        raise NotExpressible(f"{key} without alternatives")
    alternatives = [_as_schema(part) for part in parts]
    if types and ("properties" in schema or not all(_stands_alone(part) for part in alternatives)):
        if any("properties" in part for part in alternatives):
            raise NotExpressible(f"{key} that adds properties to those beside it")
        return None
    return key, [_fragment(part, refs) for part in alternatives]


def _stands_alone(schema: Mapping[str, object]) -> bool:
    return "properties" in schema or any(key in schema for key in ("type", "enum", "const", "$ref", "allOf", *_UNIONS))


def _of_several_types(schema: Mapping[str, object], types: list[str], refs: list[str]) -> dict[str, Any]:
    """A list of types while nothing is said about any of them, otherwise one alternative each."""
    about = frozenset[str]().union(*_ABOUT.values())
    translated: dict[str, Any] = {key: schema[key] for key in _ANNOTATIONS if key in schema}
    if not about & set(schema) and not {"object", "array"} & set(types):
        return _with_moved({"type": types, **translated}, schema, {"type"})
    translated["anyOf"] = []
    for kind in types:
        own = _ABOUT.get("number" if kind == "integer" else kind, frozenset())
        translated["anyOf"].append(
            _fragment({"type": kind, **{key: value for key, value in schema.items() if key in own}}, refs)
        )
    return _with_moved(translated, schema, {"type", *about})


def _of_object(schema: Mapping[str, object], refs: list[str]) -> dict[str, Any]:
    properties = schema.get("properties", {})
    more = schema.get("additionalProperties", True)
    if not isinstance(properties, Mapping) or isinstance(more, Mapping) or (not properties and more is not False):
        raise NotExpressible("an object with arbitrary property names")
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(name in properties for name in required if isinstance(name, str)):
        raise NotExpressible("a required property that is not among the properties")
    translated = {name: _fragment(fragment, refs) for name, fragment in properties.items()}
    return {
        "properties": translated,
        **({"required": required} if "required" in schema else {}),
        "additionalProperties": False,
    }


def _of_array(schema: Mapping[str, object], refs: list[str]) -> dict[str, Any]:
    least = schema.get("minItems")
    bound = {"minItems": min(int(least), 1)} if isinstance(least, int | float) and least >= 0 else {}
    return {"items": _fragment(schema.get("items"), refs), **bound}


def _of_string(schema: Mapping[str, object], _refs: list[str]) -> dict[str, Any]:
    form, pattern = schema.get("format"), schema.get("pattern")
    return {
        **({"format": form} if isinstance(form, str) and form in _FORMATS else {}),
        **({"pattern": pattern} if isinstance(pattern, str) and not _HARD_PATTERN.search(pattern) else {}),
    }


def _of_plain_type(_schema: Mapping[str, object], _refs: list[str]) -> dict[str, Any]:
    return {}


_OF_TYPE = {"object": _of_object, "array": _of_array, "string": _of_string}


def _types(schema: Mapping[str, object]) -> list[str]:
    """The declared types, otherwise the one its keywords are about; empty when nothing tells."""
    declared = schema.get("type")
    if declared is None:
        return [kind for kind, keywords in _ABOUT.items() if keywords & set(schema)][:1]
    listed = declared if isinstance(declared, list) else [declared]
    types = [kind for kind in listed if isinstance(kind, str) and kind in _PYTHON_TYPES]
    if not types or len(types) < len(listed):
        raise NotExpressible(f"the type {declared!r}")
    return types


def _with_moved(translated: dict[str, Any], schema: Mapping[str, object], said: Iterable[str]) -> dict[str, Any]:
    """The translation with everything that it does not say already told in its description."""
    silent = {*said, *_ANNOTATIONS, *_SILENT}
    moved = [f"{key}: {canonical_json(value)}" for key, value in schema.items() if key not in silent]
    if moved:
        translated["description"] = f"{translated.get('description', '')} ({'; '.join(moved)})".strip()
    return translated


def _without_all_of(schema: Mapping[str, object]) -> Mapping[str, object]:
    """The schema with its allOf folded into it: closed one by one, the parts would shut each other out."""
    if "allOf" not in schema:
        return schema
    parts = schema["allOf"]
    whole = {key: value for key, value in schema.items() if key != "allOf"}
    for part in parts if isinstance(parts, list) else [parts]:
        for key, value in _without_all_of(_as_schema(part)).items():
            whole[key] = _both(key, whole[key], value) if key in whole else value
    return whole


def _both(key: str, one: Any, other: Any) -> object:
    if one == other or key in _ANNOTATIONS or key in _SILENT:
        return one
    if key == "required" and isinstance(one, list) and isinstance(other, list):
        return [*one, *(name for name in other if name not in one)]
    if key == "properties" and _agree(one, other):
        return {**one, **other}
    raise NotExpressible(f"allOf whose parts differ in {key}")


def _agree(one: object, other: object) -> bool:
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return False
    return all(one[name] == other[name] for name in one.keys() & other.keys())


def _as_schema(fragment: object) -> Mapping[str, object]:
    if isinstance(fragment, Mapping):
        return fragment
    raise NotExpressible("a value of any type" if fragment in (None, True) else f"a schema that is {fragment!r}")


def _definition(root: Mapping[str, object], ref: str) -> tuple[str, str, object]:
    """(keyword, name, schema) of a definition of the root."""
    if ref == "#":
        raise NotExpressible("recursion through #")
    if not ref.startswith("#"):
        raise NotExpressible(f"a reference to another document, {ref}")
    _, group, name, *deeper = [*ref.split("/"), "", ""]
    name = name.replace("~1", "/").replace("~0", "~")
    definitions = root.get(group)
    if any(deeper) or group not in _DEFINITIONS or not isinstance(definitions, Mapping) or name not in definitions:
        raise NotExpressible(f"a reference that leads to no definition, {ref}")
    return group, name, definitions[name]


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
    properties = schema.get("properties", {})
    optional = len(set(properties) - set(schema.get("required", ())))
    unions = int("anyOf" in schema or isinstance(schema.get("type"), list))
    within = [*properties.values(), *schema.get("anyOf", ())]
    within += [schema["items"]] if "items" in schema else []
    for group in _DEFINITIONS:
        within += schema.get(group, {}).values()
    for child in within:
        child_optional, child_unions = grammar_load(child)
        optional, unions = optional + child_optional, unions + child_unions
    return optional, unions
