"""The straight line set up for a test: real Postgres, a scripted provider, a clock that stands still."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg import sql

from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
from tokenopt_pipeline.adapters.postgres.connection import Connection, connect
from tokenopt_pipeline.adapters.postgres.planning import PostgresPlanning
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.adapters.prices import ListPrices
from tokenopt_pipeline.assembly import Backend, collections_on, line_on, prices_under
from tokenopt_pipeline.domain.documents import BlockType, IngestOutcome, ReadBlock, ReadDocument, SourceType
from tokenopt_pipeline.domain.learning import NOTHING_LEARNED, Learned
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.policy import resolve
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline.domain.runs import Run, RunKind, Shard
from tokenopt_pipeline.domain.schemas import parse_schema
from tokenopt_pipeline.ports import PrefixKeeper, Prices, Provider, Tokenizer
from tokenopt_pipeline.stages.ingest import ingest_source
from tokenopt_pipeline.stages.line import Line
from tokenopt_pipeline.stages.plan import RunRequest, plan_run
from tokenopt_pipeline.stages.predict import predict_run
from tokenopt_pipeline.stages.prediction import Prediction
from tokenopt_pipeline_tests.factories import a_model, a_schema_document
from tokenopt_pipeline_tests.stages.scripted_provider import FakeClock, ScriptedProvider, WordTokenizer, values_for

#: Table -> number of rows and hash of them all.
TableStates = dict[str, tuple[int, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OneSpec:
    """`ports.Models` in which every model has the same manners."""

    model: ModelSpec
    #: Model -> manners of its own.
    others: Mapping[str, ModelSpec] = field(default_factory=dict)

    def spec(self, ref: ModelRef) -> ModelSpec:
        return replace(self.others.get(str(ref), self.model), ref=ref)


@dataclass(frozen=True, slots=True, kw_only=True)
class OneSupply:
    """`ports.Supply` in which every model has the same manners and everybody the same backend."""

    model: ModelSpec
    backend: Backend | None = None
    keeps: PrefixKeeper | None = None
    others: Mapping[str, ModelSpec] = field(default_factory=dict)

    def models(self, run: Run) -> OneSpec:
        return OneSpec(model=self.model, others=self.others)

    def prices(self, run: Run) -> Prices:
        return prices_under(run.policy)

    def keeper(self, run: Run, ref: ModelRef) -> PrefixKeeper | None:
        return self.keeps

    def provider(self, run: Run) -> Backend:
        assert self.backend is not None
        return self.backend


@dataclass(slots=True, kw_only=True)
class Rig:
    """One database and what a test puts around it."""

    connection: Connection
    provider: ScriptedProvider = field(default_factory=ScriptedProvider)
    clock: FakeClock = field(default_factory=FakeClock)
    #: The default's prefix is too short for a cache mark; `cache_minimum_tokens=1` gives it one.
    model: ModelSpec = field(default_factory=a_model)
    tokenizer: Tokenizer = field(default_factory=WordTokenizer)
    #: Model -> manners other than `model`.
    specs: Mapping[str, ModelSpec] = field(default_factory=dict)
    _runs: int = 0

    def ingest(
        self,
        *texts: str,
        collection: str = "contracts",
        name: str = "contract",
        title: str | None = None,
        types: Mapping[str, BlockType] | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> IngestOutcome:
        """A document of these blocks, paragraphs unless `types` says otherwise."""
        blocks = tuple(ReadBlock(type=(types or {}).get(t, BlockType.PARAGRAPH), text=t) for t in texts)
        document = ReadDocument(source_type=SourceType.BLOCKS, reader_version=1, blocks=blocks, title=title)
        return ingest_source(
            name,
            json.dumps([(b.type, b.text) for b in blocks]).encode(),
            collection=collection,
            read=lambda _, __: document,
            tokenizer=tokenizer or self.tokenizer,
            store=collections_on(self.connection),
            now=self.clock.now(),
        )

    def request(
        self,
        *,
        collection: str = "contracts",
        schema: Mapping[str, Any] | None = None,
        kind: RunKind = RunKind.SIMULATED,
        mode: str = "sync",
        **policy: Any,
    ) -> RunRequest:
        source = dict(schema) if schema is not None else a_schema_document()
        return RunRequest(
            collection=collection,
            schema=parse_schema(source, name="obligations"),
            schema_source=source,
            resolved=resolve([("test", policy)]),
            mode=mode,
            kind=kind,
        )

    def plan(self, request: RunRequest | None = None, /, *, learned: Any = NOTHING_LEARNED, **policy: Any) -> Run:
        self._runs += 1
        return plan_run(
            request or self.request(**policy),
            run_id=f"run{self._runs}",
            collections=collections_on(self.connection),
            runs=PostgresRuns(self.connection),
            models=OneSpec(model=self.model, others=self.specs),
            prices=ListPrices(),
            validators=JsonSchemaValidators(),
            tokenizer=self.tokenizer,
            now=self.clock.now(),
            learned=learned,
        )

    def predict(self, request: RunRequest, *, learned: Learned = NOTHING_LEARNED) -> Prediction:
        return predict_run(
            request,
            planning=PostgresPlanning(self.connection),
            models=OneSpec(model=self.model, others=self.specs),
            prices=ListPrices(),
            validators=JsonSchemaValidators(),
            tokenizer=self.tokenizer,
            learned=learned,
        )

    def line(self, connection: Connection | None = None, *, provider: Provider | None = None) -> Line:
        """A line of its own, which has learnt nothing yet; on another connection it is another process."""
        backend = Backend(
            providers={"anthropic": provider or self.provider}, kinds={"anthropic": RunKind.SIMULATED}, key_variables={}
        )
        line = line_on(connection or self.connection, backend)
        line.clock = line.batching.clock = self.clock
        line.supply = OneSupply(model=self.model, backend=backend, others=self.specs)
        return line

    def packed(self, **policy: Any) -> tuple[Run, Shard, Line]:
        """A new run of one shard, ready to be collected."""
        run, line = self.plan(**policy), self.line()
        shard = Shard(run_no=run.run_no, shard_no=0)
        line.decide(run, shard)
        line.pack(run, shard)
        return run, shard, line

    def finish(self, run: Run, *, line: Line | None = None) -> None:
        """All stages of all shards."""
        line = line or self.line()
        for shard_no in range(run.n_shards):
            line.whole(run, Shard(run_no=run.run_no, shard_no=shard_no))

    def rows(self, query: str, /, **parameters: object) -> list[dict[str, Any]]:
        return self.connection.execute(query.encode(), parameters).fetchall()

    def one(self, query: str, /, **parameters: object) -> Any:
        """The only value of the only row."""
        (row,) = self.rows(query, **parameters)
        (value,) = row.values()
        return value

    def overlays(self, run: Run) -> dict[str, dict[str, Any]]:
        """Text -> its overlay; texts are unique unless a test is about repeated ones."""
        query = (
            "select b.text, o.* from overlay o join block b using (block_no) where run_no = %(run)s order by ordinal"
        )
        return {r["text"]: r for r in self.rows(query, run=run.run_no)}

    def statuses(self, run: Run) -> dict[str, int]:
        query = "select status, count(*) as n from overlay where run_no = %(run)s group by 1"
        return {r["status"]: r["n"] for r in self.rows(query, run=run.run_no)}

    def wrong(self, run: Run) -> list[str]:
        """Texts whose stored values are not their own."""
        return [
            text
            for text, overlay in self.overlays(run).items()
            if overlay["staged"] is not None and overlay["staged"] != values_for(text, run.schema.properties)
        ]

    def states(self) -> TableStates:
        return table_states(self.connection)


def empty(database_url: str) -> None:
    """Takes every row away, the append-only ones too."""
    with connect(database_url) as connection:
        connection.execute("set session_replication_role = replica")
        for table in table_states(connection):
            if table != "schema_version":
                connection.execute(sql.SQL("delete from {}").format(sql.Identifier("tokenopt", table)))


def clauses(count: int) -> list[str]:
    """Texts that are all different."""
    return [f"Clause {i}: party {i * i} pays {i + 7} euros to party {i * 3} every month." for i in range(count)]


def table_states(connection: Connection) -> TableStates:
    """Every table of ours, so that a change anywhere shows."""
    tables = connection.execute("select tablename from pg_tables where schemaname = 'tokenopt' order by 1").fetchall()
    states: TableStates = {}
    for table in tables:
        query = "select count(*) as n, coalesce(md5(string_agg(t::text, '|' order by t::text)), '') as hash from {} t"
        name = sql.Identifier("tokenopt", table["tablename"])
        found = connection.execute(sql.SQL(query).format(name)).fetchone()
        assert found is not None
        states[table["tablename"]] = (found["n"], found["hash"])
    return states


def changed_tables(before: TableStates, after: TableStates) -> set[str]:
    return {name for name in before if before[name] != after[name]}
