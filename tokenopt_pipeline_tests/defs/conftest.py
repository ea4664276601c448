"""Fixtures: the whole code location on an instance in memory, the test's database and a scripted provider."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from tokenopt_pipeline import assembly
from tokenopt_pipeline.adapters.postgres.connection import connect
from tokenopt_pipeline.assembly import Backend
from tokenopt_pipeline.domain.runs import RunKind
from tokenopt_pipeline_tests.defs.dagster_rig import DagsterRig
from tokenopt_pipeline_tests.measuring.conftest import on_the_stand, small_gates
from tokenopt_pipeline_tests.postgres_servers import database_copy
from tokenopt_pipeline_tests.stages.rig import Rig, empty


@pytest.fixture(scope="session")
def line_database(embedded_server: tuple[str, Path]) -> Iterator[str]:
    with database_copy(embedded_server[0], "defs") as url:
        yield url


@pytest.fixture
def dagster_rig(line_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[DagsterRig]:
    """Nothing is stored yet, neither by us nor by Dagster."""
    empty(line_database)
    monkeypatch.setenv("TOKENOPT_DATABASE_URL", line_database)
    monkeypatch.setenv("TOKENOPT_HOME", str(tmp_path))
    with connect(line_database) as connection, dg.DagsterInstance.ephemeral() as instance:
        rig = Rig(connection=connection)
        monkeypatch.setattr(
            assembly,
            "open_backend",
            lambda _: Backend(
                providers={"anthropic": rig.provider}, kinds={"anthropic": RunKind.SIMULATED}, key_variables={}
            ),
        )
        yield DagsterRig(rig=rig, instance=instance)


# Benchmarks through Dagster run on the benchmarks' own fixtures.
__all__ = ["dagster_rig", "line_database", "on_the_stand", "small_gates"]
