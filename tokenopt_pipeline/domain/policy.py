"""Policy: every number and switch a run obeys, with its default, its bounds and where its value came from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from tokenopt_pipeline.domain.batch_policy import BatchPolicy
from tokenopt_pipeline.domain.bridge_policy import BridgePolicy
from tokenopt_pipeline.domain.errors import PolicyInvalid
from tokenopt_pipeline.domain.fingerprints import digest
from tokenopt_pipeline.domain.model_overrides import ModelOverride, parse_models
from tokenopt_pipeline.domain.packing_policy import PackingPolicy
from tokenopt_pipeline.domain.places import Places
from tokenopt_pipeline.domain.providers import CustomServer, parse_providers
from tokenopt_pipeline.domain.routing import RoutingPolicy
from tokenopt_pipeline.domain.routing_section import ROUTING_KEYS, parse_routing
from tokenopt_pipeline.domain.tool_servers import parse_servers, servers_document

#: Embeds on this machine where the model is installed, and not at all elsewhere.
AUTO_EMBEDDER = "auto"
#: Full text and rules only.
NO_EMBEDDER = "none"
_EMBEDDER_NAME = re.compile(r"auto|none|minilm|(openai|google|custom)/[^\s:]+(:[1-9][0-9]{0,3})?")


def _setting(default: Any, why: str, low: float | None = None, high: float | None = None) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "why": why})


@dataclass(frozen=True, slots=True, kw_only=True)
class CachingPolicy:
    """Provider-side prompt caching."""

    enabled: bool = _setting(True, "mark the shared prefix as cacheable where it will be read again")
    keep_prefixes: bool = _setting(True, "rent a provider's storage for a long prefix where that pays")
    implicit_hit_share: float = _setting(
        0.5, "of requests that find their prefix at a provider that promises nothing", 0.0, 1.0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefilterPolicy:
    """Which declared rules may skip a block. Blank blocks are always skipped: there is nothing to read."""

    enabled: bool = _setting(True, "apply the rules below and the schema's applies_to")
    figure_without_text: bool = _setting(True, "skip figures without a word")
    short_heading: bool = _setting(True, "skip headings under the schema's heading_min_words")
    table_without_field: bool = _setting(True, "skip tables when the schema has no field for them")
    code_without_field: bool = _setting(True, "skip code when the schema has no field for it")
    divider: bool = _setting(True, "skip dividers")
    page_furniture: bool = _setting(True, "skip page headers and footers")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReusePolicy:
    """Answers that are already known."""

    enabled: bool = _setting(True, "take the answer of an identical block instead of asking again")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """What happens after a call that did not answer everything."""

    max_attempts: int = _setting(3, "answers a block may spoil before it fails", 1, 10)
    transient_tries: int = _setting(8, "tries of one request against an unavailable provider", 1, 100)
    max_extra_share: float = _setting(
        0.5,
        "cost of packs asked again, of what all others cost; past it what is left fails, after twenty packs",
        0.0,
        10.0,
    )
    backoff_base_s: float = _setting(0.5, "first wait; doubles with every try", 0.0, 60.0)
    backoff_ceiling_s: float = _setting(60.0, "longest wait, also against a provider's Retry-After", 0.0, 3600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPolicy:
    """How requests reach the provider."""

    concurrency: int = _setting(8, "requests in flight per run", 1, 256)
    timeout_s: float = _setting(600.0, "for one request", 1.0, 3600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalPolicy:
    """When a pack of a schema marked `retrieval: eligible` carries found chunks instead of whole references.

    Every doubt falls back to the whole: no probes, recall below the gate, a search below its calibrated threshold.
    """

    enabled: bool = _setting(True, "search references for schemas marked retrieval: eligible; false sends them whole")
    k: int = _setting(8, "chunks looked for per block", 1, 50)
    budget_tokens: int = _setting(2_500, "tokens of chunks in one pack at most, per reference", 100, 100_000)
    chunk_tokens: int = _setting(400, "tokens of one chunk at most; takes effect when an index is built", 50, 2_000)
    embedder: str = _setting(AUTO_EMBEDDER, "auto, none, minilm, openai/MODEL, google/MODEL, custom/MODEL:DIMENSION")
    recall_gate: float = _setting(0.95, "mean recall at k on unseen probes that an index must reach", 0.0, 1.0)
    min_probes: int = _setting(20, "unseen probes an index must have been measured on", 1, 10_000)
    min_score: float = _setting(0.0, "a search less sure is never trusted, whatever was calibrated", 0.0, 1.0)
    min_margin: float = _setting(0.0, "likewise for the distance to the first chunk left out", 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPolicy:
    """The shape of a run."""

    shard_blocks: int = _setting(2_000, "blocks of one shard (one Dagster partition) at most", 1, 100_000)
    budget_usd: Decimal | None = field(
        default=None, metadata={"low": 0, "high": 1_000_000, "why": "dollars the run may not exceed; null is no limit"}
    )
    allow_unknown_price: bool = _setting(False, "run models without a known list price, cost unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything a run obeys. Frozen with the run; its hash says which policy that was."""

    caching: CachingPolicy = field(default_factory=CachingPolicy)
    packing: PackingPolicy = field(default_factory=PackingPolicy)
    prefilter: PrefilterPolicy = field(default_factory=PrefilterPolicy)
    reuse: ReusePolicy = field(default_factory=ReusePolicy)
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    calls: CallPolicy = field(default_factory=CallPolicy)
    run: RunPolicy = field(default_factory=RunPolicy)
    retrieval: RetrievalPolicy = field(default_factory=RetrievalPolicy)
    bridge: BridgePolicy = field(default_factory=BridgePolicy)
    batches: BatchPolicy = field(default_factory=BatchPolicy)
    routing: RoutingPolicy = field(default_factory=RoutingPolicy)
    #: Name -> a server of one's own, whose models are then called `name/model`.
    providers: Mapping[str, CustomServer] = field(default_factory=dict)
    #: `provider/model` -> what replaces the model table's and the price list's entries.
    models: Mapping[str, ModelOverride] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedPolicy:
    """A policy and, for every key that is not a default, the layer that set it."""

    policy: Policy
    #: `section.key` -> layer name.
    sources: Mapping[str, str]

    @property
    def policy_hash(self) -> str:
        """Digest of the whole policy; the layers it came from do not count."""
        return digest(snapshot(self.policy))


