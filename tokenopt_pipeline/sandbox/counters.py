"""What the sandbox has seen, for tests and benchmarks to compare with the pipeline's own ledger."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tokenopt_pipeline.sandbox.json_value import JsonObject
from tokenopt_pipeline.sandbox.prefix_cache import CacheUse


@dataclass(slots=True, kw_only=True)
class Counters:
    """Sums since the start or the last reset."""

    requests: int = 0
    """Requests that asked for a message, whatever became of them."""
    counting_requests: int = 0
    """Requests to count tokens."""
    calls: int = 0
    """Requests answered by a model, and so billed."""
    blocks: int = 0
    """Blocks asked about in answered packs, asked again counted again."""
    tool_calls: int = 0
    """Calls of tools in answers."""
    cache_hits: int = 0
    """Calls that read from the cache."""
    cache_writes: int = 0
    """Calls that wrote to the cache."""
    in_flight: int = 0
    concurrent_peak: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    by_model: Counter[str] = field(default_factory=Counter)
    by_stop_reason: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)

    def enter(self) -> None:
        """A request for a message has come in."""
        self.requests += 1
        self.in_flight += 1
        self.concurrent_peak = max(self.concurrent_peak, self.in_flight)

    def leave(self, status: int | None) -> None:
        """It has been answered; `status` is None when the connection was reset instead."""
        self.in_flight -= 1
        self.by_status["reset" if status is None else str(status)] += 1

    def count_call(
        self, *, model: str, stop_reason: str, use: CacheUse, output_tokens: int, blocks: int, tool_calls: int = 0
    ) -> None:
        """A model has answered."""
        self.calls += 1
        self.tool_calls += tool_calls
        self.blocks += blocks
        self.cache_hits += use.read_tokens > 0
        self.cache_writes += use.written_tokens > 0
        self.by_model[model] += 1
        self.by_stop_reason[stop_reason] += 1
        self.tokens["input"] += use.uncached_tokens
        self.tokens["cache_read"] += use.read_tokens
        self.tokens["cache_write_5m"] += use.write_5m_tokens
        self.tokens["cache_write_1h"] += use.write_1h_tokens
        self.tokens["cache_write_30m"] += use.write_30m_tokens
        self.tokens["cache_write_12h"] += use.write_12h_tokens
        self.tokens["output"] += output_tokens

    def as_json(self) -> JsonObject:
        """The counters as `GET /control/stats` shows them."""
        classes = ["input", "cache_read", "cache_write_5m", "cache_write_1h", "output"]
        # Only one provider has these lifetimes; where nothing was written at them they would be noise.
        classes += [name for name in ("cache_write_30m", "cache_write_12h") if self.tokens[name]]
        return {
            "kind": "simulated",
            "requests": self.requests,
            "counting_requests": self.counting_requests,
            "calls": self.calls,
            "blocks": self.blocks,
            "tool_calls": self.tool_calls,
            "cache_hits": self.cache_hits,
            "cache_writes": self.cache_writes,
            "in_flight": self.in_flight,
            "concurrent_peak": self.concurrent_peak,
            "by_status": dict(self.by_status),
            "by_model": dict(self.by_model),
            "by_stop_reason": dict(self.by_stop_reason),
            "faults": dict(self.faults),
            "tokens": {name: self.tokens[name] for name in classes},
        }
