"""The asset checks of reconciled_overlays, partitioned by shard: every asked shard gets an evaluation."""

# No postponed annotations here: Dagster reads the types of context and resources from the function itself.

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

from tokenopt_pipeline.defs.assets import reconciled_overlays
from tokenopt_pipeline.defs.partitions import shards
from tokenopt_pipeline.defs.resources import StraightLine
from tokenopt_pipeline.domain.errors import NotFound
from tokenopt_pipeline.domain.runs import Run, Shard

if TYPE_CHECKING:
    from tokenopt_pipeline.adapters.postgres.findings import CheckFinding, PostgresFindings

#: One property of a shard, looked up. What it is looked up with is imported when a check runs: see resources.py.
Look = Callable[["PostgresFindings", Run, Shard], "CheckFinding"]


def evaluations(
    instance: dg.DagsterInstance, straight_line: StraightLine, name: str, look: Look, partition_keys: Sequence[str]
) -> Iterator[dg.AssetCheckEvaluation]:
    """One evaluation per asked partition, tied to its latest materialization; a partition of no run fails."""
    from tokenopt_pipeline.adapters.postgres.findings import CheckFinding, PostgresFindings

    targets = _latest_materializations(instance, partition_keys)
    findings = PostgresFindings(straight_line.connection)
    for key in partition_keys:
        try:
            _, run, shard = next(straight_line.shards([key]))
            finding = look(findings, run, shard)
        except NotFound as problem:
            finding = CheckFinding(passed=False, numbers={"problem": str(problem)})
        metadata: dict[str, int | float | str | dg.MetadataValue] = dict(finding.numbers)
        if finding.offenders:
            metadata["offenders"] = dg.MetadataValue.json(list(finding.offenders))
        yield dg.AssetCheckEvaluation(
            asset_key=reconciled_overlays.key,
            check_name=name,
            partition=key,
            passed=finding.passed,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata=metadata,
            target_materialization_data=targets.get(key),
        )


def _latest_materializations(
    instance: dg.DagsterInstance, partition_keys: Sequence[str]
) -> dict[str, AssetCheckEvaluationTargetMaterializationData]:
    """Partition key -> its latest materialization; without that tie the UI counts an evaluated partition as missing."""
    latest = instance.get_latest_storage_id_by_partition(
        reconciled_overlays.key, dg.DagsterEventType.ASSET_MATERIALIZATION, set(partition_keys)
    )
    if not latest:
        return {}
    wanted = dg.EventRecordsFilter(
        event_type=dg.DagsterEventType.ASSET_MATERIALIZATION,
        asset_key=reconciled_overlays.key,
        storage_ids=list(latest.values()),
    )
    records = {r.storage_id: r for r in instance.event_log_storage.get_event_records(wanted)}
    return {
        key: AssetCheckEvaluationTargetMaterializationData(
            storage_id=storage_id, run_id=records[storage_id].run_id, timestamp=records[storage_id].timestamp
        )
        for key, storage_id in latest.items()
        if storage_id in records
    }


def _check(name: str, look: Look, description: str) -> dg.AssetChecksDefinition:
    def check(
        context: dg.AssetCheckExecutionContext, straight_line: StraightLine
    ) -> Iterator[dg.AssetCheckEvaluation | dg.Output[None]]:
        keys = list(context.op_execution_context.partition_keys)
        yield from evaluations(context.instance, straight_line, name, look, keys)
        yield dg.Output(None)

    decorate = dg.asset_check(asset=reconciled_overlays, name=name, partitions_def=shards, description=description)
    # Dagster's annotation knows only checks that return one result; evaluations per partition are yielded.
    return decorate(cast(Callable[..., dg.AssetCheckResult], check))


#: Name, look and description of every check.
LOOKS: list[tuple[str, Look, str]] = [
    (
        "every_block_has_one_outcome",
        lambda findings, run, shard: findings.every_block_has_one_outcome(run, shard),
        "Every block of the shard has exactly one outcome.",
    ),
    (
        "overlays_satisfy_their_schema",
        lambda findings, run, shard: findings.overlays_satisfy_their_schema(run, shard),
        "Every answer is valid against the run's schema.",
    ),
    (
        "every_skip_has_a_rule",
        lambda findings, run, shard: findings.every_skip_has_a_rule(run, shard),
        "Every skipped block has a stored rule and evidence.",
    ),
    (
        "ledger_equals_calls",
        lambda findings, run, shard: findings.ledger_equals_calls(run, shard),
        "Every answered call has exactly one ledger row.",
    ),
    (
        "spend_is_within_budget",
        lambda findings, run, shard: findings.spend_is_within_budget(run, shard),
        "The run has spent at most its budget.",
    ),
]
CHECKS = [_check(*each) for each in LOOKS]
