"""A run asks providers only when the pool `providers` has a slot that no other run holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from tokenopt_pipeline.defs.assets import model_responses
from tokenopt_pipeline.defs.instance import declare_pool, open_instance
from tokenopt_pipeline.settings import Settings
from tokenopt_pipeline_tests.postgres_servers import database_copy, reachable_folder

# Until the other runs let go of their slots.
_HELD_S = 1.0


@pytest.fixture
def url(embedded_server: tuple[str, Path]) -> Iterator[str]:
    with database_copy(embedded_server[0], "pool") as copy:
        yield copy


@pytest.fixture
def instance(url: str) -> Iterator[dg.DagsterInstance]:
    """On a database of its own and the shipped configuration."""
    with reachable_folder() as home:
        settings = Settings(home=home, database_url=url, vendors={})
        with open_instance(settings, url) as opened:
            yield opened


@pytest.fixture
def asked_at() -> list[float]:
    return []


@pytest.fixture
def asking(asked_at: list[float]) -> dg.JobDefinition:
    """A run of one step that takes part in the pool of the asset that asks providers."""
    pool = model_responses.op.pool
    assert pool == "providers"

    @dg.op(pool=pool)
    def ask() -> None:
        asked_at.append(time.monotonic())

    @dg.job(executor_def=dg.in_process_executor)
    def asks() -> None:
        ask()

    return asks


def other_runs_hold(instance: dg.DagsterInstance, slots: int) -> None:
    """As many other runs as slots, each in the middle of its step."""
    for n in range(slots):
        claim = instance.event_log_storage.claim_concurrency_slot("providers", f"other-run-{n}", "model_responses")
        assert claim.is_claimed


def test_a_run_waits_while_other_runs_hold_every_slot(
    instance: dg.DagsterInstance, asking: dg.JobDefinition, asked_at: list[float]
) -> None:
    limit = instance.global_op_concurrency_default_limit
    assert limit == 2
    other_runs_hold(instance, limit)
    began = time.monotonic()
    let_go = threading.Timer(_HELD_S, lambda: instance.event_log_storage.free_concurrency_slots_for_run("other-run-0"))
    let_go.start()

    assert asking.execute_in_process(instance=instance).success

    let_go.join()
    assert asked_at[0] - began >= _HELD_S


def test_a_run_that_finds_a_slot_free_takes_it_and_gives_it_back(
    instance: dg.DagsterInstance, asking: dg.JobDefinition, asked_at: list[float]
) -> None:
    other_runs_hold(instance, 1)
    for _ in range(2):
        assert asking.execute_in_process(instance=instance).success
    assert len(asked_at) == 2
    assert instance.event_log_storage.get_concurrency_info("providers").active_slot_count == 1


def test_processes_that_begin_at_the_same_time_make_one_pool(instance: dg.DagsterInstance, url: str) -> None:
    for _ in range(5):
        instance.event_log_storage.delete_concurrency_limit("providers")
        all_there = threading.Barrier(4)

        def begin(there: threading.Barrier = all_there) -> None:
            there.wait()
            declare_pool(instance, url)

        with ThreadPoolExecutor(4) as processes:
            for begun in [processes.submit(begin) for _ in range(4)]:
                begun.result()
        assert [(p.name, p.limit) for p in instance.event_log_storage.get_pool_limits()] == [("providers", 2)]


def test_a_changed_default_reaches_the_pool_and_a_limit_that_somebody_set_stays(
    instance: dg.DagsterInstance, asking: dg.JobDefinition, asked_at: list[float], url: str
) -> None:
    storage = instance.event_log_storage
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute('update dagster.concurrency_limits set "limit" = 5')
    declare_pool(instance, url)
    assert [(p.limit, p.from_default) for p in storage.get_pool_limits()] == [(2, True)]
    assert asking.execute_in_process(instance=instance).success

    storage.set_concurrency_slots("providers", 7)
    declare_pool(instance, url)
    assert [(p.limit, p.from_default) for p in storage.get_pool_limits()] == [(7, False)]
    assert len(asked_at) == 1
