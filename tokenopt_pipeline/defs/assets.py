"""The six assets of the straight line. Each reads its resources, calls one stage per shard and returns counts."""

# No postponed annotations here: Dagster reads the types of context and resources from the function itself.

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from tokenopt_pipeline.defs.partitions import shards
from tokenopt_pipeline.defs.pools import PROVIDERS
from tokenopt_pipeline.defs.resources import StraightLine
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.runs import Run, Shard

# Metadata per partition costs Dagster a query per partition and call; beyond this many, only totals are attached.
_MOST_PARTITIONS_WITH_METADATA = 100


def _line_asset(
    *, deps: Sequence[dg.AssetsDefinition], kind: str, pool: str | None = None
) -> Callable[[Callable[..., dg.MaterializeResult[None]]], dg.AssetsDefinition]:
    return dg.asset(
        deps=deps,
        kinds={kind},
        pool=pool,
        partitions_def=shards,
        backfill_policy=dg.BackfillPolicy.multi_run(_MOST_PARTITIONS_WITH_METADATA),
        group_name="extraction",
        owners=["team:extraction"],
    )


def _per_shard(
    context: dg.AssetExecutionContext,
    straight_line: StraightLine,
    stage: Callable[[Run, Shard], Mapping[str, int]],
    story: Callable[[Run, Shard], Mapping[str, Mapping[str, Any]]] = lambda run, shard: {},
) -> dg.MaterializeResult[None]:
    """`story` tells what is no count, after a shard: name -> JSON."""
    # A partitioned asset that is materialized without a partition would succeed and do nothing.
    if not context.has_partition_key and not context.has_partition_key_range:
        raise InvalidInput("choose the partitions to materialize: each is a shard of a run; `tokenopt run` makes them")
    keys = list(context.partition_keys)
    totals: dict[str, int] = {}
    told: dict[str, dg.MetadataValue] = {}
    with straight_line.interrupt.kept():
        for key, run, shard in straight_line.shards(keys):
            counts = stage(run, shard)
            for name, count in counts.items():
                totals[name] = totals.get(name, 0) + count
            if len(keys) <= _MOST_PARTITIONS_WITH_METADATA:
                told = {name: dg.MetadataValue.json(said) for name, said in story(run, shard).items()}
            if 1 < len(keys) <= _MOST_PARTITIONS_WITH_METADATA:
                context.add_asset_metadata({**counts, **told}, partition_key=key)
            said = ", ".join(f"{name} {count}" for name, count in counts.items())
            context.log.info("%s: %s", key, said or "nothing")
            if straight_line.interrupt.asked():
                break
    if len(keys) > _MOST_PARTITIONS_WITH_METADATA:
        return dg.MaterializeResult(metadata=totals)
    return dg.MaterializeResult(metadata={**totals, **told} if len(keys) == 1 else None)


@_line_asset(deps=[], kind="postgres")
def blocks(context: dg.AssetExecutionContext, straight_line: StraightLine) -> dg.MaterializeResult[None]:
    """The shard's blocks, as the documents of its run have them."""
    return _per_shard(context, straight_line, lambda run, shard: {"blocks": straight_line.line.count(run, shard)})


@_line_asset(deps=[blocks], kind="postgres")
def skip_decisions(context: dg.AssetExecutionContext, straight_line: StraightLine) -> dg.MaterializeResult[None]:
    """Every block with the one overlay it will ever have, and what was decided: kept, skipped by a rule, or reused."""
    return _per_shard(context, straight_line, straight_line.line.decide)


@_line_asset(deps=[skip_decisions], kind="postgres")
def routed_packs(context: dg.AssetExecutionContext, straight_line: StraightLine) -> dg.MaterializeResult[None]:
    """The kept blocks in packs, each with the model it goes to and why."""

    def pack(run: Run, shard: Shard) -> Mapping[str, int]:
        return {"packs_added": straight_line.line.pack(run, shard)}

    return _per_shard(context, straight_line, pack, straight_line.contexts_story)


@_line_asset(deps=[routed_packs], kind="postgres")
def batch_submissions(context: dg.AssetExecutionContext, straight_line: StraightLine) -> dg.MaterializeResult[None]:
    """Batches handed to providers. A run in sync mode has none: its calls are made by model_responses."""

    def submit(run: Run, shard: Shard) -> Mapping[str, int]:
        if run.mode != "sync":
            straight_line.refuse_other_kind(run)
        return straight_line.line.submit(run, shard)

    return _per_shard(context, straight_line, submit)


@_line_asset(deps=[batch_submissions], kind="llm", pool=PROVIDERS)
def model_responses(context: dg.AssetExecutionContext, straight_line: StraightLine) -> dg.MaterializeResult[None]:
    """Answers to every pack, split and asked again where an answer was unusable; of batches, those that have ended."""

    def collect(run: Run, shard: Shard) -> Mapping[str, int]:
        straight_line.refuse_other_kind(run)
        received = straight_line.line.receive(run, shard)
        asked = straight_line.line.collect(run, shard)
        return {**received, "calls": received["calls"] + asked} if any(received.values()) else {"calls": asked}

    return _per_shard(context, straight_line, collect, straight_line.calls_story)


@_line_asset(deps=[model_responses], kind="postgres")
def reconciled_overlays(context: dg.AssetExecutionContext, straight_line: StraightLine) -> dg.MaterializeResult[None]:
    """Every block's one outcome: an answer valid against the schema, a skip with its rule, or a failure with its reason."""
    return _per_shard(context, straight_line, straight_line.line.reconcile)


LINE = [blocks, skip_decisions, routed_packs, batch_submissions, model_responses, reconciled_overlays]
