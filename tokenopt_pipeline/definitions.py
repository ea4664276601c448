"""The one Definitions object."""

from __future__ import annotations

import dagster as dg

from tokenopt_pipeline.defs.assets import LINE
from tokenopt_pipeline.defs.checks import CHECKS
from tokenopt_pipeline.defs.jobs import extraction
from tokenopt_pipeline.defs.resources import StraightLine

# In-process: a step costs tens of milliseconds instead of seconds, and the work inside a step is threaded already.
defs = dg.Definitions(
    assets=LINE,
    asset_checks=CHECKS,
    jobs=[extraction],
    resources={"straight_line": StraightLine()},
    executor=dg.in_process_executor,
)
