"""The shape of JSON answers: which fields they have, and of which type each is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

#: JSON type -> how shapes name it; whole and other numbers are one type there.
_KINDS = {
    int: "number",
    float: "number",
    bool: "boolean",
    str: "string",
    dict: "object",
    list: "array",
    type(None): "null",
}

Shape = dict[str, set[str]]
"""Path -> types found there. Entries of an array are told apart by their `type`, where they have one: `content[text].text`."""


def shape_of(bodies: Iterable[Any], *, opaque: Collection[str]) -> Shape:
    """The fields of all `bodies`. What is inside a path of `opaque` is the caller's own JSON and has no shape."""
    shape: Shape = {}
    for body in bodies:
        for path, kind in _fields(body, ""):
            if not any(path.startswith((f"{each}.", f"{each}[")) for each in opaque):
                shape.setdefault(path, set()).add(kind)
    return shape


def _fields(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if path:
        yield path, _KINDS[type(value)]
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _fields(child, f"{path}.{key}" if path else str(key))
    if isinstance(value, list):
        for child in value:
            kind = child.get("type", "") if isinstance(child, dict) else ""
            yield from _fields(child, f"{path}[{kind}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Recorded fields beside ours."""

    same: frozenset[str]
    """Fields both have, with a type in common."""
    other_type: frozenset[str]
    """Fields both have, with no type in common; null alone contradicts nothing."""
    lacking: frozenset[str]
    """Recorded fields ours never have, the topmost of each branch."""
    ours_alone: frozenset[str]
    """Our fields nobody recorded."""


def compared(recorded: Shape, ours: Shape) -> Comparison:
    """How far `ours` is what was recorded."""
    both = recorded.keys() & ours.keys()
    same = {path for path in both if _agree(recorded[path], ours[path])}
    lacking = recorded.keys() - ours.keys()
    return Comparison(
        same=frozenset(same),
        other_type=frozenset(both - same),
        lacking=frozenset(path for path in lacking if _parent(path) not in lacking),
        ours_alone=frozenset(ours.keys() - recorded.keys()),
    )


def _agree(one: set[str], other: set[str]) -> bool:
    known, found = one - {"null"}, other - {"null"}
    return not known or not found or bool(known & found)


def _parent(path: str) -> str:
    return path[: max(path.rfind("."), path.rfind("["))]
