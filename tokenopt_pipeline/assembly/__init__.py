"""Where adapters are handed to the stages: the one place that knows which implementation stands behind which port."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from tokenopt_pipeline.adapters.anthropic import AnthropicProvider
from tokenopt_pipeline.adapters.clock import SystemClock
from tokenopt_pipeline.adapters.custom import CustomProvider
from tokenopt_pipeline.adapters.google import GoogleProvider
from tokenopt_pipeline.adapters.http_connections import SANDBOX_HEADER
from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
from tokenopt_pipeline.adapters.model_table import ModelTable
from tokenopt_pipeline.adapters.openai import OpenAIProvider
from tokenopt_pipeline.adapters.postgres import migrations
from tokenopt_pipeline.adapters.postgres.calls import PostgresCalls
from tokenopt_pipeline.adapters.postgres.collections import PostgresCollections
from tokenopt_pipeline.adapters.postgres.connection import Connection
from tokenopt_pipeline.adapters.postgres.conversations import PostgresConversations
from tokenopt_pipeline.adapters.postgres.kept_prefixes import PostgresKeptPrefixes
from tokenopt_pipeline.adapters.postgres.migrate import migrate
from tokenopt_pipeline.adapters.postgres.overlays import PostgresOverlays
from tokenopt_pipeline.adapters.postgres.packs import PostgresPacks
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.adapters.postgres.server import database_url
from tokenopt_pipeline.adapters.postgres.shards import PostgresShards
from tokenopt_pipeline.adapters.prices import ListPrices
from tokenopt_pipeline.assembly.batching import batches_of, batching_on
from tokenopt_pipeline.assembly.knowledge import (
    contexts_on,
    indexing_on,
    open_run_server,
    open_tool_host,
    open_tools,
    references_on,
    retrieval_on,
)
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.learning import NOTHING_LEARNED, Learned
from tokenopt_pipeline.domain.policy import Policy
from tokenopt_pipeline.domain.providers import CustomServer
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline.domain.runs import Run, RunKind
from tokenopt_pipeline.ports import BatchProvider, Models, PrefixKeeper, Prices, Provider, Reachable
from tokenopt_pipeline.settings import Settings, read_key, read_settings
from tokenopt_pipeline.stages.conversations import OpenTools
from tokenopt_pipeline.stages.line import Line

if TYPE_CHECKING:
    from tokenopt_pipeline.adapters.sandbox_process import SandboxProcess

__all__ = [
    "Backend",
    "RunSupply",
    "RunTables",
    "collections_on",
    "contexts_on",
    "indexing_on",
    "line_on",
    "models_under",
    "open_backend",
    "open_database",
    "open_run_server",
    "open_tool_host",
    "open_tools",
    "prices_under",
    "references_on",
    "retrieval_on",
]
# The sandbox takes any key; this one says what it is wherever it is seen.
_SANDBOX_KEY = "sandbox"


def open_database(settings: Settings) -> str:
    """The URL of a database that is up, has what we need and has our newest schema.

    Raises StoreUnavailable.
    """
    url = database_url(external_url=settings.database_url, home=settings.home)
    migrate(url, Path(next(iter(migrations.__path__))))
    return url


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Who answers the calls of this process: `ports.Provider` over all providers, each asked for its own models."""

    #: Provider -> the one that answers. A vendor without a key is missing, unless no vendor has one.
    providers: Mapping[str, Provider]
    #: Provider -> whether a stand-in or the provider itself answers.
    kinds: Mapping[str, RunKind]
    #: Vendor -> the variable its key is looked for in.
    key_variables: Mapping[str, str]
    #: Servers of policies that were asked for before; they remember what they found out.
    _servers: dict[tuple[str, CustomServer], tuple[Provider, RunKind]] = field(default_factory=dict)

    def complete(self, request: ModelRequest, *, timeout_s: float) -> ModelResponse:
        """One call to the provider of the request's model."""
        return self.providers[request.model.ref.provider].complete(request, timeout_s=timeout_s)

    def under(self, policy: Policy) -> Backend:
        """This, with the policy's own servers. Raises InvalidInput when the variable of a server's key is not set."""
        if not policy.providers:
            return self
        found = {name: self._server(name, server) for name, server in policy.providers.items()}
        return replace(
            self,
            providers={**self.providers, **{name: provider for name, (provider, _) in found.items()}},
            kinds={**self.kinds, **{name: kind for name, (_, kind) in found.items()}},
        )

    def kind_of(self, models: Sequence[ModelRef]) -> RunKind:
        """The kind of a run that may ask these models. A stand-in that has to be started for them is.

        Raises InvalidInput when a vendor has no key, or when stand-ins and vendors would answer side by side.
        """
        for ref in models:
            if ref.provider not in self.providers:
                variable = self.key_variables.get(ref.provider)
                missing = f"{variable} is not set" if variable else f"provider {ref.provider!r} is unknown"
                raise InvalidInput(f"model {ref}: {missing}; configured: {', '.join(sorted(self.providers))}")
        kinds = {self.kinds[ref.provider] for ref in models}
        if len(kinds) > 1:
            raise InvalidInput(f"models {', '.join(map(str, models))}: simulated and live answers are never mixed")
        for provider in {ref.provider: self.providers[ref.provider] for ref in models}.values():
            if isinstance(provider, _Standin):
                provider.started()
        return kinds.pop()

    def reach(self, name: str, *, timeout_s: float) -> int:
        """How many models the provider lists, for free; a stand-in is started for it. Raises TokenOptError."""
        provider = self.providers[name]
        answering = provider.started() if isinstance(provider, _Standin) else provider
        return cast(Reachable, answering).reach(timeout_s=timeout_s)

    def batches(self, provider: str, kind: RunKind) -> BatchProvider | None:
        """`ports.BatchSupply`: the vendor's batches; None when it has no key, takes none, or is of another kind."""
        found = self.providers.get(provider) if self.kinds.get(provider) == kind else None
        return batches_of(found.started() if isinstance(found, _Standin) else found)

    def _server(self, name: str, server: CustomServer) -> tuple[Provider, RunKind]:
        if (name, server) not in self._servers:
            key = None if server.api_key_env is None else read_key(server.api_key_env)
            if server.api_key_env is not None and key is None:
                raise InvalidInput(f"provider {name}: {server.api_key_env} is not set, and the policy names it")
            provider = CustomProvider(base_url=server.base_url, name=name, api_key=key, capability=server.capability)
            kind = RunKind.SIMULATED if _is_sandbox(server.base_url) else RunKind.LIVE
            self._servers[name, server] = (provider, kind)
        return self._servers[name, server]


