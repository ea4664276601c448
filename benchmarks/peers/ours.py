"""Our own line on the peers' workload: `python -m benchmarks.peers.ours FOLDER`; an unfinished run is gone on with.

Without Dagster, as the peers are without a scheduler. The database is that of TOKENOPT_DATABASE_URL.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from benchmarks.peers.workload import SCHEMA
from tokenopt_pipeline import assembly
from tokenopt_pipeline.adapters.clock import SystemClock
from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
from tokenopt_pipeline.adapters.postgres.connection import connect, rows
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.adapters.readers import read_document
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.domain.policy import resolve
from tokenopt_pipeline.domain.routing import models_in_use
from tokenopt_pipeline.domain.runs import Shard
from tokenopt_pipeline.domain.schemas import parse_schema
from tokenopt_pipeline.settings import read_settings
from tokenopt_pipeline.stages.ingest import ingest_source
from tokenopt_pipeline.stages.plan import RunRequest, plan_run

_MODEL = "standin/gpt-4.1-mini"


def main(folder: Path) -> None:
    """Ingests, plans or resumes, asks, and writes `outputs.json`."""
    asked = json.loads((folder / "blocks.json").read_text())
    settings, clock = read_settings(), SystemClock()
    resolved = resolve(
        [
            (
                "peers",
                {
                    "routing": {"model": _MODEL},
                    "providers": {"standin": {"base_url": os.environ["PEER_BASE_URL"], "capability": "json_schema"}},
                    "models": {
                        _MODEL: {
                            "context_tokens": 1_000_000,
                            "max_output_tokens": 32_768,
                            "token_ratio": 1.2,
                            "token_ratio_guard": 1.4,
                            "price": {"input": 0.4, "cache_read": 0.1, "output": 1.6},
                        }
                    },
                    # In the schema's own words, which are all that the stand-in knows; short ones would cost less.
                    "packing": {"pack_size": 25, "output_form": "plain"},
                    "retries": {"backoff_base_s": 0.1},
                },
            )
        ]
    )
    policy = resolved.policy
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
                mode="sync",
                kind=backend.under(policy).kind_of(models_in_use(policy.routing)),
            ),
            run_id=f"peers-{time.monotonic_ns()}",
            collections=store,
            runs=PostgresRuns(connection),
            models=assembly.models_under(policy),
            prices=assembly.prices_under(policy),
            validators=JsonSchemaValidators(),
            tokenizer=O200kTokenizer(),
            now=clock.now(),
        )
        line = assembly.line_on(connection, backend)
        for n in range(run.n_shards):
            line.whole(run, Shard(run_no=run.run_no, shard_no=n))
        exported = rows(connection, "export_blocks", run_no=run.run_no)
    outputs = {
        block["id"]: row["answer"] for block, row in zip(asked, exported, strict=True) if row["answer"] is not None
    }
    (folder / "outputs.json").write_text(json.dumps(outputs))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
