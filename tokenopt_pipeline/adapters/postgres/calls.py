"""Calls, answers and the ledger in Postgres."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb

from tokenopt_pipeline.adapters.postgres.connection import Connection, change, row, store_errors
from tokenopt_pipeline.adapters.postgres.packs import insert_packs
from tokenopt_pipeline.adapters.postgres.texts import storable, storable_or_none
from tokenopt_pipeline.domain.calls import AnsweredCall
from tokenopt_pipeline.domain.consequences import Choice
from tokenopt_pipeline.domain.errors import BudgetExceeded, RunCancelled, StoreUnavailable
from tokenopt_pipeline.domain.outputs import Finding
from tokenopt_pipeline.domain.packs import NewPack, OpenPack
from tokenopt_pipeline.domain.requests import ModelResponse
from tokenopt_pipeline.domain.retries import AskedAgain
from tokenopt_pipeline.domain.runs import RunState


class PostgresCalls:
    """`ports.CallStore` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self, pack: OpenPack, *, fingerprint: str, usd_ceiling: Decimal | None, now: datetime) -> int:
        """Commits the intent to call and gives its number.

        Raises, with nothing written, RunCancelled, or BudgetExceeded when spent, reserved and this call together pass the
        run's budget.
        """
        run_no = pack.shard.run_no
        with store_errors(), self._connection.transaction():
            # What a conversation about the pack had reserved covers its plain call.
            admit(self._connection, run_no, usd_ceiling, pack_no=pack.pack_no)
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

    def settle(self, call: AnsweredCall, *, now: datetime) -> None:
        """Stores answer, ledger row, findings and what is asked again, in one transaction."""
        shard = call.pack.shard
        with store_errors(), self._connection.transaction():
            end_call(
                self._connection,
                call.call_no,
                "answered" if call.response is not None else "failed",
                now,
                error=None if call.error_class is None else (call.error_class, call.error_message or ""),
            )
            self._settle_pack(call.pack)
            if call.response is not None:
                self._keep(call, call.response, now)
            change(
                self._connection,
                "insert_model_outputs",
                call_no=call.call_no,
                run_no=shard.run_no,
                findings=json.dumps(_findings(call)),
            )
            chosen = {b: c.chosen for b, c in call.consequences.items() if c.chosen is not None}
            self._choose(call.pack, chosen, now=now)
            insert_packs(self._connection, shard, call.again, now=now)

    def leave(self, pack: OpenPack, *, instead: Sequence[NewPack], chosen: Mapping[int, Choice], now: datetime) -> None:
        """Settles a pack that is not asked: each of its blocks is in another pack instead, or has an earlier answer."""
        with store_errors(), self._connection.transaction():
            self._settle_pack(pack)
            self._choose(pack, chosen, now=now)
            insert_packs(self._connection, pack.shard, instead, now=now)

    def _settle_pack(self, pack: OpenPack) -> None:
        """Part of the caller's transaction."""
        if change(self._connection, "settle_pack", pack_no=pack.pack_no) != 1:
            raise StoreUnavailable(f"pack {pack.pack_no} was settled by another process; its answer is not taken twice")
        change(self._connection, "retire_pack_blocks", pack_no=pack.pack_no)

    def _choose(self, pack: OpenPack, chosen: Mapping[int, Choice], *, now: datetime) -> None:
        """Part of the caller's transaction."""
        if not chosen:
            return
        found = [
            {"block_no": block_no, "call_no": choice.call_no, "reason": storable(choice.reason)}
            for block_no, choice in chosen.items()
        ]
        change(self._connection, "insert_chosen_answers", run_no=pack.shard.run_no, chosen=json.dumps(found), now=now)

    def asked_again(self, run_no: int) -> AskedAgain:
        """What splits have cost the run so far."""
        found = row(self._connection, "asked_again", run_no=run_no)
        assert found is not None  # an aggregate always has a row
        return AskedAgain(**found)

    def supersede(self, call: AnsweredCall, *, now: datetime) -> None:
        """Stores an answer that came after its pack had got another one: billed, and nobody's output."""
        assert call.response is not None
        with store_errors(), self._connection.transaction():
            if change(self._connection, "supersede_call", call_no=call.call_no, now=now) != 1:
                raise StoreUnavailable(f"call {call.call_no} has ended already")
            self._keep(call, call.response, now)

    def fail(self, call_no: int, *, error_class: str, message: str, may_be_billed: bool, now: datetime) -> None:
        """Stores that a try got no answer; its pack stays open. One that may be billed keeps counting at its ceiling."""
        end_call(self._connection, call_no, "failed", now, error=(error_class, message), may_be_billed=may_be_billed)

    def _keep(self, call: AnsweredCall, response: ModelResponse, now: datetime) -> None:
        change(
            self._connection,
            "insert_response",
            call_no=call.call_no,
            stop=response.stop,
            text=storable(response.text),
            refusal=storable_or_none(response.refusal),
            strays=call.answer.strays,
            now=now,
        )
        change(self._connection, "insert_ledger_row", **_ledger_row(call), now=now)


