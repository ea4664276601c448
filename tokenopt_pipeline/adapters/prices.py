"""List prices from genai-prices, whose data ships with the package: nothing is downloaded."""

from __future__ import annotations

from decimal import Decimal

from genai_prices import Usage, calc_price

from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline.domain.usage import TokenUsage


class ListPrices:
    """`ports.Prices` at today's list prices, length tiers and cache classes included."""

    def usd(self, model: ModelRef, usage: TokenUsage) -> Decimal | None:
        """Dollars at list price; None when no price is known."""
        try:
            price = calc_price(
                Usage(
                    input_tokens=usage.input_total,
                    cache_read_tokens=usage.cache_read,
                    cache_write_tokens=usage.cache_write,
                    cache_write_1h_tokens=usage.cache_write_1h,
                    output_tokens=usage.output,
                ),
                model.model,
                provider_id=model.provider,
            )
        except LookupError:
            return None
        return price.total_price
