"""Plan: everything that can be refused is refused here, before anything is spent; then the run and its shards exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from tokenopt_pipeline.domain.answer_lengths import MOST_ANSWERS, learn_lengths
from tokenopt_pipeline.domain.batch_policy import longest_h
from tokenopt_pipeline.domain.batches import LIMITS, supports_batches
from tokenopt_pipeline.domain.classification import classification_schema
from tokenopt_pipeline.domain.encoding import PLAIN, AnswerForm, answer_form
from tokenopt_pipeline.domain.errors import InvalidInput, PriceUnknown
from tokenopt_pipeline.domain.fingerprints import canonical_json
from tokenopt_pipeline.domain.learning import MOST_CALLS, NOTHING_LEARNED, Learned, learn_prefix, learn_tokens
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.policy import Policy, ResolvedPolicy
from tokenopt_pipeline.domain.prefixes import Prefix, prefix_of
from tokenopt_pipeline.domain.prompts import system_prompt
from tokenopt_pipeline.domain.routing import ModelRef, models_reachable, parse_model_ref, tiers_reachable
from tokenopt_pipeline.domain.runs import NewRun, Run, RunKind, answer_recipe, shard_spans
from tokenopt_pipeline.domain.schemas import ExtractionSchema
from tokenopt_pipeline.domain.smallest_answers import smallest_answer_tokens
from tokenopt_pipeline.ports import (
    AnswerValidators,
    CollectionStore,
    LearningStore,
    Models,
    Prices,
    RunStore,
    Tokenizer,
)
from tokenopt_pipeline.stages.contexts import NOTHING_KNOWN, Known, check_room
from tokenopt_pipeline.stages.prepare import unpriced


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What somebody asks for."""

    collection: str
    schema: ExtractionSchema
    #: The schema file's own content, stored with the run.
    schema_source: Mapping[str, object]
    resolved: ResolvedPolicy
    #: `sync`, `async` or `auto`.
    mode: str
    kind: RunKind
    #: The policy as it was asked for, where tiers were chosen to fit a budget; it is what makes two runs the same.
    requested: Policy | None = None
    #: What its run is to know of the schema's references, see `stages.contexts.know`.
    known: Known = NOTHING_KNOWN


def plan_run(
    request: RunRequest,
    *,
    run_id: str,
    collections: CollectionStore,
    runs: RunStore,
    models: Models,
    prices: Prices,
    validators: AnswerValidators,
    tokenizer: Tokenizer,
    now: datetime,
    learned: Learned = NOTHING_LEARNED,
) -> Run:
    """The run of this request: the unfinished one of the same inputs, or a new one under `run_id`.

    Raises InvalidInput (a schema, model, price, mode or collection is wrong); nothing is written then.
    """
    check_askable(request, models=models, prices=prices, validators=validators)
    documents = collections.document_ids(request.collection)
    n_blocks = sum(n for _, n in documents)
    if n_blocks == 0:
        raise InvalidInput(f"collection {request.collection!r} has no blocks, so there is nothing to ask")
    policy, schema = request.resolved.policy, request.schema
    prompt = prompt_tokens(answer_form(schema, policy.packing.output_form), tokenizer)
    check_room(request.known.knowledge, policy, models, prompt_tokens=prompt)
    new = NewRun(
        run_id=run_id,
        collection=request.collection,
        document_ids=tuple(d for d, _ in documents),
        schema=schema,
        schema_source=request.schema_source,
        prompt_tokens=prompt,
        resolved=request.resolved,
        requested=request.requested,
        answer_recipe=recipe_of(request, models),
        mode=run_mode(request),
        kind=request.kind,
        learned=learned,
        classification_tokens=classification_tokens(request, tokenizer),
        knowledge=request.known.knowledge,
        texts=request.known.texts,
        spans=tuple(shard_spans(n_blocks, policy.run.shard_blocks)),
    )
    # An unfinished run of the same inputs is gone on with.
    return runs.open_run(new.inputs_digest) or runs.create(new, now=now)


def learn(request: RunRequest, *, calls: LearningStore, models: Models | None = None) -> Learned:
    """What calls of the same kind taught about the models of a request; of the same schema where there are enough of them.

    With `models`, also how its very prefix was billed there.
    """
    tokens, answers, prefixes = {}, {}, {}
    packing = request.resolved.policy.packing
    form = answer_form(request.schema, packing.output_form)
    for ref in models_reachable(request.resolved.policy.routing):
        seen = calls.answers(
            ref,
            kind=request.kind,
            schema_hash=request.schema.schema_hash,
            form=packing.output_form,
            most=MOST_ANSWERS,
        )
        if lengths := learn_lengths(seen, overflow_probability=packing.overflow_probability):
            answers[str(ref)] = lengths
        if models is not None:
            prefix = form_prefix(form, models.spec(ref))
            if seen_prefix := learn_prefix(calls.prefixed(prefix, ref, kind=request.kind, most=MOST_CALLS)):
                prefixes[str(ref)] = seen_prefix
        for schema_hash in (request.schema.schema_hash, None):
            counted = calls.counted(ref, kind=request.kind, schema_hash=schema_hash, most=MOST_CALLS)
            overhead = models.spec(ref).request_overhead_tokens if models is not None else 0
            correction = learn_tokens(counted, overhead=overhead)
            if correction is not None:
                tokens[str(ref)] = correction
                break
    return Learned(tokens=tokens, answers=answers, prefixes=prefixes)


