"""The routing section of a policy, checked key by key: rules, models, fallback, escalation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.doubts import ANY_CHECK, KINDS
from tokenopt_pipeline.domain.errors import PolicyInvalid
from tokenopt_pipeline.domain.escalation import EscalationPolicy
from tokenopt_pipeline.domain.fallbacks import FallbackPolicy
from tokenopt_pipeline.domain.languages import LANGUAGES
from tokenopt_pipeline.domain.measured_section import parse_measured
from tokenopt_pipeline.domain.places import Places
from tokenopt_pipeline.domain.routing import RoutingPolicy, RoutingRule, TwoPass, parse_model_ref
from tokenopt_pipeline.domain.schema_shape import FIELD_KINDS
from tokenopt_pipeline.domain.schemas import RETRIEVAL
from tokenopt_pipeline.domain.tiers import TIERS

_MOST_TOKENS, _MOST_COMPLEXITY, _MOST_HOPS, _MOST_STEPS = 10_000_000, 100_000, 5, len(TIERS) - 1
#: Condition of a rule -> what may stand in its list; None: any names.
_LISTS: Mapping[str, Sequence[str] | None] = {
    "tasks": None,
    "block_types": tuple(BlockType),
    "languages": LANGUAGES,
    "field_kinds": FIELD_KINDS,
    "retrieval": RETRIEVAL,
}
_BOUNDS: Mapping[str, int] = {
    "min_block_tokens": _MOST_TOKENS,
    "max_block_tokens": _MOST_TOKENS,
    "min_complexity": _MOST_COMPLEXITY,
    "max_complexity": _MOST_COMPLEXITY,
}
_RULE_MEMBERS = frozenset({"id", "tier", "two_pass", "escalate_on", *_LISTS, *_BOUNDS})
#: Keys of the section; `model` is short for the whole of it.
ROUTING_KEYS = frozenset({"default_tier", "models", "rules", "fallback", "escalation", "measured", "model"})


def parse_routing(values: Mapping[str, object], places: Places) -> RoutingPolicy:
    """The routing section of a policy. `model` is short for: this model in every tier, no rules.

    Raises PolicyInvalid naming the place, the key, what was found and what is allowed.
    """

    def where(key: str) -> str:
        return places.of(f"routing.{key}")

    if "model" in values:
        model = values["model"]
        if not isinstance(model, str):
            raise PolicyInvalid(f"{where('model')} = {model!r}, allowed a model name")
        if others := sorted(set(values) - {"model"}):
            raise PolicyInvalid(f"{where('model')} says all; it cannot stand beside routing.{others[0]}")
        return RoutingPolicy(models={tier: (str(parse_model_ref(model, where=where("model"))),) for tier in TIERS})
    default = RoutingPolicy()
    default_tier = values.get("default_tier", default.default_tier)
    if default_tier not in TIERS:
        raise PolicyInvalid(f"{where('default_tier')} = {default_tier!r}, allowed {', '.join(TIERS)}")
    rules = values.get("rules", ())
    if not isinstance(rules, list | tuple):
        raise PolicyInvalid(f"{where('rules')} must be a list")
    parsed: list[RoutingRule] = []
    for i, entry in enumerate(rules):
        rule = _rule(entry, partial(_below, where, f"rules[{i}]"))
        if any(rule.id == earlier.id for earlier in parsed):
            raise PolicyInvalid(
                f"{where(f'rules[{i}].id')} = {rule.id!r} stands twice; every rule needs an id of its own"
            )
        parsed.append(rule)
    return RoutingPolicy(
        default_tier=str(default_tier),
        models={**default.models, **_models(values.get("models", {}), where)},
        rules=tuple(parsed),
        fallback=_fallback(values.get("fallback"), where),
        escalation=_escalation(values.get("escalation"), where),
        measured=parse_measured(values.get("measured"), where),
    )


def _below(where: Callable[[str], str], path: str, key: str) -> str:
    return where(path + key)


def _models(declared: object, where: Callable[[str], str]) -> dict[str, tuple[str, ...]]:
    if not isinstance(declared, Mapping):
        raise PolicyInvalid(f"{where('models')} must map tiers to lists of models")
    models = {}
    for tier, given in declared.items():
        if tier not in TIERS:
            raise PolicyInvalid(f"{where(f'models.{tier}')}: unknown tier {tier!r}; tiers are {', '.join(TIERS)}")
        refs = [given] if isinstance(given, str) else given
        if not isinstance(refs, list | tuple) or not refs or not all(isinstance(r, str) for r in refs):
            raise PolicyInvalid(f"{where(f'models.{tier}')} must be a non-empty list of models")
        parsed = tuple(str(parse_model_ref(r, where=where(f"models.{tier}[{i}]"))) for i, r in enumerate(refs))
        if len(set(parsed)) < len(parsed):
            raise PolicyInvalid(f"{where(f'models.{tier}')} names a model twice")
        models[str(tier)] = parsed
    return models


def _rule(value: object, where: Callable[[str], str]) -> RoutingRule:
    rule = _mapping(value, where, _RULE_MEMBERS)
    if not isinstance(rule.get("id"), str) or not rule["id"] or rule["id"] == "default":
        raise PolicyInvalid(f"{where('.id')} must be a name other than 'default'")
    two_pass = _two_pass(rule.get("two_pass"), where)
    tier = rule.get("tier", None if two_pass is None else two_pass.complex)
    if tier not in TIERS:
        raise PolicyInvalid(f"{where('.tier')} = {tier!r}, allowed {', '.join(TIERS)}")
    if two_pass is not None and tier != two_pass.complex:
        raise PolicyInvalid(
            f"{where('.tier')} = {tier!r}, but two_pass.complex = {two_pass.complex!r} decides; leave it out"
        )
    lists = {key: _names(rule.get(key), where(f".{key}"), allowed) for key, allowed in _LISTS.items()}
    bounds = {key: _bound(rule.get(key), where(f".{key}"), high) for key, high in _BOUNDS.items()}
    for low, high in (("min_block_tokens", "max_block_tokens"), ("min_complexity", "max_complexity")):
        least, most = bounds[low], bounds[high]
        if least is not None and most is not None and least > most:
            raise PolicyInvalid(f"{where(f'.{low}')} = {least}, allowed up to {high} = {most}: no block can match")
    return RoutingRule(
        id=str(rule["id"]),
        tier=str(tier),
        two_pass=two_pass,
        escalate_on=_doubts(rule.get("escalate_on"), where(".escalate_on")),
        tasks=lists["tasks"],
        block_types=lists["block_types"],
        languages=lists["languages"],
        field_kinds=lists["field_kinds"],
        retrieval=lists["retrieval"],
        min_block_tokens=bounds["min_block_tokens"],
        max_block_tokens=bounds["max_block_tokens"],
        min_complexity=bounds["min_complexity"],
        max_complexity=bounds["max_complexity"],
    )


def _two_pass(value: object, where: Callable[[str], str]) -> TwoPass | None:
    if value is None:
        return None
    members = _mapping(value, lambda key: where(f".two_pass{key}"), frozenset({"classifier", "simple", "complex"}))
    default = TwoPass()
    tiers = {key: members.get(key, getattr(default, key)) for key in ("classifier", "simple", "complex")}
    for key, tier in tiers.items():
        if tier not in TIERS:
            raise PolicyInvalid(f"{where(f'.two_pass.{key}')} = {tier!r}, allowed {', '.join(TIERS)}")
    if tiers["simple"] == tiers["complex"]:
        raise PolicyInvalid(f"{where('.two_pass')}: simple and complex are both {tiers['simple']}: nothing to find out")
    return TwoPass(**{key: str(tier) for key, tier in tiers.items()})


def _fallback(value: object, where: Callable[[str], str]) -> FallbackPolicy:
    default = FallbackPolicy()
    if value is None:
        return default
    members = _mapping(
        value, lambda key: where(f"fallback{key}"), frozenset({"max_hops", "allowed_providers", "cross_provider"})
    )
    return FallbackPolicy(
        max_hops=_whole(members.get("max_hops", default.max_hops), where("fallback.max_hops"), 0, _MOST_HOPS),
        allowed_providers=_names(members.get("allowed_providers"), where("fallback.allowed_providers"), None),
        cross_provider=_switch(members.get("cross_provider", default.cross_provider), where("fallback.cross_provider")),
    )


def _escalation(value: object, where: Callable[[str], str]) -> EscalationPolicy:
    default = EscalationPolicy()
    if value is None:
        return default
    members = _mapping(
        value, lambda key: where(f"escalation{key}"), frozenset({"enabled", "doubts", "max_steps", "second_opinion"})
    )
    second = members.get("second_opinion")
    if second is not None and not isinstance(second, str):
        raise PolicyInvalid(f"{where('escalation.second_opinion')} = {second!r}, allowed a model name or null")
    doubts = _doubts(members.get("doubts"), where("escalation.doubts"))
    return EscalationPolicy(
        enabled=_switch(members.get("enabled", default.enabled), where("escalation.enabled")),
        doubts=default.doubts if doubts is None else doubts,
        max_steps=_whole(members.get("max_steps", default.max_steps), where("escalation.max_steps"), 1, _MOST_STEPS),
        second_opinion=None
        if second is None
        else str(parse_model_ref(second, where=where("escalation.second_opinion"))),
    )


def _doubts(value: object, where: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, list | tuple):
        unknown = [d for d in value if not (d in KINDS or d == ANY_CHECK or str(d).startswith(f"{ANY_CHECK}:"))]
        if not unknown:
            return tuple(str(d) for d in value)
        value = unknown[0]
    raise PolicyInvalid(f"{where} = {value!r}, allowed a list of {', '.join(KINDS)}, {ANY_CHECK}, {ANY_CHECK}:ID")


def _mapping(value: object, where: Callable[[str], str], known: frozenset[str]) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise PolicyInvalid(f"{where('')} must be a mapping")
    for key in value:
        if key not in known:
            raise PolicyInvalid(f"{where(f'.{key}')}: unknown key {key!r}; known: {', '.join(sorted(known))}")
    return value


def _names(value: object, where: str, allowed: Sequence[str] | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, list | tuple) and value and all(isinstance(v, str) and v for v in value):
        unknown = [v for v in value if allowed is not None and v not in allowed]
        if not unknown:
            return tuple(str(v) for v in value)
        value = unknown[0]
    raise PolicyInvalid(
        f"{where} = {value!r}, allowed a non-empty list of {'names' if allowed is None else ', '.join(allowed)}"
    )


def _bound(value: object, where: str, high: int) -> int | None:
    return None if value is None else _whole(value, where, 1, high)


def _whole(value: object, where: str, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise PolicyInvalid(f"{where} = {value!r}, allowed a whole number from {low} to {high}")
    return value


def _switch(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise PolicyInvalid(f"{where} = {value!r}, allowed true or false")
    return value
