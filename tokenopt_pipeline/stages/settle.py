"""From an answer to what is stored of it: findings per block, what is asked again, tokens and dollars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tokenopt_pipeline.domain.asking import asked_of
from tokenopt_pipeline.domain.caching import dearest_usage
from tokenopt_pipeline.domain.calls import AnsweredCall, seen_tokens
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.moves import Asks
from tokenopt_pipeline.domain.outputs import DecodedAnswer, Finding, decode_answer, failed_answer
from tokenopt_pipeline.domain.packing import LINE_OVERHEAD_TOKENS, PackableBlock, pack_limits, plan_packs
from tokenopt_pipeline.domain.packs import NewPack, OpenPack, PackMember
from tokenopt_pipeline.domain.prefixes import Prefix
from tokenopt_pipeline.domain.prompts import PromptBlock, ordinal_key, system_prompt, user_prompt
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse
from tokenopt_pipeline.domain.retries import BlockResult, NextStep, next_step
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.domain.usage import CallAssumptions
from tokenopt_pipeline.ports import Prices
from tokenopt_pipeline.stages.contexts import ContextTexts
from tokenopt_pipeline.stages.plan import form_prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedCall:
    """A pack's request and what it was sized with."""

    pack: OpenPack
    members: Sequence[PackMember]
    request: ModelRequest
    fingerprint: str
    assumptions: CallAssumptions


def run_prefix(run: Run, model: ModelSpec, system: str, asks: Asks = Asks.ANSWER) -> Prefix:
    """What all requests of the run to the model that ask the same with this system text share."""
    return form_prefix(asked_of(run, asks).form, model, system=system)


def prepare_call(
    run: Run, pack: OpenPack, members: Sequence[PackMember], *, model: ModelSpec, prices: Prices, texts: ContextTexts
) -> PreparedCall:
    """The request of a pack. The same pack gives the same bytes to the model."""
    asked, context = asked_of(run, pack.origin.asks), pack.carried
    prompt, found = asked.prompt_tokens + context.prefix_tokens, context.tokens - context.prefix_tokens
    blocks = [PromptBlock(ordinal=i, type=m.type, text=m.text) for i, m in enumerate(members, start=1)]
    request = ModelRequest(
        model=model,
        system=texts.system(system_prompt(asked.form.asked), context),
        found=texts.found(context),
        user=user_prompt(asked.form.asked, blocks),
        output_schema=asked.form.output_schema,
        # Thoughts are output, and come first: without room of their own they would take the answer's.
        max_tokens=min(pack.max_tokens + model.thinking_reserve_tokens, model.max_output_tokens),
        cache_ttl=pack.cache_ttl,
    )
    prefix = model.billed_tokens(prompt) + model.request_overhead_tokens
    guarded = model.guarded_tokens(prompt + found) + model.request_overhead_tokens + pack.input_tokens
    counted = prompt + found + sum(m.tokens + LINE_OVERHEAD_TOKENS for m in members)
    return PreparedCall(
        pack=pack,
        members=members,
        request=request,
        fingerprint=request.fingerprint,
        assumptions=CallAssumptions(
            pack_blocks=len(members),
            input_tokens=prefix
            + model.billed_tokens(found)
            + sum(model.billed_tokens(m.tokens + LINE_OVERHEAD_TOKENS) for m in members),
            output_tokens=pack.output_tokens,
            max_tokens=request.max_tokens,
            table_input_tokens=model.shipped_tokens(counted),
            prefix_tokens=prefix,
            usd_ceiling=prices.usd(
                model.ref,
                dearest_usage(request.cache_ttl, input_tokens=guarded, output_tokens=request.max_tokens),
            ),
        ),
    )


