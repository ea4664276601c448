"""Recorded function calls of real models (the BFCL replay): each query as an extraction schema, each raw output as an answer.

A query is a block of text and the functions that may be called; the answer is the list of calls, each the name of one
declared function and its arguments. Outputs are read as the models wrote them: `[f(a=1), g(b='x')]` or
`[{"f": "{\\"a\\": 1}"}]`. Whether an answer is right is what the recording says, never what is read here.
"""

from __future__ import annotations

import ast
import gzip
import json
import keyword
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenopt_pipeline.domain.schemas import ExtractionSchema, parse_schema

# How BFCL spells types, of Python, Java and JavaScript. A type that is not here says nothing that can be checked.
_TYPES = {
    **dict.fromkeys(("string", "String", "char", "Char", "str"), "string"),
    **dict.fromkeys(("integer", "Integer", "int", "long", "Long", "short", "byte", "Bigint", "BigInteger"), "integer"),
    **dict.fromkeys(("number", "float", "Float", "double", "Double"), "number"),
    **dict.fromkeys(("boolean", "Boolean", "bool"), "boolean"),
    **dict.fromkeys(("array", "tuple"), "array"),
    **dict.fromkeys(("dict", "object"), "object"),
}
# Types that only the Java and JavaScript queries have: there, models write a value as source code in a string.
_CODE_TASKS = ("bfcl/java", "bfcl/javascript")
_MARK = "__reserved"
_RESERVED = re.compile(rf"([(,]\s*)({'|'.join(keyword.kwlist)})\s*=(?!=)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one model answered to one query."""

    #: None when the output is not in the agreed form although it calls a function.
    values: Mapping[str, object] | None
    is_correct: bool
    #: As the model wrote it.
    raw: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A recorded query with every model's answer."""

    query_id: str
    task: str
    text: str
    #: The extraction schema as a schema file has it.
    document: Mapping[str, object]
    schema: ExtractionSchema
    answers: Mapping[str, Answer]


def read_queries(path: Path, *, models: Collection[str] | None = None) -> Iterator[Query]:
    """The queries of a `bfcl_replay.jsonl.gz`, in file order, with the answers of these models; None: of all."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            functions = record["functions"] if isinstance(record["functions"], list) else [record["functions"]]
            declared = {_plain(f["name"]): f for f in functions}
            is_code = record["task"] in _CODE_TASKS
            document = _document(functions, record["task"], is_code=is_code)
            yield Query(
                query_id=record["query_id"],
                task=record["task"],
                text=record["text"],
                document=document,
                schema=parse_schema(document, name="calls"),
                answers={
                    model: Answer(
                        values=_read(output["raw"], declared, is_code=is_code),
                        is_correct=bool(output["correct"]),
                        raw=str(output["raw"]),
                    )
                    for model, output in record["outputs"].items()
                    if models is None or model in models
                },
            )


def _document(functions: list[dict[str, Any]], task: str, *, is_code: bool) -> dict[str, object]:
    calls = [
        {
            "type": "object",
            "description": f.get("description", ""),
            "properties": {
                "function": {"const": f["name"]},
                "arguments": {"additionalProperties": False, **_fragment(f["parameters"], is_code=is_code)},
            },
            "required": ["function", "arguments"],
            "additionalProperties": False,
        }
        for f in functions
    ]
    return {
        "ref": "calls",
        "task": task,
        "properties": {"calls": {"type": "array", "items": {"anyOf": calls}}},
        "required": ["calls"],
        # A question states nothing in passing: what it puts in figures or quotes is meant to be used.
        "checks": [{"id": "uses-what-is-stated", "covers": ["numbers", "quotes"]}],
    }


def _fragment(part: Mapping[str, Any], *, is_code: bool) -> dict[str, Any]:
    """A BFCL parameter as JSON Schema."""
    fragment: dict[str, Any] = {key: part[key] for key in ("description", "required", "default") if key in part}
    if isinstance(part.get("enum"), list):
        fragment["enum"] = part["enum"]
    kind = _TYPES.get(str(part.get("type")))
    if kind is not None and not (is_code and kind in ("array", "object") and not part.get("properties")):
        fragment["type"] = kind
    if isinstance(part.get("properties"), Mapping):
        fragment["properties"] = {k: _fragment(v, is_code=is_code) for k, v in part["properties"].items()}
        fragment["required"] = [r for r in fragment.get("required", []) if r in fragment["properties"]]
    else:
        fragment.pop("required", None)
    if isinstance(part.get("items"), Mapping):
        fragment["items"] = _fragment(part["items"], is_code=is_code)
    return fragment


def _plain(name: str) -> str:
    # Function calling APIs take no dots in names, so the recordings have underscores there.
    return name.replace(".", "_")


def _read(raw: object, declared: Mapping[str, Any], *, is_code: bool) -> Mapping[str, object] | None:
    """The answer in an output; prose without a call is the answer that nothing is to be called."""
    if isinstance(raw, list) and all(isinstance(call, dict) for call in raw):
        try:
            pairs = [(name, json.loads(a) if isinstance(a, str) else a) for call in raw for name, a in call.items()]
        except ValueError:
            return None
        return _calls(pairs, declared, is_code=is_code)
    said = "\n".join(map(str, raw)) if isinstance(raw, list) else str(raw)
    text = said.strip()
    text = text if text.startswith("[") else f"[{text}"
    try:
        body = _parsed(text if text.endswith("]") else f"{text}]")
        calls = body.elts if isinstance(body, ast.List) else [body]
        return _calls([_call(node) for node in calls], declared, is_code=is_code)
    except (SyntaxError, ValueError):
        names = [n for plain, f in declared.items() for n in (plain, f["name"])]
        # Prose that speaks of `f()`, with nothing in its brackets, calls nothing.
        called = any(re.search(rf"(?<![\w.]){re.escape(n)}\s*\((?!\s*\))", said) for n in names)
        return None if called else {"calls": []}


def _parsed(text: str) -> ast.expr:
    """Calls in Python's notation, also with parameters that are called what Python keeps for itself, such as `from`."""
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        body = ast.parse(_RESERVED.sub(rf"\1\2{_MARK}=", text), mode="eval").body
        for node in ast.walk(body):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                node.value = node.value.replace(f"{_MARK}=", "=")
        return body


def _call(node: ast.expr) -> tuple[str, dict[str, object]]:
    if not isinstance(node, ast.Call):
        raise ValueError("no call")
    # Values without a name are kept under their position, which no schema knows.
    unnamed = {str(i): _value(a) for i, a in enumerate(node.args)}
    return ast.unparse(node.func), {
        **unnamed,
        **{str(k.arg).removesuffix(_MARK): _value(k.value) for k in node.keywords},
    }


def _value(node: ast.expr) -> object:
    try:
        return _as_json(ast.literal_eval(node))
    except (ValueError, TypeError, MemoryError):
        if isinstance(node, ast.List | ast.Tuple):
            return [_value(e) for e in node.elts]
        return ast.unparse(node)


def _as_json(value: object) -> object:
    if isinstance(value, list | tuple | set):
        return [_as_json(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _as_json(v) for k, v in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _calls(pairs: list[tuple[str, object]], declared: Mapping[str, Any], *, is_code: bool) -> Mapping[str, object]:
    entries = []
    for name, arguments in pairs:
        function = declared.get(_plain(name), {"name": name})
        read = arguments
        if is_code and isinstance(arguments, dict):
            parameters = function.get("parameters", {}).get("properties", {})
            read = {k: _from_code(v, parameters.get(k, {}).get("type")) for k, v in arguments.items()}
        entries.append({"function": function["name"], "arguments": read})
    return {"calls": entries}


def _from_code(value: object, kind: object) -> object:
    """A value that a string holds as source code, such as `true`, `123L` or `[1, 2]`; the string itself otherwise."""
    if not isinstance(value, str) or _TYPES.get(str(kind)) == "string":
        return value
    literal = {"true": "True", "false": "False", "null": "None", "undefined": "None"}.get(value.strip(), value.strip())
    try:
        return _as_json(ast.literal_eval(re.sub(r"^(-?\d+(?:\.\d+)?)[LlFfDdn]$", r"\1", literal)))
    except (ValueError, SyntaxError, MemoryError):
        return value
