"""Conversations with tools as they are stored: what each turn came to, and what a whole one may cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from tokenopt_pipeline.domain.bridge import ToldResult
from tokenopt_pipeline.domain.bridge_policy import BridgePolicy
from tokenopt_pipeline.domain.packs import OpenPack
from tokenopt_pipeline.domain.prefixes import Prefix
from tokenopt_pipeline.domain.requests import ModelResponse
from tokenopt_pipeline.domain.usage import TokenUsage

#: Output of a turn that calls a tool: its name and a few words of arguments.
CALL_TOKENS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTurn:
    """A turn of a conversation that has not ended with it."""

    response: ModelResponse
    #: None when the price is unknown.
    usd: Decimal | None
    #: What the model was told about its calls, in their order; None: they have not all been made.
    told: tuple[ToldResult, ...] | None
    #: For the tools and, where it was no answer out of a batch, for the answer.
    spent_ms: int
    #: Number of its call.
    call_no: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptConversation:
    """A conversation as far as it is stored."""

    began_at: datetime
    turns: tuple[KeptTurn, ...] = ()

    def before(self, call_no: int) -> KeptConversation:
        """As it stood when this call was begun."""
        return replace(self, turns=tuple(turn for turn in self.turns if turn.call_no < call_no))

    @property
    def spent_s(self) -> float:
        """What it has taken; time in batches does not count."""
        return sum(turn.spent_ms for turn in self.turns) / 1000

    def age_h(self, now: datetime) -> float:
        """Hours since it began."""
        return (now - self.began_at).total_seconds() / 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledTurn:
    """A turn to be stored."""

    call_no: int
    pack: OpenPack
    fingerprint: str
    prefix: Prefix
    response: ModelResponse
    usd: Decimal | None
    usd_ceiling: Decimal | None
    latency_ms: int
    #: What its input was guarded with.
    input_tokens: int
    max_tokens: int
    prefix_tokens: int


def expected_conversation(call: TokenUsage, *, found_tokens: int, keeps_turns: bool, results_tokens: int) -> TokenUsage:
    """What two requests are billed where a plain call is billed `call`: one that calls a tool, and one that answers.

    The second reads so many tokens of the first from the cache. `keeps_turns`: what they do not read they write.
    """
    again = call.input_total - found_tokens + results_tokens + CALL_TOKENS
    answer = TokenUsage(input_uncached=again, cache_read=found_tokens, output=call.output)
    both = replace(call, output=CALL_TOKENS) + answer
    if not keeps_turns:
        return both
    return replace(both, input_uncached=0, cache_write_5m=both.cache_write_5m + both.input_uncached)


def conversation_usd(
    bounds: BridgePolicy, usd: Callable[[TokenUsage], Decimal | None], plain_usd: Decimal | None
) -> Decimal | None:
    """The most that a pack may cost: its conversation up to the bounds, and the plain call after it.

    None when a price is unknown.
    """
    # Every request is admitted by what it may cost at most, so that only the dearest tokens count.
    written, said = usd(TokenUsage(cache_write_1h=bounds.max_tokens)), usd(TokenUsage(output=bounds.max_tokens))
    if written is None or said is None or plain_usd is None:
        return None
    dearest = max(written, said)
    return min(dearest, bounds.max_usd or dearest) + plain_usd
