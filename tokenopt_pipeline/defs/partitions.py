"""The one partitioning: a partition is a shard of a run."""

from __future__ import annotations

import dagster as dg

shards = dg.DynamicPartitionsDefinition(name="shards")
