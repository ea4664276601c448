"""Prediction: what is expected of a run, as `predict` comes to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from tokenopt_pipeline.domain.batch_policy import Mode
from tokenopt_pipeline.domain.embedding_use import EmbeddingBill
from tokenopt_pipeline.domain.forecasts import Forecast
from tokenopt_pipeline.domain.usage import TokenUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedRoute:
    """What is expected of one tier's model in one mode."""

    tier: str
    model: str
    asks: str
    #: `sync` or `async`.
    mode: str
    #: Whether the run would take this mode; otherwise it is here to be compared.
    is_chosen: bool
    #: Answers that lengths were learnt from; 0: they are estimated from the schema alone, which is an upper estimate.
    learnt_from: int
    #: Whether one request goes first in a batch of its own, so that the others find the prefix kept.
    is_primed: bool
    cache_reason: str
    forecast: Forecast


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What is expected of a run."""

    blocks: int
    kept: int
    #: Why an answer is there already -> blocks.
    reused_by_rule: Mapping[str, int]
    #: Rule id -> blocks.
    skipped_by_rule: Mapping[str, int]
    packs: int
    #: Model -> how its packs are asked, and why.
    modes: Mapping[str, Mode]
    #: Over all routes, in the modes that the run would take.
    forecast: Forecast
    usd_baseline: Decimal | None
    #: Every tier's model, in the run's mode and, where it can be asked otherwise, in the other one.
    routes: tuple[PredictedRoute, ...]
    #: What packs carry of the schema's references -> why -> packs; found chunks at the most they may have.
    contexts: Mapping[str, Mapping[str, int]]
    #: Requests; more than packs where models have tools, each of which is priced at one round of them.
    calls: int
    #: What the conversations with tools may cost at most; None without any, or without a price.
    usd_bound: Decimal | None
    conversations: int = 0
    #: Model -> dollars of the run's budget that a conversation of the usual size has to itself while it is going on.
    usd_reserved: Mapping[str, Decimal] = field(default_factory=dict)
    #: Embedder -> what a vendor will be paid for the blocks' queries, which is within the forecast.
    queries: Mapping[str, EmbeddingBill] = field(default_factory=dict)
    #: What the checks of answers are worth, a sentence each.
    checks: tuple[str, ...] = ()
    #: Blocks that fit into no request of any model of their tier: they will fail without being asked.
    too_large: int = 0

    @property
    def reused(self) -> int:
        """Blocks whose answers are there already, or will be."""
        return sum(self.reused_by_rule.values())

    @property
    def usage(self) -> TokenUsage:
        """Expected tokens."""
        return self.forecast.expected.usage

    @property
    def usd(self) -> Decimal | None:
        """Expected dollars; None when a model has no known price."""
        return self.forecast.expected.usd
