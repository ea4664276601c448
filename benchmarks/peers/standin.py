"""A provider stand-in that every tool is measured against: Chat Completions with a prompt cache, latency and seeded faults.

It reads the right answers from the blocks in a prompt and says them in whatever shape the request asks for, packed or not.
The product's own sandbox cannot do that: it invents answers, and only for the product's own prompts. Everything is simulated.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.peers.workload import facts_in

_LATENCY_S, _RETRY_AFTER_S = 0.05, 0.2
_CHARS_PER_TOKEN = 4
#: OpenAI's: prefixes from 1,024 tokens on, in steps of 128 (https://platform.openai.com/docs/guides/prompt-caching, 2026-11).
_CACHE_FROM, _CACHE_STEP = 1024 * _CHARS_PER_TOKEN, 128 * _CHARS_PER_TOKEN
_HEADERS = {"x-tokenopt-sandbox": "1"}


@dataclass(slots=True)
class State:
    """What was asked and billed since the last reset."""

    malformed: float = 0.0
    rate_limited: float = 0.0
    seed: int = 0
    seen: Counter[bytes] = field(default_factory=Counter)
    prefixes: set[bytes] = field(default_factory=set)
    #: Block id -> how often an answer about it was billed.
    paid: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

    def fault(self, body: bytes) -> str | None:
        """The fault of this request: drawn by its bytes and how often they came, so that a retry can end differently."""
        self.seen[body] += 1
        digest = hashlib.sha256(b"%d:%d:" % (self.seed, self.seen[body]) + body).digest()
        point = int.from_bytes(digest[:8], "big") / 2**64
        if point < self.rate_limited:
            return "429"
        if point < self.rate_limited + self.malformed:
            return ("cut", "misnamed", "prose", "wrong_type")[digest[8] % 4]
        return None

    def cached_chars(self, prompt: str) -> int:
        """Characters of the longest prefix that an answered request had."""
        best = 0
        running = hashlib.sha256()
        for end in range(_CACHE_STEP, len(prompt) + 1, _CACHE_STEP):
            running.update(prompt[end - _CACHE_STEP : end].encode())
            if end >= _CACHE_FROM and running.digest() in self.prefixes:
                best = end
        return best

    def remember(self, prompt: str) -> None:
        """Writes the prompt to the cache."""
        running = hashlib.sha256()
        for end in range(_CACHE_STEP, len(prompt) + 1, _CACHE_STEP):
            running.update(prompt[end - _CACHE_STEP : end].encode())
            if end >= _CACHE_FROM:
                self.prefixes.add(running.digest())


def answer(schema: Mapping[str, Any], facts: list[dict[str, Any]], root: Mapping[str, Any]) -> Any:
    """The facts in the shape of a schema: one object, or a list of them with their ordinals."""
    schema = _resolved(schema, root)
    properties: Mapping[str, Any] = schema.get("properties", {})
    filled: dict[str, Any] = {}
    for name, fragment in properties.items():
        part = _resolved(fragment, root)
        if part.get("type") == "array" and "properties" in _resolved(part.get("items", {}), root):
            item = _resolved(part["items"], root)
            ordinal = next((key for key in item["properties"] if key.strip("_") == "n"), None)
            filled[name] = [
                {**({} if ordinal is None else {ordinal: n}), **answer(item, [each], root)}
                for n, each in enumerate(facts, start=1)
            ]
        elif facts and name in facts[0]:
            filled[name] = facts[0][name]
        elif not facts:
            # A question of a tool's own, such as whether the model can be bound to a schema at all.
            filled[name] = {"integer": 1, "number": 1.0, "boolean": True}.get(str(part.get("type")), "x")
    return filled


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    node: Any = root
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return dict(node)


def spoilt(text: str, fault: str | None) -> str:
    """The answer as a fault leaves it."""
    match fault:
        case "cut":
            return text[: len(text) // 2]
        case "misnamed":
            return text.replace('"party"', '"partty"', 1)
        case "prose":
            return "The clause says who pays whom, but I would rather tell it in my own words."
        case "wrong_type":
            return text.replace('"amount": ', '"amount": "about ', 1).replace(', "subject"', '", "subject"', 1)
        case _:
            return text


def _texts(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(str(part.get("text", "")) for part in content)


class Standin:
    """The handlers."""

    def __init__(self) -> None:
        self.state = State()

    async def complete(self, http: Request) -> Response:
        """One completion."""
        body, state = await http.body(), self.state
        asked = json.loads(body)
        state.counts["requests"] += 1
        await asyncio.sleep(_LATENCY_S)
        fault = state.fault(body)
        if fault == "429":
            state.counts["rate_limited"] += 1
            error = {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}
            return JSONResponse(error, 429, {**_HEADERS, "retry-after": str(_RETRY_AFTER_S), "retry-after-ms": "200"})
        tools, form = asked.get("tools") or [], asked.get("response_format") or {}
        schema = tools[0]["function"]["parameters"] if tools else form.get("json_schema", {}).get("schema", {})
        prompt = json.dumps([tools, form]) + "".join(map(_texts, asked["messages"]))
        facts = list(facts_in("".join(_texts(m) for m in asked["messages"] if m["role"] == "user")))
        right = answer(schema, [values for _, values in facts], schema) if schema else facts[0][1] if facts else {}
        text = spoilt(json.dumps(right), fault)
        usage = self._bill(prompt, text, facts)
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if tools:
            call = {"name": tools[0]["function"]["name"], "arguments": text}
            message = {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": f"call_{state.counts['requests']}", "type": "function", "function": call}],
            }
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls" if tools else "stop"}
        completion = {
            "id": f"chatcmpl-{state.counts['requests']}",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": asked["model"],
            "choices": [choice],
            "usage": usage,
        }
        return JSONResponse(completion, headers=_HEADERS)

    def _bill(self, prompt: str, text: str, facts: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
        state = self.state
        read = state.cached_chars(prompt) // _CHARS_PER_TOKEN
        state.remember(prompt)
        sent, said = -(-len(prompt) // _CHARS_PER_TOKEN), -(-len(text) // _CHARS_PER_TOKEN)
        state.counts.update(calls=1, input=sent, cached=read, output=said)
        state.paid.update(block_id for block_id, _ in facts)
        return {
            "prompt_tokens": sent,
            "completion_tokens": said,
            "total_tokens": sent + said,
            "prompt_tokens_details": {"cached_tokens": read},
        }

    async def models(self, http: Request) -> Response:
        """The one model."""
        return JSONResponse({"object": "list", "data": [{"id": "gpt-4.1-mini", "object": "model"}]}, headers=_HEADERS)

    async def health(self, http: Request) -> Response:
        """That it answers, and that it is a stand-in."""
        return JSONResponse({"status": "ok", "kind": "simulated"}, headers=_HEADERS)

    async def stats(self, http: Request) -> Response:
        """What was asked and billed."""
        counts = {
            name: self.state.counts[name] for name in ("requests", "rate_limited", "calls", "input", "cached", "output")
        }
        paid = self.state.paid
        return JSONResponse(
            {**counts, "answered": len(paid), "paid_again": sum(paid.values()) - len(paid)}, headers=_HEADERS
        )

    async def reset(self, http: Request) -> Response:
        """Forgets everything; the body says which faults to draw from now on."""
        self.state = State(**json.loads(await http.body() or b"{}"))
        return JSONResponse({"reset": True})

    async def faults(self, http: Request) -> Response:
        """Other faults from now on; nothing is forgotten."""
        for name, value in json.loads(await http.body()).items():
            setattr(self.state, name, value)
        return JSONResponse({"set": True})

    def app(self) -> Starlette:
        """The application."""
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self.complete, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/healthz", self.health),
                Route("/control/stats", self.stats),
                Route("/control/reset", self.reset, methods=["POST"]),
                Route("/control/faults", self.faults, methods=["POST"]),
            ]
        )


def main() -> None:
    """Serves on a free port of loopback, written to --port-file, until terminated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port-file", type=Path, required=True)
    options = parser.parse_args()
    config = uvicorn.Config(Standin().app(), host="127.0.0.1", port=0, log_level="warning", access_log=False)
    server = uvicorn.Server(config)

    async def serve() -> None:
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.02)
        aside = options.port_file.with_suffix(".part")
        aside.write_text(str(server.servers[0].sockets[0].getsockname()[1]))
        aside.replace(options.port_file)
        await serving

    asyncio.run(serve())


if __name__ == "__main__":
    main()
