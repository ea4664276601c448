"""Submit: a shard's waiting packs go to providers in batches, each intent committed before anybody is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from tokenopt_pipeline.domain.adoption import listing_reaches_back_to
from tokenopt_pipeline.domain.batch_policy import after_last_round
from tokenopt_pipeline.domain.batches import LIMITS, Batch, BatchOutcome, BatchState, custom_id, split_by_limits
from tokenopt_pipeline.domain.calls import AnsweredCall
from tokenopt_pipeline.domain.errors import (
    BatchNotMade,
    BudgetExceeded,
    FatalForRun,
    InvalidInput,
    TerminalError,
    TransientError,
)
from tokenopt_pipeline.domain.moves import Asks
from tokenopt_pipeline.domain.outputs import Finding, failed_answer
from tokenopt_pipeline.domain.priming import Turn, prefix_of, whose_turn
from tokenopt_pipeline.domain.retries import NextStep
from tokenopt_pipeline.domain.runs import Run, RunState, Shard
from tokenopt_pipeline.ports import (
    BatchProvider,
    CallStore,
    IntendedCall,
    Models,
    PackStore,
    Prices,
    UnsentPack,
)
from tokenopt_pipeline.stages.batching import LOOK_S, Batching
from tokenopt_pipeline.stages.contexts import ContextTexts
from tokenopt_pipeline.stages.rounds import Rounds
from tokenopt_pipeline.stages.settle import PreparedCall, prepare_call

# Stands in for an id whose number is not known yet: no real one is longer.
_LONGEST_ID = custom_id("0" * 16, 2**63)
_NOT_FOUND = "Nothing says that the provider still keeps the prefix, so that each request would pay for writing it."
_TIMEOUT_CLASS = "BatchRoundsSpent"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A call that can go."""

    call: PreparedCall
    #: Whether it is within what was reserved for a conversation.
    is_reserved: bool
    #: How many batches its blocks will have been in.
    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitter:
    """Hands the packs of one run to providers."""

    run: Run
    batching: Batching
    packs: PackStore
    calls: CallStore
    models: Models
    #: Of batches.
    prices: Prices
    texts: ContextTexts
    #: Of conversations with tools; None: no pack of the run has tools.
    rounds: Rounds | None = None

    def submit(self, shard: Shard) -> dict[str, int]:
        """Submits what waits; counts of batches and requests. The shard is the caller's.

        Raises FatalForRun when a provider refuses a batch, BudgetExceeded when nothing more can be paid. What a provider
        cannot be asked now waits for the next time. All that one model is asked the same goes into one batch, turns of
        conversations as well, which makes it a batch per round.
        """
        counts = {"batches": 0, "requests": 0}
        self._resolve_intents(shard)
        if self.run.state is not RunState.OPEN:
            return counts
        waiting: list[UnsentPack] = []
        for unsent in self.batching.intents.unsent(shard):
            left = after_last_round(self.run.policy.batches, rounds=unsent.rounds)
            if left is None:
                waiting.append(unsent)
            elif left.name == "sync":
                self.batching.intents.set_mode([unsent.pack.pack_no], mode="sync", reason=left.reason)
            else:
                self._fail(unsent, left.reason)
        waiting, first = self._in_turn(shard, waiting)
        by_group: dict[tuple[str, Asks, str | None], list[_Ready]] = {}
        for ready in self._ready(shard, waiting):
            pack = ready.call.pack
            by_group.setdefault((str(pack.route.model), pack.origin.asks, first.get(pack.pack_no)), []).append(ready)
        for (_, _, primes), group in by_group.items():
            # What is paid for already keeps nothing behind it from going.
            for batch in self._made(sorted(group, key=lambda ready: not ready.is_reserved), primes=primes):
                counts["batches"] += 1
                counts["requests"] += batch.n_requests
        return counts

    def _in_turn(self, shard: Shard, waiting: Sequence[UnsentPack]) -> tuple[list[UnsentPack], dict[int, str]]:
        """The packs that go now, and those among them that go first -> the prefix that others wait for."""
        by_key: dict[str, list[UnsentPack]] = {}
        for unsent in waiting:
            by_key.setdefault(prefix_of(unsent.pack), []).append(unsent)
        known, now = self.batching.primings.priming(self.run), self.batching.clock.now()
        held: set[int] = set()
        plain: set[int] = set()
        first: dict[int, str] = {}
        for key, some in by_key.items():
            pack = some[0].pack
            turn = whose_turn(
                self.run.policy.batches,
                key=key,
                ttl=pack.cache_ttl,
                provider=pack.route.model.provider,
                shard_no=shard.shard_no,
                waiting=len(some),
                converses=pack.converses,
                known=known,
                now=now,
            )
            if turn is Turn.FIRST:
                first[pack.pack_no] = key
            if turn in {Turn.FIRST, Turn.WAIT}:
                held.update(each.pack.pack_no for each in some if each.pack.pack_no not in first)
            if turn is Turn.GO_PLAIN:
                plain.update(each.pack.pack_no for each in some)
        if plain:
            self.batching.primings.unkeep(sorted(plain), reason=_NOT_FOUND)
        going = [
            replace(unsent, pack=replace(unsent.pack, cache_ttl=None, cache_reason=_NOT_FOUND))
            if unsent.pack.pack_no in plain
            else unsent
            for unsent in waiting
            if unsent.pack.pack_no not in held
        ]
        return going, first

    def _resolve_intents(self, shard: Shard) -> None:
        """Intents that an earlier process left: nobody makes them any more, since the shard is ours."""
        for batch in self.batching.book.open_batches(shard):
            if batch.state is BatchState.INTENDED:
                self._find(batch)
            if batch.state is BatchState.ENDED and batch.outcome is BatchOutcome.UNBORN:
                self._release(batch)

    def _find(self, batch: Batch) -> None:
        provider = self.batching.supply.batches(batch.provider, self.run.kind)
        if provider is None:
            return
        try:
            since = listing_reaches_back_to(batch.asked_at or batch.intended_at)
            listed = provider.listed(since=since, timeout_s=LOOK_S) if batch.asked_at is not None else []
        except TransientError:
            return
        found = self.batching.resolve(batch, provider, listed, timeout_s=self.run.policy.calls.timeout_s)
        if found == "unborn":
            self._release(batch)

    def _release(self, batch: Batch) -> None:
        self.batching.imports.close(
            batch,
            error_class="BatchUnborn",
            message="the provider never had the batch",
            may_be_billed=False,
            now=self.batching.clock.now(),
        )

    def _ready(self, shard: Shard, waiting: Sequence[UnsentPack]) -> list[_Ready]:
        """What goes into the shard's next batches, in order: packs' plain calls, and the next turns of conversations.

        Raises BudgetExceeded when nothing can be paid, now or after what is under way.
        """
        turns: dict[int, PreparedCall] = {}
        problem, talking = None, [unsent.pack for unsent in waiting if unsent.pack.converses]
        if talking:
            assert self.rounds is not None  # the run has tools
            turns, problem = self.rounds.next_calls(talking)
        ready: list[_Ready] = []
        for unsent in waiting:
            talks = unsent.pack.converses
            call = turns.get(unsent.pack.pack_no) if talks else self._prepared(unsent)
            if call is not None:
                ready.append(_Ready(call=call, is_reserved=talks or unsent.is_reserved, round=unsent.batches + 1))
        if problem is not None and not ready and not self.batching.book.open_batches(shard):
            raise problem
        return ready

    def _made(self, waiting: Sequence[_Ready], *, primes: str | None) -> list[Batch]:
        """Batches of packs that ask one model the same, in order."""
        provider_name = waiting[0].call.pack.route.model.provider
        provider = self.batching.supply.batches(provider_name, self.run.kind)
        if provider is None:
            raise InvalidInput(f"provider {provider_name} takes no batches here; `--mode sync` asks without them")
        sizes = [len(provider.line(_LONGEST_ID, ready.call.request)) + 1 for ready in waiting]
        made: list[Batch] = []
        for span in split_by_limits(sizes, LIMITS[provider_name]):
            some = waiting[span.start : span.stop]
            batch = self._submitted(provider, some, n_bytes=sum(sizes[i] for i in span), primes=primes)
            if batch is None:
                # The next one would fare no better now.
                break
            made.append(batch)
        return made

    def _submitted(
        self, provider: BatchProvider, some: Sequence[_Ready], *, n_bytes: int, primes: str | None
    ) -> Batch | None:
        """One batch; None when the provider could not be asked, or nobody knows whether it took it."""
        batching, now = self.batching, self.batching.clock.now()
        round_no = max(ready.round for ready in some)
        prepared = [ready.call for ready in some]
        intended = [
            IntendedCall(
                pack=ready.call.pack,
                fingerprint=ready.call.fingerprint,
                usd_ceiling=ready.call.assumptions.usd_ceiling,
                is_reserved=ready.is_reserved,
            )
            for ready in some
        ]
        try:
            batch, call_nos = batching.intents.intend(
                self.run, intended, round_no=round_no, n_bytes=n_bytes, primes=primes, now=now
            )
        except BudgetExceeded:
            # What is under way is reserved at its ceiling; its answers may leave enough over.
            if batching.book.open_batches(prepared[0].pack.shard):
                return None
            raise
        lines = [
            provider.line(custom_id(batch.key, number), call.request)
            for number, call in zip(call_nos, prepared, strict=False)
        ]
        batching.intents.asking(batch, now=now)
        try:
            made = provider.create(
                tag=batch.tag,
                model=prepared[0].request.model.ref.model,
                lines=lines,
                timeout_s=self.run.policy.calls.timeout_s,
            )
        except BatchNotMade as problem:
            batching.book.ended(batch, BatchOutcome.UNBORN, n_done=0, problem=str(problem), now=batching.clock.now())
            self._release(batch)
            return None
        except TransientError as problem:
            batching.book.noted(batch, look_at=batching.look_at(batch), now=batching.clock.now(), problem=str(problem))
            self._find(self._again(batch))
            return None
        except TerminalError as problem:
            # It said no: there is no batch.
            batching.book.ended(batch, BatchOutcome.UNBORN, n_done=0, problem=str(problem), now=batching.clock.now())
            self._release(batch)
            if isinstance(problem, FatalForRun):
                raise
            raise FatalForRun(f"the provider refuses the batch: {problem}") from problem
        now = batching.clock.now()
        batching.book.submitted(batch, made.batch_id, is_adopted=False, now=now, look_at=batching.look_at(batch))
        return batch

    def _again(self, batch: Batch) -> Batch:
        """The batch as it is stored now."""
        shard = Shard(run_no=batch.run_no, shard_no=batch.shard_no)
        return next(b for b in self.batching.book.open_batches(shard) if b.batch_no == batch.batch_no)

    def _prepared(self, unsent: UnsentPack) -> PreparedCall:
        pack = unsent.pack
        return prepare_call(
            self.run,
            pack,
            self.packs.members(pack.pack_no),
            model=self.models.spec(pack.route.model),
            prices=self.prices,
            texts=self.texts,
        )

    def _fail(self, unsent: UnsentPack, reason: str) -> None:
        """Every block of the pack fails; nobody is asked, and nothing is billed."""
        call, now = self._prepared(unsent), self.batching.clock.now()
        call_no = self.calls.begin(call.pack, fingerprint=call.fingerprint, usd_ceiling=Decimal(0), now=now)
        failed = tuple((m.block_no, Finding.MISSING) for m in call.members)
        self.calls.settle(
            AnsweredCall(
                call_no=call_no,
                pack=call.pack,
                members=call.members,
                request_fingerprint=call.fingerprint,
                prefix=call.request.prefix,
                response=None,
                usd=None,
                latency_ms=0,
                assumptions=call.assumptions,
                answer=failed_answer(len(call.members), Finding.MISSING, reason),
                next_step=NextStep(
                    done=(),
                    again=(),
                    failed=failed,
                    attempts=tuple((m.block_no, m.attempts_before) for m in call.members),
                ),
                again=(),
                error_class=_TIMEOUT_CLASS,
                error_message=reason,
            ),
            now=now,
        )
