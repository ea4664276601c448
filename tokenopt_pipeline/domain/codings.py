"""Codings: for each part of a schema how its values are said shorter, and the schema of what is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from tokenopt_pipeline.domain.aliases import aliases_of
from tokenopt_pipeline.domain.fingerprints import canonical_json

# Grammar compilers take so many optional fields in one request (structured outputs guide, read 2026-11).
_MOST_LEFT_OUT = 24
# Choices that are shorter on average cost a token or two already.
_LONG_CHOICE = 8
_ABOUT = frozenset({"title", "description", "$comment", "examples", "default", "deprecated", "readOnly", "writeOnly"})
_AT_ROOT = frozenset({"$schema", "$id", "$defs", "definitions"})
_OF_OBJECTS = frozenset({"type", "properties", "required", "additionalProperties"})
_OF_ARRAYS = frozenset({"type", "items", "minItems", "maxItems", "uniqueItems"})
_GROUPS = ("$defs", "definitions")


class NotDecodable(ValueError):
    """An answer says one value twice; which was meant nobody knows."""


class Coding(Protocol):
    """One part's way there and back. Values that are not of the schema's kind pass unchanged: validation refuses them."""

    def encoded(self, value: object) -> object:
        """A valid value as it is said."""
        ...

    def decoded(self, said: object) -> object:
        """The value behind what was said."""
        ...


@dataclass(frozen=True, slots=True)
class Same:
    """Said as it is."""

    def encoded(self, value: object) -> object:
        """The value."""
        return value

    def decoded(self, said: object) -> object:
        """What was said."""
        return said


@dataclass(frozen=True, slots=True)
class Choices:
    """Long choices by their codes."""

    #: Choice -> code.
    codes: Mapping[str, str]

    def encoded(self, value: object) -> object:
        """The code of a choice."""
        return self.codes.get(value, value) if isinstance(value, str) else value

    def decoded(self, said: object) -> object:
        """The choice behind a code; grammars do not promise the letters' case."""
        if not isinstance(said, str) or said in self.codes:
            return said
        return next((choice for choice, code in self.codes.items() if code == said.lower()), said)


@dataclass(frozen=True, slots=True)
class Entries:
    """Arrays whose entries are coded."""

    each: Coding

    def encoded(self, value: object) -> object:
        """Every entry as it is said."""
        return [self.each.encoded(entry) for entry in value] if isinstance(value, list) else value

    def decoded(self, said: object) -> object:
        """Every entry as it is meant."""
        return [self.each.decoded(entry) for entry in said] if isinstance(said, list) else said


@dataclass(frozen=True, slots=True)
class Members:
    """Objects whose fields have aliases, and leave out what goes without saying."""

    #: Field -> alias, in the schema's order.
    aliases: Mapping[str, str]
    #: Field -> its own coding.
    parts: Mapping[str, Coding]
    #: Field -> what it means to leave it out.
    left_out: Mapping[str, object]

    def encoded(self, value: object) -> object:
        """The object with aliases, without what goes without saying."""
        if not isinstance(value, Mapping):
            return value
        return {
            self.aliases.get(name, name): self.parts[name].encoded(part) if name in self.parts else part
            for name, part in value.items()
            if name not in self.left_out or not _same(part, self.left_out[name])
        }

    def decoded(self, said: object) -> object:
        """The object with its fields' names, in the schema's order. Raises NotDecodable."""
        if not isinstance(said, Mapping):
            return said
        names = {alias: name for name, alias in self.aliases.items()}
        found: dict[str, object] = {}
        for key, part in said.items():
            name = names.get(str(key), str(key))
            if name in found:
                raise NotDecodable(f"field {name!r} stands twice, as {name!r} and as {self.aliases[name]!r}")
            found[name] = self.parts[name].decoded(part) if name in self.parts else part
        values: dict[str, object] = {}
        for name in self.aliases:
            if name in found:
                values[name] = found.pop(name)
            elif name in self.left_out:
                values[name] = self.left_out[name]
        return {**values, **found}


@dataclass(slots=True)
class Referred:
    """A definition, which may refer to itself."""

    target: str
    definitions: dict[str, Coding] = field(repr=False)

    def encoded(self, value: object) -> object:
        """As the definition says it."""
        return self.definitions[self.target].encoded(value)

    def decoded(self, said: object) -> object:
        """As the definition means it."""
        return self.definitions[self.target].decoded(said)


