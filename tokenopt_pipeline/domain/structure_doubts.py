"""Doubts about the parts of an answer: required fields that say nothing, alternatives off the topic, entries twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from tokenopt_pipeline.domain.answer_tree import Node, child_of, items_of
from tokenopt_pipeline.domain.checks import is_empty
from tokenopt_pipeline.domain.doubts import Doubt
from tokenopt_pipeline.domain.fingerprints import canonical_json
from tokenopt_pipeline.domain.grounding import TextEvidence, subject_of
from tokenopt_pipeline.domain.variants import alternatives_of, constants_of, variant_for

# Every entry of an array is compared with so many others at most, however long a model made it.
_MOST_COMPARED = 30


def structure_doubts(node: Node, root: Mapping[str, object], text: TextEvidence) -> Iterator[Doubt]:
    """Every doubt about an object or array and what is in it, in the order of its values."""
    schema = variant_for(node.schema, node.value, root)
    if isinstance(node.value, Mapping):
        required = schema.get("required")
        for name in required if isinstance(required, list) else ():
            if name in node.value and _says_nothing(child_of(node, schema, name, node.value[name])):
                place = f"{node.path}/{name}"
                yield Doubt(id="required_empty", path=place, evidence=f"The required field {name} says nothing.")
        fixed = constants_of(schema)
        if fixed and schema is not node.schema and _is_off_topic(schema, text):
            named = ", ".join(str(value) for value in fixed.values())
            yield Doubt(id="off_topic", path=node.path, evidence=f"No word that names {named} stands in the block.")
        for name, child in node.value.items():
            yield from structure_doubts(child_of(node, schema, name, child), root, text)
    elif isinstance(node.value, list | tuple):
        yield from _entry_doubts(node)
        yield from _left_out_alternatives(node, schema, root, text)
        for i, child in enumerate(node.value):
            yield from structure_doubts(Node(child, items_of(schema, i), f"{node.path}/{i}"), root, text)


def _says_nothing(node: Node) -> bool:
    """Whether a required value is empty without the schema naming that very value as one of its own."""
    if not is_empty(node.value):
        return False
    allowed = node.schema.get("enum")
    kinds = node.schema.get("type")
    if isinstance(allowed, list) and node.value in allowed:
        return False
    # A field that may be null says with null that there is nothing, and an array may be empty.
    return not (node.value is None and isinstance(kinds, list) and "null" in kinds) and not (
        node.value == [] and not node.schema.get("minItems")
    )


def _is_off_topic(schema: Mapping[str, object], text: TextEvidence) -> bool:
    return any(words and not any(map(text.has_word, words)) for words in _subjects(schema))


def _left_out_alternatives(
    node: Node, schema: Mapping[str, object], root: Mapping[str, object], text: TextEvidence
) -> Iterator[Doubt]:
    entries = [entry for entry in cast("Sequence[object]", node.value) if isinstance(entry, Mapping)]
    for option in alternatives_of(items_of(schema, 0), root):
        fixed = constants_of(option)
        if any(all(entry.get(k) == v for k, v in fixed.items()) for entry in entries):
            continue
        # Half of the words of both: one shared word is chance.
        if all(words and 2 * sum(map(text.has_word, words)) >= len(words) for words in _subjects(option)):
            named = ", ".join(map(str, fixed.values()))
            yield Doubt(
                id="left_out", path=node.path, evidence=f"The block speaks of {named}, and no entry chooses it."
            )


def _subjects(alternative: Mapping[str, object]) -> tuple[list[str], list[str]]:
    """(Stems of an alternative's name, stems of its description)."""
    named = " ".join(str(value) for value in constants_of(alternative).values())
    return subject_of(named), subject_of(f"{alternative.get('title', '')} {alternative.get('description', '')}")


def _entry_doubts(node: Node) -> Iterator[Doubt]:
    entries = [entry for entry in cast("Sequence[object]", node.value) if isinstance(entry, Mapping)]
    seen: dict[str, int] = {}
    for i, entry in enumerate(entries):
        text = canonical_json(entry)
        if text in seen:
            sentence = f"Entries {seen[text] + 1} and {i + 1} of {node.named} are equal."
            yield Doubt(id="repeated_entry", path=node.path, evidence=sentence)
        seen.setdefault(text, i)
        for j, earlier in enumerate(entries[: min(i, _MOST_COMPARED)]):
            if differing := _only_list_that_differs(earlier, entry):
                sentence = f"Entries {j + 1} and {i + 1} of {node.named} differ only in the list {differing}."
                yield Doubt(id="split_entry", path=node.path, evidence=sentence)


def _only_list_that_differs(one: Mapping[str, object], other: Mapping[str, object]) -> str | None:
    """The dotted name of the one member in which two entries differ, when it is a list on both sides."""
    differing = [key for key in one if one[key] != other.get(key)]
    if len(differing) != 1 or set(one) != set(other):
        return None
    key = differing[0]
    left, right = one[key], other[key]
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        below = _only_list_that_differs(left, right)
        return None if below is None else f"{key}.{below}"
    return key if isinstance(left, list | tuple) and isinstance(right, list | tuple) else None