_SECTIONS: Mapping[str, type] = {
    "caching": CachingPolicy,
    "packing": PackingPolicy,
    "prefilter": PrefilterPolicy,
    "reuse": ReusePolicy,
    "retries": RetryPolicy,
    "calls": CallPolicy,
    "run": RunPolicy,
    "retrieval": RetrievalPolicy,
    "bridge": BridgePolicy,
    "batches": BatchPolicy,
}
_DOLLARS = frozenset({"budget_usd", "max_usd"})
# Sections whose keys are names that a person gives; each is read by the noun it is about.
_NAMED = ("providers", "models")


def snapshot(policy: Policy) -> dict[str, Any]:
    """The policy as JSON values, complete: `resolve([("snapshot", snapshot(p))]).policy == p`."""
    document = {name: asdict(getattr(policy, name)) for name in (*_SECTIONS, "routing")}
    for members in document.values():
        for key in _DOLLARS & set(members):
            members[key] = None if members[key] is None else str(members[key])
    document["bridge"]["servers"] = servers_document(policy.bridge.servers)
    document["providers"] = {name: asdict(server) for name, server in policy.providers.items()}
    document["models"] = {name: override.document() for name, override in policy.models.items()}
    return document


def resolve(
    layers: Sequence[tuple[str, Mapping[str, object]]], *, lines: Mapping[str, Mapping[str, int]] | None = None
) -> ResolvedPolicy:
    """Defaults overridden by each layer in turn, the last one winning; every value checked against its bounds.

    `lines` says on which line of which layer a path stands (`Places.lines`).
    Raises PolicyInvalid naming the layer, its line where that is known, the key, what was found and what is allowed.
    """
    values: dict[str, dict[str, object]] = {name: {} for name in (*_SECTIONS, "routing", *_NAMED)}
    sources: dict[str, str] = {}
    places = Places(sources=sources, lines=lines or {})
    for layer, document in layers:
        for section, members in document.items():
            place = places.within(layer, str(section))
            if section not in values:
                raise PolicyInvalid(f"{place}: unknown section {section!r}; known: {', '.join(sorted(values))}")
            if members is None:
                # A section of which every key was deleted changes nothing.
                continue
            if not isinstance(members, Mapping):
                raise PolicyInvalid(f"{place}: {section} must be a mapping of keys, found {members!r}")
            if section == "routing":
                _forget_what_the_layer_replaces(values[section], members, sources)
            for key, value in members.items():
                name = f"{section}.{key}"
                sources[name] = layer
                values[section][str(key)] = _checked(places, section, str(key), value)
    routing = parse_routing(values["routing"], places)
    providers = parse_providers(values["providers"], places)
    models = parse_models(values["models"], places, servers=providers)
    sections = {name: cls(**values[name]) for name, cls in _SECTIONS.items()}
    policy = Policy(**sections, routing=routing, providers=providers, models=models)
    _check_together(policy, places)
    return ResolvedPolicy(policy=policy, sources=sources)


