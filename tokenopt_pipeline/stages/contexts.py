"""Contexts: what a run knows of its references, and what each of its packs carries of them. The one place that decides it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tokenopt_pipeline.domain.embedding_use import is_vendors
from tokenopt_pipeline.domain.errors import InvalidInput, NotFound, StoreUnavailable, TokenOptError
from tokenopt_pipeline.domain.indexes import ServedIndex, lenders_of
from tokenopt_pipeline.domain.knowledge import (
    NO_KNOWLEDGE,
    CarriedContext,
    Knowledge,
    RunReference,
    carried_found,
    carried_nothing,
    carried_whole,
    text_id,
)
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.packing import PlannedPack
from tokenopt_pipeline.domain.policy import Policy, RetrievalPolicy
from tokenopt_pipeline.domain.reference_prompts import (
    FOUND_OVERHEAD_TOKENS,
    found_references,
    whole_reference,
    with_references,
)
from tokenopt_pipeline.domain.retrieval import (
    ContextDecision,
    ContextKind,
    ContextPrices,
    decide_before_searching,
    decide_context,
    decide_pack,
    found_at_most,
    limits_of,
    not_asked,
    on_demand,
    search_failed,
)
from tokenopt_pipeline.domain.routing import models_reachable
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.domain.schemas import ExtractionSchema
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline.ports import ContextStore, Models, ReferenceReading, Tokenizer
from tokenopt_pipeline.stages.retrieve import Query, Retrieval


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a run is to know, and the texts it is about: text id -> a reference whole."""

    knowledge: Knowledge
    texts: Mapping[str, str]
    #: What packs carry as things stand; None: it depends on their blocks.
    decided: ContextDecision | None
    #: Of the indexes that every block is searched for in, the vendors' embedders; in the order of the references.
    embedders: tuple[str, ...] = ()


NOTHING_KNOWN = Known(knowledge=NO_KNOWLEDGE, texts={}, decided=not_asked())


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixCosts:
    """What requests to one model cost before their blocks. Each returns dollars, or None without a price."""

    #: A call's share of a prefix of so many tokens of our tokenizer.
    shared: Callable[[int], Decimal | None]
    usd: Callable[[TokenUsage], Decimal | None]


def know(schema: ExtractionSchema, policy: Policy, *, references: ReferenceReading, tokenizer: Tokenizer) -> Known:
    """The schema's references as they are now. Raises InvalidInput when one is not registered."""
    if schema.retrieval == "none":
        return NOTHING_KNOWN
    known, texts, embedders = [], {}, []
    for name in schema.references:
        try:
            stored = references.find(name)
        except NotFound as problem:
            raise InvalidInput(f"schema {schema.ref} relies on it: {problem}") from problem
        text, served = references.whole(name), references.serving(name)
        texts[text_id(text)] = text
        if served is not None and served.embedder is not None and is_vendors(served.embedder):
            embedders.append(served.embedder)
        known.append(
            RunReference(
                name=name,
                sources_digest=stored.sources_digest,
                n_tokens=tokenizer.count(whole_reference(name, text)),
                text_id=text_id(text),
                index_recipe=None if served is None else served.recipe_digest,
            )
        )
    knowledge = Knowledge(references=tuple(known))
    decided = _decided(schema, policy, knowledge, references)
    return Known(
        knowledge=knowledge, texts=texts, decided=decided, embedders=() if decided is not None else tuple(embedders)
    )


def expected_context(
    known: Known, policy: RetrievalPolicy, model: ModelSpec, prompt_tokens: int, costs: PrefixCosts
) -> CarriedContext:
    """What a pack to the model is expected to carry; found chunks are taken at the most they may have."""
    knowledge = known.knowledge
    if known.decided is not None:
        return (carried_whole if known.decided.kind is ContextKind.FULL else _nothing)(known.decided, knowledge)
    most = len(knowledge.references) * policy.budget_tokens + FOUND_OVERHEAD_TOKENS
    prices = _context_prices(costs, model, prompt_tokens, knowledge, found_tokens=most)
    decided = decide_pack([found_at_most(most)], prices)
    if decided.kind is ContextKind.FULL:
        return carried_whole(decided, knowledge)
    return carried_found(decided, [], tokens=most)


def check_room(knowledge: Knowledge, policy: Policy, models: Models, *, prompt_tokens: int) -> None:
    """Raises InvalidInput when the references whole, which every doubt sends, leave no room for blocks in some model."""
    for spec in [models.spec(ref) for ref in models_reachable(policy.routing)] if knowledge.references else ():
        window = min(policy.packing.context_window_tokens, spec.context_tokens)
        whole = spec.guarded_tokens(prompt_tokens + knowledge.n_tokens) + spec.request_overhead_tokens
        if whole + min(policy.packing.max_output_tokens, spec.max_output_tokens) >= window:
            names = ", ".join(reference.name for reference in knowledge.references)
            raise InvalidInput(
                f"references {names}: whole they are about {knowledge.n_tokens:,} tokens, which beside an answer do not fit "
                f"the {window:,} tokens of {spec.ref}, and whole is what a pack carries in doubt"
            )


