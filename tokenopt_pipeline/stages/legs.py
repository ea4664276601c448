"""Legs: whom the blocks of a run are expected to be asked, one after the other, before there is a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenopt_pipeline.domain.doubts import is_among
from tokenopt_pipeline.domain.escalation import CheckRates, value_of_check
from tokenopt_pipeline.domain.measured import MeasuredTask
from tokenopt_pipeline.domain.moves import Asks, Cause, Hindered, Move, opening, rule_of, to_tier
from tokenopt_pipeline.domain.packing import PackableBlock
from tokenopt_pipeline.domain.routing import ModelRef, Route, RoutingPolicy, SchemaFacts, parse_model_ref

#: Points that a check may lose to be called worth it: the default aim of `tokenopt route fit`.
AIM = -0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """Blocks that one model is asked about."""

    asks: Asks
    tier: str
    model: ModelRef
    blocks: Sequence[PackableBlock]


@dataclass(slots=True, kw_only=True)
class RoutedBlocks:
    """Blocks of one route, in document order."""

    blocks: list[PackableBlock]
    #: Block type -> how many of them.
    types: Counter[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Blocks whose answers are checked, and what was measured of that."""

    tier: str
    following: str
    #: The models that stand for the two tiers.
    models: tuple[ModelRef, ModelRef]
    blocks: Sequence[PackableBlock]
    #: The row of the fitted table; None: nobody measured.
    row: MeasuredTask | None

    @property
    def doubted(self) -> int | None:
        """How many of the blocks are expected to be asked again; None: unknown."""
        return None if self.row is None or self.row.check is None else round(len(self.blocks) * self.row.check.doubted)

    def sentence(self, usd: float | None, usd_next: float | None) -> str:
        """What the check is worth, at this run's own prices: mean dollars per block of either tier."""
        name = f"{len(self.blocks):,} blocks answered by tier {self.tier}, doubtful ones by tier {self.following}"
        row = self.row
        if row is None or row.check is None or self.following not in row.tiers:
            return f"{name}: nobody measured how many are doubted, so neither cost nor worth of checking is known."
        if usd is None or usd_next is None:
            return (
                f"{name}: {row.check.doubted:.0%} were doubted; without a price, what checking is worth is not known."
            )
        value = value_of_check(
            CheckRates(
                n=row.n,
                p_doubt=row.check.doubted,
                p_wrong_doubted=row.check.wrong_doubted,
                p_wrong_undoubted=row.check.wrong_undoubted,
                p_wrong_next_doubted=row.check.next_wrong_doubted,
                p_wrong_next=1 - row.tiers[self.following].quality,
                usd_cheap=usd,
                usd_next=usd_next,
            )
        )
        return f"{name}: {row.check.doubted:.0%} were doubted of {row.n} measured. {value.sentence(AIM)}"


def legs_of(
    policy: RoutingPolicy, by_route: Mapping[Route, RoutedBlocks], schema: SchemaFacts, hindered: Hindered
) -> tuple[list[Leg], list[Check]]:
    """(Whom the blocks are asked, the checks among it). Where nothing says how blocks will be sorted or compared, the dearer
    outcome is taken; blocks that are expected to be doubted are asked at the next tier too, where that was measured."""
    legs: list[Leg] = []
    checks: list[Check] = []
    for route, routed in by_route.items():
        move = opening(policy, route, hindered)
        legs.append(Leg(asks=move.origin.asks, tier=move.route.tier, model=move.route.model, blocks=routed.blocks))
        if move.origin.asks is Asks.CLASSIFICATION:
            move = _to(policy, move, route.tier, Cause.CLASSIFIED, hindered)
            legs.append(Leg(asks=Asks.ANSWER, tier=move.route.tier, model=move.route.model, blocks=routed.blocks))
        above = policy.escalation.tiers_from(move.route.tier)
        rule = rule_of(policy, route.rule_id)
        wanted = policy.escalation.doubts if rule is None or rule.escalate_on is None else rule.escalate_on
        if not above or not wanted:
            continue
        second = policy.escalation.second_opinion
        if second not in (None, str(move.route.model)) and is_among("disagreement", wanted):
            legs.append(
                Leg(
                    asks=Asks.SECOND_OPINION,
                    tier=move.route.tier,
                    model=parse_model_ref(second or ""),
                    blocks=routed.blocks,
                )
            )
        following = _to(policy, move, above[0], Cause.ESCALATION, hindered)
        for row, blocks in _by_row(policy, schema, routed):
            check = Check(
                tier=move.route.tier,
                following=above[0],
                models=(move.route.model, following.route.model),
                blocks=blocks,
                row=row,
            )
            checks.append(check)
            if check.doubted:
                legs.append(
                    Leg(
                        asks=Asks.ANSWER,
                        tier=following.route.tier,
                        model=following.route.model,
                        blocks=blocks[: check.doubted],
                    )
                )
    return legs, checks


def _to(policy: RoutingPolicy, move: Move, tier: str, cause: Cause, hindered: Hindered) -> Move:
    return to_tier(policy, move.route, move.origin, tier=tier, cause=cause, reason="", hindered=hindered)


def _by_row(
    policy: RoutingPolicy, schema: SchemaFacts, routed: RoutedBlocks
) -> list[tuple[MeasuredTask | None, list[PackableBlock]]]:
    """The blocks in as many parts as rows of the fitted table speak about them. Which block is in which part makes no
    difference to what is expected, so that they are taken in order."""
    parts: dict[tuple[str, str | None] | None, tuple[MeasuredTask | None, list[PackableBlock]]] = {}
    start = 0
    for block_type, n in sorted(routed.types.items()):
        row = None if policy.measured is None else policy.measured.of(schema.task, block_type, schema.complexity)
        key = None if row is None else (row.task, row.block_type)
        parts.setdefault(key, (row, []))[1].extend(routed.blocks[start : start + n])
        start += n
    return list(parts.values())