def _forget_what_the_layer_replaces(
    routing: dict[str, object], members: Mapping[str, object], sources: dict[str, str]
) -> None:
    # `model` is short for a whole routing table, so a later layer that says either replaces the other.
    for key in list(routing):
        if "model" in members or (members and key == "model"):
            del routing[key], sources[f"routing.{key}"]


def _checked(places: Places, section: str, key: str, value: object) -> object:
    if section in _NAMED:
        return value
    known = ROUTING_KEYS if section == "routing" else {f.name for f in fields(_SECTIONS[section])}
    if key not in known:
        where = places.within(places.sources[f"{section}.{key}"], f"{section}.{key}")
        raise PolicyInvalid(f"{where}: unknown key {section}.{key}; known: {', '.join(sorted(known))}")
    if section == "routing":
        return value
    spec = next(f for f in fields(_SECTIONS[section]) if f.name == key)
    low, high = spec.metadata["low"], spec.metadata["high"]
    where = f"{places.of(f'{section}.{key}')} = {value!r}"
    if key in _DOLLARS:
        return _dollars(where, value, high)
    if key == "servers":
        return parse_servers(value, places.of(f"{section}.{key}"))
    default = spec.default if spec.default is not MISSING else None
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise PolicyInvalid(f"{where}, allowed true or false")
        return value
    if isinstance(default, str):
        allowed = spec.metadata.get("allowed", _EMBEDDER_NAME)
        if not isinstance(value, str) or not re.fullmatch(allowed, value):
            raise PolicyInvalid(f"{where}, allowed {spec.metadata['why']}")
        return value
    wanted = "a whole number" if isinstance(default, int) else "a number"
    right = isinstance(value, int) or (isinstance(default, float) and isinstance(value, float))
    if isinstance(value, bool) or not right:
        raise PolicyInvalid(f"{where}, allowed {wanted} from {low} to {high}")
    number = cast("int | float", value)
    if not low <= number <= high:
        raise PolicyInvalid(f"{where}, allowed {low} to {high}")
    return float(number) if isinstance(default, float) else number


def _dollars(where: str, value: object, high: float) -> Decimal | None:
    if value is None:
        return None
    try:
        dollars = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
    except InvalidOperation:
        dollars = Decimal("NaN")
    if not dollars.is_finite() or not 0 < dollars <= Decimal(high):
        raise PolicyInvalid(f"{where}, allowed null or dollars above 0 up to {high}")
    # One spelling for one amount: 1, 1.0 and 1.00 must hash alike.
    return dollars.normalize()


