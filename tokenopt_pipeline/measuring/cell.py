"""One cell: a scenario over a workload, from ingest to overlays, and what was measured of it as JSON values."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenopt_pipeline import assembly
from tokenopt_pipeline.adapters.clock import SystemClock
from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
from tokenopt_pipeline.adapters.postgres.connection import Connection, connect, row, rows
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.adapters.postgres.summaries import PostgresSummaries
from tokenopt_pipeline.adapters.readers import read_document
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.domain.errors import BudgetExceeded
from tokenopt_pipeline.domain.routing import models_in_use
from tokenopt_pipeline.domain.runs import Run, RunKind, RunState, Shard
from tokenopt_pipeline.measuring import replaying
from tokenopt_pipeline.measuring.asking import Conditions, ability, request_for
from tokenopt_pipeline.measuring.guide import build_guide
from tokenopt_pipeline.measuring.scenarios import SCENARIOS, Scenario
from tokenopt_pipeline.measuring.workloads import Workload, load_workload
from tokenopt_pipeline.settings import Settings
from tokenopt_pipeline.stages.contexts import know
from tokenopt_pipeline.stages.ingest import ingest_source
from tokenopt_pipeline.stages.plan import RunRequest, plan_run

_COLLECTION = "benchmark"
_KIB_PER_MIB = 1024
_REACH_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOrder:
    """What to measure."""

    scenario: str
    workload: str
    blocks: int
    #: The demo collection's folder, and that of the real documents.
    shipped: str
    data: str | None
    budget_usd: str | None = None
    #: Asked for everything instead of the scenario's tiers.
    model: str | None = None
    #: Where recorded models answer; None: nowhere.
    replay_url: str | None = None


def measure(order: CellOrder, settings: Settings) -> dict[str, Any]:
    """What the cell did. `refusal` is None, or why there is nothing else."""
    data = None if order.data is None else Path(order.data)
    workload = load_workload(order.workload, shipped=Path(order.shipped), data=data).first(order.blocks)
    scenario = SCENARIOS[order.scenario]
    if workload.recorded_tiers is not None:
        return _recorded(order, workload, scenario, settings)
    backend = assembly.open_backend(settings)
    models = Conditions(kind=RunKind.SIMULATED, model=order.model)
    policy = request_for(scenario, workload, models, collection=_COLLECTION).resolved.policy
    kind = backend.under(policy).kind_of(models_in_use(policy.routing))
    under = replace(models, kind=kind, budget_usd=order.budget_usd)
    can = ability(scenario, workload, under)
    head = {"kind": kind.value, "left_out": dict(can.left_out), "digest": workload.content_digest}
    if can.refusal is not None:
        return {**head, "refusal": can.refusal}
    request = request_for(can.scenario, workload, under, collection=_COLLECTION)
    url = assembly.open_database(settings)
    with connect(url, application="tokenopt benchmark") as connection:
        index: dict[str, Any] = {}
        if can.scenario.uses_reference:
            retrieval = request.resolved.policy.retrieval
            measured = build_guide(connection, settings, workload.reference, workload.probes, retrieval)
            index = {"probes": measured.n, "recall": measured.recall}
            references = assembly.references_on(connection)
            known = know(request.schema, request.resolved.policy, references=references, tokenizer=O200kTokenizer())
            request = replace(request, known=known)
        run = _planned(connection, workload, request)
        for name in {ref.provider for ref in models_in_use(request.resolved.policy.routing)}:
            # A free question: the vendor's SDK is imported now, and not in the first call's time.
            backend.reach(name, timeout_s=_REACH_S)
        before, began = _cpu_s(), time.perf_counter()
        stopped = None
        try:
            _take_through(connection, backend, run, url)
        except BudgetExceeded as problem:
            stopped = str(problem)
        spent: dict[str, float | None] = {"wall_s": time.perf_counter() - began, "cpu_s": _cpu_s() - before}
        spent |= _waits(connection, run)
        counted = _counted(connection, run)
        return {**head, "refusal": None, "stopped": stopped, **counted, "index": index, "spent": spent}


def _recorded(order: CellOrder, workload: Workload, scenario: Scenario, settings: Settings) -> dict[str, Any]:
    can = ability(scenario, workload, Conditions(kind=RunKind.SIMULATED))
    head = {"kind": replaying.KIND, "left_out": dict(can.left_out), "digest": workload.content_digest}
    refusal, found = can.refusal, None
    if refusal is None and workload.packs is not None:
        found = replaying.read_packs(workload.packs, can.scenario)
    elif refusal is None and workload.recording is not None:
        if order.replay_url is None or order.model is not None:
            refusal = "recorded answers are those of the recorded models, from the sandbox"
        else:
            found = replaying.replay(workload.recording, can.scenario, settings, base_url=order.replay_url)
    if found is None or isinstance(found, str):
        return {**head, "refusal": refusal or found}
    return {**head, "refusal": None, **found}


def _planned(connection: Connection, workload: Workload, request: RunRequest) -> Run:
    clock, store = SystemClock(), assembly.collections_on(connection)
    ingest_source(
        "blocks.jsonl",
        workload.content,
        collection=_COLLECTION,
        read=read_document,
        tokenizer=O200kTokenizer(),
        store=store,
        now=clock.now(),
    )
    policy = request.resolved.policy
    return plan_run(
        request,
        run_id="benchmark",
        collections=store,
        runs=PostgresRuns(connection),
        models=assembly.models_under(policy),
        prices=assembly.prices_under(policy),
        validators=JsonSchemaValidators(),
        tokenizer=O200kTokenizer(),
        now=clock.now(),
    )


def _take_through(connection: Connection, backend: assembly.Backend, run: Run, url: str) -> None:
    if run.mode == "async":
        # Batches are submitted, waited for and reconciled by what operates the product, not by one process.
        command = "from tokenopt_pipeline.cli import main; main()"
        arguments = [sys.executable, "-c", command, "run", "--resume", run.run_id, "--wait", "--json"]
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
        return
    line = assembly.line_on(connection, backend, url=url)
    try:
        for n in range(run.n_shards):
            current = line.runs.find(run.run_id)
            if current.state is RunState.OPEN:
                line.whole(current, Shard(run_no=run.run_no, shard_no=n))
    finally:
        line.close()


def _counted(connection: Connection, run: Run) -> dict[str, Any]:
    summary = PostgresSummaries(connection, tables=assembly.RunTables()).summary(run)
    ledger = row(connection, "run_ledger", run_no=run.run_no)
    assert ledger is not None  # an aggregate always has a row
    classes = ("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "output")
    kept = "calls calls_failed packs packs_from_splits batches outcomes skipped_by_rule failed_by_class usd usd_baseline violations"
    exported = rows(connection, "export_blocks", run_no=run.run_no)
    models: dict[str, int] = {}
    for block in exported:
        if block["model"] is not None:
            models[block["model"]] = models.get(block["model"], 0) + 1
    return {
        "counts": {
            "blocks": run.n_blocks,
            **{name: summary[name] for name in kept.split()},
            "tokens": {name: int(ledger[name]) for name in classes},
            "blocks_by_model": dict(sorted(models.items())),
        },
        "carried": {kind: sum(causes.values()) for kind, causes in sorted(summary["contexts"].items())},
        "outcomes": [
            {"status": b["status"], "rule": b["rule_id"], "error": b["error_class"], "answer": b["answer"]}
            for b in exported
        ],
    }


def _waits(connection: Connection, run: Run) -> dict[str, float | None]:
    waits = row(connection, "run_waits", run_no=run.run_no)
    assert waits is not None  # an aggregate always has a row
    return {
        "provider_s": waits["provider_ms"] / 1000,
        "block_p50_ms": waits["p50_ms"],
        "block_p95_ms": waits["p95_ms"],
    }


def _cpu_s() -> float:
    """CPU of this process and of those it has waited for."""
    return sum(
        u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def peak_rss_mb() -> float:
    """The most memory this process had, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _KIB_PER_MIB if sys.platform != "darwin" else peak / _KIB_PER_MIB**2
