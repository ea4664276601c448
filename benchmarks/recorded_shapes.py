"""Recorded requests as counting sees them: which texts, tools and schemas they hold, by our own tokenizer's counts."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.domain.counting import RequestShape

Body = Mapping[str, Any]
# Tools that the provider runs itself bring results into the prompt that no request shows.
_OWN_TOOLS = (None, "function", "custom")
_THOUGHTS = ("thinking", "redacted_thinking", "reasoning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One recorded request and what it was billed for."""

    id: str
    provider: str
    model: str
    shape: RequestShape
    billed: int

    @property
    def kind(self) -> str:
        """What besides plain text it holds: `text`, `schema` or `tools`."""
        return "tools" if self.shape.tools else "schema" if self.shape.schema else "text"


def recorded_requests(directory: Path) -> list[Recorded]:
    """Every recorded text-only request of the truth that was billed and whose prompt is all in the request."""
    bodies: dict[str, Body] = {}
    for provider in ("anthropic", "openai", "google"):
        with gzip.open(directory / "wire" / f"{provider}.jsonl.gz", "rt", encoding="utf-8") as lines:
            bodies.update((record["id"], record["request_body"]) for record in map(json.loads, lines))
    with (directory / "token_truth" / "usage.csv").open(encoding="utf-8", newline="") as rows:
        truth = [row for row in csv.DictReader(rows) if int(row["input_tokens"]) > 0]
    found = []
    for row in truth:
        body = bodies[row["id"]]
        tools = list(_tools(row["provider"], body))
        if any(tool.get("type") not in _OWN_TOOLS for tool in tools):
            continue
        shape = _shape(row["provider"], body, tools)
        found.append(
            Recorded(
                id=row["id"],
                provider=row["provider"],
                model=row["model"],
                shape=shape,
                billed=int(row["input_tokens"]),
            )
        )
    return found


def _shape(provider: str, body: Body, tools: list[Body]) -> RequestShape:
    count = O200kTokenizer().count
    said = _said(provider, body)
    schema = _schema(provider, body)
    choice = body.get("tool_choice")
    return RequestShape(
        text=sum(count(text) for text in _texts(said) if text),
        messages=max(_messages(body), 1),
        schema=count(_as_sent(schema)) if schema else 0,
        tool_tokens=sum(count(_as_sent(tool)) for tool in tools),
        tools=len(tools),
        is_forced=choice == "required"
        or (isinstance(choice, dict) and choice.get("type") in ("any", "tool", "function")),
        thinks=(body.get("thinking") or {}).get("type") in ("enabled", "adaptive"),
        calls=_calls(said),
        seal_chars=_seal_chars(said) if provider == "google" else 0,
    )


def _said(provider: str, body: Body) -> list[Any]:
    """Everything that the request says, instructions first."""
    if provider == "google" and "contents" in body:
        contents = body["contents"]
        system = body.get("systemInstruction") or body.get("system_instruction")
        return [system, *(contents if isinstance(contents, list) else [contents])]
    if "messages" in body:
        return [body.get("system"), *body["messages"]]
    given = body.get("input")
    return [body.get("instructions"), *(given if isinstance(given, list) else [given])]


def _messages(body: Body) -> int:
    for name in ("messages", "contents"):
        if isinstance(body.get(name), list):
            return len(body[name])
    given = body.get("input")
    return bool(body.get("instructions")) + (len(given) if isinstance(given, list) else 1)


def _tools(provider: str, body: Body) -> Iterator[Body]:
    declared = body.get("tools") or []
    for tool in [declared] if isinstance(declared, dict) else declared:
        if provider == "google":
            functions = tool.get("functionDeclarations") or tool.get("function_declarations")
            yield from functions or [{"type": "of the provider"}]
        else:
            yield tool.get("function", tool)
    yield from body.get("functions") or []


def _schema(provider: str, body: Body) -> Any:
    if provider == "anthropic":
        form = (body.get("output_config") or {}).get("format") or body.get("output_format")
        return form and form["schema"]
    if provider == "google":
        config = body.get("generationConfig") or body.get("generation_config") or {}
        names = ("responseJsonSchema", "response_json_schema", "responseSchema", "response_schema")
        return next((config[name] for name in names if config.get(name)), None)
    chat = (body.get("response_format") or {}).get("json_schema") or {}
    return chat.get("schema") or ((body.get("text") or {}).get("format") or {}).get("schema")


def _texts(said: Any) -> Iterator[str]:
    if isinstance(said, str):
        yield said
    elif isinstance(said, list):
        for part in said:
            yield from _texts(part)
    elif isinstance(said, dict):
        yield from _texts_of(said)


def _texts_of(part: Body) -> Iterator[str]:
    if part.get("type") in _THOUGHTS:
        # Earlier thoughts are taken out before the model reads the conversation.
        return
    call = part.get("functionCall") or part.get("function_call") or part.get("functionResponse")
    if part.get("type") == "tool_use":
        yield from (part.get("name") or "", _as_sent(part.get("input")))
    elif isinstance(call, dict):
        yield from (call.get("name") or "", _as_sent(call.get("args") or call.get("response")))
    elif part.get("type") == "function_call":
        yield from (part.get("name") or "", part.get("arguments") or "")
    else:
        yield from _texts(part.get("text") or part.get("content") or part.get("parts") or part.get("output"))
        for made in part.get("tool_calls") or []:
            yield from (made["function"]["name"], made["function"]["arguments"])


def _calls(said: Any) -> int:
    if isinstance(said, list):
        return sum(map(_calls, said))
    if not isinstance(said, dict):
        return 0
    own = said.get("type") in ("tool_use", "function_call") or isinstance(said.get("functionCall"), dict)
    made = said.get("tool_calls")
    inner = sum(_calls(said.get(name)) for name in ("content", "parts"))
    return own + inner + (len(made) if isinstance(made, list) else 0)


def _seal_chars(said: Any) -> int:
    if isinstance(said, list):
        return sum(map(_seal_chars, said))
    if not isinstance(said, dict):
        return 0
    seal = said.get("thoughtSignature") or said.get("thought_signature")
    return (len(seal) if isinstance(seal, str) else 0) + _seal_chars(said.get("parts"))


def _as_sent(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
