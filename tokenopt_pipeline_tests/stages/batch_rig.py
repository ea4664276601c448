"""Batches set up for a test: real Postgres, the vendors' own SDKs, the sandbox, and one clock that all of them follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tokenopt_pipeline.adapters.anthropic import AnthropicProvider
from tokenopt_pipeline.adapters.google import GoogleProvider
from tokenopt_pipeline.adapters.openai import OpenAIProvider
from tokenopt_pipeline.adapters.postgres.batches import PostgresBatches
from tokenopt_pipeline.adapters.postgres.connection import Connection
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.assembly import Backend, line_on
from tokenopt_pipeline.domain.batches import Batch
from tokenopt_pipeline.domain.runs import Run, RunKind, Shard
from tokenopt_pipeline.ports import Provider
from tokenopt_pipeline.sandbox.in_process import Sandbox
from tokenopt_pipeline.stages.conversations import OpenTools
from tokenopt_pipeline.stages.line import Line
from tokenopt_pipeline.stages.watch import Watched
from tokenopt_pipeline_tests.stages.rig import Rig, clauses

#: Vendor -> a small model of it.
MODELS = {"anthropic": "claude-haiku-5-5", "openai": "gpt-6-luna", "google": "gemini-3.8-flash"}
VENDORS = tuple(MODELS)
#: Longer than any batch of the sandbox takes, and any look waits.
SOME_HOURS_S = 5 * 3600.0


class MovedClock:
    """`ports.Clock`: the wall's, put forward."""

    def __init__(self, ahead_s: float = 0.0) -> None:
        self.ahead_s = ahead_s

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)  # noqa: TID251 - the sandbox's clock is the wall's, too

    def monotonic_s(self) -> float:
        return self.now().timestamp()

    def sleep(self, seconds: float, *, unless: Callable[[], bool]) -> None:
        self.ahead_s += seconds


def provider_at(sandbox: Sandbox, vendor: str) -> Provider:
    """The vendor's own adapter on the sandbox."""
    if vendor == "anthropic":
        return AnthropicProvider(api_key="sandbox", base_url=sandbox.anthropic_url)
    if vendor == "openai":
        return OpenAIProvider(api_key="sandbox", base_url=sandbox.openai_url)
    return GoogleProvider(api_key="sandbox", base_url=sandbox.google_url)


@dataclass(slots=True, kw_only=True)
class BatchRig:
    """One vendor on one sandbox."""

    rig: Rig
    sandbox: Sandbox
    vendor: str
    clock: MovedClock = field(default_factory=MovedClock)
    #: Opens the tool servers of a run; None: runs have no tools.
    open_tools: Callable[[Run], OpenTools] | None = None

    def line(self, connection: Connection | None = None) -> Line:
        """A line of its own; on another connection it is another process."""
        backend = Backend(
            providers={self.vendor: provider_at(self.sandbox, self.vendor)},
            kinds={self.vendor: RunKind.SIMULATED},
            key_variables={},
        )
        line = line_on(connection or self.rig.connection, backend)
        line.clock = line.batching.clock = self.clock
        line.open_tools = self.open_tools or line.open_tools
        return line

    def plan(self, blocks: int = 16, *, mode: str = "async", **policy: Any) -> tuple[Run, Shard]:
        """A run over so many new blocks in packs of four, ready to be submitted."""
        if not self.rig.rows("select 1 from collection"):
            self.rig.ingest(*clauses(blocks))
        policy = {
            "routing": {"model": f"{self.vendor}/{MODELS[self.vendor]}"},
            "packing": {"pack_size": 4},
            "calls": {"timeout_s": 20.0},
            **policy,
        }
        run = self.rig.plan(self.rig.request(mode=mode, **policy))
        line, shard = self.line(), Shard(run_no=run.run_no, shard_no=0)
        line.decide(run, shard)
        line.pack(run, shard)
        return run, shard

    def watch(self, line: Line | None = None) -> Watched:
        """Looks at everything that is outstanding."""
        line = line or self.line()
        store = PostgresBatches(line.runs._connection)  # type: ignore[attr-defined]
        runs = {r["run_no"]: r["run_id"] for r in self.rig.rows("select run_no, run_id from run")}
        due = [b for b in self.open_batches() if b.state in ("intended", "submitted")]
        assert store is not None
        return line.watch(due, lambda run_no: PostgresRuns(self.rig.connection).find(runs[run_no]))

    def open_batches(self) -> list[Batch]:
        return PostgresBatches(self.rig.connection).open_batches()

    def pass_time(self, seconds: float = SOME_HOURS_S) -> None:
        """For everybody."""
        self.sandbox.control.advance(seconds)
        self.clock.ahead_s += seconds

    def finish(
        self, run: Run, shard: Shard, *, line: Line | None = None, most: int = 20, wait_s: float = SOME_HOURS_S
    ) -> int:
        """Lets time pass, looks and advances until nothing is outstanding; how often."""
        line = line or self.line()
        for turn in range(most):
            line.advance(run, shard)
            counts = line.reconcile(run, shard)
            if not counts.get("submitted") and not counts.get("pending") and not self.open_batches():
                return turn
            self.pass_time(wait_s)
            self.watch(line)
        raise AssertionError(f"still outstanding after {most} turns: {self.open_batches()}, {counts}")

    def figures(self, run: Run) -> dict[str, int]:
        """What must be 0, and what was asked."""
        one = self.rig.one
        no = run.run_no
        return {
            "lost": one(
                "select count(*) from overlay where run_no = %(no)s and status not in"
                " ('skipped', 'ai_complete', 'failed', 'confirmed')",
                no=no,
            ),
            "failed": one("select count(*) from overlay where run_no = %(no)s and status = 'failed'", no=no),
            "doubled": one(
                "select count(*) from (select block_no from model_output where run_no = %(no)s and finding = 'valid'"
                " group by 1 having count(*) > 1) t",
                no=no,
            ),
            "made": len(self.sandbox.control.batches(self.vendor)),
            "intended": one("select count(*) from batch where outcome is distinct from 'unborn'"),
        }
