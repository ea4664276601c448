"""Rounds: conversations whose turns go in batches. A batch has one turn of each; between two, their tools are called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace

from tokenopt_pipeline.domain.batch_policy import out_of_time
from tokenopt_pipeline.domain.bridge import (
    Answer,
    AskModel,
    CallTools,
    FallBack,
    Loop,
    StopCause,
    after_deadline,
    after_rejection,
    after_response,
    after_results,
    next_request,
)
from tokenopt_pipeline.domain.conversations import SettledTurn
from tokenopt_pipeline.domain.errors import BudgetExceeded, TokenOptError
from tokenopt_pipeline.domain.packs import OpenPack
from tokenopt_pipeline.domain.requests import ModelResponse
from tokenopt_pipeline.ports import BatchedCall, BatchIntents
from tokenopt_pipeline.stages.conversations import Conversations
from tokenopt_pipeline.stages.settle import PreparedCall


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchedTurn:
    """A conversation's request that came back in a batch."""

    conversations: Conversations
    call_no: int
    #: The request as it was sent.
    call: PreparedCall
    loop: Loop
    #: Whether its answer is still waited for; otherwise the pack has gone on without it.
    is_awaited: bool

    def settle(self, response: ModelResponse, *, latency_ms: int) -> bool:
        """Stores an answer after which the conversation goes on; False: it is the answer to the pack, and nothing is stored."""
        own, call = self.conversations, self.call
        usd = own.prices.usd(call.request.model.ref, response.usage)
        step = after_response(self.loop, response, usd=usd, gauges=own.bridge.gauges(call.request))
        if isinstance(step, Answer):
            return False
        settled = SettledTurn(
            call_no=self.call_no,
            pack=call.pack,
            fingerprint=call.fingerprint,
            prefix=call.request.prefix,
            response=response,
            usd=usd,
            usd_ceiling=call.assumptions.usd_ceiling,
            latency_ms=latency_ms,
            input_tokens=call.assumptions.input_tokens,
            max_tokens=call.request.max_tokens,
            prefix_tokens=call.assumptions.prefix_tokens,
        )
        own.tools.turns.settle(settled, now=own.clock.now())
        return True

    def refused(self, problem: TokenOptError) -> None:
        """The provider refuses the turn: the plain call may be taken."""
        step = after_rejection(self.loop, str(problem))
        self.conversations.give_up(self.call.pack, step, refused=(self.call_no, problem))


