"""Generated schemas with values that they allow: the material of properties about codings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tokenopt_pipeline_tests.domain.generated import JSON_VALUES, PLAIN_TEXT

_NAMES = st.one_of(
    st.sampled_from(["party", "parties", "liability_cap", "n", "a", "kind_of_duty", "KindOfDuty", "p", "lc", "na"]),
    st.text("abcd_", min_size=1, max_size=7),
)
_LONG = ["termination_for_cause", "termination_for_convenience", "none", "TERMINATION", "tfc", "governing_law"]


@dataclass(frozen=True, slots=True)
class Allowed:
    """A schema and values that it allows."""

    schema: Any
    values: SearchStrategy[Any]


@st.composite
def schemas(draw: DrawFn, depth: int = 0) -> Allowed:
    """A schema of any kind, with what its values may be."""
    kinds = ["text", "number", "flag", "choice", "any", "refer", "open_union"]
    kinds += ["object", "object", "array", "nullable", "nullable"] if depth < 3 else []
    match draw(st.sampled_from(kinds)):
        case "number":
            return Allowed({"type": "integer"}, st.integers())
        case "flag":
            return Allowed({"type": "boolean"}, st.booleans())
        case "choice":
            choices = draw(st.lists(st.sampled_from(_LONG), min_size=1, max_size=6, unique=True))
            node = {"enum": choices} if draw(st.booleans()) else {"enum": choices, "type": "string"}
            return Allowed(node, st.sampled_from(choices))
        case "any":
            return Allowed({}, JSON_VALUES)
        case "refer":
            return Allowed({"$ref": "#/$defs/part"}, st.just({"name_of_part": None, "under_parts": []}))
        case "open_union":
            inner = draw(objects(depth + 1, closed=True))
            return Allowed({"anyOf": [inner.schema, {"type": "string"}]}, inner.values | PLAIN_TEXT)
        case "object":
            return draw(objects(depth + 1, closed=draw(st.booleans())))
        case "array":
            entry = draw(schemas(depth + 1))
            return Allowed({"type": "array", "items": entry.schema}, st.lists(entry.values, max_size=3))
        case "nullable":
            return _nullable(draw(schemas(depth + 1)), typed=draw(st.booleans()))
        case _:
            return Allowed({"type": "string", "description": "words"}, PLAIN_TEXT)


def _nullable(inner: Allowed, *, typed: bool) -> Allowed:
    node = inner.schema
    if typed and isinstance(node.get("type"), str):
        choices = {"enum": [*node["enum"], None]} if "enum" in node else {}
        return Allowed({**node, "type": [node["type"], "null"], **choices}, st.none() | inner.values)
    return Allowed({"anyOf": [node, {"type": "null"}], "description": "or nothing"}, st.none() | inner.values)


@st.composite
def objects(draw: DrawFn, depth: int = 0, *, closed: bool = True) -> Allowed:
    """An object schema."""
    names = draw(st.lists(_NAMES, min_size=1, max_size=5, unique=True))
    fields = {name: draw(schemas(depth)) for name in names}
    required = [name for name in names if draw(st.booleans())]
    properties = {name: dict(field.schema) for name, field in fields.items()}
    for name in names:
        if draw(st.integers(0, 3)) == 0:
            properties[name]["default"] = draw(fields[name].values)
    values = st.fixed_dictionaries(
        {name: fields[name].values for name in required},
        optional={name: field.values for name, field in fields.items() if name not in required},
    )
    if not closed:
        extras = st.dictionaries(_NAMES.filter(lambda name: name not in names), JSON_VALUES, max_size=2)
        values = st.builds(lambda own, extra: {**own, **extra}, values, extras)
    node = {"type": "object", "properties": properties, "required": required}
    return Allowed({**node, "additionalProperties": False} if closed else node, values)


#: What `{"$ref": "#/$defs/part"}` means: an object that may hold objects like itself.
DEFINITIONS = {
    "part": {
        "type": "object",
        "properties": {
            "name_of_part": {"type": ["string", "null"]},
            "under_parts": {"type": "array", "items": {"$ref": "#/$defs/part"}},
        },
        "required": ["name_of_part", "under_parts"],
        "additionalProperties": False,
    }
}


@st.composite
def schema_and_values(draw: DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """A whole answer schema and one answer that it allows."""
    root = draw(objects())
    return {**root.schema, "$defs": DEFINITIONS}, draw(root.values)