def admit(
    connection: Connection,
    run_no: int,
    usd_ceiling: Decimal | None,
    *,
    is_reserved: bool = False,
    pack_no: int | None = None,
) -> None:
    """Lets the caller's transaction spend so much, alone among all of the run, unless it `is_reserved` already.

    What is reserved for the pack itself is free to be spent.

    Raises RunCancelled or BudgetExceeded.
    """
    budget = row(connection, "lock_run_budget", run_no=run_no)
    assert budget is not None  # the pack's foreign key says so
    if budget["state"] == RunState.CANCELLED:
        raise RunCancelled(f"run {budget['run_id']} was cancelled; nothing more is asked for it")
    limit = budget["budget_usd"]
    if limit is None or is_reserved:
        return
    used = row(connection, "used_budget", run_no=run_no, pack_no=pack_no)
    assert used is not None  # an aggregate always has a row
    needed = used["used_usd"] + (usd_ceiling or Decimal(0))
    if usd_ceiling is None or needed > limit:
        raise BudgetExceeded(
            f"budget of ${limit.normalize():f}: ${used['used_usd']:.4f} is spent or reserved and the next call may "
            f"cost ${usd_ceiling or Decimal(0):.4f}; the run stopped before it",
            limit_usd=limit,
            needed_usd=needed,
        )


def end_call(
    connection: Connection,
    call_no: int,
    state: str,
    now: datetime,
    *,
    error: tuple[str, str] | None = None,
    may_be_billed: bool = False,
) -> None:
    """started → any other state; `error` is a class and a message. Raises StoreUnavailable when it has ended already."""
    ended = change(
        connection,
        "end_call",
        call_no=call_no,
        state=state,
        error_class=None if error is None else error[0],
        error_message=None if error is None else storable(error[1]),
        may_be_billed=may_be_billed,
        now=now,
    )
    if ended != 1:
        raise StoreUnavailable(f"call {call_no} has ended already")


def _findings(call: AnsweredCall) -> list[dict[str, Any]]:
    failed = dict(call.next_step.failed)

    def follows(block_no: int, finding: Finding) -> dict[str, Any]:
        found = call.consequences.get(block_no)
        if found is None:
            return {"is_last": finding is Finding.VALID or block_no in failed, "doubts": None, "verdict": None}
        doubts = [{name: storable(said) for name, said in asdict(doubt).items()} for doubt in found.doubts or ()]
        return {
            "is_last": found.is_last,
            "doubts": None if found.doubts is None else doubts,
            "verdict": storable_or_none(found.verdict or None),
        }

    return [
        {
            "position": output.ordinal,
            "block_no": member.block_no,
            "finding": output.finding.value,
            "answer": output.values,
            "detail": storable(output.detail),
            "answer_tokens": tokens,
            **follows(member.block_no, output.finding),
        }
        for member, output, tokens in zip(call.members, call.answer.outputs, call.answer_tokens, strict=True)
    ]


def _ledger_row(call: AnsweredCall) -> dict[str, Any]:
    assert call.response is not None
    usage, assumed = call.response.usage, call.assumptions
    return {
        "call_no": call.call_no,
        "run_no": call.pack.shard.run_no,
        "shard_no": call.pack.shard.shard_no,
        "model": str(call.pack.route.model),
        "kind": "simulated" if call.response.simulated else "live",
        "request_id": call.response.request_id,
        "fingerprint": call.request_fingerprint,
        "input_uncached": usage.input_uncached,
        "cache_write_5m": usage.cache_write_5m,
        "cache_write_1h": usage.cache_write_1h,
        "cache_read": usage.cache_read,
        "output": usage.output,
        "usd": call.usd,
        "latency_ms": call.latency_ms,
        "pack_blocks": assumed.pack_blocks,
        "split_events": call.pack.generation,
        "assumed_input": assumed.input_tokens,
        "assumed_output": assumed.output_tokens,
        "assumed_max_tokens": assumed.max_tokens,
        "assumed_usd_ceiling": assumed.usd_ceiling,
        "prefix": Jsonb(call.prefix.document()),
        "prefix_tokens": assumed.prefix_tokens,
        "table_input": assumed.table_input_tokens,
        "mode": call.pack.route.mode,
    }