@dataclass(slots=True, kw_only=True)
class Contexts:
    """Decides what packs carry of their run's references."""

    references: ReferenceReading
    store: ContextStore
    #: Opened when something is searched for a run for the first time; what its queries cost is the run's.
    open_retrieval: Callable[[Run], Retrieval]
    _retrievals: dict[int, Retrieval] = field(default_factory=dict)

    def expected(self, run: Run, model: ModelSpec, prompt_tokens: int, costs: PrefixCosts) -> CarriedContext:
        """What a pack to the model is expected to carry, before anything is searched."""
        decided = _decided(run.schema, run.policy, run.knowledge, self.references)
        known = Known(knowledge=run.knowledge, texts={}, decided=decided)
        return expected_context(known, run.policy.retrieval, model, prompt_tokens, costs)

    def of_packs(
        self, run: Run, packs: Sequence[tuple[ModelSpec, PlannedPack]], costs: Callable[[ModelSpec], PrefixCosts]
    ) -> list[CarriedContext]:
        """What each pack carries; the texts are kept before this returns."""
        decided = _decided(run.schema, run.policy, run.knowledge, self.references)
        if decided is not None:
            carried = carried_whole if decided.kind is ContextKind.FULL else _nothing
            return [carried(decided, run.knowledge)] * len(packs)
        indexes = [self.references.serving(reference.name) for reference in run.knowledge.references]
        if run.run_no not in self._retrievals:
            self._retrievals[run.run_no] = self.open_retrieval(run)
        search = _PackSearch(
            run=run,
            store=self.store,
            retrieval=self._retrievals[run.run_no],
            indexes=[index for index in indexes if index is not None],
            costs=costs,
        )
        found = [search.context(model, pack) for model, pack in packs]
        self.store.keep(search.texts)
        return found


def _decided(
    schema: ExtractionSchema, policy: Policy, knowledge: Knowledge, references: ReferenceReading
) -> ContextDecision | None:
    """What is the same for all packs of a run; None: it depends on their blocks."""
    served = [references.serving(each.name) for each in knowledge.references]
    together = [index for index in served if index is not None]
    standings = [each.standing(index, together) for each, index in zip(knowledge.references, served, strict=True)]
    decided = decide_before_searching(schema.retrieval, len(standings), standings, limits_of(policy.retrieval))
    # A model that asks for what it needs searches the same indexes, so they have to be as good.
    return on_demand() if decided is None and policy.bridge.searches_references else decided


def _context_prices(
    costs: PrefixCosts, model: ModelSpec, prompt_tokens: int, knowledge: Knowledge, *, found_tokens: int
) -> ContextPrices | None:
    whole, prompt = costs.shared(prompt_tokens + knowledge.n_tokens), costs.shared(prompt_tokens)
    found = costs.usd(TokenUsage(input_uncached=model.billed_tokens(found_tokens)))
    if whole is None or prompt is None or found is None:
        return None
    return ContextPrices(whole_usd=whole, found_usd=prompt + found)


def _nothing(decision: ContextDecision, _knowledge: Knowledge) -> CarriedContext:
    return carried_nothing(decision)


@dataclass(slots=True, kw_only=True)
class _PackSearch:
    run: Run
    store: ContextStore
    retrieval: Retrieval
    #: One per reference, all trusted.
    indexes: Sequence[ServedIndex]
    costs: Callable[[ModelSpec], PrefixCosts]
    texts: dict[str, str] = field(default_factory=dict)
    #: Why no search is tried any more.
    failed: str | None = None

    def context(self, model: ModelSpec, pack: PlannedPack) -> CarriedContext:
        if self.failed is None:
            try:
                return self._searched(model, pack)
            except StoreUnavailable:
                raise
            except TokenOptError as problem:
                # The next pack would only wait for the same embedder.
                self.failed = str(problem)
        return carried_whole(search_failed(self.failed), self.run.knowledge)

    def _searched(self, model: ModelSpec, pack: PlannedPack) -> CarriedContext:
        policy, limits = self.run.policy.retrieval, limits_of(self.run.policy.retrieval)
        blocks = self.store.blocks([block.block_no for block in pack.blocks])
        asked = [blocks[block.block_no] for block in pack.blocks]
        queries = [Query(text=text, block_type=block_type) for block_type, text in asked if text.strip()]
        decisions, passages, tokens = [], [], 0
        for reference, index in zip(self.run.knowledge.references, self.indexes, strict=True):
            lenders = lenders_of(index, self.indexes)
            lent = [self.retrieval.lent(query, lenders) for query in queries]
            found = self.retrieval.pack(index, lent, k=policy.k, budget_tokens=policy.budget_tokens)
            decisions.append(
                decide_context(index.standing, found.findings, limits, reference_tokens=reference.n_tokens)
            )
            passages += [chunk.passage for chunk in found.chunks]
            tokens += found.findings.chunks.tokens
        tokens += FOUND_OVERHEAD_TOKENS if passages else 0
        run = self.run
        prices = _context_prices(self.costs(model), model, run.prompt_tokens, run.knowledge, found_tokens=tokens)
        decided = decide_pack(decisions, prices)
        if decided.kind is ContextKind.FULL:
            return carried_whole(decided, self.run.knowledge)
        self.texts |= {text_id(passage): passage for passage in passages}
        return carried_found(decided, passages, tokens=tokens)


@dataclass(slots=True, kw_only=True)
class ContextTexts:
    """The texts that requests of one run carry, read once."""

    run: Run
    store: ContextStore
    _systems: dict[tuple[str, tuple[str, ...]], str] = field(default_factory=dict)

    def system(self, prompt: str, context: CarriedContext) -> str:
        """The shared prefix of a request: the prompt, with the references whole where the pack carries them."""
        if context.kind is not ContextKind.FULL:
            return prompt
        key = (prompt, context.text_ids)
        if key not in self._systems:
            names = [reference.name for reference in self.run.knowledge.references]
            texts = self.store.texts(context.text_ids)
            wholes = [whole_reference(name, text) for name, text in zip(names, texts, strict=True)]
            self._systems[key] = with_references(prompt, wholes)
        return self._systems[key]

    def found(self, context: CarriedContext) -> str:
        """What follows the shared prefix."""
        if context.kind is not ContextKind.RETRIEVED:
            return ""
        return found_references(self.store.texts(context.text_ids))
