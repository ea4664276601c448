"""What assets and checks reach the outside with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import dagster as dg
from pydantic import PrivateAttr

from tokenopt_pipeline.adapters.postgres.connection import Connection, connect
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.adapters.postgres.shards import PostgresShards
from tokenopt_pipeline.assembly import Backend, line_on, open_backend, open_database
from tokenopt_pipeline.defs.interrupts import Interrupt
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.routing import models_in_use
from tokenopt_pipeline.domain.runs import Run, Shard
from tokenopt_pipeline.settings import read_settings
from tokenopt_pipeline.stages.line import Line


class StraightLine(dg.ConfigurableResource["StraightLine"]):
    """The stages on the database and the provider that the environment names, for the length of a Dagster run.

    Addresses and keys come from the environment and never enter Dagster's configuration, which anybody may read in the UI.
    """

    _stack: ExitStack = PrivateAttr(default_factory=ExitStack)
    _connection: Connection | None = PrivateAttr(default=None)
    _backend: Backend | None = PrivateAttr(default=None)
    _line: Line | None = PrivateAttr(default=None)
    _interrupt: Interrupt = PrivateAttr(default_factory=Interrupt)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Starts the embedded server if it must, migrates, connects."""
        url = open_database(read_settings())
        self._connection = self._stack.enter_context(connect(url, application="tokenopt dagster"))

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Closes the connection."""
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
        if self._line is None:
            self._line = line_on(self.connection, self.backend, stop=self._interrupt.asked)
        return self._line

    def shards(self, partition_keys: Sequence[str]) -> Iterator[tuple[str, Run, Shard]]:
        """(partition key, run, shard) for every asked partition, in order. Raises NotFound."""
        # Not through the line: whoever only looks needs no provider.
        store, found = PostgresShards(self.connection), PostgresRuns(self.connection)
        runs: dict[str, Run] = {}
        for key in partition_keys:
            run_id, shard = store.at(key)
            if run_id not in runs:
                runs[run_id] = found.find(run_id)
            yield key, runs[run_id], shard

    def refuse_other_kind(self, run: Run) -> None:
        """Raises InvalidInput when calling now would mix simulated and live answers in one run."""
        line_kind = self.backend.kind_of(models_in_use(run.policy.routing))
        if run.state == "open" and run.kind != line_kind:
            raise InvalidInput(
                f"run {run.run_id} is {run.kind}, but the environment's provider is {line_kind}; the two are never mixed"
            )
