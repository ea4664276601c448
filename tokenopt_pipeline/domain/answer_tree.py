"""One answer as a tree: every value with its schema and its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tokenopt_pipeline.domain.fingerprints import canonical_json
from tokenopt_pipeline.domain.variants import constants_of, variant_for

_SHOWN_CHARS = 40


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its schema and its place."""

    value: object
    schema: Mapping[str, object]
    path: str

    @property
    def named(self) -> str:
        """The last step of the path, as a sentence names it."""
        return self.path.rpartition("/")[2] if self.path else "the answer"


def leaves_of(node: Node, root: Mapping[str, object]) -> Iterator[Node]:
    """Values without parts, in order; constants of a chosen alternative are none."""
    schema = variant_for(node.schema, node.value, root)
    if isinstance(node.value, Mapping):
        fixed = constants_of(schema)
        for name, child in node.value.items():
            if name not in fixed:
                yield from leaves_of(child_of(node, schema, name, child), root)
    elif isinstance(node.value, list | tuple) and node.value:
        for i, child in enumerate(node.value):
            yield from leaves_of(Node(child, items_of(schema, i), f"{node.path}/{i}"), root)
    else:
        yield Node(node.value, schema, node.path)


def child_of(node: Node, schema: Mapping[str, object], name: str, value: object) -> Node:
    """A member of an object; `schema` is the part that speaks about the object (`variant_for`)."""
    properties = schema.get("properties")
    fragment = properties.get(name) if isinstance(properties, Mapping) else None
    return Node(value, fragment if isinstance(fragment, Mapping) else {}, f"{node.path}/{name}")


def items_of(schema: Mapping[str, object], index: int) -> Mapping[str, object]:
    """The schema of an array's entry; empty when the array says nothing about it."""
    prefix = schema.get("prefixItems")
    if isinstance(prefix, list) and index < len(prefix):
        return prefix[index] if isinstance(prefix[index], Mapping) else {}
    items = schema.get("items")
    return items if isinstance(items, Mapping) else {}


def shown(value: object) -> str:
    """A value as a sentence quotes it, cut where it is long."""
    text = value if isinstance(value, str) else canonical_json(value)
    return f"'{text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + '…'}'"
