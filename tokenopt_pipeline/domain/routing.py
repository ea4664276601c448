"""Routing: which model a block goes to, by declared rules over declared inputs, with the reason in one sentence."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.errors import PolicyInvalid
from tokenopt_pipeline.domain.escalation import EscalationPolicy
from tokenopt_pipeline.domain.fallbacks import FallbackPolicy
from tokenopt_pipeline.domain.languages import UNDETERMINED
from tokenopt_pipeline.domain.measured import MeasuredRates
from tokenopt_pipeline.domain.schema_shape import shape_of
from tokenopt_pipeline.domain.schemas import ExtractionSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """A model of a provider, written `provider/model`."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaFacts:
    """What rules may look at of a schema; one value for a whole run."""

    task: str = ""
    complexity: int = 0
    field_kinds: frozenset[str] = frozenset()
    retrieval: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteFacts:
    """All that a rule may look at."""

    block_type: BlockType
    #: Counted by our tokenizer.
    n_tokens: int
    #: One of `languages.LANGUAGES`.
    language: str = UNDETERMINED
    schema: SchemaFacts = SchemaFacts()


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoPass:
    """A cheap model says first whether a block is simple or complex, then the matched tier answers it."""

    #: Tier that classifies.
    classifier: str = "small"
    simple: str = "small"
    complex: str = "mid"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingRule:
    """Sends the blocks that meet every stated condition to a tier. None: the condition is not stated."""

    id: str
    #: Of a two-pass rule the tier of complex blocks, which is also where a block goes that was not classified.
    tier: str
    two_pass: TwoPass | None = None
    tasks: tuple[str, ...] | None = None
    block_types: tuple[str, ...] | None = None
    languages: tuple[str, ...] | None = None
    #: The schema asks for at least one field of one of these kinds.
    field_kinds: tuple[str, ...] | None = None
    retrieval: tuple[str, ...] | None = None
    #: Inclusive, as all bounds.
    min_block_tokens: int | None = None
    max_block_tokens: int | None = None
    min_complexity: int | None = None
    max_complexity: int | None = None
    #: Doubts that escalate this rule's blocks, instead of the policy's own list; empty: none does.
    escalate_on: tuple[str, ...] | None = None

    def matches(self, facts: RouteFacts) -> bool:
        """Whether the block meets the rule's conditions."""
        schema = facts.schema
        return (
            (self.block_types is None or facts.block_type in self.block_types)
            and (self.min_block_tokens is None or facts.n_tokens >= self.min_block_tokens)
            and (self.max_block_tokens is None or facts.n_tokens <= self.max_block_tokens)
            and (self.tasks is None or schema.task in self.tasks)
            and (self.languages is None or facts.language in self.languages)
            and (self.field_kinds is None or any(kind in schema.field_kinds for kind in self.field_kinds))
            and (self.retrieval is None or schema.retrieval in self.retrieval)
            and (self.min_complexity is None or schema.complexity >= self.min_complexity)
            and (self.max_complexity is None or schema.complexity <= self.max_complexity)
        )

    @property
    def why(self) -> str:
        """The conditions in words; a block that the rule matches meets them all."""
        lists = (
            ("its task is one of", self.tasks),
            ("its type is one of", self.block_types),
            ("its language is one of", self.languages),
            ("its schema asks for a field of kind", self.field_kinds),
            ("its schema's need of retrieval is", self.retrieval),
        )
        bounds = (
            ("it has at least", self.min_block_tokens, " tokens"),
            ("it has at most", self.max_block_tokens, " tokens"),
            ("its schema's complexity is at least", self.min_complexity, ""),
            ("its schema's complexity is at most", self.max_complexity, ""),
        )
        stated = [f"{words} {', '.join(values)}" for words, values in lists if values is not None]
        stated += [f"{words} {bound}{unit}" for words, bound, unit in bounds if bound is not None]
        return " and ".join(stated) or "the rule has no condition"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPolicy:
    """Rules in order, the first that matches wins; what no rule matches goes to the default tier."""

    default_tier: str = "mid"
    #: Tier -> models, the preferred one first; the others are its fallbacks, in order.
    models: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {
            "small": ("anthropic/claude-haiku-5-5",),
            "mid": ("anthropic/claude-sonnet-5-5",),
            "large": ("anthropic/claude-opus-5-5",),
        }
    )
    rules: tuple[RoutingRule, ...] = ()
    fallback: FallbackPolicy = field(default_factory=FallbackPolicy)
    escalation: EscalationPolicy = field(default_factory=EscalationPolicy)
    #: What `tokenopt route fit` measured; None when nothing was.
    measured: MeasuredRates | None = None

    def preferred(self, tier: str) -> ModelRef:
        """The model that a tier stands for."""
        return parse_model_ref(self.models[tier][0])


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


