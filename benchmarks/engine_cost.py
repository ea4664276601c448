"""What the engine itself costs: CPU, memory and dollars for 500 small blocks in packs of 25 on the sandbox.

Run as `python -m benchmarks.engine_cost [--blocks N] [--repeats N]`. Every stage runs as a whole process, measured by the
operating system: `ingest and plan` reads the blocks, counts their tokens and makes the run; `engine` takes it from blocks
to overlays. Figures are simulated. The workload has the shape of the public peer measurements (500 blocks of about 75
tokens, three fields, 3,000 tokens of instructions, 50 ms latency, four characters per token, claude-sonnet-4-5), whose
cheapest row, a minimal script with packs of 25 and caching, paid $0.315 with 24.4 output tokens per block.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "anthropic/claude-sonnet-4-5"
FLOOR_USD, FLOOR_OUTPUT_PER_BLOCK = 0.315, 24.4
# With its line around it a block makes about 75 tokens, with schema and contract the instructions make 3,000.
_BLOCK_CHARS, _INSTRUCTION_CHARS = 264, 10_720
_WORDS = (
    "supplier delivers pumps valves and control panels to site before the end of month while buyer pays invoice within "
    "thirty days after receipt unless notice of defect was given in writing to the office of record at that address"
).split()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the operating system accounts to one process."""

    cpu_s: float
    wall_s: float
    peak_rss_mb: float


def workload(n_blocks: int) -> tuple[str, dict[str, object]]:
    """(JSON lines of blocks, schema) of the peers' shape, the same every time."""
    lines = []
    for i in range(n_blocks):
        words = " ".join(_WORDS[(i * 7 + k * (3 + i % 5)) % len(_WORDS)] for k in range(60))
        lines.append(json.dumps({"type": "paragraph", "text": f"Clause {i}: {words}"[:_BLOCK_CHARS]}))
    sentence = "Read the clause, decide its topic, name the party that must act, and state the number that the clause opens with. "
    schema: dict[str, object] = {
        "ref": "peer-shape",
        "type": "object",
        "properties": {
            "topic": {"type": "string", "enum": ["delivery", "payment", "defects", "notices"]},
            "party": {"type": "string", "maxLength": 24},
            "opening_no": {"type": "integer", "minimum": 100, "maximum": 999},
        },
        "required": ["topic", "party", "opening_no"],
        "prompt_config": {"system_instructions": (sentence * 200)[:_INSTRUCTION_CHARS]},
    }
    return "\n".join(lines), schema


def step_cost(step: str, folder: Path, *arguments: str) -> tuple[Cost, dict[str, object]]:
    """Runs one step of this file as a process; its cost and the JSON it printed."""
    cost, printed = process_cost("-m", "benchmarks.engine_cost", "--step", step, "--folder", str(folder), *arguments)
    return cost, json.loads(printed)


def process_cost(*arguments: str) -> tuple[Cost, str]:
    """Runs Python with these arguments; what the operating system accounts to the process, and what it printed."""
    command = [sys.executable, *arguments]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(arguments)} failed")
    cost = Cost(
        cpu_s=usage.ru_utime + usage.ru_stime,
        wall_s=time.perf_counter() - started,
        peak_rss_mb=usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024),
    )
    return cost, printed


def ingest_and_plan(folder: Path) -> dict[str, object]:
    """Everything before the engine: read, count tokens, make the run."""
    from tokenopt_pipeline import assembly
    from tokenopt_pipeline.adapters.clock import SystemClock
    from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
    from tokenopt_pipeline.adapters.model_table import ModelTable
    from tokenopt_pipeline.adapters.postgres.connection import connect
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
    from tokenopt_pipeline.adapters.prices import ListPrices
    from tokenopt_pipeline.adapters.readers import read_document
    from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
    from tokenopt_pipeline.domain.policy import resolve
    from tokenopt_pipeline.domain.runs import RunKind
    from tokenopt_pipeline.domain.schemas import parse_schema
    from tokenopt_pipeline.settings import read_settings
    from tokenopt_pipeline.stages.ingest import ingest_source
    from tokenopt_pipeline.stages.plan import RunRequest, plan_run

    source = json.loads((folder / "schema.json").read_text())
    schema = parse_schema(source, name="peer-shape")
    resolved = resolve(
        [
            (
                "benchmark",
                {
                    "routing": {"model": MODEL},
                    "packing": {"pack_size": 25},
                    "reuse": {"enabled": False},
                    "calls": {"concurrency": 32},
                },
            )
        ]
    )
    now = SystemClock().now()
    with connect(assembly.open_database(read_settings())) as connection:
        store = assembly.collections_on(connection)
        ingest_source(
            "blocks.jsonl",
            (folder / "blocks.jsonl").read_bytes(),
            collection="bench",
            read=read_document,
            tokenizer=O200kTokenizer(),
            store=store,
            now=now,
        )
        run = plan_run(
            RunRequest(
                collection="bench",
                schema=schema,
                schema_source=source,
                resolved=resolved,
                mode="sync",
                kind=RunKind.SIMULATED,
            ),
            run_id=f"bench-{time.time_ns()}",
            collections=store,
            runs=PostgresRuns(connection),
            models=ModelTable(),
            prices=ListPrices(),
            validators=JsonSchemaValidators(),
            tokenizer=O200kTokenizer(),
            now=now,
        )
    return {"run": run.run_id}


