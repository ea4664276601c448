"""References, searches and tool servers, put together from settings and policies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from tokenopt_pipeline.adapters.clock import SystemClock
from tokenopt_pipeline.adapters.embedders import open_embedder
from tokenopt_pipeline.adapters.json_schema import ToolSchemaValidators
from tokenopt_pipeline.adapters.mcp_client import McpHost
from tokenopt_pipeline.adapters.patterns import find
from tokenopt_pipeline.adapters.postgres.connection import Connection, connect
from tokenopt_pipeline.adapters.postgres.contexts import PostgresContexts
from tokenopt_pipeline.adapters.postgres.conversations import PostgresTurns
from tokenopt_pipeline.adapters.postgres.embedding_uses import PostgresEmbeddingLedger
from tokenopt_pipeline.adapters.postgres.passages import PostgresPassages
from tokenopt_pipeline.adapters.postgres.references import PostgresReferences
from tokenopt_pipeline.adapters.postgres.run_reading import PostgresRunReading
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.adapters.prices import ListPrices
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.domain.bridge_policy import BridgePolicy
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.model_overrides import ModelOverride
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.ports import ChunkSearch, Embedder, EmbeddingLedger, ReferenceReading
from tokenopt_pipeline.settings import Settings, read_settings, variables
from tokenopt_pipeline.stages.contexts import Contexts
from tokenopt_pipeline.stages.conversations import OpenTools
from tokenopt_pipeline.stages.index import Indexing
from tokenopt_pipeline.stages.retrieve import Retrieval
from tokenopt_pipeline.stages.rules import RunRules

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server


def references_on(connection: Connection) -> PostgresReferences:
    """References and indexes on a connection that the caller owns."""
    return PostgresReferences(connection)


def retrieval_on(connection: Connection, settings: Settings, *, ledger: EmbeddingLedger | None = None) -> Retrieval:
    """Searches on a connection that the caller owns; embedders are opened when an index needs them.

    `ledger` books what queries cost; None: one that is no run's.
    """
    booked = ledger or embedding_ledger_on(connection)

    def embedder_for(name: str, dimension: int) -> Embedder:
        embedder = _open_embedder(name if name == "minilm" else f"{name}:{dimension}", settings, booked)
        if embedder is None:
            raise InvalidInput(f"embedder {name!r} cannot be opened")
        return embedder

    return Retrieval(search=PostgresPassages(connection), embedder_for=embedder_for, find=find)


def indexing_on(
    connection: Connection,
    settings: Settings,
    *,
    embedder: str,
    models: Mapping[str, ModelOverride] | None = None,
) -> Indexing:
    """Building indexes on a connection that the caller owns; `models`: what a policy says of them, prices included.

    Raises InvalidInput for an embedder nobody knows.
    """
    store, ledger = PostgresReferences(connection), _embedding_ledger(lambda: nullcontext(connection), models=models)
    return Indexing(
        references=store,
        indexes=store,
        embeddings=PostgresPassages(connection),
        tokenizer=O200kTokenizer(),
        retrieval=retrieval_on(connection, settings, ledger=ledger),
        embedder=_open_embedder(embedder, settings, ledger),
        bill=lambda: ledger.bill,
    )


def embedding_ledger_on(connection: Connection, run: Run | None = None) -> PostgresEmbeddingLedger:
    """What vectors cost, booked on a connection that the caller owns; `run`: whose money it is."""
    return _embedding_ledger(lambda: nullcontext(connection), run, models=None if run is None else run.policy.models)


def _embedding_ledger(
    session: Callable[[], AbstractContextManager[Connection]],
    run: Run | None = None,
    *,
    models: Mapping[str, ModelOverride] | None,
) -> PostgresEmbeddingLedger:
    return PostgresEmbeddingLedger(
        session=session, prices=ListPrices(models), tokenizer=O200kTokenizer(), clock=SystemClock(), run=run
    )


def _open_embedder(name: str, settings: Settings, ledger: EmbeddingLedger) -> Embedder | None:
    return open_embedder(
        name, base_url=settings.embeddings_base_url, api_key=settings.embeddings_api_key, ledger=ledger
    )


def contexts_on(connection: Connection) -> Contexts:
    """What packs carry of references, decided on a connection that the caller owns."""

    def open_retrieval(run: Run) -> Retrieval:
        return retrieval_on(connection, read_settings(), ledger=embedding_ledger_on(connection, run))

    return Contexts(
        references=PostgresReferences(connection), store=PostgresContexts(connection), open_retrieval=open_retrieval
    )


def open_tool_host(bridge: BridgePolicy, *, builtin: Server[Any] | None = None) -> McpHost:
    """The tool servers of a policy, not connected to yet; the caller closes them. `builtin`: see `open_run_server`.

    Raises InvalidInput when a named token is not set.
    """
    named = {name for server in bridge.servers for name in (*server.env, server.token_env) if name is not None}
    return McpHost(
        bridge.servers,
        environment=variables({"PATH", *named}),
        start_timeout_s=bridge.start_timeout_s,
        builtin=builtin,
    )


def open_run_server(url: str, run_id: str, *, settings: Settings) -> Server[Any]:
    """The server of a run's own tools, over read-only sessions. Raises NotFound, StoreUnavailable."""
    from tokenopt_pipeline.mcp_server import run_server

    @contextmanager
    def session() -> Iterator[tuple[ReferenceReading, ChunkSearch]]:
        # As every read of a tool: rare, and from several threads.
        with connect(url, application="tokenopt mcp", read_only=True) as connection:
            yield PostgresReferences(connection), PostgresPassages(connection)

    def booking() -> AbstractContextManager[Connection]:
        return connect(url, application="tokenopt mcp")

    with connect(url, application="tokenopt mcp", read_only=True) as connection:
        run = PostgresRuns(connection).find(run_id)
        ledger = _embedding_ledger(booking, run, models=run.policy.models)
        rules = RunRules(retrieval=retrieval_on(connection, settings, ledger=ledger), session=session)
    return run_server(PostgresRunReading(url, run_id), rules)


def open_tools(url: str, run: Run, settings: Settings) -> OpenTools:
    """The tool servers of a run's policy, and where its turns are stored; the caller closes them."""
    with ExitStack() as stack:
        builtin = None
        if any(server.builtin for server in run.policy.bridge.servers):
            builtin = open_run_server(url, run.run_id, settings=settings)
        host = stack.enter_context(open_tool_host(run.policy.bridge, builtin=builtin))
        connection = stack.enter_context(connect(url, application="tokenopt bridge"))
        return OpenTools(
            host=host,
            schemas_of=ToolSchemaValidators,
            turns=PostgresTurns(connection),
            tokenizer=O200kTokenizer(),
            close=stack.pop_all().close,
        )
