"""Runs, shards and Dagster runs of them for tests of the code location."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from tokenopt_pipeline.definitions import defs
from tokenopt_pipeline.defs.assets import LINE
from tokenopt_pipeline.defs.checks import CHECKS
from tokenopt_pipeline.defs.launch import LaunchResult, declare_shards, materialize_shards
from tokenopt_pipeline.defs.resources import StraightLine
from tokenopt_pipeline.domain.runs import Run, shard_key
from tokenopt_pipeline_tests.stages.rig import Rig, clauses

ASSET_NAMES = [asset.key.to_user_string() for asset in LINE]
CHECK_NAMES = [next(iter(check.check_keys)).name for check in CHECKS]

#: The checks alone, over whatever is in the tables.
_CHECKS_JOB = dg.define_asset_job("checks", selection=dg.AssetSelection.checks(*CHECKS))
_CHECKS = dg.Definitions(
    assets=LINE,
    asset_checks=CHECKS,
    jobs=[_CHECKS_JOB],
    resources={"straight_line": StraightLine()},
    executor=dg.in_process_executor,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DagsterRig:
    """A rig whose runs go through Dagster."""

    rig: Rig
    instance: dg.DagsterInstance

    def planned(self, blocks: int = 6, shard_blocks: int = 2, **policy: Any) -> tuple[Run, list[str]]:
        """A run over so many different blocks and its partition keys, which Dagster knows."""
        self.rig.ingest(*clauses(blocks))
        run = self.rig.plan(**{"run": {"shard_blocks": shard_blocks}, **policy})
        keys = [shard_key(run.run_id, n) for n in range(run.n_shards)]
        declare_shards(self.instance, keys)
        return run, keys

    def materialize(self, keys: Sequence[str]) -> LaunchResult:
        return materialize_shards(defs.resolve_job_def("extraction"), self.instance, keys)

    def materialized(self, asset: str) -> dict[str, dg.EventLogEntry]:
        """Partition -> its latest materialization."""
        records = self.instance.fetch_materializations(dg.AssetKey(asset), limit=1000, ascending=True).records
        return {r.partition_key: r.event_log_entry for r in records if r.partition_key is not None}

    def check(self, keys: Sequence[str]) -> dict[str, dict[str | None, dg.AssetCheckEvaluation]]:
        """Evaluates every check: check name -> partition -> evaluation."""
        job = _CHECKS.resolve_job_def("checks")
        tags = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
        result = job.execute_in_process(instance=self.instance, tags=tags)
        found: dict[str, dict[str | None, dg.AssetCheckEvaluation]] = {name: {} for name in CHECK_NAMES}
        for evaluation in result.get_asset_check_evaluations():
            found[evaluation.check_name][evaluation.partition] = evaluation
        return found

    def tamper(self, statement: str) -> None:
        """Changes what triggers and foreign keys would not let anybody change."""
        self.rig.connection.execute("set session_replication_role = replica")
        self.rig.connection.execute(statement.encode())
        self.rig.connection.execute("set session_replication_role = origin")
