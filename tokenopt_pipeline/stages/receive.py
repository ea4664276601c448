"""Receive: results of ended batches, from the provider's file to the same settlement that a call's answer gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from tokenopt_pipeline.domain.batch_results import Judgement, ResultCounts, Worth, judge
from tokenopt_pipeline.domain.batches import Batch, BatchOutcome, BatchState, supports_batches
from tokenopt_pipeline.domain.calls import AnsweredCall
from tokenopt_pipeline.domain.errors import (
    ContextWindowExceeded,
    ModelUnknown,
    RequestRejected,
    TokenOptError,
    TransientError,
)
from tokenopt_pipeline.domain.outputs import Finding
from tokenopt_pipeline.domain.runs import Run, Shard
from tokenopt_pipeline.ports import (
    AnswerValidators,
    BatchedCall,
    BatchProvider,
    CallStore,
    Models,
    PackStore,
    Prices,
)
from tokenopt_pipeline.stages.batching import Batching
from tokenopt_pipeline.stages.contexts import ContextTexts
from tokenopt_pipeline.stages.follow import Follower, violations_of
from tokenopt_pipeline.stages.rounds import Rounds
from tokenopt_pipeline.stages.settle import PreparedCall, answered, prepare_call, refused_request

_AT_ONCE = 200
_NO_RESULTS = frozenset({BatchOutcome.FAILED, BatchOutcome.UNBORN})
_MAY_LACK_RESULTS = frozenset({BatchOutcome.EXPIRED, BatchOutcome.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """Takes in the ended batches of one run."""

    run: Run
    batching: Batching
    packs: PackStore
    calls: CallStore
    models: Models
    #: Of batches.
    prices: Prices
    texts: ContextTexts
    validators: AnswerValidators
    follower: Follower
    #: Of conversations with tools; None: no pack of the run has tools.
    rounds: Rounds | None = None
    stop: Callable[[], bool] = lambda: False

    def receive(self, shard: Shard) -> dict[str, int]:
        """Settles every ended batch of the shard, which is the caller's: counts of answers, late answers and released calls,
        and of turns of conversations where there are any.

        Raises KeyboardInterrupt when `stop` says so; what is settled by then stays.
        """
        counts = {"calls": 0, "late": 0, "released": 0} | ({} if self.rounds is None else {"turns": 0})
        for batch in self.batching.book.open_batches(shard):
            if batch.state is BatchState.ENDED:
                self._receive(batch, counts)
        return counts

    def _receive(self, batch: Batch, counts: dict[str, int]) -> None:
        judged = self._imported(batch)
        if judged is None:
            return
        self._settle(batch, counts)
        if judged.worth is Worth.AGAIN:
            return
        is_lost = judged.worth is Worth.PARTIAL and batch.outcome is BatchOutcome.COMPLETED
        counts["released"] += self.batching.imports.close(
            batch,
            error_class="BatchResultLost" if is_lost else f"Batch{(batch.outcome or BatchOutcome.FAILED).title()}",
            message=judged.why or f"the batch ended as {batch.outcome}",
            # Nothing is billed for what was not carried out; what was, and never came, may be.
            may_be_billed=is_lost,
            now=self.batching.clock.now(),
        )

    def _imported(self, batch: Batch) -> Judgement | None:
        """Brings the results here; what they are worth, None when they cannot be had now."""
        if batch.outcome in _NO_RESULTS:
            return Judgement(worth=Worth.PARTIAL, why=f"the batch ended as {batch.outcome} and has no results")
        provider = self.batching.supply.batches(batch.provider, self.run.kind)
        now = self.batching.clock.now()
        if provider is None:
            self.batching.book.noted(
                batch,
                look_at=self.batching.look_at(batch),
                now=now,
                problem=f"nobody of kind {self.run.kind} can be asked for {batch.provider}'s results here",
            )
            return None
        counts: ResultCounts | None
        try:
            counts = self._fetch(batch, provider)
        except (RequestRejected, ModelUnknown) as problem:
            # Results are not kept for ever.
            counts = ResultCounts(asked=batch.n_requests, broken=str(problem))
        except TokenOptError as problem:
            self.batching.book.noted(batch, look_at=self.batching.look_at(batch), now=now, problem=str(problem))
            return None
        if counts is None and batch.outcome in _MAY_LACK_RESULTS:
            return Judgement(worth=Worth.PARTIAL, why=f"the batch ended as {batch.outcome} without results")
        judged = judge(counts or ResultCounts(asked=batch.n_requests), downloads=batch.downloads + 1)
        self.batching.book.noted(
            batch, look_at=self.batching.look_at(batch), now=now, problem=judged.why or None, downloads=1
        )
        return judged

    def _fetch(self, batch: Batch, provider: BatchProvider) -> ResultCounts | None:
        timeout_s = self.run.policy.calls.timeout_s
        with self.batching.files.fetched(provider, batch, timeout_s=timeout_s) as file:
            if file is None:
                return None
            counts = self.batching.imports.import_results(
                batch, file.lines(), simulated=file.simulated, now=self.batching.clock.now()
            )
            return replace(counts, broken=file.broken)

    def _settle(self, batch: Batch, counts: dict[str, int]) -> None:
        """Settles what has a line, one transaction each."""
        provider = self.batching.supply.batches(batch.provider, self.run.kind)
        violations = violations_of(self.run, self.validators)
        after = 0
        while provider is not None and (some := self.batching.imports.under_way(batch, after=after, most=_AT_ONCE)):
            for batched in some:
                if self.stop():
                    raise KeyboardInterrupt
                self._settle_one(batch, batched, provider, violations[batched.pack.origin.asks], counts)
            after = some[-1].call_no

    def _settle_one(
        self,
        batch: Batch,
        batched: BatchedCall,
        provider: BatchProvider,
        violation: Callable[[Mapping[str, object]], str | None],
        counts: dict[str, int],
    ) -> None:
        call, now = self._prepared(batched), self.batching.clock.now()
        turn = None if self.rounds is None else self.rounds.turn(batched, call)
        call = call if turn is None else turn.call
        is_awaited = batched.is_open if turn is None else turn.is_awaited
        began = batch.submitted_at or batch.intended_at
        latency_ms = round(((batch.ended_at or now) - began).total_seconds() * 1000)
        try:
            response = provider.response(batched.line, call.request, simulated=batched.simulated)
        except (ContextWindowExceeded, RequestRejected) as problem:
            too_large = isinstance(problem, ContextWindowExceeded)
            if is_awaited and turn is not None:
                turn.refused(problem)
            elif is_awaited:
                refused = refused_request(
                    self.run,
                    call,
                    call_no=batched.call_no,
                    finding=Finding.TOO_LARGE if too_large else Finding.REJECTED,
                    problem=problem,
                    latency_ms=latency_ms,
                )
                self._store(refused, batched, now)
            else:
                self._fail(batched, problem)
            return
        except TokenOptError as problem:
            self._fail(batched, problem)
            counts["released"] += 1
            return
        goes_on = turn is not None and is_awaited and turn.settle(response, latency_ms=latency_ms)
        if goes_on:
            counts["turns"] += 1
            return
        settled = answered(
            self.run,
            call,
            call_no=batched.call_no,
            response=response,
            latency_ms=latency_ms,
            violation=violation,
            prices=self.prices,
        )
        if is_awaited:
            self._store(settled, batched, now)
            counts["calls"] += 1
        else:
            # The pack was asked again in another way before this came.
            self.calls.supersede(settled, now=now)
            counts["late"] += 1

    def _store(self, call: AnsweredCall, batched: BatchedCall, now: datetime) -> None:
        """Settles a call; what it leads to goes the pack's way as it is now, as far as that provider takes batches."""
        call = self.follower.follow(call)
        mode = batched.pack.route.mode
        again = [
            replace(
                pack, route=replace(pack.route, mode=mode if supports_batches(pack.route.model.provider) else "sync")
            )
            for pack in call.again
        ]
        self.calls.settle(replace(call, again=again), now=now)

    def _fail(self, batched: BatchedCall, problem: TokenOptError) -> None:
        self.calls.fail(
            batched.call_no,
            error_class=type(problem).__name__,
            message=str(problem),
            may_be_billed=isinstance(problem, TransientError) and bool(getattr(problem, "may_be_billed", False)),
            now=self.batching.clock.now(),
        )

    def _prepared(self, batched: BatchedCall) -> PreparedCall:
        # Whoever finished the run in sync mode has changed the pack's way; this call went in a batch all the same.
        pack = replace(batched.pack, route=replace(batched.pack.route, mode="async"))
        return prepare_call(
            self.run,
            pack,
            self.packs.members(pack.pack_no),
            model=self.models.spec(pack.route.model),
            prices=self.prices,
            texts=self.texts,
        )
