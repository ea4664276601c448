"""An answer is walked value by value, each with the schema that speaks about it."""

from __future__ import annotations

from typing import Any

from tokenopt_pipeline.domain.answer_tree import Node, items_of, leaves_of, shown

_SCHEMA: dict[str, Any] = {
    "properties": {
        "name": {"type": "string"},
        "rows": {
            "type": "array",
            "items": {"anyOf": [{"properties": {"kind": {"const": "a"}, "n": {"type": "number"}}}]},
        },
        "odd": 5,
        "empty": {"type": "array"},
    }
}


def test_leaves_are_the_values_without_parts_and_no_constants() -> None:
    values = {"name": "x", "rows": [{"kind": "a", "n": 1}], "odd": True, "empty": [], "more": {"deep": None}}
    leaves = list(leaves_of(Node(values, _SCHEMA, ""), _SCHEMA))
    assert [(leaf.path, leaf.value) for leaf in leaves] == [
        ("/name", "x"),
        ("/rows/0/n", 1),
        ("/odd", True),
        ("/empty", []),
        ("/more/deep", None),
    ]
    assert [dict(leaf.schema) for leaf in leaves] == [{"type": "string"}, {"type": "number"}, {}, {"type": "array"}, {}]
    assert [leaf.named for leaf in leaves] == ["name", "n", "odd", "empty", "deep"]
    assert Node(values, _SCHEMA, "").named == "the answer"


def test_entries_have_the_schema_of_their_place() -> None:
    schema = {"prefixItems": [{"type": "string"}, 5], "items": {"type": "number"}}
    assert [items_of(schema, i) for i in range(3)] == [{"type": "string"}, {}, {"type": "number"}]
    assert items_of({}, 0) == {}


def test_a_long_value_is_shown_cut() -> None:
    assert shown("short") == "'short'"
    assert shown({"a": 1}) == "'{\"a\":1}'"
    assert len(shown("x" * 100)) == 42
