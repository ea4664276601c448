"""Caching nobody asked for: the longest prefix seen before, in steps of 128 tokens, written for free.

Source: https://developers.openai.com/api/docs/guides/prompt-caching for models before gpt-5.6, read 2026-11-22. Google's implicit
caching documents neither its step nor its lifetime; the sandbox uses this step and the caller's lifetime there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenopt_pipeline.sandbox.prefix_cache import CacheUse, PrefixBlock, PrefixCache
from tokenopt_pipeline.sandbox.tokens import CHARS_PER_TOKEN, tokens_of_chars

STEP_TOKENS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptPart:
    """One piece of a prompt, in the order the model reads it."""

    role: str
    text: str


def automatic_use(
    cache: PrefixCache,
    *,
    scope: bytes,
    parts: Sequence[PromptPart],
    minimum_tokens: int,
    ttl_s: int,
    now_s: float,
) -> CacheUse:
    """What a request that starts now reads; what it writes is not billed."""
    blocks = step_blocks(parts, ttl_s)
    cacheable = [
        index
        for index, block in enumerate(blocks)
        if block.ttl_s is not None and block.tokens_through >= max(minimum_tokens, STEP_TOKENS)
    ]
    return cache.use(
        scope=scope, blocks=blocks, read_at=cacheable, write_at=cacheable, now_s=now_s, writes_are_billed=False
    )


def step_blocks(parts: Sequence[PromptPart], ttl_s: int) -> list[PrefixBlock]:
    """The prompt in steps; the rest that fills no step stands last and is never cached."""
    step_chars = STEP_TOKENS * CHARS_PER_TOKEN
    blocks: list[PrefixBlock] = []
    content = bytearray()
    chars = 0
    for number, part in enumerate(parts):
        # The part's number and role are bytes of the prompt, too: equal text in another role is another prompt.
        content += f"\0{number}:{part.role}\0".encode()
        start = 0
        while start < len(part.text):
            piece = part.text[start : start + step_chars - chars % step_chars]
            content += piece.encode("utf-8", "surrogatepass")
            chars += len(piece)
            start += len(piece)
            if chars % step_chars == 0:
                blocks.append(PrefixBlock(content=bytes(content), tokens_through=tokens_of_chars(chars), ttl_s=ttl_s))
                content.clear()
    if content or not blocks:
        blocks.append(PrefixBlock(content=bytes(content), tokens_through=tokens_of_chars(chars)))
    return blocks
