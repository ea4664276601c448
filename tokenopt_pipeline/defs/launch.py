"""Runs shards through Dagster in this process, without the daemon's queue and its ticks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from tokenopt_pipeline.defs.batches import collection_config
from tokenopt_pipeline.defs.partitions import shards
from tokenopt_pipeline.defs.reaper import worker_tags
from tokenopt_pipeline.domain import errors

# One Dagster run carries at most so many partitions: per-partition metadata costs it a query each.
_SHARDS_PER_RUN = 100
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchResult:
    """What Dagster made of the asked shards."""

    dagster_runs: tuple[str, ...]
    #: Check name -> shards that passed and shards that were evaluated.
    checks: dict[str, tuple[int, int]]

    @property
    def all_checks_passed(self) -> bool:
        """Whether every evaluation passed."""
        return all(passed == evaluated for passed, evaluated in self.checks.values())


def declare_shards(instance: dg.DagsterInstance, keys: Sequence[str]) -> None:
    """Makes the shards known to Dagster as partitions; those it knows stay."""
    instance.add_dynamic_partitions(shards.name or "shards", list(keys))


def materialize_shards(job: dg.JobDefinition, instance: dg.DagsterInstance, keys: Sequence[str]) -> LaunchResult:
    """Takes contiguous shards through the job and collects what its checks found.

    Raises the TokenOptError that stopped a stage, KeyboardInterrupt when a person did; anything else a stage raised
    becomes a RuntimeError with its trace.
    """
    runs: list[str] = []
    checks: dict[str, tuple[int, int]] = {}
    for first in range(0, len(keys), _SHARDS_PER_RUN):
        chunk = keys[first : first + _SHARDS_PER_RUN]
        result = job.execute_in_process(
            instance=instance,
            run_config=_QUIET,
            raise_on_error=False,
            tags={
                "dagster/asset_partition_range_start": chunk[0],
                "dagster/asset_partition_range_end": chunk[-1],
                # The reaper asks these whether the process still lives.
                **worker_tags(instance),
            },
        )
        runs.append(result.run_id)
        _count_checks(result, checks)
        _raise_failure(result)
    return LaunchResult(dagster_runs=tuple(runs), checks=checks)


def collect_batches(job: dg.JobDefinition, instance: dg.DagsterInstance, keys: Sequence[str]) -> LaunchResult:
    """Takes in what has ended of any shards, submits their next rounds and asks what goes in sync mode.

    Raises what `materialize_shards` does. No lease is needed: whoever works on a shard holds it.
    """
    result = job.execute_in_process(
        instance=instance,
        run_config={**_QUIET, **collection_config("", list(keys))},
        raise_on_error=False,
        tags=worker_tags(instance),
    )
    checks: dict[str, tuple[int, int]] = {}
    _count_checks(result, checks)
    _raise_failure(result)
    return LaunchResult(dagster_runs=(result.run_id,), checks=checks)


def _count_checks(result: dg.ExecuteInProcessResult, checks: dict[str, tuple[int, int]]) -> None:
    for evaluation in result.get_asset_check_evaluations():
        passed, evaluated = checks.get(evaluation.check_name, (0, 0))
        checks[evaluation.check_name] = (passed + evaluation.passed, evaluated + 1)


def _raise_failure(result: dg.ExecuteInProcessResult) -> None:
    if not result.success:
        failures = [e.step_failure_data.error for e in result.all_events if e.is_step_failure]
        # A database or a provider that is missing fails the run before its first step.
        failures += [e.job_failure_data.error for e in result.all_events if e.is_job_failure]
        raise _error_behind(next((f for f in failures if f is not None), None))


def _error_behind(problem: SerializableErrorInfo | None) -> BaseException:
    """The error a stage raised, as one of ours when it is one of ours."""
    found = problem
    while found is not None:
        if found.cls_name in ("KeyboardInterrupt", "DagsterExecutionInterruptedError"):
            return KeyboardInterrupt()
        kind = getattr(errors, found.cls_name or "", None)
        if isinstance(kind, type) and issubclass(kind, errors.TokenOptError):
            # The classes' own constructors want fields that the log does not keep; the message says it all.
            error = kind.__new__(kind)
            error.args = (found.message.strip().removeprefix(f"{_qualified(kind)}: "),)
            return error
        if found.cause is None:
            return RuntimeError(found.to_string())
        found = found.cause
    return RuntimeError("Dagster reports a failed run without a failed step; its UI shows the run's events")


def _qualified(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
