"""The tool loop of one pack: ask, call, ask again, until there is an answer or a reason to ask plainly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Protocol

from tokenopt_pipeline.domain.bridge import (
    Answer,
    AskModel,
    CallTools,
    FallBack,
    Gauges,
    Loop,
    StopCause,
    ToldResult,
    after_rejection,
    after_response,
    after_results,
    begin,
    next_request,
    results_of,
    with_tools,
)
from tokenopt_pipeline.domain.bridge_policy import BridgePolicy
from tokenopt_pipeline.domain.caching import dearest_usage
from tokenopt_pipeline.domain.conversations import KeptTurn
from tokenopt_pipeline.domain.errors import ContextWindowExceeded, ConversationPaused, RequestRejected, TokenOptError
from tokenopt_pipeline.domain.fingerprints import ordered_json
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse
from tokenopt_pipeline.domain.tools import Toolbox, ToolCall, canonical_tools
from tokenopt_pipeline.ports import Clock, Prices, Provider, Tokenizer, ToolHost, ToolSchemas


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeTurn:
    """One request of a conversation and its answer, for the ledger."""

    fingerprint: str
    response: ModelResponse
    #: None when the price is unknown.
    usd: Decimal | None
    #: What the request was guarded with.
    input_tokens: int
    usd_ceiling: Decimal | None
    latency_ms: int
    #: What the model called, also what was not made.
    tool_calls: tuple[ToolCall, ...]
    #: How many of the calls a server was asked for.
    calls_made: int
    #: Spent on those, side by side.
    tools_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeOutcome:
    """How a conversation ended. Of `response`, `cause` and `problem`, exactly one is there."""

    #: Everything that was billed, in order, however it ended.
    turns: tuple[BridgeTurn, ...]
    loop: Loop
    #: The answer, in the run's schema as far as the provider can bind it.
    response: ModelResponse | None = None
    #: Why the pack has to be asked plainly, with full context.
    cause: StopCause | None = None
    #: One sentence about the cause; empty without one.
    reason: str = ""
    #: Why the last request got no answer; with `loop` the conversation can go on from there.
    problem: TokenOptError | None = None


class TurnJournal(Protocol):
    """Who keeps what happens in a conversation, so that it can go on in another process."""

    def asking(self, request: ModelRequest, *, input_tokens: int, usd_ceiling: Decimal | None) -> None:
        """The request is about to be sent."""
        ...

    def turned(self, turn: BridgeTurn) -> None:
        """It was answered, and the conversation has not ended with that."""
        ...

    def told(self, results: Sequence[ToldResult], *, calls_made: int, tools_ms: int) -> None:
        """The model's calls have their results."""
        ...

    def refused(self, problem: TokenOptError) -> None:
        """The provider refused the request."""
        ...


class NoJournal:
    """`TurnJournal` that keeps nothing."""

    def asking(self, request: ModelRequest, *, input_tokens: int, usd_ceiling: Decimal | None) -> None:
        """Nothing."""

    def turned(self, turn: BridgeTurn) -> None:
        """Nothing."""

    def told(self, results: Sequence[ToldResult], *, calls_made: int, tools_ms: int) -> None:
        """Nothing."""

    def refused(self, problem: TokenOptError) -> None:
        """Nothing."""


