"""The job that takes shards down the whole line and checks what came out."""

from __future__ import annotations

import dagster as dg

from tokenopt_pipeline.defs.assets import LINE
from tokenopt_pipeline.defs.checks import CHECKS

extraction = dg.define_asset_job(
    "extraction",
    selection=dg.AssetSelection.assets(*LINE) | dg.AssetSelection.checks(*CHECKS),
    description="Blocks to reconciled overlays for any range of shards, with every check.",
)
