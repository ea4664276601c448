"""Tokens by class and dollars; an unknown amount is None and never zero."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """What one call was billed for. The four input classes are disjoint; their sum is the whole input."""

    #: Input at the plain price: neither read from nor written to a cache.
    input_uncached: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    cache_read: int = 0
    #: Thinking included.
    output: int = 0

    @property
    def input_total(self) -> int:
        """All input tokens, cached ones included."""
        return self.input_uncached + self.cache_write + self.cache_read

    @property
    def cache_write(self) -> int:
        """Tokens written to a cache, whatever their lifetime."""
        return self.cache_write_5m + self.cache_write_1h

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(
            input_uncached=self.input_uncached + other.input_uncached,
            cache_write_5m=self.cache_write_5m + other.cache_write_5m,
            cache_write_1h=self.cache_write_1h + other.cache_write_1h,
            cache_read=self.cache_read + other.cache_read,
            output=self.output + other.output,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallAssumptions:
    """What a call was sized with, stored beside what it was billed."""

    pack_blocks: int
    #: Prefix, blocks and the provider's overhead, expected.
    input_tokens: int
    #: Expected answer.
    output_tokens: int
    max_tokens: int
    #: What the model table alone expects of the input, whatever was learnt since; None: nothing can be learnt from it.
    table_input_tokens: int | None
    #: The part of the input that all requests of the schema share, expected.
    prefix_tokens: int
    #: Dollars the call may cost at most; None when the price is unknown.
    usd_ceiling: Decimal | None


def naive_usage(*, blocks: int, prefix_tokens: int, block_tokens: int, answer_tokens: int) -> TokenUsage:
    """What the same blocks would be billed one per call without caching, packing or skipping.

    `block_tokens` is the sum over all blocks, `answer_tokens` the expected answer of one block.
    """
    return TokenUsage(input_uncached=blocks * prefix_tokens + block_tokens, output=blocks * answer_tokens)
