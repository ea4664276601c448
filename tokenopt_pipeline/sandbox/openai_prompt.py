"""A Responses request rendered the way the model sees it, and what it reads from and writes to the prompt cache.

Source: https://developers.openai.com/api/docs/guides/prompt-caching and the SDK's description of `prompt_cache_options`, read
2026-11-22; the billed counts of an explicit breakpoint agree with two recorded exchanges.
"""

from __future__ import annotations

import hashlib

from tokenopt_pipeline.sandbox.automatic_prefix import PromptPart, automatic_use
from tokenopt_pipeline.sandbox.json_value import compact
from tokenopt_pipeline.sandbox.openai_request import ResponsesRequest, schema_text, tool_text
from tokenopt_pipeline.sandbox.prefix_cache import TTL_12H_S, TTL_30M_S, CacheUse, PrefixBlock, PrefixCache
from tokenopt_pipeline.sandbox.tokens import tokens_of_chars

MAX_WRITES = 4
MAX_EXPLICIT_READS = 80
MAX_IMPLICIT_READS = 20
_TTL_S = {"30m": TTL_30M_S, "12h": TTL_12H_S}
_RETENTION_S = {"in_memory": 300, "24h": 86_400}


def prompt_tokens(request: ResponsesRequest) -> int:
    """Tokens of the whole prompt: schema, tools, instructions, input."""
    return tokens_of_chars(_chars_before_input(request) + sum(len(part.text) for part in request.input))


def cache_use(request: ResponsesRequest, cache: PrefixCache, key: str, now_s: float) -> CacheUse:
    """What `request`, which starts now, reads and will write."""
    return (_breakpoint_use if request.model.breakpoints else _automatic_use)(request, cache, key, now_s)


def _breakpoint_use(request: ResponsesRequest, cache: PrefixCache, key: str, now_s: float) -> CacheUse:
    blocks = _blocks(request)
    minimum = request.model.cache_minimum_tokens
    # The first block is what stands before the input; input part i is block i + 1.
    explicit = [index for index, part in enumerate(request.input, 1) if part.marked]
    read_at = set(explicit[-MAX_EXPLICIT_READS:])
    write_at = set(explicit[-MAX_WRITES:])
    if request.cache_mode == "implicit":
        ends = [index for index, part in enumerate(request.input, 1) if part.ends_item]
        implicit = _implicit_breakpoint(request)
        write_at = {*explicit[-(MAX_WRITES - 1) :], implicit}
        read_at |= {implicit, *[index for index in ends if index < implicit][-MAX_IMPLICIT_READS:]}
    return cache.use(
        scope=_scope(request, key),
        blocks=blocks,
        read_at=[index for index in read_at if blocks[index].tokens_through >= minimum],
        write_at=sorted(index for index in write_at if blocks[index].tokens_through >= minimum),
        now_s=now_s,
    )


def _automatic_use(request: ResponsesRequest, cache: PrefixCache, key: str, now_s: float) -> CacheUse:
    # A key routes to a machine here, and caches belong to machines.
    routed = f"{key}\0{request.body.get('prompt_cache_key') or ''}"
    return automatic_use(
        cache,
        scope=_scope(request, routed),
        parts=[
            PromptPart(role="schema", text=schema_text(request)),
            PromptPart(role="tools", text=tool_text(request)),
            PromptPart(role="instructions", text=request.instructions),
            *(PromptPart(role=part.role, text=part.text) for part in request.input),
        ],
        minimum_tokens=request.model.cache_minimum_tokens,
        ttl_s=_RETENTION_S.get(str(request.body.get("prompt_cache_retention")), _RETENTION_S["in_memory"]),
        now_s=now_s,
    )


def _implicit_breakpoint(request: ResponsesRequest) -> int:
    """The block of the last user message's or tool result's end; the whole prompt without either."""
    last = len(request.input)
    for index, part in enumerate(request.input, 1):
        if part.ends_item and part.role in ("user", "function_call_output"):
            last = index
    return last


def _blocks(request: ResponsesRequest) -> list[PrefixBlock]:
    chars = _chars_before_input(request)
    content = request.instructions.encode("utf-8", "surrogatepass")
    blocks = [PrefixBlock(content=content, tokens_through=tokens_of_chars(chars))]
    for part in request.input:
        chars += len(part.text)
        blocks.append(
            PrefixBlock(
                content=f"{part.role}\0{part.ends_item}\0{part.text}".encode("utf-8", "surrogatepass"),
                tokens_through=tokens_of_chars(chars),
                ttl_s=_TTL_S[part.ttl or request.cache_ttl],
            )
        )
    return blocks


def _scope(request: ResponsesRequest, key: str) -> bytes:
    """What caches of different requests never share: schema, tools, effort and verbosity stand in the prefix, too."""
    parallel = str(request.body.get("parallel_tool_calls", True))
    form = compact(request.body.get("text"))
    tools = tool_text(request)
    return hashlib.sha256(
        "\0".join((key, request.model.id, form, tools, request.effort, parallel)).encode("utf-8", "surrogatepass")
    ).digest()


def _chars_before_input(request: ResponsesRequest) -> int:
    return len(schema_text(request)) + len(tool_text(request)) + len(request.instructions)
