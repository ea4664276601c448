"""Where adapters are handed to the stages: the one place that knows which implementation stands behind which port."""

from __future__ import annotations

import ipaddress
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tokenopt_pipeline.adapters.anthropic import SANDBOX_HEADER, AnthropicProvider
from tokenopt_pipeline.adapters.clock import SystemClock
from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
from tokenopt_pipeline.adapters.model_table import ModelTable
from tokenopt_pipeline.adapters.postgres import migrations
from tokenopt_pipeline.adapters.postgres.calls import PostgresCalls
from tokenopt_pipeline.adapters.postgres.collections import PostgresCollections
from tokenopt_pipeline.adapters.postgres.connection import Connection, connect
from tokenopt_pipeline.adapters.postgres.migrate import migrate
from tokenopt_pipeline.adapters.postgres.overlays import PostgresOverlays
from tokenopt_pipeline.adapters.postgres.packs import PostgresPacks
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.adapters.postgres.server import database_url
from tokenopt_pipeline.adapters.postgres.shards import PostgresShards
from tokenopt_pipeline.adapters.prices import ListPrices
from tokenopt_pipeline.adapters.sandbox_process import SandboxProcess
from tokenopt_pipeline.domain.runs import RunKind
from tokenopt_pipeline.ports import Provider
from tokenopt_pipeline.settings import Settings
from tokenopt_pipeline.stages.line import Line

# The sandbox takes any key; this one says what it is wherever it is seen.
_SANDBOX_KEY = "sandbox"


def open_database(settings: Settings) -> str:
    """The URL of a database that is up, has what we need and has our newest schema.

    Raises StoreUnavailable.
    """
    url = database_url(external_url=settings.database_url, home=settings.home / "postgres")
    migrate(url, Path(next(iter(migrations.__path__))))
    return url


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Who answers the calls of this process."""

    provider: Provider
    kind: RunKind


def open_backend(settings: Settings) -> Backend:
    """The provider behind the environment's key, or the sandbox when there is none."""
    if settings.has_anthropic_credentials:
        kind = RunKind.SIMULATED if _is_sandbox(settings.anthropic_base_url) else RunKind.LIVE
        return Backend(provider=AnthropicProvider(), kind=kind)
    base_url = SandboxProcess(settings.home).up()
    return Backend(provider=AnthropicProvider(api_key=_SANDBOX_KEY, base_url=base_url), kind=RunKind.SIMULATED)


@contextmanager
def open_line(url: str, backend: Backend) -> Iterator[Line]:
    """The straight line on one connection."""
    with connect(url) as connection:
        yield line_on(connection, backend)


def line_on(connection: Connection, backend: Backend) -> Line:
    """The straight line on a connection that the caller owns."""
    return Line(
        runs=PostgresRuns(connection),
        shards=PostgresShards(connection),
        packs=PostgresPacks(connection),
        calls=PostgresCalls(connection),
        overlays=PostgresOverlays(connection),
        models=ModelTable(),
        prices=ListPrices(),
        validators=JsonSchemaValidators(),
        provider=backend.provider,
        clock=SystemClock(),
    )


def collections_on(connection: Connection) -> PostgresCollections:
    """The collection store on a connection that the caller owns."""
    return PostgresCollections(connection)


def _is_sandbox(base_url: str | None) -> bool:
    """Whether a stand-in answers at a loopback address; nobody else is asked."""
    if base_url is None:
        return False
    host = urlsplit(base_url).hostname or ""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
    if not loopback:
        return False
    # A proxy from the environment is not asked about this machine.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{base_url.rstrip('/')}/v1/models", timeout=5) as answer:
            return SANDBOX_HEADER in answer.headers
    except urllib.error.HTTPError as answer:
        return SANDBOX_HEADER in answer.headers
    except OSError:
        return False