def schema_facts(schema: ExtractionSchema) -> SchemaFacts:
    """What rules may look at of this schema."""
    shape = shape_of(schema.answer_schema)
    return SchemaFacts(
        task=schema.task, complexity=shape.complexity, field_kinds=shape.kinds, retrieval=schema.retrieval
    )


def matching_rule(policy: RoutingPolicy, facts: RouteFacts) -> RoutingRule | None:
    """The first rule that matches; None when none does."""
    return next((rule for rule in policy.rules if rule.matches(facts)), None)


def choose_route(policy: RoutingPolicy, facts: RouteFacts, *, mode: str) -> Route:
    """The route of one block under the policy. Same inputs, same route."""
    rule = matching_rule(policy, facts)
    tier = policy.default_tier if rule is None else rule.tier
    model = policy.preferred(tier)
    if rule is None:
        reason = f"No rule matches, so the default tier {tier} applies; {model} is preferred there."
    elif rule.two_pass is not None:
        first, simple = rule.two_pass.classifier, rule.two_pass.simple
        reason = (
            f"Rule {rule.id} lets tier {first} say whether the block is simple (tier {simple}) or complex (tier {tier}) "
            f"because {rule.why}; {model} is preferred for the complex ones."
        )
    else:
        reason = f"Rule {rule.id} sends the block to tier {tier} because {rule.why}; {model} is preferred there."
    return Route(tier=tier, model=model, mode=mode, rule_id="default" if rule is None else rule.id, reason=reason)


class RouteTable:
    """The routes of one run: rules are asked once per combination of facts, however many blocks there are."""

    def __init__(self, policy: RoutingPolicy, schema: ExtractionSchema, *, mode: str) -> None:
        self._policy = policy
        self._schema = schema_facts(schema)
        self._mode = mode
        self._steps = token_steps(policy)
        self._routes: dict[tuple[BlockType, int, str], Route] = {}

    def route(self, *, block_type: BlockType, n_tokens: int, language: str) -> Route:
        """The route of a block with these facts; equal to what `choose_route` says of it."""
        step = bisect_right(self._steps, n_tokens)
        key = (block_type, step, language)
        found = self._routes.get(key)
        if found is None:
            facts = RouteFacts(block_type=block_type, n_tokens=n_tokens, language=language, schema=self._schema)
            found = self._routes[key] = choose_route(self._policy, facts, mode=self._mode)
        return found


def token_steps(policy: RoutingPolicy) -> list[int]:
    """Lengths at which some rule's answer may change, ascending: no rule tells two lengths between them apart."""
    steps = {rule.min_block_tokens for rule in policy.rules if rule.min_block_tokens is not None}
    steps |= {rule.max_block_tokens + 1 for rule in policy.rules if rule.max_block_tokens is not None}
    return sorted(steps)


def default_model(policy: RoutingPolicy) -> ModelRef:
    """The model of the blocks that no rule sends elsewhere."""
    return policy.preferred(policy.default_tier)


def models_in_use(policy: RoutingPolicy) -> tuple[ModelRef, ...]:
    """Every model the rules can reach without fallback and escalation, in a stable order, each once."""
    tiers = [rule.tier for rule in policy.rules] + [policy.default_tier]
    return tuple(parse_model_ref(ref) for ref in dict.fromkeys(policy.models[tier][0] for tier in tiers))


def tiers_reachable(policy: RoutingPolicy) -> tuple[str, ...]:
    """Every tier that may come to answer, escalation and first passes included, each once."""
    tiers = [*(rule.tier for rule in policy.rules), policy.default_tier]
    tiers += [t for rule in policy.rules if rule.two_pass for t in (rule.two_pass.classifier, rule.two_pass.simple)]
    for tier in list(tiers):
        tiers += policy.escalation.tiers_from(tier)
    return tuple(dict.fromkeys(tiers))


def models_reachable(policy: RoutingPolicy) -> tuple[ModelRef, ...]:
    """Every model that may come to answer, fallbacks, escalation and first passes included, each once."""
    refs = [
        str(ref)
        for tier in tiers_reachable(policy)
        for ref in (policy.preferred(tier), *policy.fallback.chain(policy.models[tier]))
    ]
    second = policy.escalation.second_opinion
    refs += [] if second is None or not policy.escalation.enabled else [second]
    return tuple(parse_model_ref(ref) for ref in dict.fromkeys(refs))


def parse_model_ref(text: str, *, where: str = "model") -> ModelRef:
    """The model behind `provider/model`. Whether that provider exists is asked when the run is planned.

    Raises PolicyInvalid.
    """
    provider, _, model = text.partition("/")
    if not provider or not model:
        raise PolicyInvalid(f"{where} {text!r}: write provider/model, for example {RoutingPolicy().models['mid'][0]}")
    return ModelRef(provider=provider, model=model)
