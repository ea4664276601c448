"""Whole runs in batches, one per provider, over their own SDKs against the sandbox, with what goes wrong in batches.

python -m benchmarks.async_run [--blocks 2000]

Five per cent of the answers are malformed, two per cent of the requests end in an error, three per cent expire, results come
shuffled, and the first batch is answered with 500 after it was accepted. A virtual clock lets a day pass in no time.
Everything here is *simulated*: what it shows is that no block is lost or answered twice, that no batch is made twice, and
what our own code costs.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

FAULTS: dict[str, Any] = {
    "seed": 7,
    "rates": {"malformed": 0.05},
    "batches": {
        "seed": 7,
        "rates": {"item_errored": 0.02, "item_expired": 0.03},
        "scripted": [{"fault": "create_500_after_accept", "nth": 1}],
    },
}
_MODELS = {"anthropic": "claude-haiku-5-5", "openai": "gpt-6-luna", "google": "gemini-3.8-flash"}
_STEP_S = 5 * 3600.0
_MOST_STEPS = 20


class MovedClock:
    """`ports.Clock`: the wall's, put forward as the sandbox's is."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> datetime:
        """The simulated moment."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)  # noqa: TID251 - the edge of this program

    def monotonic_s(self) -> float:
        """The same in seconds."""
        return self.now().timestamp()

    def sleep(self, seconds: float, *, unless: Callable[[], bool]) -> None:
        """Takes no time."""
        self.ahead_s += seconds


def run_at(vendor: str, sandbox: Any, connection: Any, collection: str) -> dict[str, Any]:
    """One run to its end; its figures."""
    from tokenopt_pipeline.adapters.anthropic import AnthropicProvider
    from tokenopt_pipeline.adapters.files import load_schema
    from tokenopt_pipeline.adapters.google import GoogleProvider
    from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
    from tokenopt_pipeline.adapters.openai import OpenAIProvider
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
    from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
    from tokenopt_pipeline.assembly import Backend, collections_on, line_on, models_under, prices_under
    from tokenopt_pipeline.domain.policy import resolve
    from tokenopt_pipeline.domain.runs import RunKind, Shard
    from tokenopt_pipeline.domain.schemas import parse_schema
    from tokenopt_pipeline.stages.plan import RunRequest, plan_run

    sandbox.control.reset()
    sandbox.control.set_faults(FAULTS)
    providers: dict[str, Any] = {
        "anthropic": AnthropicProvider(api_key="sandbox", base_url=sandbox.anthropic_url),
        "openai": OpenAIProvider(api_key="sandbox", base_url=sandbox.openai_url),
        "google": GoogleProvider(api_key="sandbox", base_url=sandbox.google_url),
    }
    backend = Backend(providers={vendor: providers[vendor]}, kinds={vendor: RunKind.SIMULATED}, key_variables={})
    clock = MovedClock()
    line = line_on(connection, backend)
    line.clock = line.batching.clock = clock
    name, source = load_schema("facts-and-entities")
    resolved = resolve(
        [("benchmark", {"routing": {"model": f"{vendor}/{_MODELS[vendor]}"}, "reuse": {"enabled": False}})]
    )
    run = plan_run(
        RunRequest(
            collection=collection,
            schema=parse_schema(source, name=name),
            schema_source=source,
            resolved=resolved,
            mode="async",
            kind=RunKind.SIMULATED,
        ),
        run_id=f"async-{vendor}",
        collections=collections_on(connection),
        runs=PostgresRuns(connection),
        models=models_under(resolved.policy),
        prices=prices_under(resolved.policy),
        validators=JsonSchemaValidators(),
        tokenizer=O200kTokenizer(),
        now=clock.now(),
    )
    shards = [Shard(run_no=run.run_no, shard_no=n) for n in range(run.n_shards)]
    began, ours_began = time.perf_counter(), time.process_time()
    for shard in shards:
        line.decide(run, shard)
        line.pack(run, shard)
    steps = 0
    while True:
        for shard in shards:
            line.advance(run, shard)
            line.reconcile(run, shard)
        book = line.batching.book.open_batches()
        if PostgresRuns(connection).find(run.run_id).state == "complete" and not book:
            break
        steps += 1
        if steps > _MOST_STEPS:
            raise SystemExit(f"{vendor}: still outstanding after {steps} steps: {book}")
        sandbox.control.advance(_STEP_S)
        clock.ahead_s += _STEP_S
        line.watch(
            [b for b in line.batching.book.open_batches() if b.state in ("intended", "submitted")],
            _numbered(connection),
        )
    return {
        "vendor": vendor,
        "wall_s": time.perf_counter() - began,
        "cpu_s": time.process_time() - ours_began,
        "simulated_h": clock.ahead_s / 3600,
        **_figures(connection, run.run_no),
        "made": len(sandbox.control.batches(vendor)),
        "asked": sum(int(str(batch["items"])) for batch in sandbox.control.batches(vendor)),
    }


def _numbered(connection: Any) -> Any:
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns

    return PostgresRuns(connection).numbered


def _figures(connection: Any, run_no: int) -> dict[str, Any]:
    ended = "('skipped', 'ai_complete', 'failed', 'confirmed')"
    found = connection.execute(
        f"select (select count(*) from overlay where run_no = %(n)s and status not in {ended}) as lost,"
        " (select count(*) from overlay where run_no = %(n)s and status = 'failed') as failed,"
        " (select count(*) from overlay where run_no = %(n)s and status = 'ai_complete') as answered,"
        " (select count(*) from (select block_no from model_output where run_no = %(n)s and finding = 'valid'"
        "   group by 1 having count(*) > 1) t) as doubled,"
        " (select count(*) from batch where run_no = %(n)s and outcome <> 'unborn') as batches,"
        " (select max(round) from batch where run_no = %(n)s) as rounds,"
        " (select count(*) from batch where run_no = %(n)s and is_adopted) as adopted,"
        " (select sum(usd) from ledger where run_no = %(n)s) as usd,"
        " (select count(*) from ledger where run_no = %(n)s and mode = 'sync') as sync_calls".encode(),
        {"n": run_no},
    ).fetchone()
    return dict(found)


def ingest(connection: Any, blocks: int) -> str:
    """A collection of so many different paragraphs."""
    import json

    from tokenopt_pipeline.adapters.clock import SystemClock
    from tokenopt_pipeline.adapters.readers import read_document
    from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
    from tokenopt_pipeline.assembly import collections_on
    from tokenopt_pipeline.stages.ingest import ingest_source

    texts = (
        f"Clause {i}: Party {i * i} pays {i + 7} euros to Party {3 * i} on day {i % 28 + 1} of every month."
        for i in range(blocks)
    )
    content = "".join(json.dumps({"type": "paragraph", "text": text}) + "\n" for text in texts)
    ingest_source(
        "clauses.jsonl",
        content.encode(),
        collection="clauses",
        read=read_document,
        tokenizer=O200kTokenizer(),
        store=collections_on(connection),
        now=SystemClock().now(),
    )
    return "clauses"


def main() -> None:
    """Prints a line per provider, and whether what must be 0 is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=2_000)
    options = parser.parse_args()
    from tokenopt_pipeline.adapters.postgres.connection import connect
    from tokenopt_pipeline.adapters.postgres.embedded import EmbeddedServer
    from tokenopt_pipeline.assembly import open_database
    from tokenopt_pipeline.sandbox.in_process import running_sandbox
    from tokenopt_pipeline.settings import read_settings

    with tempfile.TemporaryDirectory(prefix="tokenopt-async-", dir="/tmp") as name:
        Path(name).chmod(0o711)
        settings = read_settings({"TOKENOPT_HOME": name})
        os.environ["TOKENOPT_DATABASE_URL"] = url = open_database(settings)
        try:
            with connect(url) as connection, running_sandbox() as sandbox:
                collection = ingest(connection, options.blocks)
                for vendor in _MODELS:
                    _report(options.blocks, run_at(vendor, sandbox, connection, collection))
        finally:
            EmbeddedServer(settings.home / "postgres").down()


def _report(blocks: int, f: dict[str, Any]) -> None:
    extra = f["made"] - f["batches"]
    usd = Decimal(f["usd"])
    print(
        f"{f['vendor']:<10} {blocks:,} blocks, simulated: answered {f['answered']:,}, failed {f['failed']}, lost {f['lost']}, "
        f"doubled {f['doubled']}, extra batches {extra}; {f['batches']} batches in {f['rounds']} rounds, {f['adopted']} adopted after a 500, "
        f"{f['asked']:,} requests, {f['sync_calls']} asked in sync mode at the end; ${usd:.4f}; "
        f"{f['simulated_h']:.0f} simulated hours in {f['wall_s']:.1f} s (CPU with the sandbox {f['cpu_s']:.1f} s)",
        flush=True,
    )
    assert (f["lost"], f["doubled"], extra) == (0, 0, 0)


if __name__ == "__main__":
    main()
