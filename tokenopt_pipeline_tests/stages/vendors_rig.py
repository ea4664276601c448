"""The straight line on two sandboxes, so that one vendor can be in trouble while the others answer; real SDKs, real tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tokenopt_pipeline.adapters.anthropic import AnthropicProvider
from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
from tokenopt_pipeline.adapters.openai import OpenAIProvider
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.adapters.postgres.stories import PostgresStories
from tokenopt_pipeline.adapters.postgres.summaries import PostgresSummaries
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.assembly import Backend, RunTables, collections_on, line_on, models_under, prices_under
from tokenopt_pipeline.cli.telling import story_lines
from tokenopt_pipeline.domain.documents import block_uid
from tokenopt_pipeline.domain.runs import Run, RunKind, Shard
from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline.stages.line import Line
from tokenopt_pipeline.stages.plan import RunRequest, plan_run
from tokenopt_pipeline_tests.stages.rig import Rig

HAIKU, SONNET, LUNA, TERRA = (
    "anthropic/claude-haiku-5-5",
    "anthropic/claude-sonnet-5-5",
    "openai/gpt-6-luna",
    "openai/gpt-6.1-terra",
)
#: Tries end soon, and no test waits: the clock stands still.
IMPATIENT = {"retries": {"transient_tries": 2}, "calls": {"concurrency": 2}}


@dataclass(slots=True, kw_only=True)
class Vendors:
    """Anthropic in trouble, as a test says; everybody else on a sandbox that answers."""

    rig: Rig
    troubled: Sandbox
    healthy: Sandbox
    _runs: int = field(default=0)

    @property
    def local(self) -> dict[str, Any]:
        """A policy's own server on the troubled sandbox."""
        return {"local": {"base_url": self.troubled.custom_url, "capability": "json_schema"}}

    def line(self) -> Line:
        backend = Backend(
            providers={
                "anthropic": AnthropicProvider(api_key="sandbox", base_url=self.troubled.anthropic_url),
                "openai": OpenAIProvider(api_key="sandbox", base_url=self.healthy.openai_url),
            },
            kinds={"anthropic": RunKind.SIMULATED, "openai": RunKind.SIMULATED},
            key_variables={},
        )
        line = line_on(self.rig.connection, backend)
        line.clock = self.rig.clock
        return line

    def plan(self, request: RunRequest) -> Run:
        self._runs += 1
        return plan_run(
            request,
            run_id=f"run{self._runs}",
            collections=collections_on(self.rig.connection),
            runs=PostgresRuns(self.rig.connection),
            models=models_under(request.resolved.policy),
            prices=prices_under(request.resolved.policy),
            validators=JsonSchemaValidators(),
            tokenizer=O200kTokenizer(),
            now=self.rig.clock.now(),
        )

    def ran(self, *, schema: dict[str, Any] | None = None, line: Line | None = None, **policy: Any) -> Run:
        """A run of everything that was ingested, from blocks to overlays."""
        run = self.plan(self.rig.request(schema=schema, **{**IMPATIENT, **policy}))
        self.finish(run, line=line)
        return PostgresRuns(self.rig.connection).find(run.run_id)

    def finish(self, run: Run, *, line: Line | None = None) -> None:
        line = line or self.line()
        for shard_no in range(run.n_shards):
            line.whole(run, Shard(run_no=run.run_no, shard_no=shard_no))

    def summary(self, run: Run) -> dict[str, Any]:
        return PostgresSummaries(self.rig.connection, tables=RunTables()).summary(run)

    def told(self, run: Run, index: int) -> str:
        """What `tokenopt explain` says of a block of the only document."""
        document = self.rig.one("select document_id from document")
        story = PostgresStories(self.rig.connection).of_block(run, block_uid(document, index))
        return "\n".join(story_lines(story))

    def packs(self, run: Run) -> list[tuple[str, str, str, int, str | None]]:
        """(asks, cause, model, hops, obstacle) of every pack, in order."""
        query = "select asks, cause, model, hops, obstacle from pack where run_no = %(run)s order by pack_no"
        return [tuple(r.values()) for r in self.rig.rows(query, run=run.run_no)]


@contextmanager
def two_sandboxes() -> Iterator[tuple[Sandbox, Sandbox]]:
    """(One for trouble, whose custom server has a small window; one that answers.)"""
    small = SandboxConfig.from_json({"custom": {"context_tokens": 4_000}})
    with running_sandbox(small) as troubled, running_sandbox() as healthy:
        yield troubled, healthy