def coded_schema(schema: Mapping[str, Any]) -> tuple[Coding, Mapping[str, Any]]:
    """The coding of a schema's values and the schema of what is said.

    Definitions stay as they are when a part that is not understood refers to one: it is said plainly there. Nulls and
    defaults are said when more fields could be left out than grammars take.
    """
    first = _Coder(root=schema, codes_definitions=True, leaves_out=True)
    coding, said = first.coded()
    if first.refers_plainly:
        first = replace(first, codes_definitions=False, refers_plainly=False, n_optional=0, definitions={})
        coding, said = first.coded()
    if first.n_optional > _MOST_LEFT_OUT:
        coding, said = replace(first, leaves_out=False, n_optional=0, definitions={}).coded()
    return coding, said


@dataclass(slots=True)
class _Coder:
    """One pass over a schema."""

    root: Mapping[str, Any]
    codes_definitions: bool
    leaves_out: bool
    #: Whether a part that is said as it is refers to a definition.
    refers_plainly: bool = False
    #: Fields that may be missing from what is said.
    n_optional: int = 0
    definitions: dict[str, Coding] = field(default_factory=dict)

    def coded(self) -> tuple[Coding, Mapping[str, Any]]:
        """The coding of the whole schema, and the schema of what is said."""
        said_definitions: dict[str, dict[str, Any]] = {}
        if self.codes_definitions:
            for group in _GROUPS:
                for name, node in self.root.get(group, {}).items():
                    self.definitions[f"#/{group}/{name}"], said = self._part(node)
                    said_definitions.setdefault(group, {})[name] = said
        coding, said = self._part(self.root, may_say=_AT_ROOT)
        return coding, {**said, **said_definitions} if isinstance(said, Mapping) else said

    def _part(self, node: Any, *, may_say: frozenset[str] = frozenset()) -> tuple[Coding, Any]:
        if isinstance(node, Mapping):
            keys = set(node) - _ABOUT - may_say
            if keys == {"$ref"} and self._is_coded(node["$ref"]):
                return Referred(node["$ref"], self.definitions), node
            kind = _without_null(node.get("type"))
            if kind == "object" and keys <= _OF_OBJECTS and isinstance(node.get("properties"), Mapping):
                return self._object(node)
            if kind == "array" and keys <= _OF_ARRAYS and isinstance(node.get("items"), Mapping):
                each, items = self._part(node["items"])
                same = isinstance(each, Same)
                return (each, node) if same else (Entries(each), _bare({**node, "items": items}))
            if keys <= {"type", "enum"} and "enum" in keys and kind in (None, "string"):
                return _choices(node)
            if len(keys) == 1 and (key := next(iter(keys))) in ("anyOf", "oneOf"):
                return self._alternatives(node, key)
        self.refers_plainly = self.refers_plainly or any(_references(node))
        return Same(), node

    def _is_coded(self, reference: object) -> bool:
        """Whether the reference is to a whole definition."""
        if not self.codes_definitions or not isinstance(reference, str):
            return False
        group, _, name = reference.removeprefix("#/").partition("/")
        return group in _GROUPS and name in self.root.get(group, {})

    def _alternatives(self, node: Mapping[str, Any], key: str) -> tuple[Coding, Any]:
        """Something or null, as generators of schemas write it; real alternatives are said as they are."""
        others = [part for part in node[key] if not _is_null(part)]
        if len(others) != 1:
            self.refers_plainly = self.refers_plainly or any(_references(node))
            return Same(), node
        coding, said = self._part(others[0])
        if isinstance(coding, Same):
            return coding, node
        return coding, _bare({**node, key: [said if part is others[0] else part for part in node[key]]})

    def _object(self, node: Mapping[str, Any]) -> tuple[Coding, Any]:
        properties: Mapping[str, Any] = node["properties"]
        required = node.get("required", [])
        # Where unknown fields are allowed, one could be called like an alias.
        is_closed = node.get("additionalProperties") is False
        if not isinstance(node.get("additionalProperties", True), bool) or not set(required) <= set(properties):
            self.refers_plainly = self.refers_plainly or any(_references(node))
            return Same(), node
        aliases = aliases_of(properties, taken=("n",)) if is_closed else {name: name for name in properties}
        left_out = {
            name: meant for name in required if self.leaves_out for meant in _goes_without_saying(properties[name])
        }
        self.n_optional += len(properties) - len(required) + len(left_out)
        parts, said = {}, {}
        for name, fragment in properties.items():
            coding, shown = self._part(fragment)
            if not isinstance(coding, Same):
                parts[name] = coding
            if name in left_out and left_out[name] is None:
                shown = _never_null(shown)
            said[aliases[name]] = _explained(shown, name, aliases[name], coding, left_out)
        if not parts and not left_out and all(name == alias for name, alias in aliases.items()):
            return Same(), node
        shown_required = [aliases[name] for name in required if name not in left_out]
        return Members(aliases, parts, left_out), _bare({**node, "properties": said, "required": shown_required})


