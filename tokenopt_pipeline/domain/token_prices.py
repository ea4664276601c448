"""A price list that a person declared: dollars per million tokens of each class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation

from tokenopt_pipeline.domain.errors import PolicyInvalid
from tokenopt_pipeline.domain.usage import TokenUsage

_PER = Decimal(1_000_000)
_MOST_USD = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrice:
    """Dollars per million tokens. A server without a price for cache use bills such tokens as plain input."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write_5m: Decimal
    cache_write_1h: Decimal
    #: For keeping a million tokens of a prefix for an hour; None: nobody said.
    cache_storage_hour: Decimal | None = None

    def usd(self, usage: TokenUsage) -> Decimal:
        """Dollars for these tokens."""
        total = (
            usage.input_uncached * self.input
            + usage.cache_read * self.cache_read
            + usage.cache_write_5m * self.cache_write_5m
            + usage.cache_write_1h * self.cache_write_1h
            + usage.output * self.output
        )
        return total / _PER

    def document(self) -> dict[str, str]:
        """As JSON values; `parse_price` reads them back."""
        told = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: f"{amount:f}" for name, amount in told.items() if amount is not None}


def parse_price(value: object, where: str) -> TokenPrice:
    """The price behind a mapping of classes to dollars; input and output are needed. Raises PolicyInvalid."""
    names = [f.name for f in fields(TokenPrice)]
    if not isinstance(value, Mapping):
        raise PolicyInvalid(f"{where} = {value!r}, allowed a mapping of {', '.join(names)} to dollars")
    if unknown := sorted(str(name) for name in value if name not in names):
        raise PolicyInvalid(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(names)}")
    if missing := [name for name in ("input", "output") if name not in value]:
        raise PolicyInvalid(f"{where}.{missing[0]} is missing: dollars per million tokens, 0 when it costs nothing")
    told = {str(name): _dollars(amount, f"{where}.{name}") for name, amount in value.items()}
    plain = told["input"]
    classes = {name: told.get(name, plain) for name in names if name != "cache_storage_hour"}
    return TokenPrice(**classes, cache_storage_hour=told.get("cache_storage_hour"))


def _dollars(value: object, where: str) -> Decimal:
    try:
        amount = Decimal("NaN") if isinstance(value, bool) else Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= _MOST_USD:
        raise PolicyInvalid(f"{where} = {value!r}, allowed dollars per million tokens from 0 to {_MOST_USD}")
    # One spelling for one amount: 1, 1.0 and 1.00 must hash alike.
    return amount.normalize()
