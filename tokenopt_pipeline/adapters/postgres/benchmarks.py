"""The history of benchmarks: rows and timings as they were measured, and what passed before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from tokenopt_pipeline.adapters.postgres.connection import Connection, change, rows
from tokenopt_pipeline.domain.measurements import CellKey, Row, Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmarked:
    """Which benchmark a result is of."""

    benchmark_id: str
    commit: str
    seed: int
    gates_digest: str
    measured_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResult:
    """A result as it was kept."""

    of: Benchmarked
    row: Row
    timing: Timing | None


class PostgresBenchmarks:
    """Benchmark results in the database."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def keep(
        self, of: Benchmarked, results: Sequence[Row], timings: Sequence[Timing], *, passed: Mapping[CellKey, bool]
    ) -> int:
        """Stores the results, all or none; how many were not stored before."""
        took = {timing.key: timing for timing in timings}
        with self._connection.transaction():
            return sum(
                change(
                    self._connection,
                    "insert_benchmark_result",
                    benchmark_id=of.benchmark_id,
                    measured_at=of.measured_at,
                    commit_name=of.commit,
                    seed=of.seed,
                    gates_digest=of.gates_digest,
                    workload=row.workload,
                    scenario=row.scenario,
                    blocks=row.blocks,
                    cache=row.cache,
                    kind=row.kind,
                    input_digest=row.digest,
                    passed=passed[row.key],
                    numbers=Jsonb(row.document()),
                    timing=Jsonb(took[row.key].document()) if row.key in took else None,
                )
                for row in results
            )

    def newest(self) -> list[StoredResult]:
        """The newest result of every cell, in the order of cells."""
        return [_stored(found) for found in rows(self._connection, "newest_benchmark_results")]

    def passed_before(self, of: Benchmarked) -> dict[CellKey, Row]:
        """Cell -> its newest result that passed under the same thresholds before this benchmark."""
        found = rows(
            self._connection,
            "passed_benchmark_results",
            gates_digest=of.gates_digest,
            benchmark_id=of.benchmark_id,
        )
        return {row.key: row for row in (Row(**each["numbers"]) for each in found)}

    def nights(self, workload: str, blocks: int, *, most: int) -> dict[str, list[float]]:
        """Scenario -> its dollars over the latest benchmarks, oldest first."""
        found = rows(self._connection, "benchmark_nights", workload=workload, blocks=blocks, most=most)
        return {each["scenario"]: list(each["usd"]) for each in found}


def _stored(found: Mapping[str, Any]) -> StoredResult:
    timing = found["timing"]
    key = ("workload", "scenario", "blocks", "cache")
    return StoredResult(
        of=Benchmarked(
            benchmark_id=found["benchmark_id"],
            commit=found["commit_name"],
            seed=found["seed"],
            gates_digest=found["gates_digest"],
            measured_at=found["measured_at"],
        ),
        row=Row(**found["numbers"]),
        timing=None
        if timing is None
        else Timing(
            key=CellKey(**{name: timing[name] for name in key}), **{n: v for n, v in timing.items() if n not in key}
        ),
    )
