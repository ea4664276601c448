"""Routing: which model a block goes to, by declared rules over declared inputs, with the reason in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.errors import PolicyInvalid

TIERS = ("small", "mid", "large")
_RULE_MEMBERS = frozenset({"id", "block_types", "max_block_tokens", "tier"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """A model of a provider, written `provider/model`."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingRule:
    """Sends the blocks that meet every stated condition to a tier."""

    id: str
    tier: str
    #: None: any type.
    block_types: tuple[str, ...] | None = None
    #: Inclusive; None: any length.
    max_block_tokens: int | None = None

    def matches(self, block_type: BlockType, n_tokens: int) -> bool:
        """Whether a block of this type and length meets the rule's conditions."""
        if self.block_types is not None and block_type not in self.block_types:
            return False
        return self.max_block_tokens is None or n_tokens <= self.max_block_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPolicy:
    """Rules in order, the first that matches wins; what no rule matches goes to the default tier."""

    default_tier: str = "mid"
    #: Tier -> models, the preferred one first.
    models: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {
            "small": ("anthropic/claude-haiku-5-5",),
            "mid": ("anthropic/claude-sonnet-5-5",),
            "large": ("anthropic/claude-opus-5-5",),
        }
    )
    rules: tuple[RoutingRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a block or a pack goes, and why."""

    tier: str
    model: ModelRef
    #: `sync` or `async`.
    mode: str
    #: The rule that matched; `default` when none did.
    rule_id: str
    #: One sentence a person can check.
    reason: str


def choose_route(policy: RoutingPolicy, *, block_type: BlockType, n_tokens: int, mode: str) -> Route:
    """The route of one block under the policy. Same inputs, same route."""
    for rule in policy.rules:
        if rule.matches(block_type, n_tokens):
            model = parse_model_ref(policy.models[rule.tier][0])
            conditions = []
            if rule.block_types is not None:
                conditions.append(f"its type is one of {', '.join(rule.block_types)}")
            if rule.max_block_tokens is not None:
                conditions.append(f"it has at most {rule.max_block_tokens} tokens")
            why = " and ".join(conditions) or "the rule has no condition"
            reason = f"Rule {rule.id} sends the block to tier {rule.tier} because {why}; {model} is preferred there."
            return Route(tier=rule.tier, model=model, mode=mode, rule_id=rule.id, reason=reason)
    model = parse_model_ref(policy.models[policy.default_tier][0])
    reason = f"No rule matches, so the default tier {policy.default_tier} applies; {model} is preferred there."
    return Route(tier=policy.default_tier, model=model, mode=mode, rule_id="default", reason=reason)


def default_model(policy: RoutingPolicy) -> ModelRef:
    """The model of the blocks that no rule sends elsewhere."""
    return parse_model_ref(policy.models[policy.default_tier][0])


def models_in_use(policy: RoutingPolicy) -> tuple[ModelRef, ...]:
    """Every model the rules can reach, in a stable order, each once."""
    tiers = [rule.tier for rule in policy.rules] + [policy.default_tier]
    return tuple(parse_model_ref(ref) for ref in dict.fromkeys(policy.models[tier][0] for tier in tiers))


def parse_model_ref(text: str, *, where: str = "model") -> ModelRef:
    """The model behind `provider/model`. Whether that provider exists is asked when the run is planned.

    Raises PolicyInvalid.
    """
    provider, _, model = text.partition("/")
    if not provider or not model:
        raise PolicyInvalid(f"{where} {text!r}: write provider/model, for example {RoutingPolicy().models['mid'][0]}")
    return ModelRef(provider=provider, model=model)


def parse_routing(values: Mapping[str, object], sources: Mapping[str, str]) -> RoutingPolicy:
    """The routing section of a policy. `model` is short for: this model in every tier, no rules.

    Raises PolicyInvalid naming the layer and the key.
    """

    def where(key: str) -> str:
        return f"{sources.get(f'routing.{key}', 'policy')}: routing.{key}"

    if "model" in values:
        model = values["model"]
        if not isinstance(model, str):
            raise PolicyInvalid(f"{where('model')} = {model!r}, allowed a model name")
        if others := sorted(set(values) - {"model"}):
            raise PolicyInvalid(f"{where('model')} says all; it cannot stand beside routing.{others[0]}")
        return RoutingPolicy(models={tier: (str(parse_model_ref(model, where=where("model"))),) for tier in TIERS})
    default = RoutingPolicy()
    models = dict(default.models)
    declared = values.get("models", {})
    if not isinstance(declared, Mapping):
        raise PolicyInvalid(f"{where('models')} must map tiers to lists of models")
    for tier, given in declared.items():
        if tier not in TIERS:
            raise PolicyInvalid(f"{where('models')}: unknown tier {tier!r}; tiers are {', '.join(TIERS)}")
        refs = [given] if isinstance(given, str) else given
        if not isinstance(refs, list | tuple) or not refs or not all(isinstance(r, str) for r in refs):
            raise PolicyInvalid(f"{where('models')}.{tier} must be a non-empty list of models")
        models[str(tier)] = tuple(str(parse_model_ref(r, where=f"{where('models')}.{tier}")) for r in refs)
    default_tier = values.get("default_tier", default.default_tier)
    if default_tier not in TIERS:
        raise PolicyInvalid(f"{where('default_tier')} = {default_tier!r}, allowed {', '.join(TIERS)}")
    rules = values.get("rules", ())
    if not isinstance(rules, list | tuple):
        raise PolicyInvalid(f"{where('rules')} must be a list")
    parsed = tuple(_rule(r, f"{where('rules')}[{i}]") for i, r in enumerate(rules))
    ids = [r.id for r in parsed]
    if len(set(ids)) < len(ids):
        raise PolicyInvalid(f"{where('rules')}: every rule needs an id of its own")
    return RoutingPolicy(default_tier=str(default_tier), models=models, rules=parsed)


def _rule(value: object, where: str) -> RoutingRule:
    if not isinstance(value, Mapping):
        raise PolicyInvalid(f"{where} must be a mapping")
    if unknown := sorted(set(value) - _RULE_MEMBERS):
        raise PolicyInvalid(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(sorted(_RULE_MEMBERS))}")
    if not isinstance(value.get("id"), str) or not value["id"] or value["id"] == "default":
        raise PolicyInvalid(f"{where}.id must be a name other than 'default'")
    if value.get("tier") not in TIERS:
        raise PolicyInvalid(f"{where}.tier = {value.get('tier')!r}, allowed {', '.join(TIERS)}")
    types = value.get("block_types")
    if types is not None and (
        not isinstance(types, list | tuple) or not types or any(t not in tuple(BlockType) for t in types)
    ):
        raise PolicyInvalid(f"{where}.block_types = {types!r}, allowed a non-empty list of block types")
    limit = value.get("max_block_tokens")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise PolicyInvalid(f"{where}.max_block_tokens = {limit!r}, allowed a whole number from 1")
    return RoutingRule(
        id=value["id"],
        tier=value["tier"],
        block_types=None if types is None else tuple(str(t) for t in types),
        max_block_tokens=limit,
    )
