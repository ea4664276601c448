"""The one Definitions object."""

from __future__ import annotations

import dagster as dg

from tokenopt_pipeline.defs.assets import LINE
from tokenopt_pipeline.defs.batches import batch_collection, ended_batches_sensor
from tokenopt_pipeline.defs.benchmarks import (
    BENCHMARK_CHECKS,
    benchmark_results,
    benchmarks,
    nightly_benchmarks,
    verification,
    verification_report,
)
from tokenopt_pipeline.defs.checks import CHECKS
from tokenopt_pipeline.defs.jobs import extraction, submission
from tokenopt_pipeline.defs.references import REFERENCE_CHECKS, reference_index
from tokenopt_pipeline.defs.resources import StraightLine

# In-process: a step costs tens of milliseconds instead of seconds, and the work inside a step is threaded already.
defs = dg.Definitions(
    assets=[*LINE, reference_index, benchmark_results, verification_report],
    asset_checks=[*CHECKS, *REFERENCE_CHECKS, *BENCHMARK_CHECKS],
    jobs=[extraction, submission, batch_collection, benchmarks, verification],
    schedules=[nightly_benchmarks],
    sensors=[ended_batches_sensor],
    resources={"straight_line": StraightLine()},
    executor=dg.in_process_executor,
)
