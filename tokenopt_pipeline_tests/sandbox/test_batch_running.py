"""How batches run, whatever the provider: a party that answers nothing but names, and a clock by hand."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.sandbox.batch_config import BatchSettings
from tokenopt_pipeline.sandbox.batch_faults import BatchFault, BatchFaultPlan
from tokenopt_pipeline.sandbox.batch_running import BatchRunner
from tokenopt_pipeline.sandbox.batches import Batch, BatchItem, End, Outcome, OutcomeKind
from tokenopt_pipeline.sandbox.json_value import JsonObject
from tokenopt_pipeline.sandbox.virtual_clock import VirtualClock

ITEM_FAULTS = [fault for fault in BatchFault if fault.startswith("item_")]
TURNAROUND_S, WINDOW_S = 100.0, 1000.0


class Names:
    """Answers with the item's name."""

    provider = "names"
    ordered = False

    def __init__(self, keeps: frozenset[End] = frozenset(End)) -> None:
        self.keeps = keeps
        self.asked: list[str] = []

    async def answer(self, batch: Batch, item: BatchItem) -> Outcome:
        self.asked.append(item.custom_id)
        return Outcome(kind=OutcomeKind.SUCCEEDED)

    def failed(self) -> Outcome:
        return Outcome(kind=OutcomeKind.ERRORED, status=500)

    def line(self, batch: Batch, item: BatchItem, outcome: Outcome) -> bytes:
        return item.custom_id.encode()

    def close(self, batch: Batch) -> None: ...

    def event(self, batch: Batch) -> tuple[str, JsonObject] | None:
        return None


def items(count: int) -> list[BatchItem]:
    return [BatchItem(custom_id=f"item-{n}", body=b"{}") for n in range(count)]


def runner_of(clock: VirtualClock, plan: BatchFaultPlan | None = None) -> BatchRunner:
    settings = BatchSettings(turnaround_s=TURNAROUND_S, cancelling_s=10, window_s=WINDOW_S)
    return BatchRunner(settings, clock, plan or BatchFaultPlan())


rates = st.fixed_dictionaries({fault: st.floats(0, 1 / len(ITEM_FAULTS)) for fault in ITEM_FAULTS})


@given(rates, st.integers(0, 3), st.integers(1, 60), st.none() | st.floats(0, TURNAROUND_S), st.booleans())
def test_every_item_has_one_outcome_and_the_lines_its_fault_says(
    shares: dict[BatchFault, float], seed: int, count: int, cancel_after_s: float | None, items_expire: bool
) -> None:
    async def story() -> tuple[Batch, Names]:
        clock = VirtualClock(lambda: 1_000_000.0)
        runner = runner_of(clock, BatchFaultPlan(seed=seed, rates=MappingProxyType(shares)))
        party = Names(frozenset(End) if items_expire else frozenset(End) - {End.EXPIRED})
        batch = runner.open(party, identifier="batch", key="k", items=items(count), tags={})
        if cancel_after_s is not None:
            clock.advance(cancel_after_s)
            runner.cancel(batch)
        clock.advance(WINDOW_S)
        assert await runner.ended(batch)
        return batch, party

    batch, party = asyncio.run(story())
    faults = Counter(item.fault for item in batch.items)
    assert sum(batch.counts.values()) == count
    assert batch.counts[OutcomeKind.SUCCEEDED] == len(party.asked) == len(set(party.asked))
    extra = faults[BatchFault.ITEM_DUPLICATED] + faults[BatchFault.ITEM_UNKNOWN] - faults[BatchFault.ITEM_MISSING]
    assert len(batch.results) == count + extra
    named = Counter(line.decode() for _, line in batch.results)
    for item in batch.items:
        times = {BatchFault.ITEM_MISSING: 0, BatchFault.ITEM_DUPLICATED: 2}
        assert named[item.custom_id] == (1 if item.fault is None else times.get(item.fault, 1))
    if cancel_after_s is None:
        assert batch.counts[OutcomeKind.CANCELED] == 0
        expiring = faults[BatchFault.ITEM_EXPIRED] if items_expire else 0
        assert batch.counts[OutcomeKind.EXPIRED] == expiring
        assert (batch.end is End.EXPIRED) == bool(expiring)
    else:
        assert batch.counts[OutcomeKind.EXPIRED] == 0
        assert len(party.asked) <= count * cancel_after_s / TURNAROUND_S + 1e-6


@given(st.lists(st.floats(0, TURNAROUND_S), min_size=2, max_size=5))
def test_progress_never_goes_back(moments: list[float]) -> None:
    async def story() -> Batch:
        return runner_of(VirtualClock(lambda: 0.0)).open(Names(), identifier="b", key="k", items=items(7), tags={})

    batch = asyncio.run(story())
    seen = [batch.progress(moment_s) for moment_s in sorted(moments)]
    assert seen == sorted(seen)
    assert (batch.progress(0), batch.progress(TURNAROUND_S)) == (0, 7)


def test_a_look_at_a_very_large_batch_does_not_wait_for_its_answers() -> None:
    async def story() -> tuple[bool, bool]:
        clock = VirtualClock(lambda: 0.0)
        runner = runner_of(clock)
        batch = runner.open(Names(), identifier="b", key="k", items=items(5001), tags={})
        clock.advance(TURNAROUND_S)
        first = await runner.ended(batch)
        await runner.settle(batch)
        return first, await runner.ended(batch)

    assert asyncio.run(story()) == (False, True)


def test_a_batch_looked_at_from_all_sides_is_answered_once() -> None:
    async def story() -> list[str]:
        clock, party = VirtualClock(lambda: 0.0), Names()
        runner = runner_of(clock)
        batch = runner.open(party, identifier="b", key="k", items=items(50), tags={})
        clock.advance(TURNAROUND_S)
        assert await asyncio.gather(*(runner.ended(batch) for _ in range(5))) == [True] * 5
        await asyncio.gather(runner.settle(batch), runner.tick())
        return party.asked

    assert len(asyncio.run(story())) == 50


@pytest.mark.parametrize("advanced_s", [0.0, TURNAROUND_S - 1])
def test_nothing_is_answered_before_its_time(advanced_s: float) -> None:
    async def story() -> list[str]:
        clock, party = VirtualClock(lambda: 0.0), Names()
        runner = runner_of(clock)
        batch = runner.open(party, identifier="b", key="k", items=items(5), tags={})
        clock.advance(advanced_s)
        await runner.tick()
        assert not await runner.ended(batch)
        return party.asked

    assert asyncio.run(story()) == []
