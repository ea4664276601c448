"""Escalation: which doubtful answers are asked again at a dearer tier, and what such a check is worth."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tokenopt_pipeline.domain.doubts import ANY_CHECK, HARD, Doubt, is_among
from tokenopt_pipeline.domain.tiers import tiers_above


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalationPolicy:
    """When an answer is doubted and by whom it is answered instead."""

    enabled: bool = False
    #: Ids of the doubts that escalate; `check` stands for every check of the schema.
    doubts: tuple[str, ...] = (*HARD, ANY_CHECK)
    #: How many tiers above its first one a block may reach.
    max_steps: int = 1
    #: A second cheap model, asked too, so that answers can disagree; None: none.
    second_opinion: str | None = None

    def tiers_from(self, tier: str) -> tuple[str, ...]:
        """The tiers that a block of this first tier may escalate to, in order."""
        return tiers_above(tier)[: self.max_steps] if self.enabled else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalation:
    """The verdict on one answer."""

    #: The tier that is asked instead; None: the answer stands.
    tier: str | None
    #: The doubt that decided; None when none did.
    doubt: Doubt | None
    #: One sentence a person can check.
    reason: str


def escalate(
    policy: EscalationPolicy,
    doubts: Sequence[Doubt],
    *,
    first_tier: str,
    tier: str,
    escalate_on: Collection[str] | None = None,
) -> Escalation:
    """What becomes of an answer that `tier` gave to a block whose route began at `first_tier`.

    `escalate_on` is the matching rule's own list (`RoutingRule.escalate_on`); None: the policy's.
    """
    wanted = policy.doubts if escalate_on is None else escalate_on
    doubt = next((d for d in doubts if is_among(d.id, wanted)), None)
    if doubt is None:
        return Escalation(tier=None, doubt=None, reason="No doubt that escalates: the answer stands.")
    above = [t for t in policy.tiers_from(first_tier) if t in tiers_above(tier)]
    if not above:
        why = "escalation is off" if not policy.enabled else f"tier {tier} is as far as the policy escalates"
        return Escalation(
            tier=None, doubt=doubt, reason=f"Doubt {doubt.id}: {doubt.evidence} The answer stands: {why}."
        )
    return Escalation(
        tier=above[0], doubt=doubt, reason=f"Doubt {doubt.id} sends the block to tier {above[0]}: {doubt.evidence}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRates:
    """What a check was measured to do. Shares are of blocks, 0 to 1; prices are mean dollars per block."""

    #: Blocks that were measured.
    n: int
    p_doubt: float
    p_wrong_doubted: float
    p_wrong_undoubted: float
    #: The dearer tier's share of wrong answers among the doubted blocks, which are the hard ones, and among all.
    p_wrong_next_doubted: float
    p_wrong_next: float
    usd_cheap: float
    usd_next: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckValue:
    """What a checked tier is expected to cost and to answer right, per block, beside the tiers it stands between."""

    usd: float
    quality: float
    usd_cheap: float
    quality_cheap: float
    usd_next: float
    quality_next: float

    @property
    def saving(self) -> float:
        """Share of the dearer tier's dollars that is saved; negative when checking costs more than always asking it."""
        return 1 - self.usd / self.usd_next if self.usd_next else 0.0

    @property
    def change(self) -> float:
        """Quality against always asking the dearer tier; -0.01 is one point worse."""
        return self.quality - self.quality_next

    def pays(self, target: float) -> bool:
        """Whether the check saves money and changes the quality by no less than `target`, such as -0.01."""
        return self.saving > 0 and self.change >= target - 1e-12

    def sentence(self, target: float) -> str:
        """The value in words."""
        verdict = "pays" if self.pays(target) else "does not pay"
        return (
            f"Checking {verdict}: ${self.usd * 1000:.3f} per 1,000 blocks against ${self.usd_next * 1000:.3f} for the dearer "
            f"tier alone ({self.saving:+.0%} saved), quality {self.change * 100:+.2f} points, aim {target * 100:+.2f}."
        )


def value_of_check(rates: CheckRates) -> CheckValue:
    """The expected cost and quality of: ask the cheap tier, check, ask the dearer tier for what is doubted.

    Cost = cheap + P(doubt) · next. Wrong answers = (1 - P(doubt)) · P(wrong | no doubt) + P(doubt) · P(next wrong | doubt).
    """
    doubted = rates.p_doubt
    kept_wrong = (1 - doubted) * rates.p_wrong_undoubted
    return CheckValue(
        usd=rates.usd_cheap + doubted * rates.usd_next,
        quality=1 - kept_wrong - doubted * rates.p_wrong_next_doubted,
        usd_cheap=rates.usd_cheap,
        quality_cheap=1 - kept_wrong - doubted * rates.p_wrong_doubted,
        usd_next=rates.usd_next,
        quality_next=1 - rates.p_wrong_next,
    )
