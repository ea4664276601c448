"""What a million pre-filter decisions cost on Postgres: seconds and peak memory, stored.

Run as `python -m benchmarks.prefilter_million [--blocks 1000000] [--shard-blocks 2000]`, on the blocks of `million_blocks`. No
provider is asked, so no figure is simulated. Memory is that of our process; the server's own is bounded by its settings.
"""

from __future__ import annotations

import json
import os
import time

import psutil

from benchmarks import million_blocks
from benchmarks.engine_cost import process_cost


def planned(blocks: int, shard_blocks: int) -> str:
    """Fills the database and plans a run over it; the run's id."""
    from tokenopt_pipeline.adapters.postgres.connection import connect

    request = million_blocks.request(shard_blocks)
    with connect(os.environ["TOKENOPT_DATABASE_URL"]) as connection:
        million_blocks.fill(connection, blocks)
        return million_blocks.plan(connection, request, million_blocks.tables(request)).run_id


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
    parser = million_blocks.arguments(__doc__)
    parser.add_argument("--decide", help="a run of a database that is filled; for this program itself")
    options = parser.parse_args()
    if options.decide:
        print(json.dumps(decided(options.decide)))
        return
    with million_blocks.database():
        began = time.perf_counter()
        run_id = planned(options.blocks, options.shard_blocks)
        print(f"prepared in {time.perf_counter() - began:.1f} s (not measured further)", flush=True)
        cost, printed = process_cost("-m", "benchmarks.prefilter_million", "--decide", run_id)
        _report(options.blocks, cost.peak_rss_mb, cost.cpu_s, json.loads(printed))


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