@dataclass(slots=True, kw_only=True)
class _Standing:
    """A conversation between two rounds."""

    call: PreparedCall
    step: AskModel | CallTools | FallBack
    #: Why no further turn goes in a batch; None: one does.
    late: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """The conversations of one run, at the prices of batches."""

    conversations: Conversations
    #: A pack's plain call as it goes in a batch.
    in_batch: Callable[[OpenPack], PreparedCall]
    #: The same as a call by itself, which may be dearer.
    by_itself: Callable[[OpenPack], PreparedCall]
    intents: BatchIntents
    #: Whether somebody wants the work to end.
    stop: Callable[[], bool] = lambda: False

    def turn(self, batched: BatchedCall, call: PreparedCall) -> BatchedTurn | None:
        """The turn of a conversation behind a batch's call; None: it is the pack's plain call, which is `call`.

        Raises ToolServerUnavailable or InvalidInput.
        """
        own, pack = self.conversations, call.pack
        if not batched.has_talked or (not pack.converses and batched.fingerprint == call.fingerprint):
            return None
        kept = own.store.find(pack)
        assert kept is not None  # it has talked
        before, first = kept.before(batched.call_no), own.first(call)
        step = own.bridge.replayed(first.request, before.turns)
        # The run was finished in sync mode meanwhile, and another answer came to the same request, or to a later one.
        is_late = not pack.converses or len(before.turns) < len(kept.turns) or not isinstance(step, AskModel)
        return BatchedTurn(
            conversations=own,
            call_no=batched.call_no,
            call=self._asked(first, step.loop),
            loop=step.loop,
            is_awaited=batched.is_open and not is_late,
        )

    def next_calls(self, waiting: Sequence[OpenPack]) -> tuple[dict[int, PreparedCall], BudgetExceeded | None]:
        """(Pack -> its next request, why the packs that are left out cannot be paid now).

        The tools that models have called are called first, side by side. A conversation that came to a bound has its
        plain call as its next request, or none where the pack is asked in sync mode from now on.

        Raises, with nothing asked, RunCancelled, ToolServerUnavailable or InvalidInput; KeyboardInterrupt when `stop` says so.
        """
        standing, problem = self._opened(waiting)
        self._call_tools([each for each in standing if isinstance(each.step, CallTools) and each.late is None])
        calls = {each.call.pack.pack_no: self._next(each) for each in standing}
        return {pack_no: call for pack_no, call in calls.items() if call is not None}, problem

    def _opened(self, waiting: Sequence[OpenPack]) -> tuple[list[_Standing], BudgetExceeded | None]:
        own, problem = self.conversations, None
        standing: list[_Standing] = []
        for pack in waiting:
            first = own.first(self.in_batch(pack))
            try:
                _, kept = own.opened(first, self.by_itself)
            except BudgetExceeded as found:
                # What others leave over may be enough for it, and those that have begun are paid for.
                problem = found
                continue
            late = None
            if kept.turns:
                age_h = kept.age_h(own.clock.now())
                late = out_of_time(own.run.policy.batches, provider=pack.route.model.provider, age_h=age_h)
            step = own.bridge.replayed(first.request, kept.turns)
            standing.append(_Standing(call=first, step=step, late=late))
        return standing, problem

    def _call_tools(self, pending: Sequence[_Standing]) -> None:
        if not pending:
            return
        pool = ThreadPoolExecutor(max_workers=self.conversations.run.policy.calls.concurrency)
        try:
            made = {pool.submit(self._told, each): each for each in pending}
            for future in as_completed(made):
                made[future].step = future.result()
                if self.stop():
                    raise KeyboardInterrupt
        finally:
            # Calls under way end within their own bound, and their results are stored.
            pool.shutdown(wait=True, cancel_futures=True)

    def _told(self, standing: _Standing) -> AskModel:
        """In a thread of its own."""
        own, step = self.conversations, standing.step
        assert isinstance(step, CallTools)
        gauges = own.bridge.gauges(standing.call.request)
        told, tools_ms = own.bridge.call_tools(step, left_s=own.bridge.bounds.call_timeout_s, gauges=gauges)
        own.tools.turns.tell(standing.call.pack, told, calls_made=len(step.calls), tools_ms=tools_ms)
        return after_results(step, told, gauges=gauges)

    def _next(self, standing: _Standing) -> PreparedCall | None:
        own, step, pack = self.conversations, standing.step, standing.call.pack
        if not isinstance(step, FallBack) and standing.late is not None:
            step = after_deadline(step.loop, standing.late, own.run.policy.batches.deadline_h)
        elif not isinstance(step, FallBack):
            # Hours in batches are no seconds of `bridge.max_seconds`: the deadline bounds them.
            step = next_request(step.loop, elapsed_s=0.0, gauges=own.bridge.gauges(standing.call.request))
        if isinstance(step, AskModel):
            return self._asked(standing.call, step.loop)
        if step.cause is StopCause.DEADLINE and own.run.policy.batches.finish_sync:
            # In this order, nothing that happens in between lets it wait for a batch.
            self.intents.set_mode([pack.pack_no], mode="sync", reason=step.reason)
            own.give_up(pack, step)
            return None
        return self.in_batch(own.give_up(pack, step))

    def _asked(self, first: PreparedCall, loop: Loop) -> PreparedCall:
        """The request with which a conversation goes on."""
        request = replace(first.request, turns=loop.turns, answer_now=loop.answer_now)
        usd_ceiling = self.conversations.bridge.gauges(request).usd_ceiling(loop.next_input_tokens, loop.max_tokens)
        sized = replace(first.assumptions, input_tokens=loop.next_input_tokens, usd_ceiling=usd_ceiling)
        return replace(first, request=request, fingerprint=request.fingerprint, assumptions=sized)
