"""`tokenopt plan`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenopt_pipeline import assembly
from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
from tokenopt_pipeline.adapters.postgres.learning import PostgresLearning
from tokenopt_pipeline.adapters.postgres.planning import PostgresPlanning
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.cli.figures import dollars
from tokenopt_pipeline.cli.workspace import Asked, Workspace, build_request
from tokenopt_pipeline.stages.plan import learn
from tokenopt_pipeline.stages.predict import predict_run


def plan_document(workspace: Workspace, asked: Asked) -> dict[str, Any]:
    """The prediction in the keys that `run` and `status` use; `run` is None because there is none."""
    request = build_request(asked, backend=assembly.open_backend(workspace.settings))
    # A collection that does not exist is refused; one without blocks predicts nothing.
    assembly.collections_on(workspace.connection).document_ids(asked.collection)
    learned = learn(request, calls=PostgresLearning(workspace.connection))
    predicted = predict_run(
        request,
        planning=PostgresPlanning(workspace.connection),
        models=assembly.models_under(request.resolved.policy, learned),
        prices=assembly.prices_under(request.resolved.policy),
        validators=JsonSchemaValidators(),
        tokenizer=O200kTokenizer(),
        learned=learned,
    )
    policy = request.resolved.policy
    usage = predicted.usage
    return {
        "run": None,
        "collection": asked.collection,
        "schema": request.schema.ref,
        "policy_hash": request.resolved.policy_hash,
        "policy_sources": dict(request.resolved.sources),
        "mode": "sync",
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
        "packs": predicted.packs,
        "calls": predicted.packs,
        "batches": 0,
        "tokens": {
            "input": usage.input_total,
            "input_cached": usage.cache_read,
            "cache_write": usage.cache_write,
            "output": usage.output,
        },
        "usd": None if predicted.usd is None else float(predicted.usd),
        "usd_baseline": None if predicted.usd_baseline is None else float(predicted.usd_baseline),
        "kind": request.kind.value,
        "violations": 0,
    }


def plan_lines(p: Mapping[str, Any]) -> list[str]:
    """The prediction as a person reads it."""
    tokens, outcomes = p["tokens"], p["outcomes"]
    skipped = ", ".join(f"{rule} {n:,}" for rule, n in p["skipped_by_rule"].items())
    return [
        f"plan        {p['schema']} over {p['collection']}, mode {p['mode']}; nothing was spent",
        f"blocks      {p['blocks']:,} in {p['shards']} shard{'s' if p['shards'] != 1 else ''}: ask {outcomes['outstanding']:,}, reuse {outcomes['reused']:,}, "
        f"skip {outcomes['skipped']:,}{f' ({skipped})' if skipped else ''}",
        f"calls       {p['calls']:,}",
        f"tokens      input {tokens['input']:,} (read from cache {tokens['input_cached']:,}, written to it "
        f"{tokens['cache_write']:,}) · output up to {tokens['output']:,}",
        f"dollars     up to {dollars(p['usd'])} predicted, at list price; answers are estimated from the schema alone",
        f"baseline    up to {dollars(p['usd_baseline'])} predicted: the same blocks one per call, nothing skipped, cached or packed",
    ]
