"""A recorded cell: every block a run of its own, answered as a real model once did; or what was recorded of packs, as it is."""

from __future__ import annotations

import json
import resource
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tokenopt_pipeline import assembly
from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
from tokenopt_pipeline.adapters.postgres.connection import Connection, connect, rows
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.adapters.postgres.summaries import PostgresSummaries
from tokenopt_pipeline.adapters.readers import read_document
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.domain.policy import ResolvedPolicy, resolve
from tokenopt_pipeline.domain.runs import Run, RunKind, Shard
from tokenopt_pipeline.domain.schemas import parse_schema
from tokenopt_pipeline.measuring.recorded import RecordedBlock, Recording, model_of
from tokenopt_pipeline.measuring.recorded_packs import RecordedPacks
from tokenopt_pipeline.measuring.scenarios import Scenario
from tokenopt_pipeline.settings import Settings
from tokenopt_pipeline.stages.ingest import ingest_source
from tokenopt_pipeline.stages.line import Line
from tokenopt_pipeline.stages.plan import RunRequest, plan_run

KIND = "recorded"
_SUMS = ("calls", "calls_failed", "packs", "packs_from_splits", "batches", "violations")
#: The clock of these runs: nothing that is recorded depends on it.
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def replay(recording: Recording, scenario: Scenario, settings: Settings, *, base_url: str) -> dict[str, Any]:
    """Counts, outcomes and our CPU seconds. Scores and dollars are the recorded ones; tokens were not recorded alike.

    Waits are left out: those of the stand-in are not the recorded model's.
    """
    policy = resolve(
        [
            (f"scenario {scenario.name}", scenario.policy),
            ("recording", recording.policy([tier.name for tier in scenario.tiers], base_url=base_url)),
        ]
    )
    counts: Counter[str] = Counter(dict.fromkeys(_SUMS, 0))
    failed: Counter[str] = Counter()
    models: Counter[str] = Counter()
    usd, outcomes = Decimal(0), []
    with connect(assembly.open_database(settings), application="tokenopt benchmark") as connection:
        line = assembly.line_on(connection, assembly.open_backend(settings))
        began = _cpu_s()
        for number, block in enumerate(recording.blocks):
            run = _asked(connection, line, block, policy, number)
            summary = PostgresSummaries(connection, tables=assembly.RunTables()).summary(run)
            counts.update({name: summary[name] for name in _SUMS})
            failed.update(summary["failed_by_class"])
            for asked in rows(connection, "run_models", run_no=run.run_no):
                usd += Decimal(str(block.answers[model_of(asked["model"])].usd)) * asked["calls"]
            (ended,) = rows(connection, "export_blocks", run_no=run.run_no)
            outcome = {"status": ended["status"], "rule": ended["rule_id"], "error": ended["error_class"]}
            by = None if ended["model"] is None or ended["status"] != "ai_complete" else model_of(ended["model"])
            if by is not None:
                models[by] += 1
            # A block without an answer is wrong.
            score = 0.0 if by is None else block.answers[by].score
            outcomes.append({**outcome, "answer": ended["answer"], "score": score})
        spent = {"cpu_s": _cpu_s() - began}
        line.close()
    return {
        "counts": {
            "blocks": len(recording.blocks),
            **{name: counts[name] for name in _SUMS},
            "tokens": {},
            "usd": float(usd),
            "skipped_by_rule": {},
            "failed_by_class": dict(sorted(failed.items())),
            "blocks_by_model": dict(sorted(models.items())),
        },
        "outcomes": outcomes,
        "stopped": None,
        "spent": spent,
    }


def _asked(connection: Connection, line: Line, block: RecordedBlock, policy: ResolvedPolicy, number: int) -> Run:
    """The block through the whole line, as the only one of its collection."""
    collection, store, tokenizer = f"query-{number}", assembly.collections_on(connection), O200kTokenizer()
    ingest_source(
        "blocks.jsonl",
        json.dumps({"type": "paragraph", "text": block.text}).encode(),
        collection=collection,
        read=read_document,
        tokenizer=tokenizer,
        store=store,
        now=_NOW,
    )
    run = plan_run(
        RunRequest(
            collection=collection,
            schema=parse_schema(block.schema, name="calls"),
            schema_source=block.schema,
            resolved=policy,
            mode="sync",
            kind=RunKind.SIMULATED,
        ),
        run_id=f"replay-{number}",
        collections=store,
        runs=PostgresRuns(connection),
        models=assembly.models_under(policy.policy),
        prices=assembly.prices_under(policy.policy),
        validators=JsonSchemaValidators(),
        tokenizer=tokenizer,
        now=_NOW,
    )
    line.whole(run, Shard(run_no=run.run_no, shard_no=0))
    return run


def read_packs(packs: RecordedPacks, scenario: Scenario) -> dict[str, Any] | str:
    """What was recorded at the pack size that the scenario's policy asks the tier `mid` with, or why there is nothing."""
    packing = resolve([(f"scenario {scenario.name}", scenario.policy)]).policy.packing
    wanted = min(packing.pack_size, packing.quality_cap("mid")) if packing.enabled else 1
    size = packs.at(wanted)
    if size is None:
        return f"packs of {wanted} were not recorded, nor larger ones"
    scores = packs.scores[size]
    return {
        "counts": {
            "blocks": len(scores),
            "calls": -(-len(scores) // size),
            **dict.fromkeys(_SUMS[1:], 0),
            "packs": -(-len(scores) // size),
            "tokens": {},
            "usd": None,
            "skipped_by_rule": {},
            "failed_by_class": {},
            "blocks_by_model": {},
        },
        "outcomes": [
            {"status": "ai_complete", "rule": None, "error": None, "answer": None, "score": round(score, 6)}
            for score in scores
        ],
        "stopped": None,
        "spent": {},
    }


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
