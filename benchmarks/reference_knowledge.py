"""What a reference of 25,000 tokens costs: whole and cached, as found by retrieval, or asked for with tools.

Run as `python -m benchmarks.reference_knowledge [--pack-size N] [--searches N]`. The workload has the shape of the product's
cost model: 200 blocks of 325 tokens and a reference of 25,000 tokens of rules. Every run goes over the vendors' own SDKs to
the sandbox, with a cold cache, through the same stages as any other; tokens are the sandbox's and dollars list prices, so the
figures are simulated. Answers are as short as the sandbox makes them, about 45 tokens a block. Their quality is not measured:
whether what is found is what a block needs is what `benchmarks.retrieval_quality` measures. With tools, the simulated model
searches with the texts of its blocks, so often per pack, in one turn, and then answers.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenopt_pipeline.adapters.chunking import read_reference
from tokenopt_pipeline.adapters.clock import SystemClock
from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
from tokenopt_pipeline.adapters.postgres.connection import Connection, connect
from tokenopt_pipeline.adapters.postgres.embedded import EmbeddedServer
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.adapters.postgres.summaries import PostgresSummaries
from tokenopt_pipeline.adapters.readers import read_document
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.assembly import (
    RunTables,
    collections_on,
    indexing_on,
    line_on,
    models_under,
    open_backend,
    open_database,
    prices_under,
    references_on,
)
from tokenopt_pipeline.domain.policy import resolve
from tokenopt_pipeline.domain.probes import Probe
from tokenopt_pipeline.domain.routing import models_reachable
from tokenopt_pipeline.domain.runs import Shard
from tokenopt_pipeline.domain.schemas import parse_schema
from tokenopt_pipeline.measuring import rule_book
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline.settings import read_settings
from tokenopt_pipeline.stages.contexts import know
from tokenopt_pipeline.stages.ingest import ingest_source
from tokenopt_pipeline.stages.plan import RunRequest, plan_run

N_BLOCKS = 200
#: Provider -> the model it is asked for. The last is a server of one's own, whose price is made up.
MODELS = {
    "anthropic": "anthropic/claude-sonnet-4-5",
    "openai": "openai/gpt-6-luna",
    "google": "google/gemini-3.8-flash",
    "custom": "local/local-model",
}
WAYS: Mapping[str, dict[str, Any]] = {
    "whole, cached": {"retrieval": {"enabled": False}},
    "found": {},
    "with tools": {"bridge": {"enabled": True, "servers": {"run": {"builtin": True, "tools": ["search_style_rules"]}}}},
}


def schema() -> dict[str, Any]:
    """A schema that relies on the rules, and would have them on demand."""
    return {**rule_book.SCHEMA, "ref": "style", "retrieval": "eligible", "references": ["rules"]}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack-size", type=int, default=10)
    parser.add_argument("--searches", type=int, default=2, help="of one conversation; default %(default)s")
    options = parser.parse_args()
    with _database() as (url, connection):
        _prepare(connection)
        print(
            f"{N_BLOCKS} blocks in packs of {options.pack_size}, {options.searches} searches a pack with tools; simulated"
        )
        print(
            f"{'model':<28} {'way':<14} {'calls':>5} {'input':>10} {'read':>10} {'written':>8} {'output':>7} {'dollars':>8}"
        )
        for name, model in MODELS.items():
            for way, policy in WAYS.items():
                # A sandbox of its own each time: its prompt cache starts cold.
                with running_sandbox() as sandbox, _keys_of(sandbox):
                    sandbox.control.set_tools({"rounds": 1, "parallel": options.searches})
                    layer = _policy(sandbox, model, options.pack_size, policy)
                    summary = _run(url, connection, layer)
                print(_row(model, way, summary))
            print(f"{'':<28} {'naive':<14} {'':>52} {summary['usd_baseline']:>8.4f}  computed{_note(name)}")


def _row(model: str, way: str, s: Mapping[str, Any]) -> str:
    tokens = s["tokens"]
    carried = "; ".join(
        f"{kind}: {', '.join(f'{c} {n}' for c, n in causes.items())}" for kind, causes in s["contexts"].items()
    )
    wrong = "" if s["outcomes"]["ai_complete"] == N_BLOCKS and not s["violations"] else f"  WRONG {s['outcomes']}"
    return (
        f"{model:<28} {way:<14} {s['calls']:>5} {tokens['input']:>10,} {tokens['input_cached']:>10,} "
        f"{tokens['cache_write']:>8,} {tokens['output']:>7,} {s['usd']:>8.4f}  {carried}{wrong}"
    )


def _note(name: str) -> str:
    return (
        "; prices of this one are made up: $0.25 and $1 a million, $0.025 read from a cache" if name == "custom" else ""
    )


@contextmanager
def _database() -> Iterator[tuple[str, Connection]]:
    """(URL, connection) of an embedded server of its own, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="tokenopt-bench-", dir="/tmp") as folder:
        Path(folder).chmod(0o711)
        os.environ.pop("TOKENOPT_DATABASE_URL", None)
        os.environ["TOKENOPT_HOME"] = folder
        try:
            url = open_database(read_settings())
            with connect(url) as connection:
                yield url, connection
        finally:
            EmbeddedServer(Path(folder).resolve() / "postgres").down()


