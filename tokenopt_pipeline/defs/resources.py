"""What assets and checks reach the outside with.

What is outside is imported where it is reached for: a code location that is only loaded, as the UI and the daemon do for every
look at it, needs none of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import PrivateAttr

from tokenopt_pipeline.defs.interrupts import Interrupt
from tokenopt_pipeline.domain.cache_breaks import cache_summary
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.routing import models_reachable
from tokenopt_pipeline.domain.runs import Run, RunState, Shard
from tokenopt_pipeline.settings import read_settings

if TYPE_CHECKING:
    from tokenopt_pipeline.adapters.postgres.batches import PostgresBatches
    from tokenopt_pipeline.adapters.postgres.connection import Connection
    from tokenopt_pipeline.adapters.postgres.references import PostgresReferences
    from tokenopt_pipeline.assembly import Backend
    from tokenopt_pipeline.stages.index import Indexing
    from tokenopt_pipeline.stages.line import Line


class StraightLine(dg.ConfigurableResource["StraightLine"]):
    """The stages on the database and the provider that the environment names, for the length of a Dagster run.

    Addresses and keys come from the environment and never enter Dagster's configuration, which anybody may read in the UI.
    """

    _stack: ExitStack = PrivateAttr(default_factory=ExitStack)
    _connection: Connection | None = PrivateAttr(default=None)
    _backend: Backend | None = PrivateAttr(default=None)
    _line: Line | None = PrivateAttr(default=None)
    _url: str | None = PrivateAttr(default=None)
    _interrupt: Interrupt = PrivateAttr(default_factory=Interrupt)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Starts the embedded server if it must, migrates, connects."""
        from tokenopt_pipeline.adapters.postgres.connection import connect
        from tokenopt_pipeline.assembly import open_database

        self._url = open_database(read_settings())
        self._connection = self._stack.enter_context(connect(self._url, application="tokenopt dagster"))

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Closes the connections and what was started for them."""
        if self._line is not None:
            self._line.close()
        self._stack.close()
        self._connection = self._backend = self._line = None

    @property
    def connection(self) -> Connection:
        """The open connection."""
        assert self._connection is not None  # Dagster sets resources up before it hands them out
        return self._connection

    @property
    def backend(self) -> Backend:
        """The vendors, or the sandbox when there is no key; looked for on first use."""
        from tokenopt_pipeline.assembly import open_backend

        if self._backend is None:
            self._backend = open_backend(read_settings())
        return self._backend

    @property
    def interrupt(self) -> Interrupt:
        """Whether somebody asked to stop."""
        return self._interrupt

    @property
    def line(self) -> Line:
        """The stages."""
        from tokenopt_pipeline.assembly import line_on

        if self._line is None:
            self._line = line_on(self.connection, self.backend, url=self._url, stop=self._interrupt.asked)
        return self._line

    def indexing(self, embedder: str) -> Indexing:
        """Building indexes with an embedder. Raises InvalidInput for one that nobody knows."""
        from tokenopt_pipeline.assembly import indexing_on

        return indexing_on(self.connection, read_settings(), embedder=embedder)

    @property
    def references(self) -> PostgresReferences:
        """References and the indexes that serve them."""
        from tokenopt_pipeline.assembly import references_on

        return references_on(self.connection)

    @property
    def batches(self) -> PostgresBatches:
        """What is stored of batches."""
        from tokenopt_pipeline.adapters.postgres.batches import PostgresBatches

        return PostgresBatches(self.connection)

    def run_numbered(self, run_no: int) -> Run:
        """The run with this number."""
        from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns

        return PostgresRuns(self.connection).numbered(run_no)

    def shards(self, partition_keys: Sequence[str]) -> Iterator[tuple[str, Run, Shard]]:
        """(partition key, run, shard) for every asked partition, in order. Raises NotFound."""
        from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
        from tokenopt_pipeline.adapters.postgres.shards import PostgresShards

        # Not through the line: whoever only looks needs no provider.
        store, found = PostgresShards(self.connection), PostgresRuns(self.connection)
        runs: dict[str, Run] = {}
        for key in partition_keys:
            run_id, shard = store.at(key)
            if run_id not in runs:
                runs[run_id] = found.find(run_id)
            yield key, runs[run_id], shard

    def calls_story(self, run: Run, shard: Shard) -> Mapping[str, Mapping[str, Any]]:
        """How wide the windows to the models are, what became of the shard's shared prefixes, and who was asked instead."""
        from tokenopt_pipeline.adapters.postgres.cache_stories import PostgresCacheStories
        from tokenopt_pipeline.adapters.postgres.conversations import conversations_of_run
        from tokenopt_pipeline.adapters.postgres.routing_stories import PostgresRoutingStories
        from tokenopt_pipeline.assembly import RunTables

        findings = PostgresCacheStories(self.connection, tables=RunTables()).of(run, shard_no=shard.shard_no)
        conversations = conversations_of_run(self.connection, run.run_no, shard_no=shard.shard_no)
        routed = PostgresRoutingStories(self.connection).of(run, shard_no=shard.shard_no)
        return {
            "flow": self.line.flow(),
            "cache": cache_summary(findings),
            **self.line.cache_story(),
            **({"bridge": conversations} if conversations else {}),
            **({"routing": routed} if routed else {}),
        }

    def contexts_story(self, run: Run, shard: Shard) -> Mapping[str, Mapping[str, Any]]:
        """What the shard's packs carry of the schema's references, and why."""
        from tokenopt_pipeline.adapters.postgres.contexts import contexts_of_run

        counted = contexts_of_run(self.connection, run.run_no, shard_no=shard.shard_no)
        return {"references": counted} if counted else {}

    def refuse_other_kind(self, run: Run) -> None:
        """Raises InvalidInput when calling now would mix simulated and live answers in one run."""
        line_kind = self.backend.under(run.policy).kind_of(models_reachable(run.policy.routing))
        if run.state is RunState.OPEN and run.kind != line_kind:
            raise InvalidInput(
                f"run {run.run_id} is {run.kind}, but the environment's provider is {line_kind}; the two are never mixed"
            )