def answered(
    run: Run,
    call: PreparedCall,
    *,
    call_no: int,
    response: ModelResponse,
    latency_ms: int,
    violation: Callable[[Mapping[str, object]], str | None],
    prices: Prices,
) -> AnsweredCall:
    """What is stored when the model answered, however badly."""
    form = asked_of(run, call.pack.origin.asks).form
    answer = decode_answer(
        response.text,
        stop=response.stop,
        asked=len(call.members),
        ordinal_key=ordinal_key(form.asked),
        violation=violation,
        decode=form.decode,
    )
    step = _step(run, call, answer)
    seen = seen_tokens(answer, response)
    return AnsweredCall(
        call_no=call_no,
        pack=call.pack,
        members=call.members,
        request_fingerprint=call.fingerprint,
        prefix=call.request.prefix,
        response=response,
        usd=prices.usd(call.request.model.ref, response.usage),
        latency_ms=latency_ms,
        assumptions=call.assumptions,
        answer=answer,
        next_step=step,
        again=again_packs(run, call.pack, call.members, step, model=call.request.model, seen_tokens=seen),
    )


def refused_request(
    run: Run, call: PreparedCall, *, call_no: int, finding: Finding, problem: Exception, latency_ms: int
) -> AnsweredCall:
    """What is stored when the provider refuses the request itself: nothing was billed, the pack is split or fails."""
    answer = failed_answer(len(call.members), finding, str(problem))
    step = _step(run, call, answer)
    return AnsweredCall(
        call_no=call_no,
        pack=call.pack,
        members=call.members,
        request_fingerprint=call.fingerprint,
        prefix=call.request.prefix,
        response=None,
        usd=None,
        latency_ms=latency_ms,
        assumptions=call.assumptions,
        answer=answer,
        next_step=step,
        again=again_packs(run, call.pack, call.members, step, model=call.request.model),
        error_class=type(problem).__name__,
        error_message=str(problem),
    )


def _step(run: Run, call: PreparedCall, answer: DecodedAnswer) -> NextStep:
    results = [
        BlockResult(block_no=m.block_no, finding=o.finding, attempts_before=m.attempts_before)
        for m, o in zip(call.members, answer.outputs, strict=True)
    ]
    limit = min(run.policy.packing.max_output_tokens, call.request.model.max_output_tokens)
    return next_step(
        run.policy.retries,
        results,
        output_scale=call.pack.output_scale,
        at_output_limit=call.pack.max_tokens >= limit,
    )


def again_packs(
    run: Run, pack: OpenPack, asked: Sequence[PackMember], step: NextStep, *, model: ModelSpec, seen_tokens: int = 0
) -> list[NewPack]:
    """Packs for what a step asks the same model once more; `seen_tokens`: how long a cut answer has shown one to be."""
    members = {m.block_no: m for m in asked}
    attempts = dict(step.attempts)
    schema = asked_of(run, pack.origin.asks)
    new = []
    for group in step.again:
        limits = pack_limits(
            schema.schema,
            run.policy.packing,
            model,
            prefix_tokens=schema.widest_prefix_tokens,
            tier=pack.route.tier,
            max_blocks=len(group.block_nos),
            learned=schema.lengths(run, model),
            seen_tokens=seen_tokens,
        )
        blocks = [
            PackableBlock(block_no=b, ordinal=members[b].ordinal, tokens=members[b].tokens, type=members[b].type)
            for b in group.block_nos
        ]
        for planned in plan_packs(blocks, limits, run.policy.packing, model):
            room = min(planned.max_tokens * group.output_scale, limits.output_budget_tokens)
            new.append(
                NewPack(
                    planned=replace(planned, max_tokens=room),
                    route=pack.route,
                    origin=pack.origin.split(),
                    cache_ttl=pack.cache_ttl,
                    cache_reason=pack.cache_reason,
                    limits=limits,
                    attempts=tuple(attempts[b.block_no] for b in planned.blocks),
                    output_scale=group.output_scale,
                    parent_pack_no=pack.pack_no,
                    generation=pack.generation + 1,
                    # A part of the blocks needs no more than all of them.
                    context=pack.context,
                    tools=pack.tools,
                )
            )
    return new
