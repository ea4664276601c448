"""A server, a sandbox and a terminal for tests of the real command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline_tests.end_to_end.terminal import LINE_TEMPLATE, Terminal, prepare_template, terminal_at
from tokenopt_pipeline_tests.postgres_servers import database_copy


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """Fast and faultless; counts for the whole session."""
    with running_sandbox() as running:
        yield running


@pytest.fixture(scope="session")
def line_server(embedded_server: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The template URL of a server that has database `line_template`: the demo collection, and Dagster's tables."""
    prepare_template(embedded_server[0], tmp_path_factory.mktemp("template"))
    return embedded_server[0]


@pytest.fixture(scope="module")
def module_terminal(
    line_server: str, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Terminal]:
    """A terminal on a database that the tests of one module share."""
    name = "m_" + request.module.__name__.rpartition(".")[2]
    with database_copy(line_server, name, template=LINE_TEMPLATE) as url:
        yield terminal_at(
            tmp_path_factory.mktemp("home"),
            tmp_path_factory.mktemp("cwd"),
            TOKENOPT_DATABASE_URL=url,
            ANTHROPIC_API_KEY="sandbox",
            ANTHROPIC_BASE_URL=sandbox.anthropic_url,
        )
