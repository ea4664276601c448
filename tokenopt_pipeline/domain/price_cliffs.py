"""Price cliffs: input lengths above which every token of a request costs more."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from tokenopt_pipeline.domain.usage import TokenUsage

# Short enough for every model's lowest price.
_SHORT = 1_000


def price_cliff(usd: Callable[[TokenUsage], Decimal | None], *, most: int) -> int | None:
    """The longest input of at most `most` tokens at the price of a short one; None when length makes no difference.

    Prices may rise with length and never fall. Input that costs nothing, or an unknown amount, has no cliff.
    """
    short = usd(TokenUsage(input_uncached=_SHORT))
    if not short or most <= _SHORT:
        return None

    def is_dearer(tokens: int) -> bool:
        found = usd(TokenUsage(input_uncached=tokens))
        return found is not None and found * _SHORT > short * tokens

    if not is_dearer(most):
        return None
    low, high = _SHORT, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_dearer(middle) else (middle, high)
    return low