def check_askable(request: RunRequest, *, models: Models, prices: Prices, validators: AnswerValidators) -> None:
    """Raises InvalidInput when the mode is not offered, the schema is no JSON Schema, or a model is unknown or has no price."""
    _check_mode(request)
    validators.check_schema(request.schema)
    _check_answers_fit(request, models)
    for ref in _without_price(request.resolved.policy, prices):
        run = request.resolved.policy.run
        if not run.allow_unknown_price:
            raise PriceUnknown(
                f"model {ref} has no known list price; run.allow_unknown_price: true runs it with its cost unknown, and "
                f"models.{ref}.price in the policy gives it a price"
            )
        raise PriceUnknown(f"model {ref} has no known list price, so a budget of ${run.budget_usd} cannot be kept")


def _check_answers_fit(request: RunRequest, models: Models) -> None:
    """Raises InvalidInput when a model is unknown, or may not write as much as the shortest answer takes."""
    packing = request.resolved.policy.packing
    smallest = smallest_answer_tokens(answer_form(request.schema, packing.output_form).asked.answer_schema)
    for ref in models_reachable(request.resolved.policy.routing):
        limit = min(models.spec(ref).max_output_tokens, packing.max_output_tokens)
        if smallest > limit:
            raise InvalidInput(
                f"schema {request.schema.ref}: its shortest answer takes at least {smallest:,} tokens, and {ref} may write {limit:,} "
                "(the model's limit or packing.max_output_tokens)"
            )


def _without_price(policy: Policy, prices: Prices) -> Iterator[ModelRef]:
    """Models that would be asked although their price is needed and unknown: no fallback of theirs has one either."""
    hindered, routing = unpriced(policy, prices), policy.routing
    for tier in tiers_reachable(routing):
        models = (str(routing.preferred(tier)), *routing.fallback.chain(routing.models[tier]))
        if all(hindered(model) for model in models):
            yield routing.preferred(tier)
    second = routing.escalation.second_opinion
    if routing.escalation.enabled and second is not None and hindered(second):
        yield parse_model_ref(second)


def _check_mode(request: RunRequest) -> None:
    """Raises InvalidInput when async mode is asked for and nobody could be given a batch."""
    models = models_reachable(request.resolved.policy.routing)
    if request.mode == "async" and not any(supports_batches(ref.provider) for ref in models):
        named = ", ".join(map(str, models))
        raise InvalidInput(f"mode async: batches are offered by {', '.join(LIMITS)}, and the run asks {named}")


def run_mode(request: RunRequest) -> str:
    """The run's mode: auto stays auto only where some pack may go in a batch; each pack then has its own reason."""
    if request.mode != "auto":
        return request.mode
    policy = request.resolved.policy
    providers = {ref.provider for ref in models_reachable(policy.routing) if supports_batches(ref.provider)}
    hours = [longest_h(provider, converses=policy.bridge.enabled) for provider in providers]
    return "auto" if hours and policy.batches.deadline_h >= min(hours) else "sync"


def recipe_of(request: RunRequest, models: Models) -> str:
    """What answers to this request depend on beside the blocks; see `domain.runs.answer_recipe`."""
    policy = request.resolved.policy
    specs = [models.spec(ref) for ref in models_reachable(policy.routing)]
    return answer_recipe(request.schema, policy, request.kind, specs, request.known.knowledge)


def classification_tokens(request: RunRequest, tokenizer: Tokenizer) -> int:
    """The same of the first pass; 0 when no rule has two passes."""
    has_two_passes = any(rule.two_pass is not None for rule in request.resolved.policy.routing.rules)
    return prompt_tokens(answer_form(classification_schema(request.schema), PLAIN), tokenizer) if has_two_passes else 0


def form_prefix(form: AnswerForm, model: ModelSpec, *, system: str | None = None) -> Prefix:
    """What all requests in this form to the model share; `system`: its system text, where it carries references."""
    return prefix_of(
        model=str(model.ref),
        system=system_prompt(form.asked) if system is None else system,
        output_schema=form.output_schema,
        output_method=model.output_method,
        thinking=model.thinking,
    )


def prompt_tokens(form: AnswerForm, tokenizer: Tokenizer) -> int:
    """Our tokenizer's count of all that every request of the schema repeats: system prompt and output schema."""
    return tokenizer.count(system_prompt(form.asked)) + tokenizer.count(canonical_json(form.output_schema))
