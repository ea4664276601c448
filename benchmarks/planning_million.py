"""How fast a million blocks are filtered, packed and routed, beside a raw COPY of the same rows in the same run.

Run as `python -m benchmarks.planning_million [--blocks 1000000] [--shard-blocks 2000]`. The blocks stand in a database of their
own: documents of a thousand blocks, texts of 1,100 to 1,700 characters, a fifth of them blank, furniture, short headings and
the like, a fifth repeating a block of somewhere in the run; long blocks go to another tier than short ones. Measured are

* `copy`: COPY of the block rows, in binary, from a file into an empty table of the same definition;
* `plan`: `tokenopt plan`'s prediction, which writes nothing;
* `prepare`: what a run does before its first call: decide, route and pack every shard, with everything stored.

Memory is that of our process; the server's own is bounded by its settings. No provider is asked.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.engine_cost import process_cost

_DOCUMENT_BLOCKS = 1_000
_POLICY = {
    "routing": {"rules": [{"id": "short", "tier": "small", "max_block_tokens": 300}], "default_tier": "mid"},
}
_BLOCKS = """
insert into block (document_no, block_index, block_type, is_blank, n_words, n_tokens, content_hash, locator, text)
select d.document_no, i, case n %% 20 when 0 then 'divider' when 1 then 'page_footer' when 2 then 'heading' when 3 then 'table'
                              else 'paragraph' end,
  n %% 20 = 4, n %% 250, 250 + n %% 120, md5(case when n %% 5 = 0 then n %% 1000 else n end::text)::uuid, '{}',
  repeat(md5(n::text) || ' ', (33 + n %% 19)::int)
from document d, lateral (select i, (d.document_no - 1) * %(per)s + i as n from generate_series(0, %(per)s - 1) i) b
"""


def _request(shard_blocks: int) -> Any:
    from tokenopt_pipeline.adapters.files import load_schema
    from tokenopt_pipeline.domain.policy import resolve
    from tokenopt_pipeline.domain.runs import RunKind
    from tokenopt_pipeline.domain.schemas import parse_schema
    from tokenopt_pipeline.stages.plan import RunRequest

    name, source = load_schema("facts-and-entities")
    return RunRequest(
        collection="million",
        schema=parse_schema(source, name=name),
        schema_source=source,
        resolved=resolve([("benchmark", {**_POLICY, "run": {"shard_blocks": shard_blocks}})]),
        mode="sync",
        kind=RunKind.SIMULATED,
    )


def _tables(request: Any) -> dict[str, Any]:
    from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
    from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
    from tokenopt_pipeline.assembly import models_under, prices_under

    policy = request.resolved.policy
    return {
        "models": models_under(policy),
        "prices": prices_under(policy),
        "validators": JsonSchemaValidators(),
        "tokenizer": O200kTokenizer(),
    }


def filled(blocks: int, folder: Path) -> float:
    """Fills the database; seconds that a raw COPY of the block rows takes."""
    from tokenopt_pipeline.adapters.postgres.connection import connect

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
        connection.execute("create table raw_block (like block including all) with (toast_tuple_target = 8160)")
        file = folder / "blocks.bin"
        with file.open("wb") as out, connection.cursor() as cursor, cursor.copy(b"copy block to stdout binary") as copy:
            for chunk in copy:
                out.write(chunk)
        began = time.perf_counter()
        with (
            file.open("rb") as rows,
            connection.cursor() as cursor,
            cursor.copy(b"copy raw_block from stdin binary") as copy,
        ):
            while chunk := rows.read(1 << 20):
                copy.write(chunk)
        copied_s = time.perf_counter() - began
        connection.execute("drop table raw_block")
        file.unlink()
        connection.execute("analyze")
    return copied_s


def planned(shard_blocks: int) -> dict[str, Any]:
    """The prediction of `tokenopt plan`."""
    from tokenopt_pipeline.adapters.postgres.connection import connect
    from tokenopt_pipeline.adapters.postgres.planning import PostgresPlanning
    from tokenopt_pipeline.stages.predict import predict_run

    request = _request(shard_blocks)
    with connect(os.environ["TOKENOPT_DATABASE_URL"]) as connection:
        began = time.perf_counter()
        told = predict_run(request, planning=PostgresPlanning(connection), **_tables(request))
        return {"s": time.perf_counter() - began, "packs": told.packs, "asked": told.kept, "blocks": told.blocks}


def prepared(shard_blocks: int) -> dict[str, Any]:
    """Plans a run and prepares every shard."""
    from tokenopt_pipeline.adapters.postgres.collections import PostgresCollections
    from tokenopt_pipeline.adapters.postgres.connection import connect
    from tokenopt_pipeline.adapters.postgres.packs import PostgresPacks
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
    from tokenopt_pipeline.adapters.postgres.shards import PostgresShards
    from tokenopt_pipeline.assembly import contexts_on
    from tokenopt_pipeline.domain.runs import Shard
    from tokenopt_pipeline.stages.plan import plan_run
    from tokenopt_pipeline.stages.prepare import decide_blocks, pack_blocks

    request = _request(shard_blocks)
    tables = _tables(request)
    now = datetime.now(UTC)  # noqa: TID251 - the edge of this program
    spent = {"plan_s": 0.0, "decide_s": 0.0, "pack_s": 0.0}
    packs = 0
    with connect(os.environ["TOKENOPT_DATABASE_URL"]) as connection:
        began = time.perf_counter()
        run = plan_run(
            request,
            run_id="million",
            collections=PostgresCollections(connection),
            runs=PostgresRuns(connection),
            now=now,
            **tables,
        )
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=1_000_000, help="a multiple of a thousand")
    parser.add_argument("--shard-blocks", type=int, default=2_000)
    parser.add_argument("--step", choices=["plan", "prepare"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps((planned if options.step == "plan" else prepared)(options.shard_blocks)))
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
            copied_s = filled(blocks, Path(name))
            print(f"{blocks:,} blocks, n = 1; no provider is asked", flush=True)
            print(f"copy     {copied_s:6.1f} s  {blocks / copied_s:>9,.0f} blocks/s", flush=True)
            for step in ("plan", "prepare"):
                arguments = ("--step", step, "--shard-blocks", str(shard_blocks))
                cost, printed = process_cost("-m", "benchmarks.planning_million", *arguments)
                told = json.loads(printed)
                parts = "  ".join(f"{key[:-2]} {value:.1f} s" for key, value in told.items() if key.endswith("_s"))
                print(
                    f"{step:<8} {told['s']:6.1f} s  {blocks / told['s']:>9,.0f} blocks/s  {told['s'] / copied_s:.1f} x copy  "
                    f"CPU {cost.cpu_s:.1f} s  peak RSS {cost.peak_rss_mb:.0f} MB  packs {told['packs']:,}  {parts}",
                    flush=True,
                )
        finally:
            EmbeddedServer(settings.home / "postgres").down()


if __name__ == "__main__":
    main()
