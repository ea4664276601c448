"""The jobs that take shards down the line: the whole of it, with its checks, or to the point where batches are submitted."""

from __future__ import annotations

import dagster as dg

from tokenopt_pipeline.defs.assets import LINE
from tokenopt_pipeline.defs.checks import CHECKS

submission = dg.define_asset_job(
    "submission",
    selection=dg.AssetSelection.assets(*LINE[:4]),
    description="Blocks to submitted batches for any range of shards; batch_collection takes in what comes back.",
)
extraction = dg.define_asset_job(
    "extraction",
    selection=dg.AssetSelection.assets(*LINE) | dg.AssetSelection.checks(*CHECKS),
    description="Blocks to reconciled overlays for any range of shards, with every check.",
)
