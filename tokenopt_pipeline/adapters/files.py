"""Files that people write for us: schemas in JSON, policies in YAML, probes in JSONL."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from tokenopt_pipeline.domain.errors import InvalidInput, NotFound, PolicyInvalid, SchemaInvalid
from tokenopt_pipeline.domain.policy import ResolvedPolicy, resolve
from tokenopt_pipeline.domain.probes import Probe

_MOST_BYTES = 1_000_000


def shipped_schemas() -> dict[str, str]:
    """Name -> JSON text of the schemas that come with the product."""
    folder = files("tokenopt_pipeline").joinpath("schemas")
    return {
        entry.name.removesuffix(".json"): entry.read_text("utf-8")
        for entry in sorted(folder.iterdir(), key=lambda e: e.name)
        if entry.name.endswith(".json")
    }


def shipped_path(name: str) -> Path:
    """A file or folder that stands at the top of the repository, or inside an installed package."""
    installed = Path(str(files("tokenopt_pipeline"))) / "instance" / name
    return installed if installed.exists() else Path(str(files("tokenopt_pipeline"))).parent / name


def load_schema(ref: str) -> tuple[str, Mapping[str, Any]]:
    """(name, parsed JSON) of a schema file, or of a shipped schema by its name.

    Raises NotFound or SchemaInvalid.
    """
    path = Path(ref)
    if _is(path.is_file):
        return path.stem, _parsed_json(_text(path, SchemaInvalid), f"schema {ref}")
    shipped = shipped_schemas()
    if ref in shipped:
        return ref, _parsed_json(shipped[ref], f"schema {ref}")
    if _is(path.is_dir):
        raise NotFound(f"schema {ref!r} is a directory; name a file in it")
    raise NotFound(f"schema {ref!r} is neither a file nor one of the shipped schemas: {', '.join(shipped)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFile:
    """A policy as it was written."""

    #: Nested keys; empty when the file says nothing.
    document: Mapping[str, Any]
    #: Path of a key (`routing.rules[0].tier`) -> the line it stands on, counted from 1.
    lines: Mapping[str, int]


def load_policy(ref: str) -> PolicyFile:
    """A policy file; an empty one changes nothing. Raises PolicyInvalid."""
    path = Path(ref)
    if not _is(path.is_file):
        raise PolicyInvalid(f"policy {ref}: {'a directory, not a file' if _is(path.is_dir) else 'no such file'}")
    document, lines = _parsed_yaml(_text(path, PolicyInvalid), f"policy {ref}")
    if document is None:
        return PolicyFile(document={}, lines={})
    if not isinstance(document, dict):
        raise PolicyInvalid(f"policy {ref}:1: sections with keys are needed, found {type(document).__name__}")
    return PolicyFile(document=document, lines=lines)


def resolve_policy(ref: str | None, *layers: tuple[str, Mapping[str, object]]) -> ResolvedPolicy:
    """The defaults under a policy file, if there is one, under more layers. Raises PolicyInvalid."""
    if ref is None:
        return resolve(layers)
    name, written = f"policy {ref}", load_policy(ref)
    return resolve([(name, written.document), *layers], lines={name: written.lines})


def load_probes(path: Path) -> list[Probe]:
    """The probes of a JSONL file: an object with `query` and `relevant`, a list of source names, on each line.

    Raises InvalidInput naming the line.
    """
    probes = []
    for number, line in enumerate(_text(path, InvalidInput).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            members = json.loads(line)
        except (ValueError, RecursionError) as problem:
            raise InvalidInput(f"{path}, line {number} is not JSON: {problem}") from problem
        query = members.get("query") if isinstance(members, dict) else None
        relevant = members.get("relevant") if isinstance(members, dict) else None
        names = [each for each in relevant if isinstance(each, str)] if isinstance(relevant, list) else []
        if not isinstance(query, str) or not query.strip() or not names or names != relevant:
            raise InvalidInput(f"{path}, line {number}: an object with a query and a non-empty list relevant is needed")
        probes.append(Probe(query=query, relevant=tuple(dict.fromkeys(names))))
    return probes


def parse_setting(text: str) -> dict[str, Any]:
    """`section.key=value`, the value as YAML, as nested policy keys. Raises PolicyInvalid."""
    name, equals, value = text.partition("=")
    section, dot, key = name.partition(".")
    if not (equals and dot and section and key):
        raise PolicyInvalid(f"--set {text}: write section.key=value, for example packing.pack_size=25")
    return {section: {key: _parsed_yaml(value, f"--set {text}: the value", numbered=False)[0]}}


def _parsed_json(text: str, name: str) -> Mapping[str, Any]:
    try:
        document: Any = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as problem:
        raise SchemaInvalid(f"{name} is not JSON: {problem}") from problem
    if not isinstance(document, dict):
        raise SchemaInvalid(f"{name}: a JSON object is needed, found {type(document).__name__}")
    return document


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"member {repeated!r} stands twice in one object")
    return document


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"JSON has no {name}")


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key standing twice in one mapping, of which plain YAML keeps the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        repeated = next((key for key in keys if keys.count(key) > 1), None)
        if repeated is not None:
            again = [key for key, _ in node.value if key.value == repeated][1]
            raise yaml.constructor.ConstructorError(None, None, f"{repeated!r} stands twice", again.start_mark)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as problem:
            # What looks like a date or number and is none, such as 2026-02-31.
            raise yaml.constructor.ConstructorError(None, None, str(problem), node.start_mark) from problem


def _parsed_yaml(text: str, name: str, *, numbered: bool = True) -> tuple[Any, dict[str, int]]:
    """The document in a text, and on which line every key of it stands. Raises PolicyInvalid naming the line."""
    try:
        # A loader of its own for what safe_load does not refuse; it constructs no more than that.
        loader = _StrictLoader(text)
        try:
            node = loader.get_single_node()
            return (None, {}) if node is None else (loader.construct_document(node), _lines_of(node))
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError) as problem:
        mark = getattr(problem, "problem_mark", None) if numbered else None
        place = name if mark is None else f"{name}:{mark.line + 1}"
        raise PolicyInvalid(f"{place} is not YAML: {' '.join(str(problem).split())}") from problem


def _lines_of(root: yaml.Node) -> dict[str, int]:
    """Path -> line of every key and entry; what an alias repeats is numbered where it is first written."""
    lines: dict[str, int] = {}
    seen: set[int] = set()
    pending: list[tuple[str, yaml.Node]] = [("", root)]
    while pending:
        path, node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        children: list[tuple[str, yaml.Node, yaml.Node]] = []
        if isinstance(node, yaml.MappingNode):
            keyed = [(key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)]
            children = [(f"{path}.{key.value}" if path else key.value, key, value) for key, value in keyed]
        elif isinstance(node, yaml.SequenceNode):
            children = [(f"{path}[{i}]", entry, entry) for i, entry in enumerate(node.value)]
        lines.update((name, place.start_mark.line + 1) for name, place, _ in children)
        # The last one in is read first.
        pending += [(name, value) for name, _, value in reversed(children)]
    return lines


def _is(look: Callable[[], bool]) -> bool:
    try:
        return look()
    except OSError:
        # A name longer than the file system allows names nothing.
        return False


def _text(path: Path, error: type[InvalidInput]) -> str:
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise error(f"{path}: {size:,} bytes, at most {_MOST_BYTES:,} are read")
        # Editors on some systems begin a file with a byte order mark.
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{path} is not UTF-8: byte {problem.start} cannot be read") from problem
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror}") from problem
