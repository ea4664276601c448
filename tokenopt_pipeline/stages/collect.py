"""Collect: the calls of a shard's open packs, side by side, until every pack has its answer."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace

from tokenopt_pipeline.domain.caching import AUTOMATIC, PrefixWarmth
from tokenopt_pipeline.domain.calls import AnsweredCall
from tokenopt_pipeline.domain.errors import (
    BudgetExceeded,
    ContextWindowExceeded,
    ConversationPaused,
    FatalForRun,
    PrefixGone,
    RateLimited,
    RequestRejected,
    StoreUnavailable,
    TokenOptError,
    TransientError,
)
from tokenopt_pipeline.domain.flow import FlowWindow, open_window
from tokenopt_pipeline.domain.outputs import Finding
from tokenopt_pipeline.domain.packs import OpenPack
from tokenopt_pipeline.domain.requests import ModelResponse
from tokenopt_pipeline.domain.retries import backoff_s
from tokenopt_pipeline.domain.runs import Run, Shard
from tokenopt_pipeline.ports import AnswerValidators, CallStore, Clock, Models, PackStore, Prices
from tokenopt_pipeline.stages.asker import Asker
from tokenopt_pipeline.stages.follow import Follower, obstacle_of, violations_of
from tokenopt_pipeline.stages.keep import KeptPrefixes
from tokenopt_pipeline.stages.settle import PreparedCall, answered, refused_request
from tokenopt_pipeline.stages.shard_work import InFlight, ShardWork

# How often a wait is broken off to see whether somebody wants it to end.
_LOOK_S = 0.2
# When a provider refuses so many requests before it answered one, the requests are wrong, not the blocks.
_REJECTIONS_BEFORE_STOP = 5


@dataclass(slots=True, kw_only=True)
class Collector:
    """Makes the calls of one run. Keeps what it learns (warm prefixes, pauses) over the run's shards.

    HTTP runs in threads; everything stored is stored by the caller's thread, in the order answers come.
    """

    run: Run
    packs: PackStore
    calls: CallStore
    models: Models
    prices: Prices
    validators: AnswerValidators
    clock: Clock
    asker: Asker
    #: Whether somebody wants the work to end. Looked at between answers: an exception in the middle of a statement would
    #: leave the store's connection unusable.
    stop: Callable[[], bool] = lambda: False
    #: Model -> how many requests may be in flight; shared by all runs of a process, since the limit is the provider's.
    windows: dict[str, FlowWindow] = field(default_factory=dict)
    #: Fingerprint of a prefix -> what is known of its cache entry; shared as the windows are.
    warmth: dict[str, PrefixWarmth] = field(default_factory=dict)
    #: Prefixes that providers keep for the run; None: none is kept.
    kept: KeptPrefixes | None = None
    _answers: int = 0
    _rejections: int = 0

    def collect(self, shard: Shard) -> int:
        """Calls until no pack of the shard is open; how many calls were answered.

        Raises FatalForRun, BudgetExceeded, TransientError when a provider stays away, or KeyboardInterrupt when `stop` says
        so. What was in flight is stored first; everything else stays open for the next time.
        """
        before = self._answers
        self.asker.go_on()
        work = ShardWork(
            shard=shard,
            queue=self.packs.open_packs(shard),
            follower=Follower(
                run=self.run,
                models=self.models,
                prices=self.prices,
                packs=self.packs,
                calls=self.calls,
                clock=self.clock,
            ),
            violations=violations_of(self.run, self.validators),
        )
        pool = ThreadPoolExecutor(max_workers=self.run.policy.calls.concurrency)
        try:
            while work.queue or work.in_flight:
                if self.stop():
                    raise KeyboardInterrupt
                self._start_ready(work, pool)
                self._settle_finished(work)
        except BaseException:
            # Answers on their way are paid for: keep them.
            self._drain(work)
            raise
        finally:
            # Nothing is left to wait for, unless a person would not wait for the drain.
            pool.shutdown(wait=False, cancel_futures=True)
        return self._answers - before

    def _start_ready(self, work: ShardWork, pool: ThreadPoolExecutor) -> None:
        room = self.run.policy.calls.concurrency - len(work.in_flight)
        waiting: list[OpenPack] = []
        for i, pack in enumerate(work.queue):
            if room == 0:
                waiting += work.queue[i:]
                break
            if work.follower.goes_around(pack):
                self._queue_new(work)
                continue
            if self._hold_s(work, pack) > 0 or self._is_full(work, pack) or self._awaits_leader(work, pack):
                waiting.append(pack)
                continue
            call = self._with_kept_prefix(work, self.asker.prepared(pack))
            try:
                begun = self.asker.begin(call)
            except BudgetExceeded as problem:
                if not work.in_flight:
                    work.follower.without(work.queue[i:], problem)
                    break
                # Calls in flight are reserved at their ceilings; what their answers leave over may be enough.
                waiting += work.queue[i:]
                break
            followed = self._is_warm(pack)
            work.in_flight[pool.submit(begun.complete)] = InFlight(
                call=call,
                call_no=begun.call_no,
                started_s=self.clock.monotonic_s(),
                followed=followed,
                talk=begun.talk,
            )
            room -= 1
        work.queue = waiting

    def _with_kept_prefix(self, work: ShardWork, call: PreparedCall) -> PreparedCall:
        """The call, naming its prefix where the provider keeps it and only cares for it by itself otherwise."""
        # What is kept stands for the whole system part, to which found passages and tools belong.
        if self.kept is None or call.pack.cache_ttl != AUTOMATIC or call.request.found or call.pack.converses:
            return call
        prefix = self.asker.prefix(call.pack)
        # The run's other shards will ask about as often as this one.
        waiting = sum(self.asker.prefix(pack) == prefix for pack in work.queue) * self.run.n_shards
        name = self.kept.name_for(call.request, requests=waiting, prefix_tokens=call.assumptions.prefix_tokens)
        return call if name is None else replace(call, request=replace(call.request, kept_prefix=name))

    def _awaits_leader(self, work: ShardWork, pack: OpenPack) -> bool:
        """Whether the pack's prefix is cold, and another request is on its way to warm it.

        Requests that start together before the cache is written would each pay for writing it.
        """
        prefix = self.asker.prefix(pack)
        return not self._is_warm(pack) and any(
            self.asker.prefix(flight.call.pack) == prefix for flight in work.in_flight.values()
        )

    def _is_warm(self, pack: OpenPack) -> bool:
        """Whether the pack need not wait for anybody to warm its prefix."""
        if pack.cache_ttl is None:
            return True
        warmth = self.warmth.get(self.asker.prefix(pack), PrefixWarmth())
        model = self.models.spec(pack.route.model)
        return not warmth.needs_leader(pack.cache_ttl, model, self.clock.monotonic_s())

    def given_up(self) -> dict[str, str]:
        """Model -> why nobody waits for its prefix to be warm any more."""
        known = {
            names[0]: self.warmth.get(prefix, PrefixWarmth()).given_up for names, prefix in self.asker.prefixes.items()
        }
        return {model: why for model, why in known.items() if why is not None}

    def _window(self, model: str) -> FlowWindow:
        share = self.run.policy.calls.concurrency
        window = self.windows.get(model)
        if window is None:
            window = self.windows[model] = open_window(share)
        return window.under(share)

    def _is_full(self, work: ShardWork, pack: OpenPack) -> bool:
        """Whether as many requests to the pack's model are in flight as may be."""
        model = str(pack.route.model)
        return self._window(model).room(work.flying(model), self.clock.monotonic_s()) == 0

    def _hold_s(self, work: ShardWork, pack: OpenPack) -> float:
        until = max(self._window(str(pack.route.model)).paused_until_s, work.not_before.get(pack.pack_no, 0.0))
        return until - self.clock.monotonic_s()

    def _settle_finished(self, work: ShardWork) -> None:
        holds = [hold for pack in work.queue if (hold := self._hold_s(work, pack)) > 0]
        if work.in_flight:
            finished, _ = wait(work.in_flight, timeout=min([*holds, _LOOK_S]), return_when=FIRST_COMPLETED)
            # The order in which answers are stored is the order in which they were asked.
            for future in [each for each in work.in_flight if each in finished]:
                self._settle(work, future, work.in_flight.pop(future))
        elif holds:
            self.clock.sleep(min(holds), unless=self.stop)

    def _settle(self, work: ShardWork, future: Future[ModelResponse], flight: InFlight) -> None:
        # A conversation has come further since it began.
        flight = flight.now()
        latency_ms = round((self.clock.monotonic_s() - flight.started_s) * 1000)
        call = flight.call
        try:
            response = future.result()
        except (StoreUnavailable, ConversationPaused):
            raise
        except TransientError as problem:
            self._postpone(work, flight, problem)
            return
        except (ContextWindowExceeded, RequestRejected) as problem:
            work.silence[str(call.request.model.ref)] = 0
            too_large = isinstance(problem, ContextWindowExceeded)
            self._store(
                work,
                refused_request(
                    self.run,
                    call,
                    call_no=flight.known_call_no,
                    finding=Finding.TOO_LARGE if too_large else Finding.REJECTED,
                    problem=problem,
                    latency_ms=latency_ms,
                ),
            )
            self._rejections += 0 if too_large else 1
            if not self._answers and self._rejections >= _REJECTIONS_BEFORE_STOP:
                raise FatalForRun(f"the first {self._rejections} requests were all refused: {problem}") from problem
            return
        except TokenOptError as problem:
            self._fail(flight, problem)
            self._give_up(work, call.pack, problem, is_whole_model=True)
            return
        self._answers += 1
        model = str(call.request.model.ref)
        work.silence[model] = 0
        self.windows[model] = self._window(model).answered(response.headroom, now_s=self.clock.monotonic_s())
        # A conversation may have marks of its own, which say nothing about what packs share.
        if call.pack.cache_ttl is not None:
            prefix = self.asker.prefix(call.pack)
            self.warmth[prefix] = self.warmth.get(prefix, PrefixWarmth()).after(
                response.usage, ttl=call.pack.cache_ttl, began_s=flight.started_s, followed=flight.followed
            )
        self._store(
            work,
            answered(
                self.run,
                call,
                call_no=flight.known_call_no,
                response=response,
                latency_ms=latency_ms,
                violation=work.violations[call.pack.origin.asks],
                prices=self.prices,
            ),
        )

    def _store(self, work: ShardWork, call: AnsweredCall) -> None:
        call = work.follower.follow(call)
        self.calls.settle(call, now=self.clock.now())
        if call.again:
            self._queue_new(work)

    def _fail(self, flight: InFlight, problem: TokenOptError) -> None:
        if flight.call_no is not None:
            self.calls.fail(
                flight.call_no,
                error_class=type(problem).__name__,
                message=str(problem),
                may_be_billed=getattr(problem, "may_be_billed", False),
                now=self.clock.now(),
            )

    def _queue_new(self, work: ShardWork) -> None:
        known = {p.pack_no for p in work.queue} | {f.call.pack.pack_no for f in work.in_flight.values()}
        work.queue += [p for p in self.packs.open_packs(work.shard) if p.pack_no not in known]

    def _give_up(self, work: ShardWork, pack: OpenPack, problem: TokenOptError, *, is_whole_model: bool) -> None:
        """Asks the next model instead; raises the problem where there is none."""
        obstacle = obstacle_of(problem)
        if obstacle is None or not work.follower.go_around(pack, obstacle):
            raise problem
        if is_whole_model:
            work.follower.down[str(pack.route.model)] = obstacle
        self._queue_new(work)

    def _postpone(self, work: ShardWork, flight: InFlight, problem: TransientError) -> None:
        pack = flight.call.pack
        self._fail(flight, problem)
        if isinstance(problem, PrefixGone) and self.kept is not None:
            self.kept.gone(flight.call.request)
        model = str(pack.route.model)
        work.tries[pack.pack_no] += 1
        work.silence[model] += 1
        # When all that fit side by side have failed, it is not the pack: the others would only knock as often again.
        rounds = work.silence[model] // self.run.policy.calls.concurrency
        tries = max(work.tries[pack.pack_no], rounds)
        if tries >= self.run.policy.retries.transient_tries:
            # Whoever asks a model that has answered nobody for so long would only find out the same.
            is_whole_model = work.silence[model] >= self.run.policy.retries.transient_tries
            self._give_up(work, pack, problem, is_whole_model=is_whole_model)
            return
        asked = getattr(problem, "retry_after_s", None)
        wait_s, now_s = backoff_s(self.run.policy.retries, tries=tries, retry_after_s=asked), self.clock.monotonic_s()
        work.not_before[pack.pack_no] = now_s + wait_s
        # A limit, or a silence, is the model's and no single pack's, so everybody waits.
        window = self._window(model)
        if isinstance(problem, RateLimited):
            self.windows[model] = window.refused(
                problem.headroom, began_s=flight.started_s, pause_s=wait_s, now_s=now_s
            )
        elif rounds:
            self.windows[model] = window.paused(wait_s, now_s=now_s)
        work.queue.append(pack)

    def _drain(self, work: ShardWork) -> None:
        self.asker.pause()
        wait(work.in_flight)
        for future, flight in work.in_flight.items():
            # The first error is the one that is told, and no other may keep the next answer from being stored.
            with suppress(Exception):
                self._settle(work, future, flight)
        work.in_flight.clear()
