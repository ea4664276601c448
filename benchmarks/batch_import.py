"""What importing a batch's results costs, beside a raw COPY of the same rows: seconds and peak memory.

python -m benchmarks.batch_import [--results 100000]

A file of results as Anthropic sends it, shuffled, one per cent of its lines repeated and one per cent about requests of
nobody, is read, verified and imported by the code that runs import with; then the rows that it imported are copied as they
are, without looking at them, into a table of the same columns and key. Import and raw copy run in processes of their own, so
that the memory of one is not the other's. The answers are made up; nobody was asked, so no figure is simulated.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.engine_cost import process_cost

#: The product's goals.
MOST_TIMES, MOST_MB = 10.0, 300.0
_KEY = "0123456789abcdef"
_ANSWER = {"results": [{"id": n, "party": f"Party {n} of the second part", "kind": "duty"} for n in range(1, 11)]}

# One row each of what a request hangs on; checks and triggers stay on for the import itself.
_FILL = """
insert into collection (name, created_at) values ('batch', now());
insert into extraction_schema values ('s', 's', '{}', 1, now());
insert into run (run_id, collection_no, schema_hash, policy, policy_hash, policy_sources, inputs_digest, answer_recipe, mode,
                 kind, n_blocks, n_shards, created_at)
  values ('r', 1, 's', '{}', 'p', '{}', 'i', gen_random_uuid(), 'async', 'simulated', 1, 1, now());
insert into shard values (1, 0, 0, 1);
insert into pack (run_no, shard_no, generation, tier, first_tier, model, mode, route_rule, route_reason, cache_reason, input_tokens,
                  output_tokens, max_tokens, output_scale, limits, created_at)
  select 1, 0, 0, 'small', 'small', 'anthropic/m', 'async', 'r', 'r', 'r', 1, 1, 1, 1, '{}', now() from generate_series(1, N);
insert into call (pack_no, run_no, try_no, fingerprint, started_at) select pack_no, 1, 1, 'f', now() from pack;
insert into batch (run_no, shard_no, model, key, round, state, n_requests, n_bytes, batch_id, intended_at, look_at, outcome)
  values (1, 0, 'anthropic/m', 'KEY', 1, 'ended', N, 1, 'b', now(), now(), 'completed');
insert into batch_request select 1, 'KEY-' || call_no, call_no, pack_no from call;
create table raw_result (batch_no bigint not null, custom_id text not null, line text not null, is_simulated boolean not null,
  imported_at timestamptz not null, primary key (batch_no, custom_id)) with (toast_tuple_target = 8160);
analyze;
"""


def lines(results: int) -> Iterator[bytes]:
    """The file's lines, shuffled by a hash."""
    numbers = sorted(range(1, results + 1), key=lambda n: hashlib.sha256(str(n).encode()).digest())
    for i, n in enumerate(numbers):
        text = json.dumps(_ANSWER) + " " * (n % 200)
        message = {
            "id": f"msg_{n}",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 900, "output_tokens": 300, "cache_read_input_tokens": 800},
        }
        line = {"custom_id": f"{_KEY}-{n}", "result": {"type": "succeeded", "message": message}}
        yield json.dumps(line).encode()
        if i % 100 == 0:
            yield json.dumps(line).encode()
            yield json.dumps({**line, "custom_id": f"unknown-{n}"}).encode()


def import_file(path: Path) -> dict[str, float]:
    """The import, as a collecting run does it."""
    from tokenopt_pipeline.adapters.anthropic import AnthropicProvider
    from tokenopt_pipeline.adapters.anthropic_batches import AnthropicBatches
    from tokenopt_pipeline.adapters.batch_files import DownloadedFile
    from tokenopt_pipeline.adapters.postgres.batch_results import PostgresBatchResults
    from tokenopt_pipeline.adapters.postgres.batches import PostgresBatches
    from tokenopt_pipeline.adapters.postgres.connection import connect

    reader = AnthropicBatches(AnthropicProvider(api_key="unused"))
    with connect(os.environ["TOKENOPT_DATABASE_URL"]) as connection:
        (batch,) = PostgresBatches(connection).open_batches()
        started = time.perf_counter()
        file = DownloadedFile(path, reader, key=batch.key, simulated=True)
        now = datetime.now(UTC)  # noqa: TID251 - the edge of this program
        counts = PostgresBatchResults(connection).import_results(batch, file.lines(), simulated=True, now=now)
        seconds = time.perf_counter() - started
    assert file.broken is None
    return {"wall_s": seconds, "found": counts.found, "repeated": counts.repeated, "unknown": counts.unknown}


