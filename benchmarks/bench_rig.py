"""Runs of the whole line on the sandbox and a database of their own, for benchmarks that compare bills. Simulated."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.ours import take_through
from tokenopt_pipeline import assembly
from tokenopt_pipeline.adapters.anthropic import AnthropicProvider
from tokenopt_pipeline.adapters.clock import SystemClock
from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
from tokenopt_pipeline.adapters.postgres.connection import Connection, connect
from tokenopt_pipeline.adapters.postgres.embedded import EmbeddedServer
from tokenopt_pipeline.adapters.postgres.learning import PostgresLearning
from tokenopt_pipeline.adapters.postgres.planning import PostgresPlanning
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.adapters.postgres.summaries import PostgresSummaries
from tokenopt_pipeline.adapters.readers import read_document
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.assembly import Backend
from tokenopt_pipeline.domain.policy import resolve
from tokenopt_pipeline.domain.runs import Run, RunKind
from tokenopt_pipeline.domain.schemas import parse_schema
from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import running_sandbox
from tokenopt_pipeline.sandbox.tokens import HiddenPrompt
from tokenopt_pipeline.settings import read_settings
from tokenopt_pipeline.stages.ingest import ingest_source
from tokenopt_pipeline.stages.plan import RunRequest, learn, plan_run
from tokenopt_pipeline.stages.predict import predict_run
from tokenopt_pipeline.stages.prediction import Prediction

#: Nothing hidden: what is counted is what a reader of the benchmark can count.
NOTHING_HIDDEN = HiddenPrompt(format_tokens=0, tools_tokens=0, forced_tool_tokens=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run was predicted and billed."""

    run: Run
    prediction: Prediction
    #: In the keys of `tokenopt status`.
    summary: Mapping[str, Any]

    @property
    def usd(self) -> float:
        """Dollars billed."""
        return float(self.summary["usd"])

    @property
    def error(self) -> float:
        """Predicted dollars over billed ones, minus 1."""
        assert self.prediction.usd is not None
        return float(self.prediction.usd) / self.usd - 1


@dataclass(slots=True, kw_only=True)
class BenchRig:
    """A database, and a sandbox for every run, whose cache is cold."""

    connection: Connection
    config: SandboxConfig
    _runs: int = 0

    def ingest(self, collection: str, name: str, texts: Sequence[str], types: Sequence[str] | None = None) -> None:
        """A document of these blocks under a name; the same name again replaces it."""
        kinds = types or ["paragraph"] * len(texts)
        lines = (json.dumps({"type": kind, "text": text}) for kind, text in zip(kinds, texts, strict=True))
        ingest_source(
            f"{name}.jsonl",
            "\n".join(lines).encode(),
            collection=collection,
            read=read_document,
            tokenizer=O200kTokenizer(),
            store=assembly.collections_on(self.connection),
            now=SystemClock().now(),
        )

    def run(
        self,
        collection: str,
        schema: Mapping[str, Any],
        policy: Mapping[str, Mapping[str, Any]],
        *,
        mode: str = "sync",
    ) -> Outcome:
        """Plans with what was learnt so far, predicts, runs everything, and says what it was billed."""
        resolved = resolve([("benchmark", policy)])
        request = RunRequest(
            collection=collection,
            schema=parse_schema(schema, name="benchmark"),
            schema_source=schema,
            resolved=resolved,
            mode=mode,
            kind=RunKind.SIMULATED,
        )
        learned = learn(request, calls=PostgresLearning(self.connection), models=assembly.models_under(resolved.policy))
        tables: dict[str, Any] = {
            "models": assembly.models_under(resolved.policy, learned),
            "prices": assembly.prices_under(resolved.policy),
            "validators": JsonSchemaValidators(),
            "tokenizer": O200kTokenizer(),
            "learned": learned,
        }
        prediction = predict_run(request, planning=PostgresPlanning(self.connection), **tables)
        self._runs += 1
        run = plan_run(
            request,
            run_id=f"bench{self._runs}",
            collections=assembly.collections_on(self.connection),
            runs=PostgresRuns(self.connection),
            now=SystemClock().now(),
            **tables,
        )
        with running_sandbox(self.config) as sandbox:
            provider = AnthropicProvider(api_key="sandbox", base_url=sandbox.anthropic_url)
            kinds = {"anthropic": RunKind.SIMULATED}
            backend = Backend(providers={"anthropic": provider}, kinds=kinds, key_variables={})
            line = assembly.line_on(self.connection, backend)
            take_through(self.connection, line, run)
        summaries = PostgresSummaries(self.connection, tables=assembly.RunTables())
        return Outcome(run=run, prediction=prediction, summary=summaries.summary(line.runs.find(run.run_id)))


@contextmanager
def bench_rig(config: SandboxConfig | None = None) -> Iterator[BenchRig]:
    """A rig on an embedded server of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="tokenopt-bench-", dir="/tmp") as name:
        Path(name).chmod(0o711)
        settings = read_settings({"TOKENOPT_HOME": name})
        url = assembly.open_database(settings)
        try:
            with connect(url) as connection:
                yield BenchRig(connection=connection, config=config or SandboxConfig(hidden_prompt=NOTHING_HIDDEN))
        finally:
            EmbeddedServer(settings.home / "postgres").down()
