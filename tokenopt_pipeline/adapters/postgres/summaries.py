"""What became of a run, in the keys of the command line's contract."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from tokenopt_pipeline.adapters.postgres.cache_stories import PostgresCacheStories
from tokenopt_pipeline.adapters.postgres.connection import Connection, row, rows
from tokenopt_pipeline.adapters.postgres.contexts import contexts_of_run
from tokenopt_pipeline.adapters.postgres.conversations import conversations_of_run
from tokenopt_pipeline.adapters.postgres.routing_stories import PostgresRoutingStories
from tokenopt_pipeline.domain.cache_breaks import cache_summary
from tokenopt_pipeline.domain.overlays import OverlayStatus
from tokenopt_pipeline.domain.routing import default_model
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.domain.usage import naive_usage
from tokenopt_pipeline.ports import Tables


class PostgresSummaries:
    """Reads a run's figures; changes nothing."""

    def __init__(self, connection: Connection, *, tables: Tables) -> None:
        self._connection = connection
        self._tables = tables

    def summary(self, run: Run) -> dict[str, Any]:
        """The run's figures. Dollars are None when a call or the baseline has no known price."""
        at = {"run_no": run.run_no}
        outcomes = {"skipped": 0, "reused": 0, "ai_complete": 0, "confirmed": 0, "failed": 0}
        for r in rows(self._connection, "run_outcomes", **at):
            if r["status"] in outcomes:
                name = "reused" if r["is_reused"] and r["status"] == OverlayStatus.AI_COMPLETE else r["status"]
                outcomes[name] += r["n"]
        outcomes["outstanding"] = run.n_blocks - sum(outcomes.values())
        ledger = self._one("run_ledger", **at)
        calls = self._one("run_calls", **at)
        packs = self._one("run_packs", **at)
        batches = self._one("run_batches", **at)
        kept = self._one("run_kept_prefixes", **at)
        embedded = rows(self._connection, "run_embeddings", **at)
        beside = [kept["usd"], *(r["usd"] for r in embedded)]
        unpriced = ledger["usd"] is None or None in beside
        written = ledger["cache_write_5m"] + ledger["cache_write_1h"]
        return {
            "run": run.run_id,
            "collection": run.collection,
            "schema": run.schema.ref,
            "policy_hash": run.policy_hash,
            "mode": run.mode,
            "state": self._one("run_state", **at)["state"],
            "shards": run.n_shards,
            "blocks": run.n_blocks,
            "outcomes": outcomes,
            "skipped_by_rule": {
                r["rule_id"]: r["n"] for r in rows(self._connection, "run_skips", **at) if r["verdict"] == "skip"
            },
            "reused_by_rule": {
                r["rule_id"]: r["n"] for r in rows(self._connection, "run_skips", **at) if r["verdict"] == "reuse"
            },
            "failed_by_class": {r["error_class"]: r["n"] for r in rows(self._connection, "run_errors", **at)},
            "packs": packs["packs"],
            "packs_from_splits": packs["split"],
            "calls": calls["answered"],
            "calls_failed": calls["failed"],
            "calls_without_stored_answer": calls["started"],
            "calls_that_may_be_billed": calls["started"] + calls["may_be_billed"],
            "batches": batches["batches"],
            "batches_outstanding": batches["outstanding"],
            "requests_outstanding": int(batches["requests_outstanding"]),
            "calls_superseded": calls["superseded"],
            "tokens": {
                "input": ledger["input_uncached"] + written + ledger["cache_read"],
                "input_cached": ledger["cache_read"],
                "cache_write": written,
                "output": ledger["output"],
            },
            "cache": cache_summary(PostgresCacheStories(self._connection, tables=self._tables).of(run)),
            "routing": PostgresRoutingStories(self._connection).of(run),
            "kept_prefixes": kept["kept"],
            "bridge": conversations_of_run(self._connection, run.run_no),
            "contexts": contexts_of_run(self._connection, run.run_no),
            "embeddings": {
                r["embedder"]: {**r, "usd": None if r["usd"] is None else float(r["usd"])} for r in embedded
            },
            "usd": None if unpriced else float(ledger["usd"] + sum(beside)),
            "usd_baseline": self._baseline(run),
            "budget_usd": None if run.policy.run.budget_usd is None else float(run.policy.run.budget_usd),
            "kind": run.kind.value,
            "violations": self._one("run_violations", **at)["n"],
        }

    def recent(self, most: int = 20) -> list[dict[str, Any]]:
        """The newest runs first."""
        return [
            {**r, "created_at": r["created_at"].isoformat()} for r in rows(self._connection, "recent_runs", most=most)
        ]

    def unfinished_shards(self, run: Run) -> Sequence[int]:
        """Numbers of the shards that still have work, in order."""
        return [r["shard_no"] for r in rows(self._connection, "unfinished_shards", run_no=run.run_no)]

    def progress(self, run: Run) -> dict[str, Any]:
        """Blocks ended and answered, calls and dollars so far."""
        return self._one("run_progress", run_no=run.run_no)

    def _baseline(self, run: Run) -> float | None:
        """Dollars for the same blocks one per call on the default tier's model, nothing skipped, cached or packed.

        Computed, not run: token counts are scaled by what this schema's calls were billed against what they were sized
        with. None before the first call, or without a price.
        """
        ref = default_model(run.policy.routing)
        seen = self._one("observed_ratios", schema_hash=run.schema.schema_hash, kind=run.kind.value, model=str(ref))
        if not seen["assumed_input"] or not seen["blocks"] or run.n_blocks == 0:
            return None
        model = self._tables.models(run).spec(ref)
        scale = seen["input"] / seen["assumed_input"]
        prefix = model.billed_tokens(run.widest_prefix_tokens) + model.request_overhead_tokens
        of_blocks = self._one("run_block_tokens", run_no=run.run_no)["tokens"]
        one_call = naive_usage(
            blocks=1,
            prefix_tokens=round(scale * prefix),
            block_tokens=round(scale * model.billed_tokens(of_blocks) / run.n_blocks),
            answer_tokens=round(seen["output"] / seen["blocks"]),
        )
        usd = self._tables.prices(run).usd(ref, one_call)
        return None if usd is None else float(usd * Decimal(run.n_blocks))

    def _one(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        found = row(self._connection, name, **parameters)
        assert found is not None  # every statement here is an aggregate or reads an existing run
        return found
