"""Ranges of shards go through Dagster in this process; what stops them is told as what it is; no secret is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg import sql

from tokenopt_pipeline.adapters.postgres.connection import Connection, connect
from tokenopt_pipeline.definitions import defs
from tokenopt_pipeline.defs import launch
from tokenopt_pipeline.defs.instance import open_instance
from tokenopt_pipeline.defs.launch import declare_shards, materialize_shards
from tokenopt_pipeline.domain.errors import (
    AuthenticationFailed,
    BudgetExceeded,
    NotFound,
    StoreUnavailable,
    TokenOptError,
)
from tokenopt_pipeline.domain.runs import shard_key
from tokenopt_pipeline.sandbox.in_process import running_sandbox
from tokenopt_pipeline.settings import read_settings
from tokenopt_pipeline_tests.defs.dagster_rig import ASSET_NAMES, CHECK_NAMES, DagsterRig
from tokenopt_pipeline_tests.postgres_servers import database_copy, reachable_folder
from tokenopt_pipeline_tests.stages.rig import Rig, clauses
from tokenopt_pipeline_tests.stages.scripted_provider import always, correct

KEY = "sk-ant-api03-Recognisable-Key-4711"
PASSWORD = "Recognisable-Password-4711"


def test_a_range_of_shards_is_materialized_and_checked_whole(dagster_rig: DagsterRig) -> None:
    run, keys = dagster_rig.planned()

    result = dagster_rig.materialize(keys)

    assert len(result.dagster_runs) == 1
    assert result.checks == dict.fromkeys(CHECK_NAMES, (3, 3))
    assert result.all_checks_passed
    for asset in ASSET_NAMES:
        assert set(dagster_rig.materialized(asset)) == set(keys)
    assert dagster_rig.rig.statuses(run) == {"ai_complete": 6}
    assert dagster_rig.rig.wrong(run) == []


def test_only_the_asked_shards_are_taken(dagster_rig: DagsterRig) -> None:
    run, keys = dagster_rig.planned()

    dagster_rig.materialize(keys[1:2])

    assert {o["shard_no"] for o in dagster_rig.rig.overlays(run).values()} == {1}
    assert set(dagster_rig.materialized("reconciled_overlays")) == {keys[1]}


def test_the_same_range_again_asks_nothing_and_changes_nothing(dagster_rig: DagsterRig) -> None:
    _, keys = dagster_rig.planned()
    dagster_rig.materialize(keys)
    before, asked = dagster_rig.rig.states(), len(dagster_rig.rig.provider.asked)

    result = dagster_rig.materialize(keys)

    assert result.all_checks_passed
    assert dagster_rig.rig.states() == before
    assert len(dagster_rig.rig.provider.asked) == asked


def test_many_shards_go_in_several_dagster_runs(dagster_rig: DagsterRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_SHARDS_PER_RUN", 2)
    run, keys = dagster_rig.planned(blocks=5, shard_blocks=1)

    result = dagster_rig.materialize(keys)

    assert len(result.dagster_runs) == 3
    assert result.checks == dict.fromkeys(CHECK_NAMES, (5, 5))
    assert dagster_rig.rig.statuses(run) == {"ai_complete": 5}


def test_shards_that_were_declared_are_declared_again_without_harm(dagster_rig: DagsterRig) -> None:
    _, keys = dagster_rig.planned()
    declare_shards(dagster_rig.instance, [*keys, "another"])
    assert list(dagster_rig.instance.get_dynamic_partitions("shards")) == [*keys, "another"]


def test_a_failed_check_is_counted_and_stops_nothing(dagster_rig: DagsterRig) -> None:
    _, keys = dagster_rig.planned()
    dagster_rig.materialize(keys)
    dagster_rig.tamper("""update overlay set staged = '{"kind": "nonsense"}' where ordinal = 0""")

    result = dagster_rig.materialize(keys)

    assert not result.all_checks_passed
    assert result.checks["overlays_satisfy_their_schema"] == (2, 3)


def test_an_error_of_a_stage_comes_out_as_itself_and_the_same_call_resumes(dagster_rig: DagsterRig) -> None:
    run, keys = dagster_rig.planned()
    dagster_rig.rig.provider.script = always(AuthenticationFailed("the key is not valid: check it"))

    with pytest.raises(AuthenticationFailed) as stopped:
        dagster_rig.materialize(keys)

    assert str(stopped.value) == "the key is not valid: check it"
    assert dagster_rig.rig.statuses(run) == {"submitted": 6}
    assert dagster_rig.materialized("model_responses") == {}
    dagster_rig.rig.provider.script = always(correct)
    assert dagster_rig.materialize(keys).all_checks_passed
    assert dagster_rig.rig.statuses(run) == {"ai_complete": 6}


def test_an_error_with_fields_of_its_own_comes_out_with_its_message(dagster_rig: DagsterRig) -> None:
    _, keys = dagster_rig.planned(run={"budget_usd": "0.000001"})
    with pytest.raises(BudgetExceeded, match=r"^budget of \$0\.000001: .* the run stopped before it$"):
        dagster_rig.materialize(keys)


def test_an_error_that_is_not_ours_comes_out_with_its_trace(dagster_rig: DagsterRig) -> None:
    _, keys = dagster_rig.planned()
    dagster_rig.rig.provider.script = always(ZeroDivisionError("a bug"))
    with pytest.raises(RuntimeError, match="ZeroDivisionError: a bug") as found:
        dagster_rig.materialize(keys)
    assert "scripted_provider" in str(found.value)
    assert not isinstance(found.value, TokenOptError)


def test_a_database_that_is_gone_is_told_without_its_password(
    dagster_rig: DagsterRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, keys = dagster_rig.planned()
    monkeypatch.setenv("TOKENOPT_DATABASE_URL", f"postgresql://ann:{PASSWORD}@127.0.0.1:1/works")

    with pytest.raises(StoreUnavailable, match=r"database 'works' at 127\.0\.0\.1:1") as found:
        dagster_rig.materialize(keys)

    assert PASSWORD not in str(found.value)
    runs = dagster_rig.instance.get_runs()
    logged = [str(e) for r in runs for e in dagster_rig.instance.all_logs(r.run_id)]
    assert logged
    assert PASSWORD not in "".join(logged)


@pytest.fixture(scope="module")
def database_with_password(embedded_server: tuple[str, Path]) -> Iterator[str]:
    """The server trusts its socket, so any password will do; what matters is where it ends up."""
    with database_copy(embedded_server[0], "secrets") as url:
        yield url.replace("//postgres@", f"//postgres:{PASSWORD}@")


def test_neither_key_nor_password_is_anywhere_in_what_dagster_keeps(
    database_with_password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real SDK, the real settings and Dagster's storage in Postgres, searched table by table."""
    url = database_with_password
    with reachable_folder() as home, running_sandbox() as sandbox, connect(url) as connection:
        monkeypatch.setenv("TOKENOPT_DATABASE_URL", url)
        monkeypatch.setenv("TOKENOPT_HOME", str(home))
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", sandbox.anthropic_url)
        rig = Rig(connection=connection)
        rig.ingest(*clauses(4))
        run = rig.plan(run={"shard_blocks": 2})
        keys = [shard_key(run.run_id, n) for n in range(2)]
        with open_instance(read_settings(), url) as instance:
            declare_shards(instance, keys)
            job = defs.resolve_job_def("extraction")
            assert materialize_shards(job, instance, keys).all_checks_passed
            # And once more with a stage that fails in the middle of a call.
            declare_shards(instance, ["r-nowhere-000000"])
            with pytest.raises(NotFound):
                materialize_shards(job, instance, ["r-nowhere-000000"])
        kept = everything_kept(connection)
        assert rig.statuses(run) == {"ai_complete": 4}

    # The search would have found them: it finds what else the runs were told.
    assert keys[0] in kept
    assert "StepFailureData" in kept
    assert KEY not in kept
    assert PASSWORD not in kept
    assert quote(PASSWORD, safe="") not in kept


def everything_kept(connection: Connection) -> str:
    """Every row of Dagster's tables and of ours as text."""
    tables = connection.execute(
        "select schemaname, tablename from pg_tables where schemaname in ('dagster', 'tokenopt')"
    )
    kept = []
    for table in tables.fetchall():
        name = sql.Identifier(table["schemaname"], table["tablename"])
        kept += connection.execute(sql.SQL("select t::text as kept from {} t").format(name)).fetchall()
    return "\n".join(row["kept"] for row in kept)