def _check_together(policy: Policy, places: Places) -> None:
    packing = policy.packing

    def place(*keys: str) -> str:
        """Where the first of the keys that some layer set was set."""
        key = next((k for k in keys if k in places.sources), None)
        return "defaults" if key is None else places.within(places.sources[key], key)

    def refuse(key: str, found: int, limit: str, allowed: int) -> None:
        where = place(f"packing.{key}", f"packing.{limit}")
        raise PolicyInvalid(f"{where}: packing.{key} = {found}, allowed up to packing.{limit} = {allowed}")

    if packing.pack_size > packing.pack_size_max:
        refuse("pack_size", packing.pack_size, "pack_size_max", packing.pack_size_max)
    if packing.text_heavy_max_pack_size > packing.pack_size_max:
        refuse("text_heavy_max_pack_size", packing.text_heavy_max_pack_size, "pack_size_max", packing.pack_size_max)
    if packing.per_block_output_tokens > packing.max_output_tokens:
        refuse(
            "per_block_output_tokens", packing.per_block_output_tokens, "max_output_tokens", packing.max_output_tokens
        )
    kept_free = packing.output_reserve_tokens + packing.overhead_tokens
    if kept_free >= packing.context_window_tokens:
        keys = ("packing.context_window_tokens", "packing.output_reserve_tokens", "packing.overhead_tokens")
        raise PolicyInvalid(
            f"{place(*keys)}: {keys[1]} + {keys[2]} = {kept_free}, allowed below {keys[0]} = {packing.context_window_tokens}"
        )
    if policy.bridge.enabled and not policy.bridge.servers:
        raise PolicyInvalid(
            f"{place('bridge.enabled')}: bridge.enabled = True, allowed with a server in bridge.servers"
        )


def defaults_document() -> str:
    """Every key with its default, bounds and purpose, as commented YAML that resolves to the defaults."""
    lines = ["# Every setting with its default. Delete what you do not change."]
    for section, cls in _SECTIONS.items():
        lines.append(f"{section}:")
        for f in fields(cls):
            bounds = "" if f.metadata["low"] is None else f" ({f.metadata['low']} to {f.metadata['high']})"
            default = f.default
            shown = "null" if default is None else str(default).lower() if isinstance(default, bool) else default
            shown = "{}" if default == () else shown
            lines.append(f"  {f.name}: {shown}  # {f.metadata['why']}{bounds}")
    routing = RoutingPolicy()
    lines += ["routing:", f"  default_tier: {routing.default_tier}  # where blocks go that no rule matches"]
    lines += ["  models:  # tier -> models, the preferred one first"]
    lines += [f"    {tier}: [{', '.join(models)}]" for tier, models in routing.models.items()]
    lines += ["  rules: []  # in order, the first that matches wins; docs/routing.md has the conditions"]
    fallback, escalation = routing.fallback, routing.escalation
    lines += [
        "  fallback:",
        f"    max_hops: {fallback.max_hops}  # models after the preferred one that one request may try (0 to 5)",
        "    allowed_providers: null  # providers that may answer at all; null is every one that a tier names",
        f"    cross_provider: {str(fallback.cross_provider).lower()}  # whether a request may move to another provider",
        "  escalation:",
        f"    enabled: {str(escalation.enabled).lower()}  # ask doubtful answers again at a dearer tier",
        f"    doubts: [{', '.join(escalation.doubts)}]",
        f"    max_steps: {escalation.max_steps}  # tiers above its first one that a block may reach (1 to 2)",
        "    second_opinion: null  # a second cheap model, so that answers can disagree",
        "  measured: null  # the table behind fitted rules; `tokenopt route fit` writes it",
        "providers: {}  # name -> {base_url, api_key_env, capability}: servers that speak Chat Completions",
        "models: {}  # provider/model -> limits, manners and price that replace the tables': docs/providers.md",
    ]
    return "\n".join(lines) + "\n"
