"""Retrieval: whether a pack may carry the chunks that were found for it, or must carry its references whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from tokenopt_pipeline.domain.caching import LONG, SHORT
from tokenopt_pipeline.domain.contexts import PackChunks
from tokenopt_pipeline.domain.policy import RetrievalPolicy
from tokenopt_pipeline.domain.probes import Calibration, Threshold
from tokenopt_pipeline.domain.ranking import Confidence
from tokenopt_pipeline.domain.usage import TokenUsage


class ContextKind(StrEnum):
    """What a pack carries of its references."""

    #: The schema names no references, or wants nothing of them.
    NONE = "none"
    FULL = "full"
    RETRIEVED = "retrieved"
    #: The model asks for what it needs, with a tool that searches the same indexes.
    ON_DEMAND = "on_demand"


class ContextCause(StrEnum):
    """The one fact that decided; what fallbacks are counted by."""

    NOT_ASKED = "not_asked"
    CRITICAL = "critical"
    SWITCHED_OFF = "switched_off"
    NO_INDEX = "no_index"
    STALE_INDEX = "stale_index"
    NOT_MEASURED = "not_measured"
    #: With rules of other references than those that lend words to the run's searches.
    MEASURED_OTHERWISE = "measured_otherwise"
    RECALL_BELOW_GATE = "recall_below_gate"
    RULE_UNDECIDED = "rule_undecided"
    OVER_BUDGET = "over_budget"
    SCORE_BELOW_THRESHOLD = "score_below_threshold"
    MARGIN_BELOW_THRESHOLD = "margin_below_threshold"
    FULL_IS_CHEAPER = "full_is_cheaper"
    #: No embedder, or no answer from it.
    SEARCH_FAILED = "search_failed"
    #: A conversation with tools came to no answer.
    BRIDGE_GAVE_UP = "bridge_gave_up"
    RETRIEVED = "retrieved"
    ON_DEMAND = "on_demand"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalLimits:
    """What must hold before found chunks replace a whole reference."""

    enabled: bool
    #: Mean recall on probes, 0 to 1.
    recall_gate: float
    #: Probes that threshold and recall must have been measured on, at least.
    min_probes: int
    #: Below it no search is trusted, whatever was calibrated.
    floor: Threshold


def limits_of(policy: RetrievalPolicy) -> RetrievalLimits:
    """The limits a policy sets."""
    return RetrievalLimits(
        enabled=policy.enabled,
        recall_gate=policy.recall_gate,
        min_probes=policy.min_probes,
        floor=Threshold(score=policy.min_score, margin=policy.min_margin),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexStanding:
    """How an index stands when a pack is planned."""

    name: str
    #: The sources that are registered now are not those it was built from.
    is_stale: bool
    #: None: no probes, so nothing is known of what it finds.
    calibration: Calibration | None
    #: References whose rules lend words to searches of it: name -> recipe digest of its index.
    lent_by: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackFindings:
    """What the searches for one pack's blocks came to."""

    #: Per block, in the pack's order.
    confidences: tuple[Confidence, ...]
    chunks: PackChunks
    #: Rules of which a pattern took too long on some block.
    undecided_rules: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextPrices:
    """Dollars of one call's input without its blocks, either way."""

    #: Prompt and whole references as one shared prefix.
    whole_usd: Decimal
    #: The prompt alone as a shared prefix, and the found chunks, which no cache holds.
    found_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextDecision:
    """What a pack carries, and why in one sentence."""

    kind: ContextKind
    cause: ContextCause
    reason: str


def shared_usd(
    usd: Callable[[TokenUsage], Decimal | None], tokens: int, *, calls: int, ttl: str | None
) -> Decimal | None:
    """Dollars per call of a prefix that so many calls share: written once and read by every further call.

    `ttl` is the cache plan's: None, and every call pays the plain price. None when the price is unknown.
    """
    fresh = TokenUsage(input_uncached=tokens)
    if ttl is None:
        return usd(fresh)
    written = {SHORT: TokenUsage(cache_write_5m=tokens), LONG: TokenUsage(cache_write_1h=tokens)}.get(ttl, fresh)
    first, further = usd(written), usd(TokenUsage(cache_read=tokens))
    return None if first is None or further is None else (first + further * (calls - 1)) / calls


def decide_before_searching(
    retrieval: str, references: int, indexes: list[IndexStanding | None], limits: RetrievalLimits
) -> ContextDecision | None:
    """What can be decided without a search; None when the blocks must be looked at.

    `retrieval` and the number of references are the schema's; `indexes` has one entry per reference, None: no index.
    """
    if retrieval == "none" or references == 0:
        return not_asked()
    if retrieval == "critical":
        return _full(ContextCause.CRITICAL, "the schema is marked retrieval: critical")
    if not limits.enabled:
        return _full(ContextCause.SWITCHED_OFF, "retrieval.enabled is false")
    for index in indexes:
        if (refused := _distrust(index, limits)) is not None:
            return refused
    return None