class _Standin:
    """A vendor that the local sandbox stands in for; the sandbox is started when it is first needed."""

    def __init__(self, vendor: str, sandbox: SandboxProcess) -> None:
        self._vendor = vendor
        self._sandbox = sandbox
        self._provider: Provider | None = None
        self._lock = Lock()

    def complete(self, request: ModelRequest, *, timeout_s: float) -> ModelResponse:
        """One call to the sandbox."""
        return self.started().complete(request, timeout_s=timeout_s)

    def started(self) -> Provider:
        """The vendor's own adapter on the sandbox's address."""
        with self._lock:
            if self._provider is None:
                url = f"{self._sandbox.up()}{_SANDBOX_PATHS[self._vendor]}"
                self._provider = _VENDORS[self._vendor](_SANDBOX_KEY, url)
            return self._provider


def open_backend(settings: Settings) -> Backend:
    """The vendors whose keys the environment has; the sandbox, once it is needed, for all of them when it has none."""
    key_variables = {name: vendor.key_variable for name, vendor in settings.vendors.items()}
    if not settings.has_credentials:
        from tokenopt_pipeline.adapters.sandbox_process import SandboxProcess

        sandbox = SandboxProcess(settings.home)
        providers = {name: _Standin(name, sandbox) for name in _SANDBOX_PATHS}
        return Backend(
            providers=providers, kinds=dict.fromkeys(providers, RunKind.SIMULATED), key_variables=key_variables
        )
    configured = {name: vendor for name, vendor in settings.vendors.items() if vendor.has_credentials}
    return Backend(
        providers={name: _VENDORS[name](None, None) for name in configured},
        kinds={
            name: RunKind.SIMULATED if _is_sandbox(vendor.base_url) else RunKind.LIVE
            for name, vendor in configured.items()
        },
        key_variables=key_variables,
    )