_NO_JOURNAL = NoJournal()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """What the conversations of a run share. Safe to use from several threads."""

    bounds: BridgePolicy
    tools: Toolbox
    provider: Provider
    host: ToolHost
    schemas: ToolSchemas
    tokenizer: Tokenizer
    prices: Prices
    clock: Clock
    #: For one request, at most.
    timeout_s: float

    def prepared(self, request: ModelRequest) -> ModelRequest:
        """The first request of a conversation: a pack's request, with the tools and how to use them."""
        return replace(request, system=with_tools(request.system), tools=self.tools.tools)

    def begin(self, request: ModelRequest) -> Loop:
        """The loop of a prepared request."""
        texts = (request.system, request.user, canonical_tools(request.tools), ordered_json(request.output_schema))
        counted, model = sum(self.tokenizer.count(text) for text in texts), request.model
        return begin(
            self.tools,
            self.bounds,
            input_tokens=model.guarded_tokens(counted) + model.request_overhead_tokens + model.tools_overhead_tokens,
            max_tokens=request.max_tokens,
        )

    def replayed(self, request: ModelRequest, turns: Sequence[KeptTurn]) -> AskModel | CallTools | FallBack:
        """What comes next in a conversation about a prepared request that has had these turns."""
        gauges, step = self.gauges(request), AskModel(loop=self.begin(request))
        for turn in turns:
            after = after_response(step.loop, turn.response, usd=turn.usd, gauges=gauges)
            if isinstance(after, CallTools) and turn.told is not None:
                after = after_results(after, turn.told, gauges=gauges)
            if not isinstance(after, AskModel):
                # The journal keeps no turn that ends a conversation with an answer, and none after one that ends it.
                assert not isinstance(after, Answer)
                return after
            step = after
        return step

    def converse(
        self,
        request: ModelRequest,
        start: AskModel | CallTools | FallBack | None = None,
        *,
        spent_s: float = 0.0,
        journal: TurnJournal = _NO_JOURNAL,
        must_pause: Callable[[], bool] = lambda: False,
    ) -> BridgeOutcome:
        """The conversation about a prepared request, from its beginning or from where `start` says that it stands.

        `spent_s` is what it has taken before. When `must_pause` becomes true, it is left between two turns.
        """
        started_s, gauges = self.clock.monotonic_s() - spent_s, self.gauges(request)
        step: AskModel | CallTools | Answer | FallBack = start or AskModel(loop=self.begin(request))
        turns: list[BridgeTurn] = []
        while not isinstance(step, Answer | FallBack):
            elapsed_s = self.clock.monotonic_s() - started_s
            if isinstance(step, CallTools):
                step, made, tools_ms = self._called(step, elapsed_s=elapsed_s, gauges=gauges, journal=journal)
                if turns:
                    turns[-1] = replace(turns[-1], calls_made=made, tools_ms=tools_ms)
                continue
            if must_pause():
                problem = ConversationPaused("the conversation goes on when the run does")
                return BridgeOutcome(turns=tuple(turns), loop=step.loop, problem=problem)
            step = next_request(step.loop, elapsed_s=elapsed_s, gauges=gauges)
            if isinstance(step, FallBack):
                continue
            try:
                turn = self._asked(request, step.loop, elapsed_s=elapsed_s, gauges=gauges, journal=journal)
            except (RequestRejected, ContextWindowExceeded) as refusal:
                journal.refused(refusal)
                step = after_rejection(step.loop, str(refusal))
                continue
            except TokenOptError as trouble:
                return BridgeOutcome(turns=tuple(turns), loop=step.loop, problem=trouble)
            turns.append(turn)
            step = after_response(step.loop, turn.response, usd=turn.usd, gauges=gauges)
            if not isinstance(step, Answer):
                journal.turned(turn)
        if isinstance(step, Answer):
            return BridgeOutcome(turns=tuple(turns), loop=step.loop, response=step.response)
        return BridgeOutcome(turns=tuple(turns), loop=step.loop, cause=step.cause, reason=step.reason)

    def _asked(
        self, request: ModelRequest, loop: Loop, *, elapsed_s: float, gauges: Gauges, journal: TurnJournal
    ) -> BridgeTurn:
        sent = replace(request, turns=loop.turns, answer_now=loop.answer_now)
        ceiling = gauges.usd_ceiling(loop.next_input_tokens, loop.max_tokens)
        journal.asking(sent, input_tokens=loop.next_input_tokens, usd_ceiling=ceiling)
        before_s = self.clock.monotonic_s()
        response = self.provider.complete(
            sent, timeout_s=min(self.timeout_s, max(self.bounds.max_seconds - elapsed_s, 1.0))
        )
        return BridgeTurn(
            fingerprint=sent.fingerprint,
            response=response,
            usd=self.prices.usd(request.model.ref, response.usage),
            input_tokens=loop.next_input_tokens,
            usd_ceiling=ceiling,
            latency_ms=round((self.clock.monotonic_s() - before_s) * 1000),
            tool_calls=response.tool_calls,
            calls_made=0,
            tools_ms=0,
        )

    def _called(
        self, step: CallTools, *, elapsed_s: float, gauges: Gauges, journal: TurnJournal
    ) -> tuple[AskModel, int, int]:
        left_s = max(self.bounds.max_seconds - elapsed_s, 0.0)
        told, tools_ms = self.call_tools(step, left_s=left_s, gauges=gauges)
        journal.told(told, calls_made=len(step.calls), tools_ms=tools_ms)
        return after_results(step, told, gauges=gauges), len(step.calls), tools_ms

    def call_tools(self, step: CallTools, *, left_s: float, gauges: Gauges) -> tuple[tuple[ToldResult, ...], int]:
        """(What the model is told about its calls, milliseconds that they took). Safe to call from several threads."""
        before_s, timeout_s = self.clock.monotonic_s(), min(self.bounds.call_timeout_s, left_s)
        outcomes = self.host.call(step.calls, timeout_s=timeout_s) if step.calls else {}
        tools_ms = round((self.clock.monotonic_s() - before_s) * 1000)
        return results_of(step, outcomes, gauges=gauges), tools_ms

    def gauges(self, request: ModelRequest) -> Gauges:
        """What the request's loop measures with."""
        model, ttl = request.model, request.cache_ttl

        def usd_ceiling(input_tokens: int, output_tokens: int) -> Decimal | None:
            return self.prices.usd(
                model.ref, dearest_usage(ttl, input_tokens=input_tokens, output_tokens=output_tokens)
            )

        return Gauges(
            arguments_violation=self.schemas.arguments_violation,
            result_violation=self.schemas.result_violation,
            tokens=lambda text: model.guarded_tokens(self.tokenizer.count(text)),
            usd_ceiling=usd_ceiling,
        )
