"""Plan: everything that can be refused is refused here, before anything is spent; then the run and its shards exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tokenopt_pipeline.domain.answer_lengths import MOST_ANSWERS, learn_lengths
from tokenopt_pipeline.domain.encoding import AnswerForm, answer_form
from tokenopt_pipeline.domain.errors import InvalidInput, PriceUnknown
from tokenopt_pipeline.domain.fingerprints import canonical_json
from tokenopt_pipeline.domain.learning import MOST_CALLS, NOTHING_LEARNED, Learned, learn_prefix, learn_tokens
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.policy import ResolvedPolicy
from tokenopt_pipeline.domain.prefixes import Prefix, prefix_of
from tokenopt_pipeline.domain.prompts import system_prompt
from tokenopt_pipeline.domain.routing import RoutingPolicy, models_in_use
from tokenopt_pipeline.domain.runs import NewRun, Run, RunKind, answer_recipe, shard_spans
from tokenopt_pipeline.domain.schemas import ExtractionSchema
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline.ports import (
    AnswerValidators,
    CollectionStore,
    LearningStore,
    Models,
    Prices,
    RunStore,
    Tokenizer,
)


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
    new = NewRun(
        run_id=run_id,
        collection=request.collection,
        document_ids=tuple(d for d, _ in documents),
        schema=schema,
        schema_source=request.schema_source,
        prompt_tokens=prompt_tokens(answer_form(schema, policy.packing.output_form), tokenizer),
        resolved=request.resolved,
        answer_recipe=recipe_of(request, models),
        mode="sync",
        kind=request.kind,
        learned=learned,
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
    for ref in models_in_use(request.resolved.policy.routing):
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
            correction = learn_tokens(counted)
            if correction is not None:
                tokens[str(ref)] = correction
                break
    return Learned(tokens=tokens, answers=answers, prefixes=prefixes)


def check_askable(request: RunRequest, *, models: Models, prices: Prices, validators: AnswerValidators) -> None:
    """Raises InvalidInput when the mode is not offered, the schema is no JSON Schema, or a model is unknown or has no price."""
    if request.mode == "async":
        raise InvalidInput("mode async: no provider offers batches in this version; use --mode sync or auto")
    if request.resolved.policy.bridge.enabled:
        raise InvalidInput("bridge.enabled = True: no run calls tools in this version; leave it false")
    validators.check_schema(request.schema)
    _refuse_what_no_run_does(request.resolved.policy.routing)
    run = request.resolved.policy.run
    for ref in models_in_use(request.resolved.policy.routing):
        models.spec(ref)
        if prices.usd(ref, TokenUsage()) is None:
            if not run.allow_unknown_price:
                raise PriceUnknown(
                    f"model {ref} has no known list price; run.allow_unknown_price: true runs it with its cost unknown, and "
                    f"models.{ref}.price in the policy gives it a price"
                )
            if run.budget_usd is not None:
                raise PriceUnknown(
                    f"model {ref} has no known list price, so a budget of ${run.budget_usd} cannot be kept"
                )


def _refuse_what_no_run_does(routing: RoutingPolicy) -> None:
    # Silence would let somebody believe that answers are checked.
    if routing.escalation.enabled:
        raise InvalidInput("routing.escalation.enabled: true has no effect on a run in this version; set it to false")
    if rule := next((rule for rule in routing.rules if rule.two_pass is not None), None):
        raise InvalidInput(
            f"rule {rule.id} is a two-pass rule, which no run can follow in this version; give it a tier"
        )


def recipe_of(request: RunRequest, models: Models) -> str:
    """What answers to this request depend on beside the blocks; see `domain.runs.answer_recipe`."""
    policy = request.resolved.policy
    specs = [models.spec(ref) for ref in models_in_use(policy.routing)]
    return answer_recipe(request.schema, policy, request.kind, specs)


def form_prefix(form: AnswerForm, model: ModelSpec) -> Prefix:
    """What all requests in this form to the model share."""
    return prefix_of(
        model=str(model.ref),
        system=system_prompt(form.asked),
        output_schema=form.output_schema,
        output_method=model.output_method,
        thinking=model.thinking,
    )


def prompt_tokens(form: AnswerForm, tokenizer: Tokenizer) -> int:
    """Our tokenizer's count of all that every request of the schema repeats: system prompt and output schema."""
    return tokenizer.count(system_prompt(form.asked)) + tokenizer.count(canonical_json(form.output_schema))
