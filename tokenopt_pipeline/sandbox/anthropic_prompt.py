"""A request rendered the way the model sees it: how many tokens, in which order, with breakpoints where."""

from __future__ import annotations

import hashlib

from tokenopt_pipeline.sandbox.anthropic_request import ContentBlock, MessagesRequest
from tokenopt_pipeline.sandbox.json_value import compact
from tokenopt_pipeline.sandbox.prefix_cache import TTL_1H_S, TTL_5M_S, PrefixBlock
from tokenopt_pipeline.sandbox.tokens import HiddenPrompt, tokens_of_chars

_TTL_S = {"5m": TTL_5M_S, "1h": TTL_1H_S}


def cache_scope(request: MessagesRequest, key: str) -> bytes:
    """What caches of different requests never share: the key, the model, the output format."""
    form = "" if request.format_schema is None else compact(request.format_schema)
    return hashlib.sha256("\0".join((key, request.model.id, form)).encode()).digest()


def render(request: MessagesRequest, hidden: HiddenPrompt) -> list[PrefixBlock]:
    """The prompt's blocks in the order tools, system, messages.

    What the provider adds by itself stands first, so that it belongs to every prefix, as recorded cache counts show.
    """
    chars = 0 if request.format_schema is None else len(compact(request.format_schema))
    hidden_tokens = _hidden_tokens(request, hidden)
    # These change what follows the system part only: https://platform.claude.com/docs/en/build-with-claude/prompt-caching
    conversation = repr((request.tool_choice, request.forced_tool, request.thinking, request.effort))
    rendered = []
    for index, block in enumerate(request.blocks):
        text = compact(block.value) if block.role == "tool" else block.text
        chars += len(text)
        content = compact(block.value)
        if index == len(request.tools) + len(request.system):
            content = f"{conversation}\0{content}"
        rendered.append(
            PrefixBlock(
                content=f"{block.role}\0{content}".encode(),
                tokens_through=hidden_tokens + tokens_of_chars(chars),
                ttl_s=_ttl_s(request, block),
            )
        )
    return rendered


def _hidden_tokens(request: MessagesRequest, hidden: HiddenPrompt) -> int:
    tokens = 0 if request.format_schema is None else hidden.format_tokens
    if request.tools:
        tokens += hidden.forced_tool_tokens if request.forces_tool else hidden.tools_tokens
    return tokens


def _ttl_s(request: MessagesRequest, block: ContentBlock) -> int | None:
    ttl = block.ttl
    if ttl is None and block is request.messages[-1]:
        ttl = request.automatic_ttl
    return None if ttl is None else _TTL_S[ttl]
