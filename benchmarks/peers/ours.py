"""Our own line on the peers' workload: `python -m benchmarks.peers.ours FOLDER`; an unfinished run is gone on with.

Without Dagster, as the peers are without a scheduler. The database is that of TOKENOPT_DATABASE_URL.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.peers.workload import SCHEMA
from tokenopt_pipeline import assembly
from tokenopt_pipeline.adapters.clock import SystemClock
from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
from tokenopt_pipeline.adapters.postgres.connection import Connection, connect, rows
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.adapters.readers import read_document
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.domain.policy import ResolvedPolicy, resolve
from tokenopt_pipeline.domain.routing import models_in_use
from tokenopt_pipeline.domain.runs import Run, RunState, Shard
from tokenopt_pipeline.domain.schemas import parse_schema
from tokenopt_pipeline.settings import read_settings
from tokenopt_pipeline.stages.ingest import ingest_source
from tokenopt_pipeline.stages.line import Line
from tokenopt_pipeline.stages.plan import RunRequest, plan_run

_MODEL = "standin/gpt-4.1-mini"
#: Seconds between looks at a batch; the stand-in's end after two.
_LOOK_S = 0.25


def policy() -> ResolvedPolicy:
    """Packs of 25, to PEER_MODEL. In the schema's own words, which are all that the stand-in knows; short ones would cost less."""
    model = os.environ.get("PEER_MODEL", _MODEL)
    layer: dict[str, Any] = {
        "routing": {"model": model},
        "packing": {"pack_size": 25, "output_form": "plain"},
        "retries": {"backoff_base_s": 0.1},
    }
    if model == _MODEL:
        layer["providers"] = {"standin": {"base_url": os.environ["PEER_BASE_URL"], "capability": "json_schema"}}
    if model.endswith("gpt-4.1-mini"):
        # A model of last year, which is no longer in our table; the public figures are of it.
        price = {"input": 0.4, "cache_read": 0.1, "output": 1.6}
        tokens = {
            "context_tokens": 1_000_000,
            "max_output_tokens": 32_768,
            "token_ratio": 1.2,
            "token_ratio_guard": 1.4,
        }
        layer["models"] = {model: {**tokens, "price": price}}
    return resolve([("peers", layer)])


def take_through(connection: Connection, line: Line, run: Run) -> None:
    """Until every block has its outcome; batches are looked at as often as the sensor would if it had nothing else to do."""
    shards = [Shard(run_no=run.run_no, shard_no=n) for n in range(run.n_shards)]
    if run.mode == "sync":
        for shard in shards:
            line.whole(run, shard)
        return
    runs = PostgresRuns(connection)
    for shard in shards:
        line.decide(run, shard)
        line.pack(run, shard)
    while True:
        for shard in shards:
            line.advance(run, shard)
            line.reconcile(run, shard)
        outstanding = [b for b in line.batching.book.open_batches() if b.state in ("intended", "submitted")]
        if not outstanding and runs.find(run.run_id).state is not RunState.OPEN:
            return
        time.sleep(_LOOK_S)
        line.watch(outstanding, runs.numbered)


def main(folder: Path) -> None:
    """Ingests, plans or resumes, asks, and writes `outputs.json`."""
    asked = json.loads((folder / "blocks.json").read_text())
    settings, clock, resolved = read_settings(), SystemClock(), policy()
    backend = assembly.open_backend(settings)
    content = "\n".join(json.dumps({"type": "paragraph", "text": block["text"]}) for block in asked).encode()
    with connect(assembly.open_database(settings)) as connection:
        store = assembly.collections_on(connection)
        ingest_source(
            "blocks.jsonl",
            content,
            collection="peers",
            read=read_document,
            tokenizer=O200kTokenizer(),
            store=store,
            now=clock.now(),
        )
        run = plan_run(
            RunRequest(
                collection="peers",
                schema=parse_schema(SCHEMA, name="peer-clauses"),
                schema_source=SCHEMA,
                resolved=resolved,
                mode=os.environ.get("PEER_MODE", "sync"),
                kind=backend.under(resolved.policy).kind_of(models_in_use(resolved.policy.routing)),
            ),
            run_id=f"peers-{time.monotonic_ns()}",
            collections=store,
            runs=PostgresRuns(connection),
            models=assembly.models_under(resolved.policy),
            prices=assembly.prices_under(resolved.policy),
            validators=JsonSchemaValidators(),
            tokenizer=O200kTokenizer(),
            now=clock.now(),
        )
        # As `tokenopt run` does.
        O200kTokenizer.release()
        line = assembly.line_on(connection, backend)
        take_through(connection, line, run)
        exported = rows(connection, "export_blocks", run_no=run.run_no)
    outputs = {
        block["id"]: row["answer"] for block, row in zip(asked, exported, strict=True) if row["answer"] is not None
    }
    (folder / "outputs.json").write_text(json.dumps(outputs))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
