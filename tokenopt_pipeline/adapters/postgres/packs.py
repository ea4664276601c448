"""Packs in Postgres."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice

from psycopg.rows import DictRow

from tokenopt_pipeline.adapters.postgres.connection import Connection, change, rows, store_errors
from tokenopt_pipeline.adapters.postgres.statements import statement
from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.fallbacks import Obstacle
from tokenopt_pipeline.domain.knowledge import NO_CONTEXT, CarriedContext
from tokenopt_pipeline.domain.moves import Asks, Cause, Origin
from tokenopt_pipeline.domain.outputs import Finding
from tokenopt_pipeline.domain.packing import PackableBlock
from tokenopt_pipeline.domain.packs import KeptBlock, NewPack, OpenPack, PackMember, StandingAnswer
from tokenopt_pipeline.domain.retrieval import ContextCause, ContextKind
from tokenopt_pipeline.domain.routing import Route, parse_model_ref
from tokenopt_pipeline.domain.runs import Shard

_WRITE_AT_ONCE = 1_000


class PostgresPacks:
    """`ports.PackStore` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def kept_blocks(self, shard: Shard) -> Iterator[KeptBlock]:
        """Kept blocks that are in no pack yet, in document order."""
        types = {each.value: each for each in BlockType}
        for r in rows(self._connection, "kept_blocks", run_no=shard.run_no, shard_no=shard.shard_no):
            name = r["block_type"]
            yield KeptBlock(
                packable=PackableBlock(block_no=r["block_no"], ordinal=r["ordinal"], tokens=r["n_tokens"], type=name),
                type=types[name],
                language=r["language"],
            )

    def add(self, shard: Shard, packs: Iterator[NewPack], *, refused: Mapping[int, str], now: datetime) -> int:
        """Stores packs and marks their blocks submitted, in one transaction; how many were added.

        `refused`: block -> why it fits into no request; such blocks fail.
        """
        added = 0
        with store_errors(), self._connection.transaction():
            while some := list(islice(packs, _WRITE_AT_ONCE)):
                insert_packs(self._connection, shard, some, now=now)
                added += len(some)
            if refused:
                found = [{"block_no": block_no, "detail": detail} for block_no, detail in refused.items()]
                change(
                    self._connection,
                    "refuse_blocks",
                    run_no=shard.run_no,
                    error_class=Finding.TOO_LARGE.value,
                    refused=json.dumps(found),
                )
            change(self._connection, "submit_blocks", run_no=shard.run_no, shard_no=shard.shard_no)
        return added

    def open_packs(self, shard: Shard) -> list[OpenPack]:
        """Packs without an answer, oldest first."""
        return [
            open_pack(r) for r in rows(self._connection, "open_packs", run_no=shard.run_no, shard_no=shard.shard_no)
        ]

    def members(self, pack_no: int) -> list[PackMember]:
        """The pack's blocks with their texts, in order."""
        return [
            PackMember(
                block_no=r["block_no"],
                ordinal=r["ordinal"],
                type=BlockType(r["block_type"]),
                text=r["text"],
                tokens=r["n_tokens"],
                attempts_before=r["attempts_before"],
                standing=_standing(r),
            )
            for r in rows(self._connection, "pack_members", pack_no=pack_no)
        ]


def insert_packs(connection: Connection, shard: Shard, packs: Iterable[NewPack], *, now: datetime) -> None:
    """Writes packs and their blocks; part of the caller's transaction."""
    packs = list(packs)
    if not packs:
        return
    numbers = [r["pack_no"] for r in rows(connection, "pack_numbers", count=len(packs))]
    # Packs of one model share their limits; most of the time here would go into saying the same again.
    limits = {id(pack.limits): pack.limits for pack in packs}
    said = {key: json.dumps(each.document()) for key, each in limits.items()}
    with store_errors(), connection.cursor() as cursor:
        with cursor.copy(statement("copy_packs")) as copy:
            for pack_no, pack in zip(numbers, packs, strict=True):
                copy.write_row(_pack_row(pack_no, shard, pack, said[id(pack.limits)], now))
        with cursor.copy(statement("copy_pack_blocks")) as copy:
            for pack_no, pack in zip(numbers, packs, strict=True):
                for i, (block, attempts) in enumerate(zip(pack.planned.blocks, pack.attempts, strict=True), start=1):
                    copy.write_row((pack_no, i, shard.run_no, block.block_no, attempts))
        with cursor.copy(statement("copy_pack_contexts")) as copy:
            for pack_no, pack in zip(numbers, packs, strict=True):
                if pack.context.kind is not ContextKind.NONE:
                    copy.write_row(_context_row(pack_no, pack.context))


def _pack_row(pack_no: int, shard: Shard, pack: NewPack, limits: str, now: datetime) -> tuple[object, ...]:
    return (
        pack_no,
        shard.run_no,
        shard.shard_no,
        pack.parent_pack_no,
        pack.generation,
        pack.origin.asks,
        pack.origin.cause,
        pack.origin.first_tier,
        pack.origin.hops,
        pack.origin.obstacle,
        pack.route.tier,
        str(pack.route.model),
        pack.route.mode,
        pack.route.rule_id,
        pack.route.reason,
        pack.cache_ttl,
        pack.cache_reason,
        pack.planned.input_tokens,
        pack.planned.output_tokens,
        pack.planned.max_tokens,
        pack.output_scale,
        limits,
        pack.planned.reason,
        pack.tools,
        now,
    )


def _context_row(pack_no: int, context: CarriedContext) -> tuple[object, ...]:
    ids = [uuid.UUID(text_id) for text_id in context.text_ids]
    return (pack_no, context.kind, context.cause, context.reason, context.tokens, ids)


def _context(r: DictRow) -> CarriedContext:
    if r["context_kind"] is None:
        return NO_CONTEXT
    return CarriedContext(
        kind=ContextKind(r["context_kind"]),
        cause=ContextCause(r["context_cause"]),
        reason=r["context_reason"],
        tokens=r["context_tokens"],
        text_ids=tuple(text_id.hex for text_id in r["context_texts"]),
    )


def _standing(r: DictRow) -> StandingAnswer | None:
    if r["standing_call"] is None:
        return None
    return StandingAnswer(call_no=r["standing_call"], tier=r["standing_tier"], values=r["standing_answer"])


def open_pack(r: DictRow) -> OpenPack:
    """The pack behind a row of the table with its number of tries."""
    return OpenPack(
        pack_no=r["pack_no"],
        shard=Shard(run_no=r["run_no"], shard_no=r["shard_no"]),
        route=Route(
            tier=r["tier"],
            model=parse_model_ref(r["model"]),
            mode=r["mode"],
            rule_id=r["route_rule"],
            reason=r["route_reason"],
        ),
        cache_ttl=r["cache_ttl"],
        cache_reason=r["cache_reason"],
        input_tokens=r["input_tokens"],
        output_tokens=r["output_tokens"],
        max_tokens=r["max_tokens"],
        output_scale=r["output_scale"],
        generation=r["generation"],
        origin=Origin(
            asks=Asks(r["asks"]),
            cause=Cause(r["cause"]),
            first_tier=r["first_tier"],
            hops=r["hops"],
            obstacle=None if r["obstacle"] is None else Obstacle(r["obstacle"]),
        ),
        tries=r["tries"],
        context=_context(r),
        tools=r["tools"],
    )