def copy_raw(path: Path) -> dict[str, float]:
    """The same rows, copied without looking at them; the file's own lines stand for them."""
    from tokenopt_pipeline.adapters.postgres.connection import connect

    now = datetime.now(UTC)  # noqa: TID251 - the edge of this program
    rows = []
    with path.open() as file:
        seen = set()
        for line in file:
            request_id = json.loads(line)["custom_id"]
            if request_id.startswith(_KEY) and request_id not in seen:
                seen.add(request_id)
                rows.append((1, request_id, line.rstrip("\n"), True, now))
    with connect(os.environ["TOKENOPT_DATABASE_URL"]) as connection:
        started = time.perf_counter()
        with connection.transaction(), connection.cursor() as cursor:
            statement = "copy raw_result from stdin with (format binary)"
            with cursor.copy(statement) as copy:
                copy.set_types(["int8", "text", "text", "bool", "timestamptz"])
                for row in rows:
                    copy.write_row(row)
        seconds = time.perf_counter() - started
    return {"wall_s": seconds, "found": len(rows)}


def prepare(results: int, folder: Path) -> Path:
    """A database with a batch of so many requests, and the file of its results."""
    from tokenopt_pipeline.adapters.postgres.connection import connect

    with connect(os.environ["TOKENOPT_DATABASE_URL"]) as connection:
        connection.execute(
            _FILL.replace("N)", f"{results})").replace(" N,", f" {results},").replace("KEY", _KEY).encode()
        )
    path = folder / "results.jsonl"
    with path.open("wb") as file:
        file.writelines(line + b"\n" for line in lines(results))
    return path


def main() -> None:
    """Prints both, their ratio and whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=100_000)
    parser.add_argument("--child", choices=["import", "raw"], help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        print(json.dumps(import_file(options.file) if options.child == "import" else copy_raw(options.file)))
        return
    from tokenopt_pipeline.adapters.postgres.embedded import EmbeddedServer
    from tokenopt_pipeline.assembly import open_database
    from tokenopt_pipeline.settings import read_settings

    with tempfile.TemporaryDirectory(prefix="tokenopt-bench-", dir="/tmp") as name:
        home = Path(name)
        home.chmod(0o711)
        os.environ.pop("TOKENOPT_DATABASE_URL", None)
        os.environ["TOKENOPT_HOME"] = str(home)
        try:
            os.environ["TOKENOPT_DATABASE_URL"] = open_database(read_settings())
            path = prepare(options.results, home)
            size_mb = path.stat().st_size / 1e6
            child = ("-m", "benchmarks.batch_import", "--file", str(path), "--child")
            cost, printed = process_cost(*child, "import")
            imported = json.loads(printed)
            raw = json.loads(process_cost(*child, "raw")[1])
        finally:
            EmbeddedServer(home / "postgres").down()
    times = imported["wall_s"] / raw["wall_s"]
    print(f"file        {options.results:,} requests, {size_mb:.0f} MB")
    print(
        f"import      {imported['wall_s']:.2f} s, {options.results / imported['wall_s']:,.0f} results/s, "
        f"peak {cost.peak_rss_mb:.0f} MB; found {imported['found']:,}, repeated {imported['repeated']:,}, "
        f"unknown {imported['unknown']:,}"
    )
    print(f"raw COPY    {raw['wall_s']:.2f} s of the same {raw['found']:,} rows")
    met = times <= MOST_TIMES and cost.peak_rss_mb <= MOST_MB
    print(
        f"ratio       {times:.1f} × (goal ≤ {MOST_TIMES:g} ×), memory {cost.peak_rss_mb:.0f} MB (goal ≤ {MOST_MB:g} MB): "
        f"{'met' if met else 'NOT met'}"
    )


if __name__ == "__main__":
    main()
