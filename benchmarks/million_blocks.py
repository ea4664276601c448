"""A million blocks in a database of their own, and a run over them; what `planning_million` and `prefilter_million` measure.

Documents of a thousand blocks, texts of 1,100 to 1,700 characters, a fifth of them blank, furniture, short headings and the
like, a fifth repeating a block of somewhere in the run; long blocks go to another tier than short ones. No provider is asked.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenopt_pipeline.adapters.postgres.connection import Connection
    from tokenopt_pipeline.domain.runs import Run

_DOCUMENT_BLOCKS = 1_000
_POLICY = {
    "routing": {"rules": [{"id": "short", "tier": "small", "max_block_tokens": 300}], "default_tier": "mid"},
}
_BLOCKS = """
insert into block (document_no, block_index, block_type, is_blank, n_words, n_tokens, content_hash, locator, text)
select d.document_no, i, case n %% 20 when 0 then 'divider' when 1 then 'page_footer' when 2 then 'heading' when 3 then 'table'
                              else 'paragraph' end,
  n %% 20 = 4, n %% 250, 250 + n %% 120, md5(case when n %% 5 = 0 then n %% 1000 else n end::text)::uuid, '{}',
  repeat(md5(n::text) || ' ', (33 + n %% 19)::int)
from document d, lateral (select i, (d.document_no - 1) * %(per)s + i as n from generate_series(0, %(per)s - 1) i) b
"""


def request(shard_blocks: int) -> Any:
    """What the run is asked for: a `RunRequest` in shards of so many blocks."""
    from tokenopt_pipeline.adapters.files import load_schema
    from tokenopt_pipeline.domain.policy import resolve
    from tokenopt_pipeline.domain.runs import RunKind
    from tokenopt_pipeline.domain.schemas import parse_schema
    from tokenopt_pipeline.stages.plan import RunRequest

    name, source = load_schema("facts-and-entities")
    return RunRequest(
        collection="million",
        schema=parse_schema(source, name=name),
        schema_source=source,
        resolved=resolve([("benchmark", {**_POLICY, "run": {"shard_blocks": shard_blocks}})]),
        mode="sync",
        kind=RunKind.SIMULATED,
    )


def tables(request: Any) -> dict[str, Any]:
    """Models, prices, validators and tokenizer under the request's policy."""
    from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
    from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
    from tokenopt_pipeline.assembly import models_under, prices_under

    policy = request.resolved.policy
    return {
        "models": models_under(policy),
        "prices": prices_under(policy),
        "validators": JsonSchemaValidators(),
        "tokenizer": O200kTokenizer(),
    }


def fill(connection: Connection, blocks: int) -> None:
    """Writes the documents and blocks of a collection `million`."""
    now = datetime.now(UTC)  # noqa: TID251 - the edge of this program
    connection.execute("insert into collection (name, created_at) values ('million', %s)", [now])
    connection.execute(
        "insert into document (document_id, source_type, reader_version, n_bytes, n_blocks, created_at)"
        " select encode(sha256(i::text::bytea), 'hex'), 'blocks', 1, 1, %s, %s from generate_series(1, %s) i",
        [_DOCUMENT_BLOCKS, now, blocks // _DOCUMENT_BLOCKS],
    )
    connection.execute(
        "insert into collection_document (collection_no, source_name, document_no, added_at)"
        " select 1, lpad(document_no::text, 9, '0'), document_no, %s from document",
        [now],
    )
    connection.execute(_BLOCKS.encode(), {"per": _DOCUMENT_BLOCKS})
    connection.execute("analyze")


def plan(connection: Connection, request: Any, tables: dict[str, Any]) -> Run:
    """The run, with nothing decided yet."""
    from tokenopt_pipeline.adapters.postgres.collections import PostgresCollections
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
    from tokenopt_pipeline.stages.plan import plan_run

    return plan_run(
        request,
        run_id="million",
        collections=PostgresCollections(connection),
        runs=PostgresRuns(connection),
        now=datetime.now(UTC),  # noqa: TID251 - the edge of this program
        **tables,
    )


@contextmanager
def database() -> Iterator[Path]:
    """A server of its own, at TOKENOPT_DATABASE_URL for this process and what it starts; its folder. Gone at the end."""
    from tokenopt_pipeline.adapters.postgres.embedded import EmbeddedServer
    from tokenopt_pipeline.assembly import open_database
    from tokenopt_pipeline.settings import read_settings

    with tempfile.TemporaryDirectory(prefix="tokenopt-million-", dir="/tmp") as name:
        Path(name).chmod(0o711)
        settings = read_settings({"TOKENOPT_HOME": name})
        os.environ["TOKENOPT_DATABASE_URL"] = open_database(settings)
        try:
            yield Path(name)
        finally:
            EmbeddedServer(settings.home / "postgres").down()


def arguments(description: str | None) -> argparse.ArgumentParser:
    """What both programs are told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=1_000_000, help="a multiple of a thousand")
    parser.add_argument("--shard-blocks", type=int, default=2_000)
    return parser
