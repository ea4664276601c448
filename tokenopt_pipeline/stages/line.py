"""The straight line: a shard's stages in order, on one set of ports. Each may run twice and changes nothing the second time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tokenopt_pipeline.domain.runs import Run, Shard
from tokenopt_pipeline.ports import (
    AnswerValidators,
    CallStore,
    Clock,
    Models,
    OverlayStore,
    PackStore,
    Prices,
    Provider,
    RunStore,
    ShardStore,
)
from tokenopt_pipeline.stages.collect import Collector
from tokenopt_pipeline.stages.prepare import decide_blocks, enrol_blocks, pack_blocks


@dataclass(slots=True, kw_only=True)
class Line:
    """What a process needs to take shards from blocks to overlays."""

    runs: RunStore
    shards: ShardStore
    packs: PackStore
    calls: CallStore
    overlays: OverlayStore
    models: Models
    prices: Prices
    validators: AnswerValidators
    provider: Provider
    clock: Clock
    #: Whether somebody wants the work to end; looked at where it can.
    stop: Callable[[], bool] = lambda: False
    #: Run number -> its collector, which keeps what it learns over the shards of a process.
    _collectors: dict[int, Collector] = field(default_factory=dict)

    def enrol(self, run: Run, shard: Shard) -> int:
        """Blocks of the shard, each with its overlay."""
        return enrol_blocks(shard, shards=self.shards)

    def decide(self, run: Run, shard: Shard) -> Mapping[str, int]:
        """Rule id -> blocks, over the whole shard."""
        with self.shards.exclusive(shard):
            return decide_blocks(run, shard, shards=self.shards)

    def pack(self, run: Run, shard: Shard) -> int:
        """Packs added."""
        with self.shards.exclusive(shard):
            return pack_blocks(run, shard, packs=self.packs, models=self.models, now=self.clock.now())

    def collect(self, run: Run, shard: Shard) -> int:
        """Calls answered. Nothing is asked for a run that has ended."""
        if run.state != "open":
            return 0
        collector = self._collectors.get(run.run_no)
        if collector is None:
            collector = self._collectors[run.run_no] = Collector(
                run=run,
                provider=self.provider,
                packs=self.packs,
                calls=self.calls,
                models=self.models,
                prices=self.prices,
                validators=self.validators,
                clock=self.clock,
                stop=self.stop,
            )
        with self.shards.exclusive(shard):
            return collector.collect(shard)

    def reconcile(self, run: Run, shard: Shard) -> Mapping[str, int]:
        """Overlay status -> blocks, over the whole shard; the run ends with its last block."""
        counts = self.overlays.reconcile(shard)
        self.runs.close_if_done(run.run_no, now=self.clock.now())
        return counts

    def whole(self, run: Run, shard: Shard) -> Mapping[str, int]:
        """All stages in order, for programs that do without Dagster."""
        self.enrol(run, shard)
        self.decide(run, shard)
        self.pack(run, shard)
        self.collect(run, shard)
        return self.reconcile(run, shard)
