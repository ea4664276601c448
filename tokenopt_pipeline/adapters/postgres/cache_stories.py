"""Why calls of a run did or did not read their prefix from a cache, derived from the ledger."""

from __future__ import annotations

from psycopg.rows import DictRow

from tokenopt_pipeline.adapters.postgres.connection import Connection, rows
from tokenopt_pipeline.domain.cache_breaks import CacheFinding, CacheUse, explain_cache
from tokenopt_pipeline.domain.caching import AUTOMATIC, LONG
from tokenopt_pipeline.domain.errors import NotFound
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.routing import parse_model_ref
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.ports import Models, Tables

# A run of ten million blocks has hundreds of thousands of calls; its newest tell how the cache does.
_MOST_CALLS = 2_000


class PostgresCacheStories:
    """Reads; changes nothing."""

    def __init__(self, connection: Connection, *, tables: Tables) -> None:
        self._connection = connection
        self._tables = tables

    def of(self, run: Run, *, shard_no: int | None = None) -> list[CacheFinding]:
        """A finding for each of the run's newest calls, or of one shard's, in the order they began."""
        found = rows(
            self._connection,
            "cache_uses",
            run_no=run.run_no,
            shard_no=shard_no,
            kind=run.kind.value,
            most=_MOST_CALLS,
        )
        models = self._tables.models(run)
        own = {r["call_no"] for r in found if r["is_own"]}
        findings = explain_cache(_use(r, models) for r in found if r["is_own"] or r["cache_ttl"] is not None)
        return [finding for finding in findings if finding.call_no in own]


def _use(r: DictRow, models: Models) -> CacheUse:
    model = _known(models, r["model"])
    lifetime_s = 0 if model is None else model.cache_long_s if r["cache_ttl"] == LONG else model.cache_short_s
    return CacheUse(
        call_no=r["call_no"],
        prefix=r["prefix"],
        ttl=r["cache_ttl"],
        plan_reason=r["cache_reason"],
        lifetime_s=lifetime_s,
        began_at=r["started_at"],
        ended_at=r["ended_at"],
        prefix_tokens=r["prefix_tokens"],
        minimum_tokens=0 if model is None else model.cache_minimum_tokens,
        cache_read=r["cache_read"],
        cache_write=r["cache_write"],
        is_automatic=r["cache_ttl"] == AUTOMATIC,
    )


def _known(models: Models, name: str) -> ModelSpec | None:
    """None for a model of another run's own server."""
    try:
        return models.spec(parse_model_ref(name))
    except NotFound:
        return None
