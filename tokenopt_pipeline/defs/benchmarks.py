"""Benchmarks as assets: a partition per scenario, a check per optimization tier, every night; history is in Postgres."""

# No postponed annotations here: Dagster reads the types of context and resources from the function itself.

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from tokenopt_pipeline.defs.resources import StraightLine
from tokenopt_pipeline.domain.measurements import BASELINE

if TYPE_CHECKING:
    from tokenopt_pipeline.measuring.judging import TierVerdict
    from tokenopt_pipeline.measuring.reporting import Report

#: The scenarios that are measured every night, in the order of the tables; tests hold them to measuring/scenarios.py.
SCENARIO_NAMES = (
    "baseline prompt_caching worker_batching pre_filter reuse routing escalation async_batch retrieval bridge everything"
).split()
scenarios = dg.StaticPartitionsDefinition(SCENARIO_NAMES)
#: Tiers with gates in measuring/gates.toml, likewise held by tests.
GATED_TIERS = SCENARIO_NAMES


@dg.asset(
    partitions_def=scenarios,
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={"postgres"},
    group_name="benchmarks",
    owners=["team:extraction"],
    pool="benchmarks",
)
def benchmark_results(context: dg.AssetExecutionContext, straight_line: StraightLine) -> dg.MaterializeResult[None]:
    """The cells that gates are about, measured on a database and a sandbox of their own; simulated, so that nothing is bought."""
    from tokenopt_pipeline.measuring.nightly import measure_and_keep

    wanted = (
        set(context.partition_keys)
        if context.has_partition_key or context.has_partition_key_range
        else set(SCENARIO_NAMES)
    )
    kept = measure_and_keep(
        straight_line.connection,
        wanted,
        benchmark_id=context.run.run_id,
        told=lambda line: context.log.info("%s", line),
    )
    failed = [sentence for verdict in kept.verdicts for sentence in verdict.failures if verdict.tier in wanted]
    for sentence in failed:
        context.log.warning("%s", sentence)
    return dg.MaterializeResult(
        metadata={
            "cells": len(kept.report.rows),
            "commit": kept.report.comparison.commit,
            "seed": kept.report.comparison.seed,
            "failed_gates": len(failed),
            "kind": ", ".join(sorted({row.kind for row in kept.report.rows})),
            "comparison": dg.MetadataValue.md(kept.markdown),
            **_numbers(kept.report),
            **_pictures({**kept.report.pictures(), **kept.history}),
        }
    )


@dg.asset(deps=[benchmark_results], kinds={"markdown"}, group_name="benchmarks", owners=["team:extraction"])
def verification_report(context: dg.AssetExecutionContext, straight_line: StraightLine) -> dg.MaterializeResult[None]:
    """PASS or FAIL of the eight locks by the newest benchmark, with its evidence."""
    from tokenopt_pipeline.measuring.nightly import read_verification
    from tokenopt_pipeline.measuring.verification import rendered

    found = read_verification(straight_line.connection)
    return dg.MaterializeResult(
        metadata={
            "verdict": "PASS" if found.passed else "FAIL",
            "commit": found.commit,
            "locks_passed": sum(lock.passed for lock in found.locks),
            "locks": len(found.locks),
            "report": dg.MetadataValue.md(rendered(found)),
        }
    )


@dg.asset_check(asset=verification_report, description="All eight locks pass by the newest benchmark.")
def every_lock_passes(straight_line: StraightLine) -> dg.AssetCheckResult:
    from tokenopt_pipeline.measuring.nightly import read_verification

    locks = read_verification(straight_line.connection).locks
    return dg.AssetCheckResult(
        passed=all(lock.passed for lock in locks),
        description=" ".join(f"{lock.name}: {lock.evidence[0]}" for lock in locks if not lock.passed) or None,
        metadata={lock.name: "PASS" if lock.passed else "FAIL" for lock in locks},
    )


def _numbers(report: "Report") -> dict[str, float]:
    """Dollars per scenario of the reference workload, which the UI plots over time."""
    return {
        f"usd {row.scenario}": row.usd
        for row in report.rows
        if row.workload == "reference" and row.cache == "cold" and row.usd is not None
    }


def _pictures(pictures: Mapping[str, bytes]) -> dict[str, dg.MetadataValue]:
    """Charts as the UI shows them: Markdown with the picture inside."""
    return {
        name.removesuffix(".png"): dg.MetadataValue.md(
            f"![{name}](data:image/png;base64,{base64.b64encode(png).decode('ascii')})"
        )
        for name, png in pictures.items()
    }


def _tier_check(tier: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=benchmark_results,
        name=f"{tier}_keeps_its_gates",
        description=f"The newest results of {tier} keep the cost, latency and quality that measuring/gates.toml declares.",
    )
    def check(straight_line: StraightLine) -> dg.AssetCheckResult:
        from tokenopt_pipeline.measuring.nightly import verdict_on

        verdict = verdict_on(straight_line.connection, tier)
        return dg.AssetCheckResult(
            passed=verdict.passed,
            severity=dg.AssetCheckSeverity.ERROR,
            description=" ".join(verdict.failures) or None,
            metadata=_told(verdict),
        )

    return check


def _told(verdict: "TierVerdict") -> dict[str, Any]:
    numbers = {result.gate.name: result.found for result in verdict.results if result.found is not None}
    return {
        "gates": len(verdict.results),
        "failures": dg.MetadataValue.json(list(verdict.failures)),
        "reasons": dg.MetadataValue.json({r.gate.name: f"{r.gate.bound}: {r.gate.reason}" for r in verdict.results}),
        **numbers,
    }


BENCHMARK_CHECKS: Sequence[dg.AssetChecksDefinition] = [*map(_tier_check, GATED_TIERS), every_lock_passes]

verification = dg.define_asset_job(
    "verification",
    selection=dg.AssetSelection.assets(verification_report),
    description="The eight locks by the newest benchmark; nothing is measured.",
)
benchmarks = dg.define_asset_job(
    "benchmarks",
    selection=dg.AssetSelection.assets(benchmark_results),
    description="Every scenario in one run, and the check of every tier.",
)


@dg.schedule(job=benchmarks, cron_schedule="0 3 * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
def nightly_benchmarks(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """All scenarios in one run: they share a stand and a baseline."""
    return dg.RunRequest(
        run_key=f"{context.scheduled_execution_time:%Y-%m-%d}",
        tags={
            "dagster/asset_partition_range_start": BASELINE,
            "dagster/asset_partition_range_end": SCENARIO_NAMES[-1],
        },
    )
