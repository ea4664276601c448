"""A process that takes conversations through a round and is killed at a named point, for tests that go on after it."""

from __future__ import annotations

from typing import Any

from tokenopt_pipeline.adapters.mcp_client import McpHost
from tokenopt_pipeline.adapters.postgres import conversations
from tokenopt_pipeline.adapters.postgres.batch_results import PostgresBatchResults
from tokenopt_pipeline.adapters.postgres.batches import PostgresBatches
from tokenopt_pipeline.adapters.postgres.connection import connect
from tokenopt_pipeline.adapters.postgres.conversations import PostgresConversations, PostgresTurns
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.domain.runs import Shard
from tokenopt_pipeline.sandbox.in_process import Control, Sandbox
from tokenopt_pipeline_tests.stages import killed_batches
from tokenopt_pipeline_tests.stages.batch_rig import BatchRig, MovedClock
from tokenopt_pipeline_tests.stages.killed_batches import die
from tokenopt_pipeline_tests.stages.rig import Rig
from tokenopt_pipeline_tests.stages.rounds_rig import open_host, opens

#: Point -> how many batches have ended before. In the order in which a run meets them.
POINTS = {
    "while conversations are opened": 0,
    "before the provider is asked": 0,
    "after the provider accepted": 0,
    "during the download": 1,
    "during the import": 1,
    "while a turn is settled": 1,
    "before the batch is closed": 1,
    "before the tools are called": 1,
    "while the tools are called": 1,
    "while it is stored what models are told": 1,
    "before the next intent": 1,
    "while the next intent is stored": 1,
    "before the provider is asked for the next round": 1,
    "after the provider accepted the next round": 1,
    "during the settlement": 2,
    "during the reconciliation": 2,
}
#: Of conversations that come to a bound after their first turn.
GIVING_UP = {
    "while it is stored that a conversation gave up": 1,
    "when some have given up": 1,
    "while a conversation loses its tools": 1,
}


def work_until_killed(*, url: str, base_url: str, vendor: str, run_id: str, ahead_s: float, point: str) -> None:
    """All that a process does for a shard, until the point."""
    sandbox = Sandbox(base_url=base_url, control=Control(base_url=base_url))
    with connect(url) as connection, open_host() as host:
        rig = BatchRig(
            rig=Rig(connection=connection),
            sandbox=sandbox,
            vendor=vendor,
            clock=MovedClock(ahead_s),
            open_tools=opens(url, host),
        )
        _arm(point)
        run = PostgresRuns(connection).find(run_id)
        shard, line = Shard(run_no=run.run_no, shard_no=0), rig.line()
        rig.watch(line)
        # What was adopted just now is looked at as well.
        rig.watch(line)
        line.advance(run, shard)
        line.reconcile(run, shard)


def _arm(point: str) -> None:
    """Makes the point deadly."""
    if point in killed_batches.POINTS:
        killed_batches._arm(point)
    elif point.endswith("the next round"):
        killed_batches._arm(point.removesuffix(" for the next round").removesuffix(" the next round"))
    places: dict[str, tuple[Any, str, int]] = {
        "while conversations are opened": (PostgresConversations, "open", 2),
        "before the batch is closed": (PostgresBatchResults, "close", 1),
        "before the tools are called": (McpHost, "call", 1),
        "while the tools are called": (McpHost, "call", 3),
        "before the next intent": (PostgresBatches, "intend", 1),
        "while the next intent is stored": (PostgresBatches, "_begin", 3),
        "when some have given up": (PostgresTurns, "give_up", 3),
    }
    if point in places:
        owner, name, nth = places[point]
        setattr(owner, name, _dying_at(getattr(owner, name), nth))
    statements = {
        # In the transaction, when a part of it is done.
        "while a turn is settled": ("insert_turn", 3),
        "while it is stored what models are told": ("tell_turn", 2),
        "while it is stored that a conversation gave up": ("widen_context", 2),
        "while a conversation loses its tools": ("take_tools_away", 2),
    }
    if point in statements:
        # What the module imported, which is no part of what it offers.
        killed = _dying_in(vars(conversations)["change"], *statements[point])
        vars(conversations)["change"] = killed


def _dying_at(do: Any, nth: int) -> Any:
    """Dies when it is called for the nth time."""
    done: list[int] = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        done.append(1)
        if len(done) == nth:
            die()
        return do(*args, **kwargs)

    return counted


def _dying_in(change: Any, statement: str, nth: int) -> Any:
    """Dies when the statement is to be run for the nth time."""
    done: list[int] = []

    def counted(connection: Any, name: str, **parameters: Any) -> Any:
        if name == statement:
            done.append(1)
            if len(done) == nth:
                die()
        return change(connection, name, **parameters)

    return counted
