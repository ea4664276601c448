"""What is known about a model that decides how it can be asked."""

from __future__ import annotations

from dataclasses import dataclass

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
    #: Tokens the provider adds to every request that has an output schema.
    request_overhead_tokens: int
    #: Tokens the provider adds to a request with tools beside their declarations, rarely exceeded.
    tools_overhead_tokens: int = 0
    #: `json_schema` (structured outputs) or `tool` (a forced tool).
    output_method: str
    #: Value of the request's `thinking` parameter that makes the model think least, as canonical JSON; None: leave it out.
    thinking: str | None = None

    def billed_tokens(self, counted: int) -> int:
        """Expected real tokens of text that our tokenizer counts so long."""
        return round(counted * self.token_ratio)

    def guarded_tokens(self, counted: int) -> int:
        """Real tokens that such a text rarely exceeds."""
        return -int(-counted * self.token_ratio_guard // 1)
