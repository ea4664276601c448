"""Forecasts: what planned packs will be billed, as a low, an expected and a high amount."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal

from tokenopt_pipeline.domain.answer_lengths import LengthSum
from tokenopt_pipeline.domain.caching import AUTOMATIC, LONG
from tokenopt_pipeline.domain.learning import SeenPrefix
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.packing import PlannedPack
from tokenopt_pipeline.domain.usage import TokenUsage

_CLASSES = ("input_uncached", "cache_write_5m", "cache_write_1h", "cache_read", "output")
# Prices are read off this many tokens of one class, below every price step.
_SAMPLE_TOKENS = 1_000
# An estimate from the schema alone is an upper one: answers have been seen to take a fifth of it.
_LOW_SHARE = 0.2
# High amounts are passed once in a hundred runs: the normal distribution's quantile.
_RARELY = 2.33


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """One of the three figures of a forecast."""

    calls: int = 0
    usage: TokenUsage = field(default_factory=TokenUsage)
    #: None when the model has no known price.
    usd: Decimal | None = Decimal(0)

    def __add__(self, other: Amounts) -> Amounts:
        usd = None if self.usd is None or other.usd is None else self.usd + other.usd
        return Amounts(calls=self.calls + other.calls, usage=self.usage + other.usage, usd=usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What is spent when answers are short and nothing is asked again, as is usual, and when both go badly."""

    low: Amounts = field(default_factory=Amounts)
    expected: Amounts = field(default_factory=Amounts)
    high: Amounts = field(default_factory=Amounts)

    def __add__(self, other: Forecast) -> Forecast:
        return Forecast(low=self.low + other.low, expected=self.expected + other.expected, high=self.high + other.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How often a prefix is written, and found by the other requests."""

    #: The lifetime that requests ask for; None: it is not kept.
    ttl: str | None
    #: Shares of the requests after the first that find it: at worst, as is usual.
    low_share: float = 1.0
    share: float = 1.0


@dataclass(slots=True, kw_only=True)
class Load:
    """Sums over the packs of one model, however many there are."""

    model: ModelSpec
    #: Longest input at the low price; None: length makes no difference.
    cliff_tokens: int | None = None
    packs: int = 0
    blocks: int = 0
    #: Guarded tokens of all lines.
    line_tokens: int = 0
    max_tokens: int = 0
    answers: LengthSum = field(default_factory=LengthSum)
    #: Packs above the price step, which are priced one by one.
    dear: list[PlannedPack] = field(default_factory=list)

    def add(self, packs: Iterable[PlannedPack], *, prefix_tokens: int) -> None:
        """Adds the packs of a shard behind a prefix of so many tokens (our tokenizer's count)."""
        shared = self.model.billed_tokens(prefix_tokens) + self.model.request_overhead_tokens
        for pack in packs:
            if self.cliff_tokens is not None and shared + pack.input_tokens > self.cliff_tokens:
                self.dear.append(pack)
            self.packs += 1
            self.blocks += len(pack.blocks)
            self.line_tokens += pack.input_tokens
            self.max_tokens += pack.max_tokens
            self.answers.add(pack.output_tokens, max(pack.bound_tokens - pack.output_tokens, 0))


def forecast(
    load: Load,
    usd: Callable[[TokenUsage], Decimal | None],
    *,
    prefix_tokens: int,
    keeping: Keeping,
    is_learnt: bool,
    overflow_probability: float,
    seen: SeenPrefix | None = None,
    beside_tokens: int = 0,
    talk: Callable[[TokenUsage], TokenUsage] | None = None,
) -> Forecast:
    """The forecast for a load whose prefix is kept as `keeping` says; `is_learnt`: lengths are learnt from answers;
    `seen`: how the very prefix was billed before; `beside_tokens`: input of every request that is neither prefix nor lines;
    `talk`: from a plain call to a conversation of two.

    Low and high differ in the length of answers (what a hundred such runs stay between; what the schema alone allows while no
    answer was seen), in how exactly tokens are counted, and in how many packs overflow and have their rest asked again.
    """
    model, n = load.model, load.packs
    shared = model.billed_tokens(prefix_tokens) + model.request_overhead_tokens
    counted = load.line_tokens / model.token_ratio_guard if model.token_ratio_guard else 0.0
    lines = counted * model.token_ratio
    if seen is not None:
        shared, lines = seen.tokens, counted * seen.line_ratio + n * seen.beside
    lines += n * beside_tokens
    # Errors of counting partly cancel over calls.
    guard = model.token_ratio_guard / model.token_ratio - 1 if model.token_ratio else 0.0
    count_error = guard / math.sqrt(max(n, 1))
    expected = load.answers.expected
    overflows = math.ceil(n * overflow_probability + _RARELY * math.sqrt(n * overflow_probability)) if is_learnt else n
    spread = load.answers.bound - expected
    low_output = max(expected - spread, 0.0) if is_learnt else expected * _LOW_SHARE
    high_output = expected + spread if is_learnt else float(load.max_tokens)
    # The rest of a pack that overflows is asked once more: half its lines, and what was lost of its answer.
    again = min(overflows / n, 1.0) if n else 0.0
    price = _Prices(load, usd, shared, talk)
    return Forecast(
        low=price.amounts(
            n, shared * (1 - count_error), lines * (1 - count_error), low_output, replace(keeping, share=1.0)
        ),
        expected=price.amounts(n, shared, lines, expected, keeping),
        high=price.amounts(
            n + min(overflows, n),
            shared * (1 + count_error),
            lines * (1 + count_error) * (1 + again / 2),
            high_output * (1 + again / 2) if is_learnt else high_output,
            replace(keeping, share=keeping.low_share),
        ),
    )


class _Prices:
    """Token prices of one model, and what its packs above a price step cost beyond them."""

    def __init__(
        self,
        load: Load,
        usd: Callable[[TokenUsage], Decimal | None],
        shared: int,
        talk: Callable[[TokenUsage], TokenUsage] | None,
    ) -> None:
        self._talk = talk
        sampled = {name: usd(TokenUsage(**{name: _SAMPLE_TOKENS})) for name in _CLASSES}
        self._per_token = {name: amount / _SAMPLE_TOKENS for name, amount in sampled.items() if amount is not None}
        self._is_known = len(self._per_token) == len(_CLASSES)
        self._beyond = Decimal(0)
        for pack in load.dear:
            usage = TokenUsage(input_uncached=shared + pack.input_tokens, output=pack.output_tokens)
            self._beyond += (usd(usage) or Decimal(0)) - self._usd(usage)

    def amounts(self, calls: int, shared: float, lines: float, output: float, keeping: Keeping) -> Amounts:
        usage = usage_of(calls, round(shared), round(lines), round(output), keeping)
        if self._talk is not None and calls:
            # Of the usual call, so often; a conversation's second request reads what the first has written.
            usage, calls = scaled(self._talk(scaled(usage, 1 / calls)), calls), 2 * calls
        usd = self._usd(usage) + self._beyond if self._is_known else None
        return Amounts(calls=calls, usage=usage, usd=usd)

    def _usd(self, usage: TokenUsage) -> Decimal:
        return sum((price * getattr(usage, name) for name, price in self._per_token.items()), Decimal(0))


def scaled(usage: TokenUsage, factor: float) -> TokenUsage:
    """So many times a usage."""
    return TokenUsage(**{name: round(getattr(usage, name) * factor) for name in _CLASSES})


def usage_of(calls: int, shared: int, lines: int, output: int, keeping: Keeping) -> TokenUsage:
    """What so many calls are billed: the first writes the shared prefix where it is kept, and so do others that miss it."""
    if keeping.ttl is None or calls == 0:
        return TokenUsage(input_uncached=calls * shared + lines, output=output)
    read = round((calls - 1) * keeping.share) * shared
    written = calls * shared - read
    if keeping.ttl == AUTOMATIC:
        return TokenUsage(input_uncached=written + lines, cache_read=read, output=output)
    if keeping.ttl == LONG:
        return TokenUsage(input_uncached=lines, cache_write_1h=written, cache_read=read, output=output)
    return TokenUsage(input_uncached=lines, cache_write_5m=written, cache_read=read, output=output)
