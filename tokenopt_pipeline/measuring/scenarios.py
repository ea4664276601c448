"""Scenarios: the baseline, each optimization tier alone, all of them, and all but one; each a policy over the same nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SMALL, MID, LARGE = "anthropic/claude-haiku-4-5", "anthropic/claude-sonnet-4-5", "anthropic/claude-opus-4-5"

#: One block per call, every block asked, nothing marked, shared, routed or looked up.
NOTHING_ON: Mapping[str, Mapping[str, Any]] = {
    "caching": {"enabled": False},
    "packing": {"enabled": False},
    "prefilter": {"enabled": False},
    "reuse": {"enabled": False},
    "retrieval": {"enabled": False},
    "bridge": {"enabled": False},
    "routing": {"default_tier": "mid", "models": {"small": [SMALL], "mid": [MID], "large": [LARGE]}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One optimization that can be switched on by itself."""

    name: str
    #: What it changes, in one sentence.
    about: str
    #: Policy sections laid over `NOTHING_ON`.
    policy: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Sections that it needs beside them where no other tier is on.
    alone: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    mode: str = "sync"
    #: Members laid over the workload's schema; the product says in the schema's notes when they have no effect.
    schema: Mapping[str, Any] = field(default_factory=dict)
    #: The workload's reference is taken out of the instructions, and found instead.
    uses_reference: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Tiers that are on together."""

    name: str
    tiers: tuple[Tier, ...] = ()

    @property
    def policy(self) -> dict[str, dict[str, Any]]:
        """The policy's sections, complete enough that no default switches anything on."""
        merged = {section: dict(members) for section, members in NOTHING_ON.items()}
        layers = [tier.policy for tier in self.tiers]
        if len(self.tiers) == 1:
            layers.append(self.tiers[0].alone)
        for layer in layers:
            for section, members in layer.items():
                merged.setdefault(section, {}).update(members)
        return merged

    @property
    def mode(self) -> str:
        """`async` as soon as one tier is."""
        return "async" if any(tier.mode == "async" for tier in self.tiers) else "sync"

    @property
    def schema(self) -> dict[str, Any]:
        """Members laid over the workload's schema."""
        return {name: value for tier in self.tiers for name, value in tier.schema.items()}

    @property
    def uses_reference(self) -> bool:
        """Whether a tier looks the workload's reference up."""
        return any(tier.uses_reference for tier in self.tiers)


# An example of a declared rule, not a fitted one: `tokenopt route fit` learns a cut from recorded outcomes.
_SHORT_BLOCKS = {"id": "short-blocks", "tier": "small", "max_block_tokens": 40}

# Of the tools of the product's own server the one that looks a reference up; the others tell of the run.
_RUN_TOOLS = ["search_style_rules"]

TIERS: tuple[Tier, ...] = (
    Tier(
        name="prompt_caching", about="the shared prefix is marked and read again", policy={"caching": {"enabled": True}}
    ),
    Tier(name="worker_batching", about="several blocks share a call", policy={"packing": {"enabled": True}}),
    Tier(
        name="pre_filter",
        about="declared rules skip blocks that can hold no answer",
        policy={"prefilter": {"enabled": True}},
    ),
    Tier(name="reuse", about="an identical block is asked once", policy={"reuse": {"enabled": True}}),
    Tier(
        name="routing",
        about="short blocks go to the small model",
        policy={"routing": {"rules": [_SHORT_BLOCKS]}},
    ),
    Tier(
        name="escalation",
        about="doubtful answers are asked again one tier up",
        policy={"routing": {"escalation": {"enabled": True}}},
        # Somebody cheap has to be asked first.
        alone={"routing": {"rules": [_SHORT_BLOCKS]}},
    ),
    Tier(name="async_batch", about="the provider's batch API at half the price", mode="async"),
    Tier(
        name="retrieval",
        about="found chunks replace the whole reference",
        policy={"retrieval": {"enabled": True, "embedder": "none"}},
        schema={"retrieval": "eligible"},
        uses_reference=True,
    ),
    Tier(
        name="bridge",
        about="models look up what they need of the reference with tools",
        policy={
            "retrieval": {"enabled": True, "embedder": "none"},
            "bridge": {"enabled": True, "servers": {"run": {"builtin": True, "tools": _RUN_TOOLS}}},
        },
        schema={"retrieval": "eligible"},
        uses_reference=True,
    ),
)

BASELINE = Scenario(name="baseline")


def alone(tier: Tier) -> Scenario:
    """One tier over nothing."""
    return Scenario(name=tier.name, tiers=(tier,))


def everything(tiers: Sequence[Tier] = TIERS) -> Scenario:
    """These tiers together."""
    return Scenario(name="everything", tiers=tuple(tiers))


def without(name: str, tiers: Sequence[Tier] = TIERS) -> Scenario:
    """All of these tiers but one."""
    return Scenario(name=f"everything_without_{name}", tiers=tuple(t for t in tiers if t.name != name))


#: Scenario name -> scenario, in the order of tables. `everything` stands for the tiers that the product can do together.
SCENARIOS: Mapping[str, Scenario] = {
    s.name: s for s in (BASELINE, *map(alone, TIERS), everything(), *(without(tier.name) for tier in TIERS))
}
