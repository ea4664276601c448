"""The pool of Dagster that bounds how many steps ask providers at once."""

from __future__ import annotations

import dagster as dg

from tokenopt_pipeline.adapters.postgres.server import one_at_a_time

PROVIDERS = "providers"


def declare_pool(instance: dg.DagsterInstance, url: str) -> None:
    """Makes the pool, or gives it the default limit that `dagster.yaml` has now; a limit that somebody set stays.

    Dagster does this when a step first asks for a slot, and on Postgres the second of two processes that do so at once
    fails, as does every process after the default was changed (`initialize_concurrency_limit_to_default` goes on in a
    transaction that its own unique index has ended; 1.13).
    """
    if _is_right(instance):
        return
    with one_at_a_time(url):
        if not _is_right(instance):
            instance.event_log_storage.delete_concurrency_limit(PROVIDERS)
            instance.event_log_storage.initialize_concurrency_limit_to_default(PROVIDERS)


def _is_right(instance: dg.DagsterInstance) -> bool:
    found = next((p for p in instance.event_log_storage.get_pool_limits() if p.name == PROVIDERS), None)
    if found is None:
        return False
    return not found.from_default or found.limit == instance.global_op_concurrency_default_limit