@contextmanager
def _keys_of(sandbox: Sandbox) -> Iterator[None]:
    """The vendors' variables, as their SDKs look for them."""
    os.environ |= {f"{vendor}_API_KEY": "sandbox" for vendor in ("ANTHROPIC", "OPENAI", "GEMINI")}
    os.environ["ANTHROPIC_BASE_URL"], os.environ["OPENAI_BASE_URL"] = sandbox.anthropic_url, sandbox.openai_url
    os.environ["GOOGLE_GEMINI_BASE_URL"] = sandbox.google_url
    yield


def _prepare(connection: Connection) -> None:
    tokenizer, now = O200kTokenizer(), SystemClock().now()
    ingest_source(
        "blocks.jsonl",
        "\n".join(json.dumps({"type": "paragraph", "text": text}) for text in rule_book.texts(N_BLOCKS)).encode(),
        collection="bench",
        read=read_document,
        tokenizer=tokenizer,
        store=collections_on(connection),
        now=now,
    )
    probes = [Probe(query=query, relevant=(file,)) for query, file in rule_book.questions()]
    retrieval = resolve([]).policy.retrieval
    built = indexing_on(connection, read_settings(), embedder="none").build(
        "rules",
        [read_reference(name, content.encode()) for name, content in rule_book.rules().items()],
        probes,
        chunk_tokens=retrieval.chunk_tokens,
        k=retrieval.k,
        recall_gate=retrieval.recall_gate,
        now=now,
    )
    whole = tokenizer.count(references_on(connection).whole("rules"))
    measured = built.index.calibration
    assert measured is not None  # there are probes
    print(
        f"reference   {whole:,} tokens in {built.index.n_rules} rules; recall {measured.recall} on {measured.n} unseen probes"
    )


def _policy(sandbox: Sandbox, model: str, pack_size: int, policy: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "routing": {"model": model},
        "packing": {"pack_size": pack_size, "pack_size_max": max(pack_size, 40), "text_heavy_max_pack_size": pack_size},
        "reuse": {"enabled": False},
        "providers": {"local": {"base_url": sandbox.custom_url}},
        "models": {
            "local/local-model": {
                "context_tokens": 128_000,
                "max_output_tokens": 16_000,
                "price": {"input": "0.25", "output": "1", "cache_read": "0.025"},
            }
        },
        **policy,
    }


def _run(url: str, connection: Connection, layer: dict[str, Any]) -> dict[str, Any]:
    resolved, source = resolve([("benchmark", layer)]), schema()
    parsed, clock = parse_schema(source, name="style"), SystemClock()
    backend = open_backend(read_settings())
    run = plan_run(
        RunRequest(
            collection="bench",
            schema=parsed,
            schema_source=source,
            resolved=resolved,
            mode="sync",
            kind=backend.under(resolved.policy).kind_of(models_reachable(resolved.policy.routing)),
            known=know(parsed, resolved.policy, references=references_on(connection), tokenizer=O200kTokenizer()),
        ),
        run_id=f"bench-{clock.now():%H%M%S%f}",
        collections=collections_on(connection),
        runs=PostgresRuns(connection),
        models=models_under(resolved.policy),
        prices=prices_under(resolved.policy),
        validators=JsonSchemaValidators(),
        tokenizer=O200kTokenizer(),
        now=clock.now(),
    )
    line = line_on(connection, backend, url=url)
    try:
        for shard_no in range(run.n_shards):
            line.whole(run, Shard(run_no=run.run_no, shard_no=shard_no))
    finally:
        line.close()
    return PostgresSummaries(connection, tables=RunTables()).summary(run)


if __name__ == "__main__":
    main()
