"""Conversations with tools in Postgres: every turn a call of its own."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from threading import Lock
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Json, Jsonb

from tokenopt_pipeline.adapters.postgres.calls import admit, end_call
from tokenopt_pipeline.adapters.postgres.connection import Connection, change, row, rows, store_errors
from tokenopt_pipeline.adapters.postgres.texts import storable, storable_or_none
from tokenopt_pipeline.domain.bridge import StopCause, ToldResult
from tokenopt_pipeline.domain.conversations import KeptConversation, KeptTurn, SettledTurn
from tokenopt_pipeline.domain.errors import StoreUnavailable, TokenOptError
from tokenopt_pipeline.domain.packs import OpenPack
from tokenopt_pipeline.domain.requests import ModelResponse, StopReason
from tokenopt_pipeline.domain.tools import ToolCall, ToolResult
from tokenopt_pipeline.domain.usage import TokenUsage


class PostgresConversations:
    """`ports.ConversationStore` on one connection. Begins and reads in the thread that owns the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def open(self, pack: OpenPack, *, usd_ceiling: Decimal | None, now: datetime) -> KeptConversation:
        """Reserves what the pack may cost at most, once, and gives its conversation as far as it is stored.

        Raises, with nothing written, RunCancelled or BudgetExceeded.
        """
        with store_errors(), self._connection.transaction():
            known = row(self._connection, "find_conversation", pack_no=pack.pack_no)
            admit(self._connection, pack.shard.run_no, usd_ceiling, is_reserved=known is not None)
            change(
                self._connection,
                "open_conversation",
                pack_no=pack.pack_no,
                run_no=pack.shard.run_no,
                reserved_usd=usd_ceiling,
                now=now,
            )
        return KeptConversation(began_at=now) if known is None else self._kept(pack, known["begun_at"])

    def find(self, pack: OpenPack) -> KeptConversation | None:
        """The pack's conversation as far as it is stored; None: there has been none."""
        known = row(self._connection, "find_conversation", pack_no=pack.pack_no)
        return None if known is None else self._kept(pack, known["begun_at"])

    def _kept(self, pack: OpenPack, began_at: datetime) -> KeptConversation:
        found = rows(self._connection, "conversation_turns", pack_no=pack.pack_no)
        return KeptConversation(began_at=began_at, turns=tuple(_turn(r) for r in found))


class PostgresTurns:
    """`ports.TurnStore` on a connection of its own, for several threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = Lock()

    def begin(self, pack: OpenPack, *, fingerprint: str, usd_ceiling: Decimal | None, now: datetime) -> int:
        """Commits the intent to ask, within what is reserved, and gives the call's number. Raises RunCancelled."""
        run_no = pack.shard.run_no
        with self._lock, store_errors(), self._connection.transaction():
            admit(self._connection, run_no, usd_ceiling, is_reserved=True)
            begun = row(
                self._connection,
                "begin_call",
                pack_no=pack.pack_no,
                run_no=run_no,
                fingerprint=fingerprint,
                usd_ceiling=usd_ceiling,
                now=now,
            )
        assert begun is not None  # the statement always returns a row
        return int(begun["call_no"])

    def settle(self, turn: SettledTurn, *, now: datetime) -> None:
        """Stores a turn and its ledger row, in one transaction; the pack stays open."""
        with self._lock, store_errors(), self._connection.transaction():
            end_call(self._connection, turn.call_no, "continued", now)
            change(
                self._connection,
                "insert_response",
                call_no=turn.call_no,
                stop=turn.response.stop,
                text=storable(turn.response.text),
                refusal=storable_or_none(turn.response.refusal),
                strays=0,
                now=now,
            )
            change(self._connection, "insert_ledger_row", **_ledger_row(turn), now=now)
            change(
                self._connection,
                "insert_turn",
                call_no=turn.call_no,
                pack_no=turn.pack.pack_no,
                carry=storable_or_none(turn.response.carry),
                tool_calls=Json([[c.call_id, c.name, c.arguments, c.problem] for c in turn.response.tool_calls]),
                latency_ms=turn.latency_ms,
            )

    def tell(self, pack: OpenPack, told: Sequence[ToldResult], *, calls_made: int, tools_ms: int) -> None:
        """Stores what the model is told about the calls of its newest turn."""
        with self._lock:
            changed = change(
                self._connection,
                "tell_turn",
                pack_no=pack.pack_no,
                told=Json([[t.result.call_id, t.result.text, t.result.is_error, t.is_kept] for t in told]),
                calls_made=calls_made,
                tools_ms=tools_ms,
            )
        if changed != 1:
            raise StoreUnavailable(f"pack {pack.pack_no} is in conversation with another process")

    def give_up(
        self,
        plain: OpenPack,
        *,
        cause: StopCause,
        reason: str,
        refused: tuple[int, TokenOptError] | None,
        now: datetime,
    ) -> None:
        """Stores that the pack is asked plainly from now on, as `plain` has it, and the call that was refused, if one was."""
        with self._lock, store_errors(), self._connection.transaction():
            if refused is not None:
                call_no, problem = refused
                end_call(self._connection, call_no, "failed", now, error=(type(problem).__name__, str(problem)))
            if change(self._connection, "take_tools_away", pack_no=plain.pack_no) != 1:
                raise StoreUnavailable(f"pack {plain.pack_no} was settled by another process")
            change(
                self._connection, "give_up_conversation", pack_no=plain.pack_no, cause=cause, reason=storable(reason)
            )
            context = plain.context
            # A pack without references has no row.
            change(
                self._connection,
                "widen_context",
                pack_no=plain.pack_no,
                kind=context.kind,
                cause=context.cause,
                reason=storable(context.reason),
                tokens=context.tokens,
                text_ids=[uuid.UUID(text_id) for text_id in context.text_ids],
            )


