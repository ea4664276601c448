"""List prices from genai-prices, whose data ships with the package: nothing is downloaded. A policy's own prices go first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache

from tokenopt_pipeline.adapters.model_table import override_of, undated
from tokenopt_pipeline.domain.model_overrides import ModelOverride
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline.domain.usage import TokenUsage

# genai-prices 0.2.3 bills OpenAI's 12 h cache writes like its 30 min ones. They cost twice as much: 0.25 instead of 0.125
# dollars for gpt-6-luna, 2.50 instead of 1.25 for gpt-6.1-terra, and so for every model with a write price
# (`cache_creation_input_token_cost_above_12hr` in litellm 1.109.1's price list, read 2026-11).
_LONG_WRITES_COST_TWICE = frozenset({"openai"})

# Dollars per million tokens and hour, which genai-prices does not model. Gemini's caching page of 2026-09 has a promotional
# price for this model until the end of 2026; what the others cost was not at hand, and a policy can say it.
_STORAGE_USD = {"google/gemini-3.8-flash": Decimal("0.50")}

_ORDINARY = TokenUsage(input_uncached=1_000, output=1_000)

# Every shard asks for the same few dozen prices of each of its models; what single calls cost passes through beside them.
_REMEMBERED = 1_024


class ListPrices:
    """`ports.Prices` at today's list prices, length tiers and cache classes included, under a policy's own."""

    def __init__(
        self, overrides: Mapping[str, ModelOverride] | None = None, *, batch_share: Decimal | None = None
    ) -> None:
        """`overrides` maps `provider/model` to what a policy says of it. `batch_share`: see `in_batches`; None: no batch."""
        self._overrides = overrides or {}
        self._batch_share = batch_share

    def in_batches(self, share: float) -> ListPrices:
        """What the same costs in batches; `share` of it where no list has a price for batches."""
        return ListPrices(self._overrides, batch_share=Decimal(str(share)))

    def usd(self, model: ModelRef, usage: TokenUsage) -> Decimal | None:
        """Dollars at the policy's price, else at list price; None when no price is known."""
        override = override_of(self._overrides, model)
        if override is not None and override.price is not None:
            declared = override.price.usd(usage)
            return declared if self._batch_share is None else declared * self._batch_share
        listed = self._listed(model, usage)
        if listed is None or model.provider not in _LONG_WRITES_COST_TWICE or not usage.cache_write_1h:
            return listed
        # The whole prompt as short-lived writes tells the price of one at this length, which decides the tier.
        written = self._listed(model, TokenUsage(cache_write_5m=usage.input_total))
        return None if written is None else listed + written * usage.cache_write_1h / usage.input_total

    def _listed(self, model: ModelRef, usage: TokenUsage) -> Decimal | None:
        now = datetime.now(UTC)  # noqa: TID251 - a list says what a model costs at a time of day and from a date on
        minute = now.replace(second=0, microsecond=0)
        if self._batch_share is None:
            return _listed_usd(model, usage, minute)
        # A model without a price for batches is given its plain one. Classes that cost the same in batches are no sign of it.
        if _listed_usd(model, _ORDINARY, minute, "batch") != _listed_usd(model, _ORDINARY, minute):
            return _listed_usd(model, usage, minute, "batch")
        plain = _listed_usd(model, usage, minute)
        return None if plain is None else plain * self._batch_share

    def storage_usd_per_hour(self, model: ModelRef, tokens: int) -> Decimal | None:
        """Dollars for keeping so many tokens of a prefix for an hour; None when no price is known."""
        override = override_of(self._overrides, model)
        if override is not None and override.price is not None:
            per_million = override.price.cache_storage_hour
        else:
            per_million = _STORAGE_USD.get(f"{model.provider}/{undated(model.model)}")
        return None if per_million is None else per_million * tokens / 1_000_000


@lru_cache(maxsize=_REMEMBERED)
def _listed_usd(model: ModelRef, usage: TokenUsage, minute: datetime, processing: str | None = None) -> Decimal | None:
    """What the list says at that minute: lists change prices at minutes, so what is remembered is what would be found."""
    # Only who asks for a price waits for the library, which takes a quarter of a second to import.
    from genai_prices import Usage, calc_price

    counted = Usage(
        input_tokens=usage.input_total,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        cache_write_1h_tokens=usage.cache_write_1h,
        output_tokens=usage.output,
    )
    # The list has some models under some dates only.
    for name in dict.fromkeys((model.model, undated(model.model))):
        try:
            return calc_price(
                counted,
                name,
                provider_id=model.provider,
                genai_request_timestamp=minute,
                price_context=None if processing is None else {"processing": processing},
            ).total_price
        except LookupError:
            continue
    return None