def _distrust(index: IndexStanding | None, limits: RetrievalLimits) -> ContextDecision | None:
    if index is None:
        return _full(ContextCause.NO_INDEX, "a reference has no index")
    if index.is_stale:
        return _full(ContextCause.STALE_INDEX, f"index {index.name} is older than its sources")
    measured = index.calibration
    if measured is None or measured.n < limits.min_probes:
        n = 0 if measured is None else measured.n
        return _full(
            ContextCause.NOT_MEASURED, f"index {index.name} was measured on {n} probes, {limits.min_probes} are needed"
        )
    if measured.lent_by != index.lent_by:
        return _full(ContextCause.MEASURED_OTHERWISE, _measured_otherwise(index.name, measured.lent_by, index.lent_by))
    if measured.threshold is None or measured.recall is None or measured.recall < limits.recall_gate:
        found = "none was trusted" if measured.recall is None else f"recall {measured.recall:.3f}"
        return _full(
            ContextCause.RECALL_BELOW_GATE,
            f"index {index.name}: {found} on {measured.n} unseen probes, the gate is {limits.recall_gate:g}",
        )
    return None


def _measured_otherwise(name: str, measured: Mapping[str, str], searched: Mapping[str, str]) -> str:
    def told(lent_by: Mapping[str, str]) -> str:
        return f"with rules of {', '.join(sorted(lent_by))}" if lent_by else "without rules of other references"

    if measured.keys() == searched.keys():
        return f"index {name} was measured {told(measured)} that have changed since"
    return f"index {name} was measured {told(measured)}, the run searches {told(searched)}"


def decide_context(
    index: IndexStanding, found: PackFindings, limits: RetrievalLimits, *, reference_tokens: int
) -> ContextDecision:
    """Whether what was found for one pack in one reference is safe, whose index was trusted before searching.

    `reference_tokens` is the whole reference.
    """
    assert index.calibration is not None  # decided before searching
    assert index.calibration.threshold is not None  # likewise
    calibrated = index.calibration.threshold
    least_score = max(calibrated.score, limits.floor.score)
    least_margin = max(calibrated.margin, limits.floor.margin)
    if found.undecided_rules:
        return _full(
            ContextCause.RULE_UNDECIDED,
            f"{found.undecided_rules} rules of {index.name} could not be told to fire or not within their time",
        )
    if found.chunks.missed:
        return _full(
            ContextCause.OVER_BUDGET,
            f"{len(found.chunks.missed)} needed chunks of {index.name} do not fit the token budget",
        )
    for nth, sure in enumerate(found.confidences, start=1):
        if sure.score < least_score:
            return _full(
                ContextCause.SCORE_BELOW_THRESHOLD,
                f"block {nth}: best score {sure.score:.3f} in {index.name}, the threshold is {least_score:.3f}",
            )
        if sure.margin < least_margin:
            return _full(
                ContextCause.MARGIN_BELOW_THRESHOLD,
                f"block {nth}: score margin {sure.margin:.3f} in {index.name}, the threshold is {least_margin:.3f}",
            )
    return _decided(
        ContextKind.RETRIEVED,
        ContextCause.RETRIEVED,
        f"{found.chunks.tokens:,} of {reference_tokens:,} tokens of {index.name} were found with confidence",
    )


def decide_pack(decisions: Sequence[ContextDecision], prices: ContextPrices | None) -> ContextDecision:
    """The decision for a pack, of those for each of its references: whole as soon as one is, or where that is cheaper.

    Without prices the two ways are not compared and the chunks are taken.
    """
    for decision in decisions:
        if decision.kind is ContextKind.FULL:
            return decision
    if prices is not None and prices.whole_usd <= prices.found_usd:
        return _full(
            ContextCause.FULL_IS_CHEAPER,
            f"prompt and whole references, cached, cost ${prices.whole_usd:.6f} a call; prompt and found chunks "
            f"${prices.found_usd:.6f}",
        )
    reason = "; ".join(decision.reason for decision in decisions)
    return _decided(ContextKind.RETRIEVED, ContextCause.RETRIEVED, reason)


def not_asked() -> ContextDecision:
    """What a schema gets that wants nothing."""
    return _decided(ContextKind.NONE, ContextCause.NOT_ASKED, "the schema asks for no references")


def found_at_most(tokens: int) -> ContextDecision:
    """What is expected of a pack whose blocks nobody has looked at yet."""
    return _decided(ContextKind.RETRIEVED, ContextCause.RETRIEVED, f"up to {tokens:,} tokens may be found")


def on_demand() -> ContextDecision:
    """What a model with a tool to search the references is given of them at first."""
    return _decided(ContextKind.ON_DEMAND, ContextCause.ON_DEMAND, "the model searches the references with a tool")


def search_failed(problem: str) -> ContextDecision:
    """What follows when the references cannot be searched."""
    return _full(ContextCause.SEARCH_FAILED, f"the search failed: {problem}")


def gave_up(reason: str) -> ContextDecision:
    """What it is given when its conversation came to no answer."""
    return _full(ContextCause.BRIDGE_GAVE_UP, reason)


def _full(cause: ContextCause, reason: str) -> ContextDecision:
    return _decided(ContextKind.FULL, cause, reason)


def _decided(kind: ContextKind, cause: ContextCause, reason: str) -> ContextDecision:
    return ContextDecision(kind=kind, cause=cause, reason=reason)
