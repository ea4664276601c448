"""What is known about a model that decides how it can be asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenopt_pipeline.domain.counting import TokenRule
from tokenopt_pipeline.domain.routing import ModelRef


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Limits and manners of one model. Prices live elsewhere."""

    ref: ModelRef
    #: Input and output together.
    context_tokens: int
    max_output_tokens: int
    #: A shared prefix shorter than this is silently not cached.
    cache_minimum_tokens: int
    #: Real tokens per token of our tokenizer: the mean, for cost.
    token_ratio: float
    #: The same, for fitting into limits: rarely exceeded.
    token_ratio_guard: float
    #: Tokens the provider adds to every request of ours, which has two texts and an output schema.
    request_overhead_tokens: int
    #: Tokens the provider adds to a request with tools beside their declarations, rarely exceeded.
    tools_overhead_tokens: int = 0
    #: `json_schema` (structured outputs) or `tool` (a forced tool).
    output_method: str
    #: Value of the request's `thinking` parameter that makes the model think least, as canonical JSON; None: leave it out.
    thinking: str | None = None

    #: Output that it spends on thinking that cannot be switched off, before the answer; part of a request's max_tokens.
    thinking_reserve_tokens: int = 0
    #: What it adds to requests of any shape; beside `token_ratio`, which is for their texts.
    counting: TokenRule = field(default_factory=TokenRule)
    #: It finds shared prefixes without a mark and without a charge for writing; there is no lifetime to choose.
    caches_by_itself: bool = False
    #: Lifetimes of a cache entry from its last use. Where nothing is promised: how long it has been seen to last.
    cache_short_s: int = 300
    cache_long_s: int = 3_600

    #: (token_ratio, request_overhead_tokens) of the model table, before anything was learnt or said; None: those above.
    as_shipped: tuple[float, int] | None = None

    def shipped_tokens(self, counted: int) -> int:
        """What the model table alone expects of a request of ours whose texts our tokenizer counts so long."""
        ratio, overhead = self.as_shipped or (self.token_ratio, self.request_overhead_tokens)
        return round(counted * ratio) + overhead

    def billed_tokens(self, counted: int) -> int:
        """Expected real tokens of text that our tokenizer counts so long."""
        return round(counted * self.token_ratio)

    def guarded_tokens(self, counted: int) -> int:
        """Real tokens that such a text rarely exceeds."""
        return -int(-counted * self.token_ratio_guard // 1)
