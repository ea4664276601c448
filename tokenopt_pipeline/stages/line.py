"""The straight line: a shard's stages in order, on one set of ports. Each may run twice and changes nothing the second time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from tokenopt_pipeline.domain.batches import Batch
from tokenopt_pipeline.domain.caching import PrefixWarmth
from tokenopt_pipeline.domain.flow import FlowWindow
from tokenopt_pipeline.domain.packs import OpenPack
from tokenopt_pipeline.domain.runs import Run, RunState, Shard
from tokenopt_pipeline.ports import (
    AnswerValidators,
    CallStore,
    Clock,
    ConversationStore,
    OverlayStore,
    PackStore,
    PrefixLedger,
    Prices,
    RunStore,
    ShardStore,
    Supply,
)
from tokenopt_pipeline.stages.asker import Asker
from tokenopt_pipeline.stages.batching import Batching
from tokenopt_pipeline.stages.collect import Collector
from tokenopt_pipeline.stages.contexts import Contexts, ContextTexts
from tokenopt_pipeline.stages.conversations import Conversations, OpenTools
from tokenopt_pipeline.stages.follow import Follower
from tokenopt_pipeline.stages.keep import KeptPrefixes, give_back
from tokenopt_pipeline.stages.prepare import decide_blocks, pack_blocks
from tokenopt_pipeline.stages.receive import Receiver
from tokenopt_pipeline.stages.rounds import Rounds
from tokenopt_pipeline.stages.settle import PreparedCall, prepare_call
from tokenopt_pipeline.stages.submit import Submitter
from tokenopt_pipeline.stages.watch import Watched, Watcher


@dataclass(slots=True, kw_only=True)
class Line:
    """What a process needs to take shards from blocks to overlays."""

    runs: RunStore
    shards: ShardStore
    packs: PackStore
    calls: CallStore
    overlays: OverlayStore
    prefixes: PrefixLedger
    contexts: Contexts
    conversations: ConversationStore
    #: Opens the tool servers of a run whose policy has some.
    open_tools: Callable[[Run], OpenTools]
    supply: Supply
    batching: Batching
    validators: AnswerValidators
    clock: Clock
    #: Whether somebody wants the work to end; looked at where it can.
    stop: Callable[[], bool] = lambda: False
    #: Model -> how many requests may be in flight, for all runs of the process.
    windows: dict[str, FlowWindow] = field(default_factory=dict)
    #: Fingerprint of a prefix -> what is known of its cache entry, for all runs of the process.
    warmth: dict[str, PrefixWarmth] = field(default_factory=dict)
    #: Run number -> its open tool servers.
    _tools: dict[int, OpenTools] = field(default_factory=dict)
    #: Run number -> its collector, which keeps what it learns over the shards of a process.
    _collectors: dict[int, Collector] = field(default_factory=dict)

    def count(self, run: Run, shard: Shard) -> int:
        """Blocks of the shard."""
        return self.shards.count(shard)

    def decide(self, run: Run, shard: Shard) -> Mapping[str, int]:
        """Rule id -> blocks, over the whole shard."""
        with self.shards.exclusive(shard):
            return decide_blocks(run, shard, shards=self.shards)

    def pack(self, run: Run, shard: Shard) -> int:
        """Packs added."""
        with self.shards.exclusive(shard):
            return pack_blocks(
                run,
                shard,
                packs=self.packs,
                contexts=self.contexts,
                models=self.supply.models(run),
                prices=self.supply.prices(run),
                now=self.clock.now(),
            )

    def submit(self, run: Run, shard: Shard) -> Mapping[str, int]:
        """Batches and requests handed to providers. A shard whose packs go in sync mode has none."""
        if run.mode == "sync":
            return {"batches": 0}
        submitter = Submitter(
            run=run,
            batching=self.batching,
            packs=self.packs,
            calls=self.calls,
            models=self.supply.models(run),
            prices=self.supply.prices(run).in_batches(run.policy.batches.price_share),
            texts=ContextTexts(run=run, store=self.contexts.store),
            rounds=self._rounds(run),
        )
        with self.shards.exclusive(shard):
            return submitter.submit(shard)

    def receive(self, run: Run, shard: Shard) -> Mapping[str, int]:
        """Answers that came in batches which have ended, of a run that has ended as well: they are paid for."""
        receiver = Receiver(
            run=run,
            batching=self.batching,
            packs=self.packs,
            calls=self.calls,
            models=self.supply.models(run),
            prices=self.supply.prices(run).in_batches(run.policy.batches.price_share),
            texts=ContextTexts(run=run, store=self.contexts.store),
            validators=self.validators,
            follower=Follower(
                run=run,
                models=self.supply.models(run),
                prices=self.supply.prices(run),
                packs=self.packs,
                calls=self.calls,
                clock=self.clock,
            ),
            rounds=self._rounds(run),
            stop=self.stop,
        )
        with self.shards.exclusive(shard):
            return receiver.receive(shard)

    def watch(self, due: Sequence[Batch], run_of: Callable[[int], Run]) -> Watched:
        """Looks at batches of any runs, with one listing per provider."""
        return Watcher(batching=self.batching, shards=self.shards, run_of=run_of, stop=self.stop).watch(due)

    def advance(self, run: Run, shard: Shard) -> Mapping[str, int]:
        """All that can be done now for a shard with batches: receive, submit the next round, ask what goes in sync mode."""
        received = self.receive(run, shard)
        if run.state is not RunState.OPEN:
            return received
        submitted = self.submit(run, shard)
        calls = self.collect(run, shard)
        return {**received, **submitted, "calls": received.get("calls", 0) + calls}

    def collect(self, run: Run, shard: Shard) -> int:
        """Calls answered. Nothing is asked for a run that has ended."""
        if run.state is not RunState.OPEN:
            return 0
        collector = self._collectors.get(run.run_no)
        if collector is None:
            collector = self._collectors[run.run_no] = Collector(
                run=run,
                packs=self.packs,
                calls=self.calls,
                models=self.supply.models(run),
                prices=self.supply.prices(run),
                validators=self.validators,
                clock=self.clock,
                asker=self._asker(run),
                stop=self.stop,
                windows=self.windows,
                warmth=self.warmth,
                kept=KeptPrefixes(
                    run=run,
                    keeper_of=partial(self.supply.keeper, run),
                    ledger=self.prefixes,
                    prices=self.supply.prices(run),
                    clock=self.clock,
                ),
            )
        with self.shards.exclusive(shard):
            return collector.collect(shard)

    def close(self) -> None:
        """Ends the tool servers of all runs."""
        while self._tools:
            _, tools = self._tools.popitem()
            tools.close()

    def _asker(self, run: Run) -> Asker:
        return Asker(
            run=run,
            provider=self.supply.provider(run),
            packs=self.packs,
            calls=self.calls,
            models=self.supply.models(run),
            prices=self.supply.prices(run),
            clock=self.clock,
            texts=ContextTexts(run=run, store=self.contexts.store),
            conversations=self._conversations(run),
        )

    def _conversations(self, run: Run, *, in_batches: bool = False) -> Conversations | None:
        if not run.policy.bridge.enabled:
            return None
        if run.run_no not in self._tools:
            self._tools[run.run_no] = self.open_tools(run)
        prices = self.supply.prices(run)
        return Conversations(
            run=run,
            tools=self._tools[run.run_no],
            store=self.conversations,
            provider=self.supply.provider(run),
            prices=prices.in_batches(run.policy.batches.price_share) if in_batches else prices,
            plain_prices=prices,
            clock=self.clock,
            in_batches=in_batches,
        )

    def _rounds(self, run: Run) -> Rounds | None:
        conversations = self._conversations(run, in_batches=True)
        if conversations is None:
            return None
        texts, models = ContextTexts(run=run, store=self.contexts.store), self.supply.models(run)

        def prepared(pack: OpenPack, *, prices: Prices) -> PreparedCall:
            members, model = self.packs.members(pack.pack_no), models.spec(pack.route.model)
            return prepare_call(run, pack, members, model=model, prices=prices, texts=texts)

        return Rounds(
            conversations=conversations,
            in_batch=partial(prepared, prices=conversations.prices),
            by_itself=partial(prepared, prices=conversations.plain_prices),
            intents=self.batching.intents,
            stop=self.stop,
        )

    def flow(self) -> Mapping[str, Mapping[str, int]]:
        """Model -> its window now, its ceiling, and how often refusals and scarcity made it smaller."""
        now_s = self.clock.monotonic_s()
        return {model: window.story(now_s) for model, window in sorted(self.windows.items())}

    def cache_story(self) -> Mapping[str, Mapping[str, str]]:
        """Model -> why its prefix is no longer waited for; only those that were given up."""
        given_up: dict[str, str] = {}
        for collector in self._collectors.values():
            given_up.update(collector.given_up())
        return {"given_up": given_up} if given_up else {}

    def reconcile(self, run: Run, shard: Shard) -> Mapping[str, int]:
        """Overlay status -> blocks, over the whole shard; the run ends with its last block."""
        counts = self.overlays.reconcile(shard)
        if self.runs.close_if_done(run.run_no, now=self.clock.now()):
            keeper_of = partial(self.supply.keeper, run)
            give_back(run, keeper_of=keeper_of, ledger=self.prefixes, clock=self.clock)
        return counts

    def whole(self, run: Run, shard: Shard) -> Mapping[str, int]:
        """All stages in order, for programs that do without Dagster."""
        self.decide(run, shard)
        self.pack(run, shard)
        self.collect(run, shard)
        return self.reconcile(run, shard)
