"""What follows one block's part of an answer under the run's routing: it stands, an earlier one does, or somebody else is asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tokenopt_pipeline.domain.answer_doubts import disagreements, find_doubts
from tokenopt_pipeline.domain.classification import matched_tier
from tokenopt_pipeline.domain.doubts import Doubt, is_among
from tokenopt_pipeline.domain.escalation import Escalation, escalate
from tokenopt_pipeline.domain.fallbacks import Obstacle
from tokenopt_pipeline.domain.moves import (
    Asks,
    Cause,
    Hindered,
    Move,
    fallback,
    rule_of,
    to_fallback,
    to_second_opinion,
    to_tier,
)
from tokenopt_pipeline.domain.outputs import DecodedOutput, Finding
from tokenopt_pipeline.domain.packs import OpenPack, PackMember
from tokenopt_pipeline.domain.routing import RoutingPolicy
from tokenopt_pipeline.domain.schemas import ExtractionSchema

# What another model of the tier may do where this one cannot.
_OBSTACLES = {
    Finding.REFUSED: Obstacle.REFUSED,
    Finding.REJECTED: Obstacle.REFUSED,
    Finding.TOO_LARGE: Obstacle.OVER_LIMITS,
}
# What says of an answer that it is in no usable form; `INVALID` says more: which rule of the schema it breaks.
_UNPARSABLE = frozenset({Finding.UNPARSABLE, Finding.MISSING, Finding.DUPLICATE, Finding.TRUNCATED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An earlier answer of the block is its output."""

    call_no: int
    #: One sentence.
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequence:
    """What follows for one block. At most one of `is_last`, `chosen` and `move`; none: it is asked again as before."""

    #: The block's story ends with this output, valid or failed.
    is_last: bool = False
    #: Its story ends with an earlier one.
    chosen: Choice | None = None
    #: It is asked elsewhere.
    move: Move | None = None
    #: None: the answer was not looked at.
    doubts: tuple[Doubt, ...] | None = None
    #: What was decided, in one sentence; empty where nothing was to decide.
    verdict: str = ""


def consequences_of(
    routing: RoutingPolicy,
    schema: ExtractionSchema,
    pack: OpenPack,
    members: Sequence[PackMember],
    outputs: Sequence[DecodedOutput],
    *,
    again: frozenset[int],
    hindered: Hindered,
) -> Mapping[int, Consequence]:
    """Block -> what follows for it, for every block of the pack. `schema` is what the pack asked; `again` are the blocks that
    the retry policy would ask the same model once more."""
    return {
        member.block_no: _Case(
            routing=routing,
            schema=schema,
            pack=pack,
            member=member,
            output=output,
            is_asked_again=member.block_no in again,
            hindered=hindered,
        ).consequence()
        for member, output in zip(members, outputs, strict=True)
    }


