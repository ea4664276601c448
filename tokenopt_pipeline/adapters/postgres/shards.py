"""Decisions about a shard's blocks in Postgres."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg

from tokenopt_pipeline.adapters.postgres.connection import Connection, change, row, rows, store_errors
from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.errors import NotFound, ShardBusy
from tokenopt_pipeline.domain.prefilter import BlockFacts, Decision
from tokenopt_pipeline.domain.runs import Shard


class PostgresShards:
    """`ports.ShardStore` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def at(self, partition_key: str) -> tuple[str, Shard]:
        """The run id and shard behind a Dagster partition key. Raises NotFound."""
        run_id, _, number = partition_key.rpartition("-")
        found = None
        if number.isdecimal():
            found = row(self._connection, "shard_by_key", run_id=run_id, shard_no=int(number))
        if found is None:
            raise NotFound(f"partition {partition_key!r} is not a shard of any run in this database")
        return run_id, Shard(run_no=found["run_no"], shard_no=found["shard_no"])

    def count(self, shard: Shard) -> int:
        """How many blocks the run's documents have in the shard."""
        found = row(self._connection, "shard_blocks", run_no=shard.run_no, shard_no=shard.shard_no)
        return int(found["n"]) if found else 0

    def undecided_facts(self, shard: Shard, *, words_cap: int) -> list[BlockFacts]:
        """Every distinct combination of facts among the blocks without a decision."""
        with store_errors(), self._connection.transaction():
            rows(self._connection, "fresh_plans")
            found = rows(
                self._connection, "undecided_facts", run_no=shard.run_no, shard_no=shard.shard_no, words_cap=words_cap
            )
        return [BlockFacts(type=BlockType(r["block_type"]), is_blank=r["is_blank"], words=r["words"]) for r in found]

    def decide(
        self, shard: Shard, verdicts: Mapping[BlockFacts, Decision], *, words_cap: int, reuse: bool
    ) -> Mapping[str, int]:
        """Gives every undecided block its overlay with its decision; rule id -> blocks, of the whole shard."""
        place = {"run_no": shard.run_no, "shard_no": shard.shard_no}
        document = [
            {
                "block_type": facts.type.value,
                "is_blank": facts.is_blank,
                "words": facts.words,
                "verdict": decision.verdict.value,
                "rule_id": decision.rule_id,
                "evidence": decision.evidence,
            }
            for facts, decision in verdicts.items()
        ]
        with store_errors(), self._connection.transaction():
            rows(self._connection, "fresh_plans")
            change(
                self._connection,
                "decide_blocks",
                **place,
                verdicts=json.dumps(document),
                words_cap=words_cap,
                reuse=reuse,
            )
            counts = rows(self._connection, "decision_counts", **place)
        return {r["rule_id"]: r["n"] for r in counts}

    @contextmanager
    def exclusive(self, shard: Shard) -> Iterator[None]:
        """Holds the shard for this process. Raises ShardBusy when another holds it; dies with the process."""
        place = {"run_no": shard.run_no, "shard_no": shard.shard_no}
        try:
            with self._connection.transaction():
                rows(self._connection, "patience_for_locks")
                rows(self._connection, "lock_shard", **place)
        except psycopg.errors.LockNotAvailable:
            raise ShardBusy(
                f"shard {shard.shard_no} of run number {shard.run_no} is being worked on by another process"
            ) from None
        try:
            yield
        finally:
            if not self._connection.closed:
                rows(self._connection, "release_shard_lock", **place)
