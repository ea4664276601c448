"""A rig of the stages on a database that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tokenopt_pipeline.adapters.postgres.connection import Connection
from tokenopt_pipeline_tests.postgres_servers import database_copy
from tokenopt_pipeline_tests.stages.rig import Rig, empty


@pytest.fixture(scope="session")
def webhooks_database(embedded_server: tuple[str, Path]) -> Iterator[str]:
    with database_copy(embedded_server[0], "webhooks") as url:
        yield url


@pytest.fixture
def database_url(webhooks_database: str) -> str:
    """A migrated database without a row."""
    empty(webhooks_database)
    return webhooks_database


@pytest.fixture
def rig(connection: Connection) -> Rig:
    return Rig(connection=connection)
