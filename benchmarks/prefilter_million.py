"""What a million pre-filter decisions cost on Postgres: seconds and peak memory, stored.

python -m benchmarks.prefilter_million [--blocks 1000000] [--shard-blocks 2000]

The blocks stand in a database of their own, made for this: documents of a thousand blocks, a fifth of them blank, furniture,
short headings and the like, a fifth repeating a block of somewhere in the run. No provider is asked, so no figure is
simulated. Memory is that of our process; the server's own is bounded by its settings.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil

from benchmarks.engine_cost import process_cost

_DOCUMENT_BLOCKS = 1_000
_BLOCKS = """
insert into block (document_no, block_index, block_type, is_blank, n_words, n_tokens, content_hash, locator, text)
select d.document_no, i, case n %% 20 when 0 then 'divider' when 1 then 'page_footer' when 2 then 'heading' when 3 then 'table'
                              else 'paragraph' end,
  n %% 20 = 4, n %% 60, 40, md5(case when n %% 5 = 0 then n %% 1000 else n end::text)::uuid, '{}', 'Block ' || n
from document d, lateral (select i, (d.document_no - 1) * %(per)s + i as n from generate_series(0, %(per)s - 1) i) b
"""


def prepared(blocks: int, shard_blocks: int) -> str:
    """Fills the database and plans a run over it; the run's id."""
    from tokenopt_pipeline.adapters.files import load_schema
    from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
    from tokenopt_pipeline.adapters.postgres.collections import PostgresCollections
    from tokenopt_pipeline.adapters.postgres.connection import connect
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
    from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
    from tokenopt_pipeline.assembly import models_under, prices_under
    from tokenopt_pipeline.domain.policy import resolve
    from tokenopt_pipeline.domain.runs import RunKind
    from tokenopt_pipeline.domain.schemas import parse_schema
    from tokenopt_pipeline.stages.plan import RunRequest, plan_run

    name, source = load_schema("facts-and-entities")
    resolved = resolve([("benchmark", {"run": {"shard_blocks": shard_blocks}})])
    now = datetime.now(UTC)  # noqa: TID251 - the edge of this program
    with connect(os.environ["TOKENOPT_DATABASE_URL"]) as connection:
        connection.execute("insert into collection (name, created_at) values ('million', %s)", [now])
        connection.execute(
            "insert into document (document_id, source_type, reader_version, n_bytes, n_blocks, created_at)"
            " select encode(sha256(i::text::bytea), 'hex'), 'blocks', 1, 1, %s, %s from generate_series(1, %s) i",
            [_DOCUMENT_BLOCKS, now, blocks // _DOCUMENT_BLOCKS],
        )
        connection.execute(
            "insert into collection_document (collection_no, source_name, document_no, added_at)"
            " select 1, lpad(document_no::text, 9, '0'), document_no, %s from document",
            [now],
        )
        connection.execute(_BLOCKS.encode(), {"per": _DOCUMENT_BLOCKS})
        connection.execute("analyze")
        run = plan_run(
            RunRequest(
                collection="million",
                schema=parse_schema(source, name=name),
                schema_source=source,
                resolved=resolved,
                mode="sync",
                kind=RunKind.SIMULATED,
            ),
            run_id="million",
            collections=PostgresCollections(connection),
            runs=PostgresRuns(connection),
            models=models_under(resolved.policy),
            prices=prices_under(resolved.policy),
            validators=JsonSchemaValidators(),
            tokenizer=O200kTokenizer(),
            now=now,
        )
    return run.run_id


def decided(run_id: str) -> dict[str, object]:
    """Decides every shard of the run; seconds and blocks by rule."""
    from tokenopt_pipeline.adapters.postgres.connection import connect
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
    from tokenopt_pipeline.adapters.postgres.shards import PostgresShards
    from tokenopt_pipeline.domain.runs import Shard
    from tokenopt_pipeline.stages.prepare import decide_blocks

    counts: dict[str, int] = {}
    decide_s = 0.0
    with connect(os.environ["TOKENOPT_DATABASE_URL"]) as connection:
        run, shards = PostgresRuns(connection).find(run_id), PostgresShards(connection)
        server, slowest_s = psutil.Process(connection.info.backend_pid), 0.0
        for shard_no in range(run.n_shards):
            shard = Shard(run_no=run.run_no, shard_no=shard_no)
            began = time.perf_counter()
            found = decide_blocks(run, shard, shards=shards)
            ended = time.perf_counter()
            decide_s += ended - began
            slowest_s = max(slowest_s, ended - began)
            for rule, n in found.items():
                counts[rule] = counts.get(rule, 0) + n
        spent = server.cpu_times()
    return {
        "server_cpu_s": spent.user + spent.system,
        "decide_s": decide_s,
        "slowest_shard_s": slowest_s,
        "shards": run.n_shards,
        "rules": counts,
    }


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=1_000_000, help="a multiple of a thousand")
    parser.add_argument("--shard-blocks", type=int, default=2_000)
    parser.add_argument("--decide", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.decide:
        print(json.dumps(decided(options.decide)))
        return
    _benchmark(options.blocks, options.shard_blocks)


def _benchmark(blocks: int, shard_blocks: int) -> None:
    from tokenopt_pipeline.adapters.postgres.embedded import EmbeddedServer
    from tokenopt_pipeline.assembly import open_database
    from tokenopt_pipeline.settings import read_settings

    with tempfile.TemporaryDirectory(prefix="tokenopt-million-", dir="/tmp") as name:
        Path(name).chmod(0o711)
        settings = read_settings({"TOKENOPT_HOME": name})
        os.environ["TOKENOPT_DATABASE_URL"] = open_database(settings)
        try:
            began = time.perf_counter()
            run_id = prepared(blocks, shard_blocks)
            print(f"prepared in {time.perf_counter() - began:.1f} s (not measured further)", flush=True)
            cost, printed = process_cost("-m", "benchmarks.prefilter_million", "--decide", run_id)
            _report(blocks, cost.peak_rss_mb, cost.cpu_s, json.loads(printed))
        finally:
            EmbeddedServer(settings.home / "postgres").down()


def _report(blocks: int, peak_rss_mb: float, cpu_s: float, told: dict[str, object]) -> None:
    rules = told["rules"]
    assert isinstance(rules, dict)
    print(f"{blocks:,} blocks in {told['shards']} shards, n = 1")
    print(f"decide {told['decide_s']:.1f} s   slowest shard {told['slowest_shard_s']:.2f} s")
    print(
        f"our process: CPU {cpu_s:.1f} s, peak RSS {peak_rss_mb:.0f} MB; the server's process for it: CPU {told['server_cpu_s']:.1f} s"
    )
    print(", ".join(f"{rule} {n:,}" for rule, n in sorted(rules.items(), key=lambda each: -each[1])))
    assert sum(rules.values()) == blocks


if __name__ == "__main__":
    main()