def _choices(node: Mapping[str, Any]) -> tuple[Coding, Any]:
    texts = [choice for choice in node["enum"] if isinstance(choice, str)]
    if not texts or sum(map(len, texts)) <= _LONG_CHOICE * len(texts):
        return Same(), node
    codes = {choice: code for choice, code in aliases_of(texts).items() if choice != code}
    shown = [codes.get(choice, choice) if isinstance(choice, str) else choice for choice in node["enum"]]
    return (Choices(codes), _bare({**node, "enum": shown})) if codes else (Same(), node)


def _goes_without_saying(fragment: object) -> Iterator[object]:
    """At most one value: what a required field means when it is left out."""
    if not isinstance(fragment, Mapping):
        return
    if "default" in fragment:
        yield fragment["default"]
    elif _allows_null(fragment) and _never_null(fragment) != fragment:
        yield None


def _allows_null(node: Mapping[str, Any]) -> bool:
    kind, choices = node.get("type"), node.get("enum")
    if isinstance(choices, list):
        return None in choices and (kind is None or (isinstance(kind, list) and "null" in kind))
    if isinstance(kind, list):
        return "null" in kind
    keys = set(node) - _ABOUT
    return len(keys) == 1 and keys <= {"anyOf", "oneOf"} and any(_is_null(part) for part in node[next(iter(keys))])


def _never_null(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema without null; itself when nothing would be left."""
    changed = dict(node)
    kind = _without_null(node.get("type"))
    if kind is not None:
        changed["type"] = kind
    if isinstance(node.get("enum"), list):
        changed["enum"] = [choice for choice in node["enum"] if choice is not None]
    for key in ("anyOf", "oneOf"):
        if key in node:
            others = [part for part in node[key] if not _is_null(part)]
            changed.pop(key)
            changed |= dict(others[0]) if len(others) == 1 and isinstance(others[0], Mapping) else {key: others}
    empty = any(changed.get(key) == [] for key in ("type", "enum", "anyOf", "oneOf"))
    return node if empty else changed


def _without_null(kind: object) -> object:
    if not isinstance(kind, list):
        return kind
    others = [each for each in kind if each != "null"]
    return others[0] if len(others) == 1 else others


def _is_null(part: object) -> bool:
    return isinstance(part, Mapping) and set(part) - _ABOUT == {"type"} and part["type"] == "null"


def _explained(shown: Any, name: str, alias: str, coding: Coding, left_out: Mapping[str, object]) -> Any:
    """The schema of a field with what a reader has to know of its short form in its description."""
    told = []
    if alias != name:
        told.append(name)
    if isinstance(coding, Choices):
        told.append("; ".join(f"{code} = {choice}" for choice, code in coding.codes.items()))
    if name in left_out:
        told.append(f"left out: {canonical_json(left_out[name])}")
    if not told or not isinstance(shown, Mapping):
        return shown
    description = shown.get("description")
    if isinstance(description, str):
        told.insert(1 if alias != name else 0, description)
    rest = {key: value for key, value in shown.items() if key not in ("description", "default", "title")}
    return {**rest, "description": " | ".join(told)}


def _bare(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without values in words that are not said."""
    return {key: value for key, value in node.items() if key not in ("default", "examples")}


def _same(value: object, other: object) -> bool:
    # As text, because to Python 1, 1.0 and true are equal.
    return canonical_json(value) == canonical_json(other)


def _references(node: object) -> Iterator[str]:
    if isinstance(node, Mapping):
        if "$ref" in node or "$dynamicRef" in node:
            yield str(node)
        for child in node.values():
            yield from _references(child)
    elif isinstance(node, list):
        for child in node:
            yield from _references(child)