def conversations_of_run(connection: Connection, run_no: int, *, shard_no: int | None = None) -> dict[str, Any]:
    """How many conversations, turns and calls, and cause -> packs that were asked plainly; empty without any."""
    found = row(connection, "run_conversations", run_no=run_no, shard_no=shard_no)
    assert found is not None  # an aggregate always has a row
    if not found["conversations"]:
        return {}
    causes = rows(connection, "run_conversation_causes", run_no=run_no, shard_no=shard_no)
    counted = {name: int(found[name]) for name in ("conversations", "going_on", "turns", "tool_calls", "calls_made")}
    return {**counted, "gave_up": {r["cause"]: r["n"] for r in causes}}


def _turn(r: DictRow) -> KeptTurn:
    calls = tuple(
        ToolCall(call_id=call_id, name=name, arguments=arguments, problem=problem)
        for call_id, name, arguments, problem in r["tool_calls"]
    )
    told = r["told"]
    return KeptTurn(
        response=ModelResponse(
            text=r["text"],
            stop=StopReason(r["stop"]),
            usage=TokenUsage(
                **{
                    name: r[name]
                    for name in ("input_uncached", "cache_write_5m", "cache_write_1h", "cache_read", "output")
                }
            ),
            request_id=r["request_id"],
            simulated=r["kind"] == "simulated",
            refusal=r["refusal"],
            tool_calls=calls,
            carry=r["carry"],
        ),
        usd=r["usd"],
        told=None
        if told is None
        else tuple(
            ToldResult(result=ToolResult(call_id=call_id, text=text, is_error=is_error), is_kept=is_kept)
            for call_id, text, is_error, is_kept in told
        ),
        spent_ms=r["spent_ms"],
        call_no=r["call_no"],
    )


def _ledger_row(turn: SettledTurn) -> dict[str, Any]:
    usage, pack = turn.response.usage, turn.pack
    return {
        "call_no": turn.call_no,
        "run_no": pack.shard.run_no,
        "shard_no": pack.shard.shard_no,
        "model": str(pack.route.model),
        "mode": pack.route.mode,
        "kind": "simulated" if turn.response.simulated else "live",
        "request_id": turn.response.request_id,
        "fingerprint": turn.fingerprint,
        "input_uncached": usage.input_uncached,
        "cache_write_5m": usage.cache_write_5m,
        "cache_write_1h": usage.cache_write_1h,
        "cache_read": usage.cache_read,
        "output": usage.output,
        "usd": turn.usd,
        "latency_ms": turn.latency_ms,
        # It answers no block.
        "pack_blocks": 0,
        "split_events": pack.generation,
        "assumed_input": turn.input_tokens,
        "assumed_output": 0,
        "assumed_max_tokens": turn.max_tokens,
        "assumed_usd_ceiling": turn.usd_ceiling,
        "prefix": Jsonb(turn.prefix.document()),
        "prefix_tokens": turn.prefix_tokens,
        "table_input": None,
    }
