"""Running batches: how one begins, ends when its time has come, and is told about."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Sequence

from tokenopt_pipeline.sandbox.batch_config import BatchSettings
from tokenopt_pipeline.sandbox.batch_faults import BatchFault, BatchFaultDraw, BatchFaultPlan, Occasion
from tokenopt_pipeline.sandbox.batches import (
    Batch,
    BatchBook,
    BatchItem,
    BatchParty,
    End,
    Outcome,
    OutcomeKind,
    ResultLine,
)
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, compact
from tokenopt_pipeline.sandbox.stored_files import FileStore
from tokenopt_pipeline.sandbox.virtual_clock import VirtualClock
from tokenopt_pipeline.sandbox.webhooks import Webhooks

_ITEMS_AT_A_STRETCH = 20
"""Answered before other requests get their turn."""
_ITEMS_WORTH_WAITING_FOR = 5000
"""A look at a larger batch whose time has come does not wait for its answers to be made."""


class BatchRunner:
    """The batches of one sandbox at work. Used from one event loop only, so nothing here is locked but the making of results."""

    def __init__(self, settings: BatchSettings, clock: VirtualClock, plan: BatchFaultPlan) -> None:
        self.settings = settings
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self.reset(plan)

    def reset(self, plan: BatchFaultPlan) -> None:
        """Forget every batch, file and delivery."""
        self.book = BatchBook()
        self.files = FileStore()
        self.webhooks = Webhooks(self._clock)
        self._created: Counter[str] = Counter()
        self._items: Counter[OutcomeKind] = Counter()
        self._faults: Counter[BatchFault] = Counter()
        self.set_faults(plan)

    def set_faults(self, plan: BatchFaultPlan) -> None:
        """Start `plan` from its first occasion."""
        self._draw = BatchFaultDraw(plan)

    @property
    def plan(self) -> BatchFaultPlan:
        """The plan at work."""
        return self._draw.plan

    def decide(self, occasion: Occasion, content: bytes, identity: str) -> BatchFault | None:
        """The fault of this occasion, counted."""
        fault = self._draw.decide(occasion, content, identity)
        if fault is not None:
            self._faults[fault] += 1
        return fault

    def open(
        self,
        party: BatchParty,
        *,
        identifier: str,
        key: str,
        items: Sequence[BatchItem],
        tags: JsonObject,
        windows: int = 1,
    ) -> Batch:
        """Begin a batch that expires after `windows` of the configured ones; how it will end is settled here."""
        now_s = self._clock()
        digest = hashlib.sha256(b"".join(item.custom_id.encode() + b"\0" for item in items)).digest()
        batch = Batch(
            id=identifier,
            key=key,
            party=party,
            items=list(items),
            created_s=now_s,
            finish_s=now_s + self.settings.turnaround_s,
            expires_s=now_s + self.settings.window_s * windows,
            ends_s=now_s + self.settings.turnaround_s,
            end=End.COMPLETED,
            fault=self.decide(Occasion.BATCH, digest, f"{identifier} {compact(tags)}"),
            tags=tags,
        )
        for item in batch.items:
            item.fault = self.decide(Occasion.ITEM, item.custom_id.encode(), item.custom_id)
        if batch.fault is BatchFault.BATCH_FAILED:
            batch.end = End.FAILED
        elif self._expires(batch):
            batch.end, batch.ends_s = End.EXPIRED, batch.expires_s
        self.book.add(batch)
        self._created[party.provider] += 1
        self.wake_at(batch.ends_s)
        return batch

    def fail(self, batch: Batch, ends_s: float, errors: list[Json]) -> None:
        """`batch` is found to be no good as a whole, at `ends_s`."""
        batch.end, batch.ends_s, batch.errors = End.FAILED, ends_s, errors
        self.wake_at(ends_s)

    def cancel(self, batch: Batch) -> None:
        """Stop what has not been worked off."""
        batch.cancel(self._clock(), self.settings.cancelling_s)
        self.wake_at(batch.ends_s)

    async def ended(self, batch: Batch, *, looked_at: bool = False) -> bool:
        """Whether `batch` is to be shown as ended; `looked_at` when it was asked for by name."""
        if not batch.settled and self._clock() >= batch.ends_s:
            if len(batch.items) <= _ITEMS_WORTH_WAITING_FOR:
                await self.settle(batch)
            self._spawn()
        if batch.settled and looked_at:
            fault = self.decide(Occasion.STATUS, batch.id.encode(), f"{batch.id} {compact(batch.tags)}")
            return fault is not BatchFault.STATUS_STEPS_BACK
        return batch.settled

    async def settle(self, batch: Batch) -> None:
        """Give every item its outcome, once the time has come."""
        async with batch.lock:
            if batch.settled or self._clock() < batch.ends_s:
                return
            if batch.end in batch.party.keeps:
                await self._work_off(batch)
            batch.party.close(batch)
            batch.settled = True
            self._announce(batch)

    async def tick(self) -> None:
        """End what is due, and deliver what is to be told."""
        for batch in self.book:
            if not batch.settled:
                await self.settle(batch)
        await self.webhooks.deliver_due()

    def wake_at(self, moment_s: float) -> None:
        """Look again at `moment_s`, if the clock runs by itself until then."""
        asyncio.get_running_loop().call_later(max(0.0, moment_s - self._clock()) + 0.001, self._spawn)

    def as_json(self) -> JsonObject:
        """What `GET /control/stats` shows under `batches`."""
        return {
            "created": dict(self._created),
            "items": {kind.value: count for kind, count in self._items.items()},
            "faults": {fault.value: count for fault, count in self._faults.items()},
        }

    def _spawn(self) -> None:
        task = asyncio.get_running_loop().create_task(self.tick())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _expires(self, batch: Batch) -> bool:
        if batch.fault is BatchFault.BATCH_EXPIRED or batch.finish_s > batch.expires_s:
            return True
        return End.EXPIRED in batch.party.keeps and any(item.fault is BatchFault.ITEM_EXPIRED for item in batch.items)

    async def _work_off(self, batch: Batch) -> None:
        horizons = {End.CANCELLED: batch.cancel_s or 0.0, End.EXPIRED: batch.expires_s}
        done = batch.done_items(horizons.get(batch.end, batch.finish_s))
        lines: list[tuple[bytes, ResultLine]] = []
        for index, item in enumerate(batch.items):
            outcome = await self._outcome(batch, item, done=index < done)
            item.body = b""
            batch.counts[outcome.kind] += 1
            self._items[outcome.kind] += 1
            lines += self._lines(batch, item, outcome)
            if index % _ITEMS_AT_A_STRETCH == _ITEMS_AT_A_STRETCH - 1:
                await asyncio.sleep(0)
        if not batch.party.ordered:
            lines.sort(key=lambda place: place[0])
        batch.results = [line for _, line in lines]

    async def _outcome(self, batch: Batch, item: BatchItem, *, done: bool) -> Outcome:
        late = OutcomeKind.CANCELED if batch.end is End.CANCELLED else OutcomeKind.EXPIRED
        if batch.end is End.FAILED or item.fault is BatchFault.ITEM_ERRORED:
            return batch.party.failed()
        if item.fault is BatchFault.ITEM_EXPIRED:
            # Where items cannot expire alone, this one is an error of the provider's.
            return Outcome(kind=late) if batch.end is not End.COMPLETED else batch.party.failed()
        if not done:
            return Outcome(kind=late)
        return await batch.party.answer(batch, item)

    def _lines(self, batch: Batch, item: BatchItem, outcome: Outcome) -> list[tuple[bytes, ResultLine]]:
        """The item's lines of results, each with its place in the order they come in."""
        named = [item.custom_id]
        if item.fault is BatchFault.ITEM_MISSING:
            named = []
        elif item.fault is BatchFault.ITEM_DUPLICATED:
            named = [item.custom_id, item.custom_id]
        elif item.fault is BatchFault.ITEM_UNKNOWN:
            named = [item.custom_id, f"unknown-{hashlib.sha256(item.custom_id.encode()).hexdigest()[:12]}"]
        lines = []
        for number, name in enumerate(named):
            shown = item if name == item.custom_id else BatchItem(custom_id=name, body=b"", metadata={"key": name})
            place = hashlib.sha256(f"{self.plan.seed}:{number}:{name}".encode()).digest()
            lines.append((place, ResultLine(outcome.kind, batch.party.line(batch, shown, outcome))))
        return lines

    def _announce(self, batch: Batch) -> None:
        event = batch.party.event(batch)
        if event is None:
            return
        identity = f"{batch.id} {compact(batch.tags)}"
        for target in self.webhooks.targets(batch):
            fault = self.decide(Occasion.WEBHOOK, batch.id.encode(), identity)
            for due_s in self.webhooks.announce(batch, *event, target=target, fault=fault, late_s=self.plan.late_s):
                self.wake_at(due_s)
