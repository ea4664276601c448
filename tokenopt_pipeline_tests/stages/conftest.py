"""Fixtures: the straight line set up for a test, on a database that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tokenopt_pipeline.adapters.mcp_client import McpHost
from tokenopt_pipeline.adapters.postgres.connection import Connection
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline_tests.postgres_servers import database_copy
from tokenopt_pipeline_tests.stages.rig import Rig, empty
from tokenopt_pipeline_tests.stages.rounds_rig import open_host


@pytest.fixture(scope="session")
def stages_database(embedded_server: tuple[str, Path]) -> Iterator[str]:
    with database_copy(embedded_server[0], "stages") as url:
        yield url


@pytest.fixture
def database_url(stages_database: str) -> str:
    """A migrated database without a row."""
    empty(stages_database)
    return stages_database


@pytest.fixture
def rig(connection: Connection) -> Rig:
    return Rig(connection=connection)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def host() -> Iterator[McpHost]:
    with open_host() as opened:
        yield opened