def engine(run_id: str) -> dict[str, object]:
    """Blocks to overlays, without Dagster; the run's figures."""
    from tokenopt_pipeline import assembly
    from tokenopt_pipeline.adapters.postgres.connection import connect
    from tokenopt_pipeline.adapters.postgres.summaries import PostgresSummaries
    from tokenopt_pipeline.domain.runs import Shard
    from tokenopt_pipeline.settings import read_settings

    settings = read_settings()
    assert settings.database_url is not None
    with connect(settings.database_url) as connection:
        line = assembly.line_on(connection, assembly.open_backend(settings))
        run = line.runs.find(run_id)
        for n in range(run.n_shards):
            line.whole(run, Shard(run_no=run.run_no, shard_no=n))
        return PostgresSummaries(connection, tables=assembly.RunTables()).summary(line.runs.find(run_id))


@contextmanager
def _sandbox(folder: Path) -> Iterator[str]:
    """A sandbox of its own process, with the peers' latency and counting rule and nothing hidden."""
    config, port_file = folder / "sandbox.json", folder / "port"
    hidden = {"format_tokens": 0, "tools_tokens": 0, "forced_tool_tokens": 0}
    config.write_text(json.dumps({"latency_s": 0.05, "hidden_prompt": hidden}))
    command = [
        sys.executable,
        "-m",
        "tokenopt_pipeline.sandbox",
        "--port",
        "0",
        "--port-file",
        str(port_file),
        "--config",
        str(config),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not port_file.exists():
            if process.poll() is not None:
                raise SystemExit("the sandbox did not start")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port_file.read_text().strip()}/anthropic"
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--step", choices=["plan", "engine"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step == "plan":
        print(json.dumps(ingest_and_plan(options.folder)))
        return
    if options.step == "engine":
        print(json.dumps(engine(options.run)))
        return
    _benchmark(options.blocks, options.repeats)


def _benchmark(n_blocks: int, repeats: int) -> None:
    from tokenopt_pipeline import assembly
    from tokenopt_pipeline.settings import read_settings

    os.environ["TOKENOPT_DATABASE_URL"] = assembly.open_database(read_settings())
    os.environ["ANTHROPIC_API_KEY"] = "sandbox"
    blocks, schema = workload(n_blocks)
    plans, engines, imports, summaries = [], [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "blocks.jsonl").write_text(blocks)
        (folder / "schema.json").write_text(json.dumps(schema))
        for _ in range(repeats):
            # A new sandbox each time: its prompt cache starts cold.
            (folder / "port").unlink(missing_ok=True)
            with _sandbox(folder) as base_url:
                os.environ["ANTHROPIC_BASE_URL"] = base_url
                cost, planned = step_cost("plan", folder)
                plans.append(cost)
                cost, summary = step_cost("engine", folder, "--run", str(planned["run"]))
                engines.append(cost)
                imports.append(process_cost("-c", "import anthropic")[0])
                summaries.append(summary)
    print(f"{n_blocks} blocks in packs of 25, {MODEL}, simulated, n = {repeats}; median (min to max)")
    for title, costs in (("ingest and plan", plans), ("engine", engines), ("SDK import alone", imports)):
        print(
            f"{title:<16} CPU {_spread([c.cpu_s for c in costs])} s   wall {_spread([c.wall_s for c in costs])} s   peak RSS {_spread([c.peak_rss_mb for c in costs])} MB"
        )
    for summary in summaries:
        tokens = summary["tokens"]
        assert isinstance(tokens, dict)
        print(
            f"{summary['outcomes']}  calls {summary['calls']}  input {tokens['input']:,} (cached {tokens['input_cached']:,}, written "
            f"{tokens['cache_write']:,})  output {tokens['output']:,} = {tokens['output'] / n_blocks:.1f} per block  "
            f"${summary['usd']:.4f}  violations {summary['violations']}"
        )
    print(f"floor row       ${FLOOR_USD} for 500 blocks at {FLOOR_OUTPUT_PER_BLOCK} output tokens per block")


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
