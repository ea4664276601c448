"""How fast a million blocks are filtered, packed and routed, beside a raw COPY of the same rows in the same run.

Run as `python -m benchmarks.planning_million [--blocks 1000000] [--shard-blocks 2000]`, on the blocks of `million_blocks`.
Measured are

* `copy`: COPY of the block rows, in binary, from a file into an empty table of the same definition; the median of three;
* `plan`: `tokenopt plan`'s prediction, which writes nothing;
* `prepare`: what a run does before its first call: decide, route and pack every shard, with everything stored.

Each begins at a checkpoint, so that none writes down what the one before it has left.

Memory is that of our process; the server's own is bounded by its settings. No provider is asked.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import million_blocks
from benchmarks.engine_cost import process_cost

_COPIES = 3


def copied(folder: Path) -> list[float]:
    """Seconds that each raw COPY of the block rows takes, ascending."""
    from tokenopt_pipeline.adapters.postgres.connection import connect

    took = []
    file = folder / "blocks.bin"
    with connect(os.environ["TOKENOPT_DATABASE_URL"]) as connection, connection.cursor() as cursor:
        with file.open("wb") as out, cursor.copy(b"copy block to stdout binary") as copy:
            for chunk in copy:
                out.write(chunk)
        for _ in range(_COPIES):
            connection.execute("create table raw_block (like block including all) with (toast_tuple_target = 8160)")
            connection.execute("checkpoint")
            began = time.perf_counter()
            with file.open("rb") as rows, cursor.copy(b"copy raw_block from stdin binary") as copy:
                while chunk := rows.read(1 << 20):
                    copy.write(chunk)
            took.append(time.perf_counter() - began)
            connection.execute("drop table raw_block")
    file.unlink()
    return sorted(took)


def planned(shard_blocks: int) -> dict[str, Any]:
    """The prediction of `tokenopt plan`."""
    from tokenopt_pipeline.adapters.postgres.connection import connect
    from tokenopt_pipeline.adapters.postgres.planning import PostgresPlanning
    from tokenopt_pipeline.stages.predict import predict_run

    request = million_blocks.request(shard_blocks)
    tables = million_blocks.tables(request)
    with connect(os.environ["TOKENOPT_DATABASE_URL"]) as connection:
        began = time.perf_counter()
        told = predict_run(request, planning=PostgresPlanning(connection), **tables)
        return {"s": time.perf_counter() - began, "packs": told.packs, "asked": told.kept, "blocks": told.blocks}


def prepared(shard_blocks: int) -> dict[str, Any]:
    """Plans a run and prepares every shard."""
    from tokenopt_pipeline.adapters.postgres.connection import connect
    from tokenopt_pipeline.adapters.postgres.packs import PostgresPacks
    from tokenopt_pipeline.adapters.postgres.shards import PostgresShards
    from tokenopt_pipeline.assembly import contexts_on
    from tokenopt_pipeline.domain.runs import Shard
    from tokenopt_pipeline.stages.prepare import decide_blocks, pack_blocks

    request = million_blocks.request(shard_blocks)
    tables = million_blocks.tables(request)
    now = datetime.now(UTC)  # noqa: TID251 - the edge of this program
    spent = {"plan_s": 0.0, "decide_s": 0.0, "pack_s": 0.0}
    packs = 0
    with connect(os.environ["TOKENOPT_DATABASE_URL"]) as connection:
        began = time.perf_counter()
        run = million_blocks.plan(connection, request, tables)
        spent["plan_s"] = time.perf_counter() - began
        shards, store, contexts = PostgresShards(connection), PostgresPacks(connection), contexts_on(connection)
        for shard_no in range(run.n_shards):
            shard = Shard(run_no=run.run_no, shard_no=shard_no)
            times = [time.perf_counter()]
            decide_blocks(run, shard, shards=shards)
            times.append(time.perf_counter())
            packs += pack_blocks(
                run,
                shard,
                packs=store,
                contexts=contexts,
                models=tables["models"],
                prices=tables["prices"],
                now=now,
            )
            times.append(time.perf_counter())
            for name, a, b in zip(("decide_s", "pack_s"), times, times[1:], strict=False):
                spent[name] += b - a
    return {**spent, "s": sum(spent.values()), "packs": packs, "shards": run.n_shards}


def main() -> None:
    """Prints the figures."""
    parser = million_blocks.arguments(__doc__)
    parser.add_argument(
        "--step", choices=["plan", "prepare"], help="of a database that is filled; for this program itself"
    )
    options = parser.parse_args()
    if options.step:
        print(json.dumps((planned if options.step == "plan" else prepared)(options.shard_blocks)))
        return
    _benchmark(options.blocks, options.shard_blocks)


def _benchmark(blocks: int, shard_blocks: int) -> None:
    from tokenopt_pipeline.adapters.postgres.connection import connect

    with million_blocks.database() as folder:
        with connect(os.environ["TOKENOPT_DATABASE_URL"]) as connection:
            million_blocks.fill(connection, blocks)
        took = copied(folder)
        copied_s = statistics.median(took)
        print(f"{blocks:,} blocks, n = 1; no provider is asked", flush=True)
        print(
            f"copy     {copied_s:6.1f} s  {blocks / copied_s:>9,.0f} blocks/s  (n = {len(took)}, {took[0]:.1f} to {took[-1]:.1f} s)",
            flush=True,
        )
        for step in ("plan", "prepare"):
            with connect(os.environ["TOKENOPT_DATABASE_URL"]) as connection:
                connection.execute("checkpoint")
            arguments = ("--step", step, "--shard-blocks", str(shard_blocks))
            cost, printed = process_cost("-m", "benchmarks.planning_million", *arguments)
            told = json.loads(printed)
            parts = "  ".join(f"{key[:-2]} {value:.1f} s" for key, value in told.items() if key.endswith("_s"))
            print(
                f"{step:<8} {told['s']:6.1f} s  {blocks / told['s']:>9,.0f} blocks/s  {told['s'] / copied_s:.1f} x copy  "
                f"CPU {cost.cpu_s:.1f} s  peak RSS {cost.peak_rss_mb:.0f} MB  packs {told['packs']:,}  {parts}",
                flush=True,
            )


if __name__ == "__main__":
    main()