def models_under(policy: Policy, learned: Learned = NOTHING_LEARNED) -> Models:
    """The model table as a policy has it, and as earlier calls have shown it: the one way to build it."""
    return ModelTable(servers=policy.providers, overrides=policy.models, learned=learned)


def prices_under(policy: Policy) -> Prices:
    """The price list as a policy has it: the one way to build it."""
    return ListPrices(policy.models)


class RunTables:
    """`ports.Tables`."""

    def models(self, run: Run) -> Models:
        """The model table under the run's policy."""
        return models_under(run.policy, run.learned)

    def prices(self, run: Run) -> Prices:
        """The price list under the run's policy."""
        return prices_under(run.policy)


class RunSupply(RunTables):
    """`ports.Supply` over a backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def provider(self, run: Run) -> Provider:
        """The vendors, and the servers of the run's policy."""
        return self._backend.under(run.policy)

    def keeper(self, run: Run, ref: ModelRef) -> PrefixKeeper | None:
        """The model's provider, when it keeps prefixes for rent."""
        provider = self._backend.providers.get(ref.provider)
        answering = provider.started() if isinstance(provider, _Standin) else provider
        return answering if isinstance(answering, GoogleProvider) else None


def _anthropic(api_key: str | None, base_url: str | None) -> Provider:
    return AnthropicProvider(api_key=api_key, base_url=base_url)


def _openai(api_key: str | None, base_url: str | None) -> Provider:
    return OpenAIProvider(api_key=api_key, base_url=base_url)


def _google(api_key: str | None, base_url: str | None) -> Provider:
    return GoogleProvider(api_key=api_key, base_url=base_url)


# One line here, one adapter file and its part of the model table make a vendor.
_VENDORS: Mapping[str, Callable[[str | None, str | None], Provider]] = {
    "anthropic": _anthropic,
    "openai": _openai,
    "google": _google,
}
# Where the sandbox answers in each vendor's dialect.
_SANDBOX_PATHS = {"anthropic": "/anthropic", "openai": "/openai/v1", "google": "/google"}


def line_on(
    connection: Connection, backend: Backend, *, url: str | None = None, stop: Callable[[], bool] = lambda: False
) -> Line:
    """The straight line on a connection that the caller owns. `stop` says whether somebody wants it to end.

    `url` is the database's, for runs whose models have tools: their turns and tools have connections of their own.
    """

    def open_tools_of(run: Run) -> OpenTools:
        if url is None:
            raise InvalidInput(f"run {run.run_id} has tools, which need the database's address")
        return open_tools(url, run, read_settings())

    return Line(
        runs=PostgresRuns(connection),
        shards=PostgresShards(connection),
        packs=PostgresPacks(connection),
        calls=PostgresCalls(connection),
        overlays=PostgresOverlays(connection),
        prefixes=PostgresKeptPrefixes(connection),
        contexts=contexts_on(connection),
        conversations=PostgresConversations(connection),
        open_tools=open_tools_of,
        supply=RunSupply(backend),
        batching=batching_on(connection, backend),
        validators=JsonSchemaValidators(),
        clock=SystemClock(),
        stop=stop,
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
    import urllib.error
    import urllib.request

    # A proxy from the environment is not asked about this machine.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{urlsplit(base_url)._replace(path='/healthz', query='').geturl()}", timeout=5) as answer:
            return SANDBOX_HEADER in answer.headers
    except urllib.error.HTTPError as answer:
        return SANDBOX_HEADER in answer.headers
    except OSError:
        return False