def unaffordable(member: PackMember, pack: OpenPack, problem: str) -> Choice | None:
    """The earlier answer that stands because a further one cannot be paid; None where there is none."""
    if member.standing is None:
        return None
    tier, model = member.standing.tier, pack.route.model
    return Choice(
        call_no=member.standing.call_no,
        reason=f"The answer of tier {tier} stands, because asking {model} does not fit the budget: {problem}.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One block's part of an answer, and what it was asked under."""

    routing: RoutingPolicy
    schema: ExtractionSchema
    pack: OpenPack
    member: PackMember
    output: DecodedOutput
    is_asked_again: bool
    hindered: Hindered

    def consequence(self) -> Consequence:
        """What follows."""
        asks = self.pack.origin.asks
        if asks is Asks.ANSWER:
            return self._valid(self.output.values) if self.output.values is not None else self._unusable()
        if self.is_asked_again:
            return Consequence()
        return self._classified() if asks is Asks.CLASSIFICATION else self._compared()

    def _classified(self) -> Consequence:
        rule = rule_of(self.routing, self.pack.route.rule_id)
        assert rule is not None  # the frozen policy's own rule made the pack
        assert rule.two_pass is not None  # likewise
        matched = matched_tier(rule.two_pass, self.output.values)
        move = to_tier(
            self.routing,
            self.pack.route,
            self.pack.origin,
            tier=matched.tier,
            cause=Cause.CLASSIFIED,
            reason=f"Rule {rule.id}: {matched.reason.removesuffix('.')}, so tier {matched.tier} answers",
            hindered=self.hindered,
        )
        return Consequence(move=move, verdict=matched.reason)

    def _compared(self) -> Consequence:
        standing = self.member.standing
        assert standing is not None  # a second opinion is asked about an answer
        model = self.pack.route.model
        if self.output.values is None:
            evidence = f"{model} gave no usable second answer ({self.output.finding})."
            doubts: tuple[Doubt, ...] = (Doubt(id="disagreement", path="", evidence=evidence),)
        else:
            doubts = disagreements(standing.values, self.output.values)
        escalated = self._escalated(doubts)
        if escalated is not None:
            return escalated
        agree = f"{model} answers the same as tier {standing.tier}, whose answer stands."
        return Consequence(chosen=Choice(call_no=standing.call_no, reason=agree), doubts=doubts, verdict=agree)

    def _valid(self, values: Mapping[str, object]) -> Consequence:
        standing = self.member.standing
        tier = self.pack.route.tier
        replaces = (
            "" if standing is None else f"The answer of tier {tier} replaces the doubted one of tier {standing.tier}."
        )
        if not self.routing.escalation.enabled:
            return Consequence(is_last=True, verdict=replaces)
        doubts = find_doubts(
            self.schema.answer_schema, values, self.member.text, violation=None, checks=self.schema.checks
        )
        escalated = self._escalated(doubts)
        if escalated is not None:
            return escalated
        if standing is None and (second := self._second_opinion()) is not None:
            move = to_second_opinion(self.pack.route, self.pack.origin, model=second)
            return Consequence(move=move, doubts=doubts, verdict=move.route.reason)
        return Consequence(is_last=True, doubts=doubts, verdict=f"{replaces} {self._escalation(doubts).reason}".strip())

    def _unusable(self) -> Consequence:
        finding, doubt = self.output.finding, _form_doubt(self.output)
        # A broken schema says that the model cannot, so it is not asked again; a whole answer that cannot be read may be the
        # pack's fault, which splitting finds out first.
        if doubt is not None and (finding is Finding.INVALID or not self.is_asked_again):
            # A list weighs which answers are worth a dearer one; what can be no output at all has nothing to be weighed.
            is_last_resort = not self.is_asked_again and self.member.standing is None and bool(self._wanted())
            escalated = self._escalated((doubt,), whatever_is_listed=is_last_resort)
            if escalated is not None:
                return escalated
        if self.is_asked_again:
            return Consequence()
        why = ""
        if (obstacle := _OBSTACLES.get(finding)) is not None:
            step = fallback(self.routing, self.pack.route, obstacle, self.hindered)
            move = to_fallback(self.pack.route, self.pack.origin, step=step, obstacle=obstacle)
            if move is not None:
                return Consequence(move=move, verdict=step.reason)
            why = step.reason
        standing = self.member.standing
        if standing is None:
            return Consequence(is_last=True, verdict=why)
        kept = (
            f"The answer of tier {standing.tier} stands: {self.pack.route.model} gave none that is usable ({finding})."
        )
        return Consequence(chosen=Choice(call_no=standing.call_no, reason=kept), verdict=f"{why} {kept}".strip())

    def _wanted(self) -> Collection[str]:
        """Ids of the doubts that escalate the block."""
        rule = rule_of(self.routing, self.pack.route.rule_id)
        return self.routing.escalation.doubts if rule is None or rule.escalate_on is None else rule.escalate_on

    def _escalation(self, doubts: Sequence[Doubt], *, whatever_is_listed: bool = False) -> Escalation:
        return escalate(
            self.routing.escalation,
            doubts,
            first_tier=self.pack.origin.first_tier,
            tier=self.pack.route.tier,
            escalate_on=[doubt.id for doubt in doubts] if whatever_is_listed else self._wanted(),
        )

    def _escalated(self, doubts: tuple[Doubt, ...], *, whatever_is_listed: bool = False) -> Consequence | None:
        """The move to the next tier; None where no doubt asks for it or no tier is left."""
        found = self._escalation(doubts, whatever_is_listed=whatever_is_listed)
        if found.tier is None:
            return None
        move = to_tier(
            self.routing,
            self.pack.route,
            self.pack.origin,
            tier=found.tier,
            cause=Cause.ESCALATION,
            reason=f"Doubts about the answers of tier {self.pack.route.tier} send these blocks to tier {found.tier}",
            hindered=self.hindered,
        )
        return Consequence(move=move, doubts=doubts, verdict=found.reason)

    def _second_opinion(self) -> str | None:
        """The model to ask as well, where its disagreement would lead anywhere."""
        escalation = self.routing.escalation
        tier, first = self.pack.route.tier, self.pack.origin.first_tier
        if tier != first or not escalation.tiers_from(first) or not is_among("disagreement", self._wanted()):
            return None
        return None if escalation.second_opinion == str(self.pack.route.model) else escalation.second_opinion


def _form_doubt(output: DecodedOutput) -> Doubt | None:
    if output.finding is Finding.INVALID:
        return Doubt(id="schema", path="", evidence=f"The answer breaks its schema: {output.detail}.")
    if output.finding in _UNPARSABLE:
        return Doubt(id="unparsable", path="", evidence=f"No usable answer came: {output.detail}.")
    return None
