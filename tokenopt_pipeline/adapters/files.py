"""Files that people write for us: schemas in JSON, policies in YAML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from tokenopt_pipeline.domain.errors import InvalidInput, NotFound, PolicyInvalid, SchemaInvalid

_MOST_BYTES = 1_000_000


def shipped_schemas() -> dict[str, str]:
    """Name -> JSON text of the schemas that come with the product."""
    folder = files("tokenopt_pipeline").joinpath("schemas")
    return {
        entry.name.removesuffix(".json"): entry.read_text("utf-8")
        for entry in sorted(folder.iterdir(), key=lambda e: e.name)
        if entry.name.endswith(".json")
    }


def load_schema(ref: str) -> tuple[str, Mapping[str, Any]]:
    """(name, parsed JSON) of a schema file, or of a shipped schema by its name.

    Raises NotFound or SchemaInvalid.
    """
    path = Path(ref)
    if path.is_file():
        return path.stem, _parsed_json(_text(path, SchemaInvalid), f"schema {ref}")
    shipped = shipped_schemas()
    if ref in shipped:
        return ref, _parsed_json(shipped[ref], f"schema {ref}")
    raise NotFound(f"schema {ref!r} is neither a file nor one of the shipped schemas: {', '.join(shipped)}")


def load_policy(ref: str) -> Mapping[str, Any]:
    """The nested keys of a policy file; an empty file changes nothing. Raises PolicyInvalid."""
    path = Path(ref)
    if not path.is_file():
        raise PolicyInvalid(f"policy {ref}: no such file")
    try:
        document = yaml.safe_load(_text(path, PolicyInvalid))
    except yaml.YAMLError as problem:
        raise PolicyInvalid(f"policy {ref} is not YAML: {' '.join(str(problem).split())}") from problem
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise PolicyInvalid(f"policy {ref}: sections with keys are needed, found {type(document).__name__}")
    return document


def parse_setting(text: str) -> dict[str, Any]:
    """`section.key=value`, the value as YAML, as nested policy keys. Raises PolicyInvalid."""
    name, equals, value = text.partition("=")
    section, dot, key = name.partition(".")
    if not (equals and dot and section and key):
        raise PolicyInvalid(f"--set {text}: write section.key=value, for example packing.pack_size=25")
    try:
        return {section: {key: yaml.safe_load(value)}}
    except yaml.YAMLError as problem:
        raise PolicyInvalid(f"--set {text}: the value is not YAML") from problem


def _parsed_json(text: str, name: str) -> Mapping[str, Any]:
    try:
        document: Any = json.loads(text, object_pairs_hook=_without_repeats)
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


def _text(path: Path, error: type[InvalidInput]) -> str:
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise error(f"{path}: {size:,} bytes, at most {_MOST_BYTES:,} are read")
        return path.read_text("utf-8")
    except UnicodeDecodeError as problem:
        raise error(f"{path} is not UTF-8: byte {problem.start} cannot be read") from problem
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror}") from problem
