"""`tokenopt plan`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tokenopt_pipeline import assembly
from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
from tokenopt_pipeline.adapters.postgres.learning import PostgresLearning
from tokenopt_pipeline.adapters.postgres.planning import PostgresPlanning
from tokenopt_pipeline.adapters.postgres.stories import models_text
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.cli.figures import bill_document, context_lines, dollars, embedding_lines
from tokenopt_pipeline.cli.workspace import Asked, Workspace, build_request
from tokenopt_pipeline.domain.batch_policy import batches_in_a_row
from tokenopt_pipeline.domain.batches import LIMITS
from tokenopt_pipeline.domain.forecasts import Amounts, Forecast
from tokenopt_pipeline.domain.policy import Policy
from tokenopt_pipeline.domain.reuse import Asking, why_not_reused
from tokenopt_pipeline.domain.routing import parse_model_ref
from tokenopt_pipeline.stages.afford import tiers_within_budget, within_budget
from tokenopt_pipeline.stages.plan import RunRequest, learn, recipe_of, run_mode
from tokenopt_pipeline.stages.predict import predict_run
from tokenopt_pipeline.stages.prediction import PredictedRoute

# Runs of which it is said why their answers are not taken.
_MOST_RUNS = 3


def plan_document(workspace: Workspace, asked: Asked) -> dict[str, Any]:
    """The prediction in the keys that `run` and `status` use; `run` is None because there is none."""
    request = build_request(asked, backend=assembly.open_backend(workspace.settings), connection=workspace.connection)
    # A collection that does not exist is refused; one without blocks predicts nothing.
    assembly.collections_on(workspace.connection).document_ids(asked.collection)
    learned = learn(
        request,
        calls=PostgresLearning(workspace.connection),
        models=assembly.models_under(request.resolved.policy),
    )
    tables: dict[str, Any] = {
        "planning": PostgresPlanning(workspace.connection),
        "models": assembly.models_under(request.resolved.policy, learned),
        "prices": assembly.prices_under(request.resolved.policy),
        "validators": JsonSchemaValidators(),
        "tokenizer": O200kTokenizer(),
    }
    request = within_budget(request, **tables)
    predicted = predict_run(request, **tables, learned=learned)
    policy = request.resolved.policy
    usage = predicted.usage
    return {
        "run": None,
        "collection": asked.collection,
        "schema": request.schema.ref,
        "policy_hash": request.resolved.policy_hash,
        "policy_sources": dict(request.resolved.sources),
        "mode": run_mode(request),
        "modes": {model: asdict(mode) for model, mode in predicted.modes.items()},
        "waits": {
            route.model: _wait(policy, route) for route in predicted.routes if route.is_chosen and route.mode == "async"
        },
        "shards": -(-predicted.blocks // policy.run.shard_blocks),
        "blocks": predicted.blocks,
        "outcomes": {
            "skipped": sum(predicted.skipped_by_rule.values()),
            "reused": predicted.reused,
            "ai_complete": 0,
            "confirmed": 0,
            "failed": 0,
            "outstanding": predicted.kept,
        },
        "skipped_by_rule": predicted.skipped_by_rule,
        "reused_by_rule": predicted.reused_by_rule,
        "not_reused": _not_reused(request, tables),
        "too_large": predicted.too_large,
        "checks": list(predicted.checks),
        "tiers_within_budget": tiers_within_budget(request),
        "packs": predicted.packs,
        "calls": predicted.calls,
        "batches": 0,
        "tokens": {
            "input": usage.input_total,
            "input_cached": usage.cache_read,
            "cache_write": usage.cache_write,
            "output": usage.output,
        },
        "contexts": predicted.contexts,
        "usd_bound": None if predicted.usd_bound is None else float(predicted.usd_bound),
        "embeddings": {name: bill_document(bill) for name, bill in predicted.queries.items()},
        "conversations": predicted.conversations,
        "usd_reserved": {model: float(usd) for model, usd in predicted.usd_reserved.items()},
        "usd": None if predicted.usd is None else float(predicted.usd),
        "forecast": _forecast_document(predicted.forecast),
        "routes": [
            {
                "tier": route.tier,
                "model": route.model,
                "asks": route.asks,
                "mode": route.mode,
                "is_chosen": route.is_chosen,
                "answers_learnt_from": route.learnt_from,
                "cache": route.cache_reason,
                **_forecast_document(route.forecast),
            }
            for route in predicted.routes
        ],
        "budget_usd": None if policy.run.budget_usd is None else float(policy.run.budget_usd),
        "usd_baseline": None if predicted.usd_baseline is None else float(predicted.usd_baseline),
        "kind": request.kind.value,
        "violations": 0,
    }


def _wait(policy: Policy, route: PredictedRoute) -> dict[str, Any]:
    """How long an answer in batches may take."""
    bridge = policy.bridge
    max_turns = bridge.max_turns if bridge.enabled else None
    expected, most = batches_in_a_row(policy.batches, max_turns=max_turns, is_primed=route.is_primed)
    hours = LIMITS[parse_model_ref(route.model).provider].expires_h
    # Only conversations look at the deadline between two batches.
    deadline_h = policy.batches.deadline_h or None if bridge.enabled else None
    return {"batches": expected, "batches_most": most, "batch_h": hours, "deadline_h": deadline_h}


def _not_reused(request: RunRequest, tables: Mapping[str, Any]) -> list[str]:
    """Why answers that other runs have are not taken, a sentence per run, the newest first."""
    recipe = recipe_of(request, tables["models"])
    ours = Asking(
        run_id="",
        kind=request.kind.value,
        schema_ref=request.schema.ref,
        schema_hash=request.schema.schema_hash,
        form=request.resolved.policy.packing.output_form,
        models=models_text(request.resolved.policy.routing.models),
        recipe=recipe,
    )
    others = tables["planning"].answered_otherwise(request.collection, answer_recipe=recipe)
    is_enabled = request.resolved.policy.reuse.enabled
    # Switched off is the same reason for all of them.
    most = _MOST_RUNS if is_enabled else 1
    return [f"{o.blocks:,} blocks: {why_not_reused(ours, [o], is_enabled=is_enabled)}" for o in others[:most]]


def _forecast_document(forecast: Forecast) -> dict[str, Any]:
    return {name: _amounts(getattr(forecast, name)) for name in ("low", "expected", "high")}


def _amounts(amounts: Amounts) -> dict[str, Any]:
    usage = amounts.usage
    return {
        "calls": amounts.calls,
        "tokens": {
            "input": usage.input_total,
            "input_cached": usage.cache_read,
            "cache_write": usage.cache_write,
            "output": usage.output,
        },
        "usd": None if amounts.usd is None else float(amounts.usd),
    }


def plan_lines(p: Mapping[str, Any]) -> list[str]:
    """The prediction as a person reads it."""
    tokens, outcomes, three = p["tokens"], p["outcomes"], p["forecast"]
    low, high = three["low"], three["high"]
    skipped = ", ".join(f"{rule} {n:,}" for rule, n in p["skipped_by_rule"].items())
    reused = ", ".join(f"{rule} {n:,}" for rule, n in p["reused_by_rule"].items())
    lines = [
        f"plan        {p['schema']} over {p['collection']}, mode {p['mode']}; nothing was spent",
        f"blocks      {p['blocks']:,} in {p['shards']} shard{'s' if p['shards'] != 1 else ''}: ask {outcomes['outstanding']:,}, reuse {outcomes['reused']:,}"
        f"{f' ({reused})' if reused else ''}, skip {outcomes['skipped']:,}{f' ({skipped})' if skipped else ''}",
        f"calls       {p['calls']:,} expected, at most {high['calls']:,}",
        f"tokens      input {tokens['input']:,} (read from cache {tokens['input_cached']:,}, written to it "
        f"{tokens['cache_write']:,}) · output {low['tokens']['output']:,} / {tokens['output']:,} / {high['tokens']['output']:,} low / expected / high",
        *(f"mode        {mode['name']} at {model}: {mode['reason']}" for model, mode in p.get("modes", {}).items()),
        *(_wait_line(model, wait) for model, wait in p.get("waits", {}).items()),
        *context_lines(p.get("contexts", {})),
        *embedding_lines(p.get("embeddings", {})),
        *_bound_lines(p),
        *(f"check       {said}" for said in p["checks"]),
        *budget_lines(p["tiers_within_budget"]),
        f"dollars     {dollars(low['usd'])} / {dollars(p['usd'])} / {dollars(high['usd'])} low / expected / high, at list price",
    ]
    for route in p["routes"]:
        source = (
            f"lengths learnt from {route['answers_learnt_from']:,} answers"
            if route["answers_learnt_from"]
            else "lengths estimated from the schema alone, an upper estimate"
        )
        other = "" if route["is_chosen"] else "would be "
        lines.append(
            f"  {route['tier']:<9} {route['model']} {other}{route['mode']}: {route['expected']['calls']:,} calls, {dollars(route['low']['usd'])} / "
            f"{dollars(route['expected']['usd'])} / {dollars(route['high']['usd'])}; {source}"
        )
    lines += [f"not reused  {said}" for said in p["not_reused"]]
    if p["too_large"]:
        lines.append(f"too large   {p['too_large']:,} blocks fit into no request; they will fail without being asked")
    if p["budget_usd"] is not None:
        lines.append(f"budget      {dollars(p['budget_usd'])}: {_verdict(p)}")
    return [
        *lines,
        f"baseline    {dollars(p['usd_baseline'])} predicted: the same blocks one per call, nothing skipped, cached or packed",
    ]


def _verdict(p: Mapping[str, Any]) -> str:
    """Whether the budget is enough. It is never passed: a call that might pass it is not made."""
    too_dear = {model: usd for model, usd in p.get("usd_reserved", {}).items() if usd > p["budget_usd"]}
    if too_dear:
        return f"not enough to reserve for one conversation, {_reserved(too_dear)}; none begins"
    # Conversations may go to their bounds.
    if max(p["forecast"]["high"]["usd"], p.get("usd_bound") or 0) <= p["budget_usd"]:
        return "enough for the high estimate"
    if p["usd"] <= p["budget_usd"]:
        return "enough for what is expected, not for the high estimate; the run would stop before it passed the budget"
    return "not enough for what is expected; the run would stop before it passed the budget"


def budget_lines(tiers: Mapping[str, str]) -> list[str]:
    """Which tiers the budget's own rules send block types to; nothing where it made none."""
    told = ", ".join(f"{kind} to {tier}" for kind, tier in tiers.items())
    return [f"tiers       chosen by marginal value to fit the budget: {told}"] if told else []


def _wait_line(model: str, wait: Mapping[str, Any]) -> str:
    one = "1 batch" if wait["batches"] == 1 else f"{wait['batches']} batches one after the other"
    until = (
        ""
        if wait["deadline_h"] is None
        else f"; none is begun that may end later than batches.deadline_h, {wait['deadline_h']:g} h"
    )
    return (
        f"waiting     an answer of {model} takes {one}, {wait['batches_most']} at most; "
        f"each has ended after {wait['batch_h']} h at the latest: "
        f"{wait['batches'] * wait['batch_h']} h in all, {wait['batches_most'] * wait['batch_h']} at most{until}"
    )


def _bound_lines(p: Mapping[str, Any]) -> list[str]:
    if p.get("usd_bound") is None:
        return []
    lines = [
        f"bridge      {p['conversations']:,} conversations, each priced at one round of tools; at their bounds, and asked plainly "
        f"after that, up to {dollars(p['usd_bound'])}"
    ]
    if p["usd_reserved"]:
        lines.append(f"            reserved of a budget for each while it is going on: {_reserved(p['usd_reserved'])}")
    return lines


def _reserved(usd: Mapping[str, float]) -> str:
    return ", ".join(f"about {dollars(each)} with {model}" for model, each in usd.items())
