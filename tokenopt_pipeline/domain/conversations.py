"""Conversations with tools as they are stored: what each turn came to, and what a whole one may cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from tokenopt_pipeline.domain.bridge import ToldResult
from tokenopt_pipeline.domain.bridge_policy import BridgePolicy
from tokenopt_pipeline.domain.packs import OpenPack
from tokenopt_pipeline.domain.prefixes import Prefix
from tokenopt_pipeline.domain.requests import ModelResponse
from tokenopt_pipeline.domain.usage import TokenUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTurn:
    """A turn of a conversation that has not ended with it."""

    response: ModelResponse
    #: None when the price is unknown.
    usd: Decimal | None
    #: What the model was told about its calls, in their order; None: they have not all been made.
    told: tuple[ToldResult, ...] | None
    #: For the answer and for the tools.
    spent_ms: int


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
