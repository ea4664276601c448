"""Batches in Dagster: a sensor that looks at what is outstanding, and a job that takes in what has ended."""

# No postponed annotations here: Dagster reads the types of context and resources from the function itself.

import secrets
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg

from tokenopt_pipeline.defs.assets import batch_submissions, model_responses, reconciled_overlays
from tokenopt_pipeline.defs.checks import LOOKS, evaluations
from tokenopt_pipeline.defs.pools import PROVIDERS
from tokenopt_pipeline.defs.resources import StraightLine
from tokenopt_pipeline.domain.errors import ShardBusy, TokenOptError
from tokenopt_pipeline.domain.runs import Run, Shard, shard_key

# Dagster gives a tick a minute.
_TICK_S = 20.0
_LEASE = timedelta(minutes=10)
# Whoever made packs submits them at once, if nothing happens to it.
_IDLE = timedelta(minutes=10)
# So many shards go into one collecting job; the others into the next tick's.
_MOST_SHARDS = 100


class EndedShards(dg.Config):
    """Shards with something to collect, and whose they are."""

    lease: str
    partitions: list[str]


@dg.op(out=dg.Out(dg.Nothing), pool=PROVIDERS)
def collect_shards(
    context: dg.OpExecutionContext, config: EndedShards, straight_line: StraightLine
) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation | dg.Output[None]]:
    """Takes in ended batches, submits the next round, and tells of every shard what it has now.

    Checks are evaluated for the shards whose blocks have all ended: of the others they would only say so.
    """
    done: list[str] = []
    problem: TokenOptError | None = None
    with straight_line.interrupt.kept():
        for key, run, shard in straight_line.shards(config.partitions):
            try:
                straight_line.refuse_other_kind(run)
                counts = straight_line.line.advance(run, shard)
            except ShardBusy:
                context.log.info("%s: another process works on it", key)
                continue
            except TokenOptError as found:
                # The other shards' results are paid for, too.
                context.log.error("%s: %s", key, found)
                problem = problem or found
                counts = {}
            else:
                # A shard that met trouble is not looked at again before its lease has run out.
                straight_line.batches.end_lease(config.lease, shard)
            statuses = straight_line.line.reconcile(run, shard)
            yield dg.AssetMaterialization(model_responses.key, partition=key, metadata=dict(counts))
            yield dg.AssetMaterialization(reconciled_overlays.key, partition=key, metadata=dict(statuses))
            if not statuses.get("pending", 0) + statuses.get("submitted", 0):
                done.append(key)
            if straight_line.interrupt.asked():
                break
    if done:
        for name, look, _ in LOOKS:
            yield from evaluations(context.instance, straight_line, name, look, done)
    if problem is not None:
        raise problem
    yield dg.Output(None)


@dg.job(
    name="batch_collection",
    description="Results of ended batches to reconciled overlays, for any set of shards, with every check.",
    executor_def=dg.in_process_executor,
)
def batch_collection() -> None:
    """Any set of shards in one run."""
    collect_shards()


def collection_config(lease: str, partitions: list[str]) -> dict[str, Any]:
    """The configuration of a collecting run."""
    return {"ops": {"collect_shards": {"config": {"lease": lease, "partitions": partitions}}}}


def leased_shards(straight_line: StraightLine, lease: str) -> list[str]:
    """Partitions on which something can be done now, for the holder of the lease alone."""
    now = straight_line.line.clock.now()
    found = straight_line.batches.lease(lease, most=_MOST_SHARDS, until=now + _LEASE, idle_since=now - _IDLE, now=now)
    return [_key_of(straight_line, shard) for shard in found]


def outstanding_metadata(straight_line: StraightLine) -> dict[str, dg.MetadataValue]:
    """Age, progress and cost of what is outstanding, per provider and state."""
    now = straight_line.line.clock.now()
    told: list[dict[str, Any]] = [
        {
            "provider": r["provider"],
            "state": r["state"],
            "batches": r["batches"],
            "requests": int(r["requests"]),
            "done": int(r["done"]),
            "oldest_h": round((now - r["oldest"]).total_seconds() / 3600, 2),
            "usd_at_most": float(r["usd_ceiling"]),
        }
        for r in straight_line.batches.outstanding()
    ]
    return {
        "outstanding": dg.MetadataValue.json(told),
        "batches": dg.MetadataValue.int(sum(r["batches"] for r in told)),
        "usd_at_most": dg.MetadataValue.float(sum(r["usd_at_most"] for r in told)),
        "oldest_h": dg.MetadataValue.float(max((r["oldest_h"] for r in told), default=0.0)),
    }


@dg.sensor(job=batch_collection, minimum_interval_seconds=15, default_status=dg.DefaultSensorStatus.RUNNING)
def ended_batches_sensor(
    context: dg.SensorEvaluationContext, straight_line: StraightLine
) -> dg.SensorResult | dg.SkipReason:
    """Looks at outstanding batches that are due, and has the shards collected whose batches have ended.

    It keeps no cursor: what there is to do stands in the tables. A lease that nobody ends runs out, and the next tick gives
    the shard another; its name is the run key, so that no tick launches the same twice.
    """
    due = straight_line.batches.due(now=straight_line.line.clock.now())
    events: list[dg.AssetObservation] = []
    told = ""
    if due:
        until = time.monotonic() + _TICK_S
        straight_line.line.stop = lambda: time.monotonic() > until
        watched = straight_line.line.watch(due, straight_line.run_numbered)
        events.append(dg.AssetObservation(batch_submissions.key, metadata=outstanding_metadata(straight_line)))
        told = f"{watched.looked} of {len(due)} batches looked at, {watched.ended} ended"
        for provider, problem in watched.problems.items():
            context.log.warning("%s: %s", provider, problem)
        if len(watched.problems) == len({batch.provider for batch in due}):
            told = f"no provider could be looked at: {'; '.join(watched.problems.values())}"
    lease = secrets.token_hex(8)
    partitions = leased_shards(straight_line, lease)
    if partitions:
        request = dg.RunRequest(run_key=lease, run_config=collection_config(lease, partitions))
        return dg.SensorResult(asset_events=events, run_requests=[request])
    reason = told or "no batch is due"
    return dg.SensorResult(asset_events=events, skip_reason=reason) if events else dg.SkipReason(reason)


def _key_of(straight_line: StraightLine, shard: Shard) -> str:
    run: Run = straight_line.run_numbered(shard.run_no)
    return shard_key(run.run_id, shard.shard_no)
